"""Runs on this machine: one after another, or in a few processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any

from edgephys.core.errors import ToolError, UsageError

Work = Callable[[Any], str | None]
"""Carry an order out; return why it could not be, None where it is finished. It can be pickled, as the orders can."""
Ended = tuple[str, str | None]
Carry = Callable[[Mapping[str, Any], Work], Generator[Ended, None, None]]
"""Carry orders out, each by its name; yield the names as they end, with why one could not be finished."""


def one_by_one(orders: Mapping[str, Any], work: Work) -> Generator[Ended, None, None]:
    """Carry orders out in this process."""
    for name, order in orders.items():
        yield name, work(order)


@dataclass(frozen=True)
class Processes:
    """Carry orders out in a number of processes of this machine."""

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--workers must be 1 or more, not {self.workers}")

    def __call__(self, orders: Mapping[str, Any], work: Work) -> Generator[Ended, None, None]:
        """Yield orders as they end. Leaving early (an error, ctrl-C) interrupts those in progress.

        Raises: ToolError where a process was killed.
        """
        if not orders:
            return
        context = get_context("spawn")  # a fork would copy a running TensorFlow
        watched, held = context.Pipe(duplex=False)  # closed, by us or by our end, it tells the processes to stop
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_prepare, initargs=(watched,))
        whole = False
        try:
            asked = {pool.submit(_carried, work, order): name for name, order in orders.items()}
            for ended in as_completed(asked):
                yield asked[ended], ended.result()
            whole = True
        except BrokenProcessPool as killed:
            raise ToolError(
                "--workers: expected every process to finish, one was killed; check the memory, lower --workers "
                "and start again: finished runs and stages are kept"
            ) from killed
        finally:
            if not whole:
                held.close()
            pool.shutdown(wait=True, cancel_futures=True)
            held.close()
            watched.close()


# In a process of the pool ------------------------------------------------------------------------

_stopped = threading.Event()
_idle = threading.Event()


def _prepare(watched: Connection) -> None:
    """Let a process be interrupted in its work by who started it, or by whose end, and not by ctrl-C beside that."""
    _idle.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_watch, args=(watched,), daemon=True).start()


def _carried(work: Work, order: Any) -> str | None:
    if _stopped.is_set():  # it waited in this process's queue
        return "interrupted"
    try:
        _idle.clear()
        return work(order)
    finally:
        _idle.set()


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what follows is clearing up
    if not _idle.is_set():
        raise KeyboardInterrupt


def _watch(watched: Connection) -> None:
    """Interrupt the work when the pipe is closed; without a parent, end after that."""
    with suppress(EOFError, OSError):
        watched.recv()
    _stopped.set()
    os.kill(os.getpid(), signal.SIGTERM)
    parent = parent_process()
    if parent is not None:
        parent.join()
        _idle.wait()
        os._exit(1)
