"""Make the parts of a file on all cores and hand them over in order."""

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
Made = TypeVar("Made")


def workers_of(workers: int | None, what: str) -> int:
    """Return the number of processes to start: all cores where none is given.

    Raises: UsageError when it is below 1.
    """
    if workers is None:
        return os.cpu_count() or 1
    if workers < 1:
        raise UsageError(f"{what}: workers must be 1 or more, not {workers}; set --workers")
    return workers


def in_order(
    make: Callable[[Task], Made], tasks: Iterable[Task], workers: int, what: str, memory: str
) -> Generator[Made, None, None]:
    """Make tasks in parallel and hand them over in order, a few ahead of the writer.

    Leaving early (an error, ctrl-C) stops the workers where they next ask `check_going_on`.

    Raises: ToolError when a worker was killed; what `make` raises.
    """
    context = get_context("spawn")  # a fork would copy a running TensorFlow
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare_worker, initargs=(stop,))
    ahead: deque[Future[Made]] = deque()
    try:
        for task in tasks:
            ahead.append(pool.submit(make, task))
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
    """End a worker's task when the writer no longer wants it.

    Raises: ToolError.
    """
    if _stop is not None and _stop.is_set():
        raise ToolError(f"{what}: expected to finish, stopped; run it again")


def _prepare_worker(stop: Event) -> None:
    """Make a worker silent, deaf to ctrl-C (the writer tells it) and mortal with its parent."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # FastJet prints its banner to stdout, which belongs to the CLI
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
