"""Run jobs on a Dask cluster: each job is one task; its results are on a file system that all workers share.

Only a job's outcome travels back, so OUT, the model, the data and the teachers must have the same paths on every
worker, and the scheduler and the workers the same edgephys. Dask gives the job of a killed worker to another one,
which goes on after the finished stages. A task that fails with an error that is none of ours, such as a file system
that is away for a moment, is tried again. A task that more workers died with than the scheduler's allowed-failures
(3 by default) is tried once more alone. Ctrl-C cancels the jobs that no worker has begun; a job in progress ends by
itself, and the next start uses it.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from edgephys.compress.local_executor import JobOutcome, RunJob
from edgephys.core.errors import ToolError, not_installed

ANSWER_S = 10.0
RETRIES = 2
"""Of a task that raised an error that is none of ours."""

_one_at_a_time = threading.Lock()
"""A stage seeds its whole process: two in threads of one worker would disturb each other's random numbers."""


@dataclass(frozen=True)
class DaskExecutor:
    """Run jobs on the workers of a Dask scheduler."""

    address: str
    say: Callable[[str], None]
    answer_s: float = ANSWER_S

    def __call__(self, jobs: Mapping[str, Any], run_job: RunJob) -> Generator[JobOutcome, None, None]:
        """Yield outcomes as jobs end.

        Raises: ToolError where the package is missing, or the scheduler does not answer or goes away.
        """
        if not jobs:
            return
        distributed = _package()
        client, suspects = self._client(distributed), {}
        try:
            self._check_workers(client)
            for name, future in _futures(distributed, client, jobs, run_job):
                if future.status == "error" and isinstance(future.exception(), distributed.KilledWorker):
                    suspects[name] = jobs[name]
                else:
                    yield name, self._outcome(distributed, future, name)
            # Dask also blames jobs that only waited on a killed worker: try each alone
            for suspect, job in suspects.items():
                self.say(f"{suspect}: several workers were killed while they had it; once more, alone")
                for name, future in _futures(distributed, client, {suspect: job}, run_job):
                    yield name, self._outcome(distributed, future, name)
        finally:
            client.close()

    def _client(self, distributed: Any) -> Any:
        """Return a client of a scheduler that answers.

        A bare connection tries the address first: a client with a wrong address stays half-open until it is collected,
        and closing it then can block the start of the next client for ever.
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

    def _outcome(self, distributed: Any, future: Any, name: str) -> str | None:
        """Return the reason where a job failed, None where it is finished.

        Raises: ToolError where the cluster is gone; an error that is none of ours as it was raised on the worker.
        """
        if future.status == "finished":
            outcome: str | None = future.result()
            return outcome
        if future.status != "error":
            raise ToolError(
                f"--scheduler {self.address}: it took {name} back or is gone ({future.status}); start it and "
                "this command again: finished runs and stages are kept"
            )
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            return (
                f"all workers that took it were killed, {error.last_worker.address} the last; check "
                "their memory and their logs, then start again"
            )
        raise error


def _futures(
    distributed: Any, client: Any, jobs: Mapping[str, Any], run_job: RunJob
) -> Generator[tuple[str, Any], None, None]:
    """Submit jobs to a cluster; yield each one's future as it ends. Leaving early cancels those that have not begun."""
    names: dict[Any, str] = {}
    try:
        for name, job in jobs.items():
            # Bytes, so that the scheduler, which reads its tasks, need not import what a stage needs.
            task, key = pickle.dumps((run_job, job)), f"pareto-{name}-{uuid.uuid4().hex[:8]}"
            names[client.submit(_run, task, key=key, pure=False, retries=RETRIES)] = name
        for future in distributed.as_completed(names, loop=client.loop):
            yield names[future], future
    finally:
        pending = [future for future in names if not future.done()]
        if pending:
            client.cancel(pending)


async def _answer(distributed: Any, address: str, within_s: float) -> None:
    connection = await distributed.comm.connect(address, timeout=within_s)
    await connection.close()


def _package() -> Any:
    try:
        import distributed
    except ImportError as missing:
        raise not_installed("--scheduler", missing, "cluster") from missing
    return distributed


def _run(task: bytes) -> str | None:
    """Run a job, on a worker."""
    run_job, job = pickle.loads(task)
    with _one_at_a_time:
        outcome: str | None = run_job(job)
        return outcome
