"""Functions beside the caller's work: results in order, and programs that end where the caller fails."""

import threading
import time

import pytest

from edgephys.core import processes
from edgephys.core.beside import beside
from edgephys.core.errors import ToolError


def test_results_stand_in_order_whichever_is_ready_first():
    first = threading.Event()

    def late():
        assert first.wait(20)
        return "late"

    def early():
        first.set()
        return "early"

    with beside([late, early]) as results:
        assert [result.result() for result in results] == ["late", "early"]


def test_no_more_functions_are_called_at_a_time_than_threads():
    running, most = [], []

    def call():
        running.append(1)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()

    with beside([call] * 6, threads=2) as results:
        for result in results:
            result.result()
    assert max(most) <= 2


@pytest.mark.parametrize("failure", [ToolError("the caller's"), KeyboardInterrupt()])
def test_a_program_that_runs_is_killed_where_the_caller_fails_and_no_other_starts(failure, tmp_path):
    started = tmp_path / "started"
    with pytest.raises(type(failure)), beside([program(started), program(tmp_path / "second")], threads=1) as results:
        while not started.is_file():
            time.sleep(0.01)
        raise failure
    with pytest.raises(ToolError, match="sh was stopped"):
        results[0].result()
    assert results[1].cancelled() and not (tmp_path / "second").exists()


def test_a_program_of_the_callers_own_thread_is_left_alone(tmp_path):
    with pytest.raises(ToolError, match="the caller's"), beside([lambda: None]):
        raise ToolError("the caller's")
    assert processes.run(["sh", "-c", "echo goes on"], tmp_path, 20) == "goes on\n"


def program(started):
    """Return a function that runs a program of a minute, which says that it has started."""
    return lambda: processes.run(["sh", "-c", f"touch {started}; exec sleep 60"], started.parent, 100)
