"""Where runs are carried out: processes of this machine, and a cluster whose worker is killed half-way."""

import dataclasses
import os
import signal
import sys
import threading
import time
from functools import partial

import pareto_runs
import pytest
from pareto_runs import MEMBERS, NAMES

from edgephys.compress import pareto_sweep as pareto
from edgephys.compress.dask_executor import DaskExecutor
from edgephys.compress.local_executor import ProcessExecutor
from edgephys.compress.run_pipeline import run as plain_run
from edgephys.core.errors import ToolError
from edgephys.models import trained as artefact

# Processes of this machine -------------------------------------------------------------------------


def test_a_number_of_processes_carry_orders_out():
    ended = dict(ProcessExecutor(2)({"a": "one", "b": "two"}, pareto_runs.doubled))
    assert {why.split(",")[0] for why in ended.values()} == {"one twice", "two twice"}
    assert str(os.getpid()) not in " ".join(ended.values()) and list(ProcessExecutor(1)({}, pareto_runs.doubled)) == []


def test_a_process_that_was_killed_ends_the_sweep_in_one_line():
    with pytest.raises(ToolError, match="expected every process to finish, one was killed; check the memory, lower"):
        list(ProcessExecutor(1)({"a": "one"}, pareto_runs.killed))


def test_leaving_early_interrupts_what_is_in_progress_and_begins_nothing_more(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    ended = ProcessExecutor(1)({"a": first, "b": second}, pareto_runs.interrupted)
    threading.Thread(target=_interrupt_when, args=(first,), daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        next(ended)
    assert first.read_text() == "cleared up" and not second.exists()


def _interrupt_when(begun):
    while not begun.exists() or begun.read_text() != "begun":
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


# A cluster -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dask():
    """A scheduler and two workers, each a process of its own; a task may die with one of them, not with two."""
    import distributed

    more = {"dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **more) as cluster:
        cluster.scheduler.allowed_failures = 1
        yield cluster


def kill_half_way(out, name, what, killed):
    """Kill who is in the midst of a run, once."""
    while not pareto_runs.logged(out, what) or name not in dict(pareto_runs.logged(out, what)):
        time.sleep(0.02)
    killed.append(dict(pareto_runs.logged(out, what))[name])
    os.kill(killed[0], signal.SIGKILL)
    (out / "done").touch()


@pytest.mark.slow
def test_a_killed_workers_run_is_finished_by_another_and_no_finished_run_is_lost_or_repeated(tmp_path, dask):
    of, killed, said = pareto_runs.sweep_of(tmp_path), [], []
    of.out.mkdir()
    (of.out / "pareto.json").write_text("{}")
    (of.out / f"wait_{NAMES[1]}").touch()
    threading.Thread(target=kill_half_way, args=(of.out, NAMES[1], "stage 1", killed), daemon=True).start()
    table = pareto_runs.swept(of, DaskExecutor(dask.scheduler_address, said.append), pareto_runs.work)
    assert [row["name"] for row in table["runs"]] == NAMES and table["failures"] == {} and said == []
    begun = [by for name, by in pareto_runs.logged(of.out, "begin") if name == NAMES[1]]
    assert len(killed) == 1 and len(begun) == 2 and begun[0] == killed[0] != begun[1]
    ended = sorted(name for name, _ in pareto_runs.logged(of.out, "end"))
    assert ended == sorted([*NAMES, *MEMBERS])  # each run once, and each member's test once
    for stage in ("stage 1", "stage 2"):  # the killed one went on after the stage that was finished
        assert sorted(name for name, _ in pareto_runs.logged(of.out, stage)) == sorted(NAMES)
    before = (of.out / "log.txt").read_text()
    nobody = DaskExecutor("tcp://nobody:1", said.append)  # is not asked: nothing is left to run
    assert pareto_runs.swept(of, nobody, pareto_runs.work) == table
    assert (of.out / "log.txt").read_text() == before


@pytest.mark.slow
def test_an_order_that_kills_every_worker_is_told_and_the_others_end(dask):
    said = []
    ended = dict(DaskExecutor(dask.scheduler_address, said.append)({"a": "deadly", "b": "fine"}, pareto_runs.deadly))
    assert "all workers that took it were killed, tcp://" in ended["a"] and ended["b"] is None
    assert "a: several workers were killed while they had it; once more, alone" in said


def test_what_nobody_foresaw_is_tried_again_and_then_raised(dask, tmp_path):
    with pytest.raises(RuntimeError, match="nobody foresaw this"):
        list(DaskExecutor(dask.scheduler_address, print)({"a": tmp_path / "tries"}, pareto_runs.unforeseen))
    assert len((tmp_path / "tries").read_text().splitlines()) == 3


def test_leaving_early_takes_back_what_no_worker_has_begun(dask, tmp_path):
    go, done = tmp_path / "go", [tmp_path / f"done_{number}" for number in range(8)]
    jobs = {"first": (None, None), **{path.name: (go, path) for path in done}}
    ended = DaskExecutor(dask.scheduler_address, print)(jobs, pareto_runs.once_told)
    assert next(ended) == ("first", None)
    ended.close()
    go.touch()
    again = DaskExecutor(dask.scheduler_address, print)({"a": (None, None), "b": (None, None)}, pareto_runs.once_told)
    assert dict(again) == {"a": None, "b": None}
    assert sum(path.exists() for path in done) <= 2  # what the two workers had begun


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_told(tmp_path):
    import distributed

    jobs = {"a": (None, None), "b": (tmp_path / "go", None)}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as gone:
        ended = DaskExecutor(gone.scheduler_address, print)(jobs, pareto_runs.once_told)
        assert next(ended) == ("a", None)
    (tmp_path / "go").touch()
    with pytest.raises(ToolError, match=r"it took b back or is gone \(.*\); start it and this command again"):
        next(ended)


def test_workers_of_several_threads_are_refused():
    import distributed

    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as wide,
        pytest.raises(ToolError, match=r"workers must have 1 thread each, since a training seeds .* has 2; start them"),
    ):
        list(DaskExecutor(wide.scheduler_address, print)({"a": (None, None)}, pareto_runs.once_told))


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:9",
        "127.0.0.1:9",
        "no address at all",
        "carrier://pigeon",
        "tcp://",
        "tcp://:99999",
        "tcp://[::1",
    ],
)
def test_a_scheduler_that_does_not_answer_is_told_in_one_line_and_leaves_no_client(address, monkeypatch):
    import distributed

    monkeypatch.setattr(distributed, "Client", None)  # half-open, its collection could stop the next one's start
    with pytest.raises(ToolError, match=r"expected a Dask scheduler, none answered within 0\.2 s; `dask s") as refused:
        list(DaskExecutor(address, print, answer_s=0.2)({"a": (None, None)}, pareto_runs.once_told))
    assert "\n" not in str(refused.value)


def test_a_missing_package_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"expected the module 'distributed', not installed; pip install 'edgephys\[cl"):
        list(DaskExecutor("tcp://127.0.0.1:9", print)({"a": (None, None)}, pareto_runs.once_told))


# The real pipeline ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_workers_real_run_goes_on_to_the_weights_of_one_that_was_not_killed(tmp_path, dask, few_jets):
    model = pareto_runs.small_tagger(few_jets, tmp_path / "small")
    (tmp_path / "mine.toml").write_text(pareto_runs.KNOB.replace("3e-8, 1e-7, 1e-6", "1e-8, 1e-5"))
    of = dataclasses.replace(pareto_runs.sweep_of(tmp_path, (1,)), model=model, data=few_jets)
    work = partial(pareto.complete, command="edgephys pareto", say=pareto_runs.quiet, progress=pareto_runs.silent)
    kept = []
    threading.Thread(target=kill_in_the_second_stage, args=(of, dask, kept), daemon=True).start()
    table = pareto_runs.swept(of, DaskExecutor(dask.scheduler_address, print), work)
    assert table["failures"] == {} and len(table["runs"]) == 2 and len(kept) == 1
    name, stage, written = kept[0]
    assert stage.stat().st_mtime_ns == written  # the stage that was finished is not made again
    for row in table["runs"]:
        assert (of.out / row["name"] / "model").exists() == row["front"] == (row["test"] is not None)
    job = dataclasses.replace(of.jobs()[name][1], out=tmp_path / "alone")
    plain_run(job, pareto_runs.quiet, pareto_runs.silent, "edgephys compress")
    last = "2_untie"
    assert weights_of(tmp_path / "alone" / last) == weights_of(of.out / name / last)


def kill_in_the_second_stage(of, dask, kept):
    """Kill the worker of the first run that has finished a stage, and not yet two."""
    while not kept:
        for name in of.jobs():
            stage = of.out / name / "1_frugal" / "card.json"
            worker = next((at for at, has in dask.scheduler.workers.items() if _holds(has, name)), None)
            if stage.exists() and not (of.out / name / "2_untie").exists() and worker:
                kept.append((name, stage, stage.stat().st_mtime_ns))
                os.kill(next(of.pid for of in dask.workers.values() if of.worker_address == worker), signal.SIGKILL)
                return
        time.sleep(0.005)


def _holds(worker, name):
    return any(name in task.key for task in list(worker.processing))


def weights_of(folder):
    return [weight.tobytes() for weight in artefact.load(folder).model.get_weights()]
