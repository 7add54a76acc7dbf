"""Call functions in threads beside the caller's own work; where the caller fails, the programs that they run end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

from edgephys.core import processes

Result = TypeVar("Result")


@contextmanager
def beside(functions: Sequence[Callable[[], Result]], threads: int | None = None) -> Iterator[list[Future[Result]]]:
    """Yield the functions' results to come, in order; ``threads`` are called at a time, all by default.

    Where the body raises, also for Ctrl-C, no further function is called, and ``processes.run`` kills what runs.
    """
    stop = Event()

    def call(function: Callable[[], Result]) -> Result:
        processes.STOP.set(stop)
        return function()

    with ThreadPoolExecutor(max(1, len(functions) if threads is None else threads)) as pool:
        try:
            yield [pool.submit(call, function) for function in functions]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
