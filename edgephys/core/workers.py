"""Run tasks in processes on all cores and return their results in order."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from typing import TypeVar

from edgephys.core.errors import ToolError, UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")


def workers_of(workers: int | None, what: str) -> int:
    """Return the number of processes to start, by default one a core.

    Raises: UsageError where it is below 1.
    """
    if workers is None:
        return os.cpu_count() or 1
    if workers < 1:
        raise UsageError(f"{what}: workers must be 1 or more, not {workers}; set --workers")
    return workers


def in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, what: str, memory: str
) -> Generator[Result, None, None]:
    """Yield ``function(task)`` for each task, in order; the processes work a few tasks ahead.

    Where the caller leaves early (an error, ctrl-C) the workers stop at their next `check_going_on`.

    Raises: ToolError where a worker was killed; what `function` raises.
    """
    context = get_context("spawn")  # a fork would copy a running TensorFlow
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker, initargs=(stop,))
    ahead: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            ahead.append(pool.submit(function, task))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as killed:
        raise ToolError(
            f"{what}: expected every worker to finish, one was killed; "
            f"check the memory ({memory} a worker) or lower --workers"
        ) from killed
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


_stop: Event | None = None


def check_going_on(what: str) -> None:
    """Raise ToolError in a worker whose results are no longer needed."""
    if _stop is not None and _stop.is_set():
        raise ToolError(f"{what}: expected to finish, stopped; run it again")


def _prepare_worker(stop: Event) -> None:
    """Let a worker print nothing, ignore ctrl-C (the caller stops it) and end with its parent."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # FastJet prints a banner to stdout, where the CLI prints its results
    end_with_parent()


def end_with_parent() -> None:
    """Let this process, which multiprocessing started, end as soon as the one that started it has ended."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
