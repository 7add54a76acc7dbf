"""Runs on a Dask cluster: each is one task, its results lie on the file system that all workers share.

Nothing but a run's outcome travels back, so OUT, the model, the data and the teachers must have the same paths on every
worker, and the scheduler and the workers the same edgephys. What a killed worker was in the midst of, Dask gives to
another one, which goes on after the stages that are finished. A task that fails unforeseen, as on a file system that is
away for a moment, is tried again. One that more workers died with than the scheduler's allowed-failures (3 by default)
gets a last chance alone. Ctrl-C takes back what no worker has begun; a run in progress ends by itself, and the next
start finds it.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from edgephys.compress.local_executor import Ended, Work
from edgephys.core.errors import ToolError

ANSWER_S = 10.0
RETRIES = 2
"""Of a task that raised what nobody foresaw."""

_one_at_a_time = threading.Lock()
"""A stage seeds its whole process: two in the threads of one worker would not give the weights of their seeds."""


@dataclass(frozen=True)
class Cluster:
    """Carry orders out on the workers of a scheduler."""

    address: str
    say: Callable[[str], None]
    answer_s: float = ANSWER_S

    def __call__(self, orders: Mapping[str, Any], work: Work) -> Generator[Ended, None, None]:
        """Yield orders as they end.

        Raises: ToolError where the package is missing, or the scheduler does not answer or goes away.
        """
        if not orders:
            return
        distributed = _package()
        client, suspects = self._client(distributed), {}
        try:
            self._check_workers(client)
            for name, ended in _ended(distributed, client, orders, work):
                if ended.status == "error" and isinstance(ended.exception(), distributed.KilledWorker):
                    suspects[name] = orders[name]
                else:
                    yield name, self._outcome(distributed, ended, name)
            for suspect, order in suspects.items():  # Dask suspects what waited on a killed worker too: each by itself
                self.say(f"{suspect}: several workers were killed while they had it; once more, alone")
                for name, ended in _ended(distributed, client, {suspect: order}, work):
                    yield name, self._outcome(distributed, ended, name)
        finally:
            client.close()

    def _client(self, distributed: Any) -> Any:
        """Return a client of a scheduler that answers.

        It is asked on a bare connection first: a client that an address confounds is left half-open, and closes as it
        is collected, which can stop the start of the next one for ever.
        """
        try:
            asyncio.run(_answer(distributed, self.address, self.answer_s))
            return distributed.Client(self.address, timeout=self.answer_s, set_as_default=False, name="edgephys")
        except (OSError, ValueError, OverflowError) as error:
            raise ToolError(
                f"--scheduler {self.address}: expected a Dask scheduler, none answered within {self.answer_s:g} s; "
                "`dask scheduler` starts one and tells its address, `dask worker ADDRESS --nthreads 1` a worker"
            ) from error

    def _check_workers(self, client: Any) -> None:
        """Refuse workers of several threads; say where there are none yet."""
        threads = client.nthreads()
        wide = next((worker for worker, count in threads.items() if count != 1), None)
        if wide is not None:
            raise ToolError(
                f"--scheduler {self.address}: its workers must have 1 thread each, since a training seeds its whole "
                f"process, and {wide} has {threads[wide]}; start them with `dask worker {self.address} --nthreads 1`"
            )
        if not threads:
            self.say(f"{self.address} has no workers yet; start some: dask worker {self.address} --nthreads 1")

    def _outcome(self, distributed: Any, ended: Any, name: str) -> str | None:
        """Return why an order could not be carried out, None where it was.

        Raises: ToolError where the cluster is gone; what nobody foresaw, as it was raised on the worker.
        """
        if ended.status == "finished":
            outcome: str | None = ended.result()
            return outcome
        if ended.status != "error":
            raise ToolError(
                f"--scheduler {self.address}: it took {name} back or is gone ({ended.status}); start it and "
                "this command again: finished runs and stages are kept"
            )
        error = ended.exception()
        if isinstance(error, distributed.KilledWorker):
            return (
                f"all workers that took it were killed, {error.last_worker.address} the last; check "
                "their memory and their logs, then start again"
            )
        raise error


def _ended(
    distributed: Any, client: Any, orders: Mapping[str, Any], work: Work
) -> Generator[tuple[str, Any], None, None]:
    """Hand orders to a cluster; yield each one's future as it ends. Leaving early takes back what has not begun."""
    asked: dict[Any, str] = {}
    try:
        for name, order in orders.items():
            # Bytes, so that the scheduler, which reads its tasks, need not load what a stage needs.
            task, key = pickle.dumps((work, order)), f"pareto-{name}-{uuid.uuid4().hex[:8]}"
            asked[client.submit(_carried, task, key=key, pure=False, retries=RETRIES)] = name
        for ended in distributed.as_completed(asked, loop=client.loop):
            yield asked[ended], ended
    finally:
        left = [future for future in asked if not future.done()]
        if left:
            client.cancel(left)


async def _answer(distributed: Any, address: str, within_s: float) -> None:
    connection = await distributed.comm.connect(address, timeout=within_s)
    await connection.close()


def _package() -> Any:
    try:
        import distributed
    except ImportError as missing:
        raise ToolError(
            f"--scheduler: expected the module '{missing.name}', not installed; pip install 'edgephys[cluster]'"
        ) from missing
    return distributed


def _carried(task: bytes) -> str | None:
    """Carry an order out, on a worker."""
    work, order = pickle.loads(task)
    with _one_at_a_time:
        outcome: str | None = work(order)
        return outcome
