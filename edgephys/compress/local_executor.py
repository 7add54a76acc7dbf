"""Run jobs on this machine: one after another, or in several processes."""

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

RunJob = Callable[[Any], str | None]
"""Run a job; return the reason where it failed, None where it is finished. It can be pickled, as the jobs can."""
JobOutcome = tuple[str, str | None]
"""The name of a job that ended, and the reason where it failed."""
Executor = Callable[[Mapping[str, Any], RunJob], Generator[JobOutcome, None, None]]
"""Run jobs, each with a name; yield an outcome as each one ends."""


def one_by_one(jobs: Mapping[str, Any], run_job: RunJob) -> Generator[JobOutcome, None, None]:
    """Run jobs in this process."""
    for name, job in jobs.items():
        yield name, run_job(job)


@dataclass(frozen=True)
class ProcessExecutor:
    """Run jobs in a number of processes of this machine."""

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"--workers must be 1 or more, not {self.workers}")

    def __call__(self, jobs: Mapping[str, Any], run_job: RunJob) -> Generator[JobOutcome, None, None]:
        """Yield outcomes as jobs end. Leaving early (an error, ctrl-C) interrupts those in progress.

        Raises: ToolError where a process was killed.
        """
        if not jobs:
            return
        context = get_context("spawn")  # a fork would copy a running TensorFlow
        watched, ours = context.Pipe(duplex=False)  # once our end is closed, or we have ended, the processes stop
        pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=_prepare, initargs=(watched,))
        whole = False
        try:
            names = {pool.submit(_run, run_job, job): name for name, job in jobs.items()}
            for future in as_completed(names):
                yield names[future], future.result()
            whole = True
        except BrokenProcessPool as killed:
            raise ToolError(
                "--workers: expected every process to finish, one was killed; check the memory, lower --workers "
                "and start again: finished runs and stages are kept"
            ) from killed
        finally:
            if not whole:
                ours.close()
            pool.shutdown(wait=True, cancel_futures=True)
            ours.close()
            watched.close()


# In a process of the pool ------------------------------------------------------------------------

_stopped = threading.Event()
_idle = threading.Event()


def _prepare(watched: Connection) -> None:
    """Let the parent, or its end, interrupt this process; ctrl-C reaches the parent alone."""
    _idle.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_watch, args=(watched,), daemon=True).start()


def _run(run_job: RunJob, job: Any) -> str | None:
    if _stopped.is_set():  # it waited in this process's queue
        return "interrupted"
    try:
        _idle.clear()
        return run_job(job)
    finally:
        _idle.set()


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: a second signal must not disturb the clearing up
    if not _idle.is_set():
        raise KeyboardInterrupt


def _watch(watched: Connection) -> None:
    """Interrupt the job when the pipe is closed; where the parent has ended, end after that."""
    with suppress(EOFError, OSError):
        watched.recv()
    _stopped.set()
    os.kill(os.getpid(), signal.SIGTERM)
    parent = parent_process()
    if parent is not None:
        parent.join()
        _idle.wait()
        os._exit(1)
