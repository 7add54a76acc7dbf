"""A target in a process of its own, on one core and one thread, which works only when it is called.

While one target is timed the processes of the others wait on their pipes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edgephys.core import machine
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Fixed
from edgephys.core.timing import WARM_UP, Slice, slice_of
from edgephys.core.workers import end_with_parent

LOAD_S = 3600.0
"""Time limit of loading: a C simulation is compiled."""
ANSWER_S = 600.0


@dataclass(frozen=True)
class Job:
    """State what a process loads and times: the key of a runner and the files that it reads.

    With ``must_match`` a target is not timed where its integers differ from the golden model's. With ``bound`` the
    inputs and outputs are bound to an ONNX session before the call, as a program in C would do.
    """

    target: str
    runner: str
    source: Path
    facts: Mapping[str, Any]
    vectors: Path
    input: Fixed
    output: Fixed
    must_match: bool = True
    bound: bool = False


class Worker:
    """Run a job in a process of its own; ``close`` ends it.

    Every call raises ToolError where the target fails, is killed or takes too long.
    """

    def __init__(self, job: Job, core: int | None, load_s: float = LOAD_S, answer_s: float = ANSWER_S):
        self.job = job
        self.answer_s = answer_s
        context = get_context("spawn")  # a fork would copy a running TensorFlow
        self._pipe, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, job, core), daemon=True)
        with machine.one_thread():
            self._process.start()
        other_end.close()
        try:
            self.details: Mapping[str, Any] = self._answer(load_s)
        except BaseException:
            self.close()
            raise

    def outputs(self, batch: int, count: int) -> Any:
        """Return the outputs of the first vectors, in steps of the output's format."""
        return self._request("outputs", batch, count)

    def slice(self, batch: int, calls: int) -> Slice:
        """Return the time of each of ``calls`` calls; the calls that warm up are not counted."""
        part: Slice = self._request("slice", batch, calls)
        return part

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _request(self, *words: Any) -> Any:
        try:
            self._pipe.send(words)
        except OSError as error:
            raise ToolError(self._ending()) from error
        return self._answer(self.answer_s)

    def _answer(self, timeout_s: float) -> Any:
        try:
            if not self._pipe.poll(timeout_s):
                self._process.kill()
                raise ToolError(f"{self.job.target}: no answer after {timeout_s:g} s")
            done, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ToolError(self._ending()) from error
        if not done:
            raise ToolError(f"{self.job.target}: {answer}")
        return answer

    def _ending(self) -> str:
        self._process.join(timeout=5)
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"{self.job.target}: its process {how}"


def _serve(pipe: Connection, job: Job, core: int | None) -> None:
    """Answer requests until the other end of the pipe is closed; it is also closed when its process is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    _silence()
    machine.pin(core)
    try:
        from edgephys.bench.runners import load

        runner = load(job)
        details = {"tool": runner.tool, "version": runner.version, "timer_ns": runner.timer_ns()}
        pipe.send((True, details | dict(runner.details)))
        while True:
            word, batch, number = pipe.recv()
            if word == "outputs":
                pipe.send((True, runner.outputs(batch, number)))
            else:
                pipe.send((True, _slice(runner, batch, number)))
    except EOFError:
        return
    except Exception as error:  # whatever a runtime raises becomes the reason for which its row has no value
        ours = type(error).__module__ == "edgephys.core.errors"
        why = str(error) if ours else f"{type(error).__name__}: {error}"
        pipe.send((False, " ".join(why.split())[:400]))


def _slice(runner: Any, batch: int, calls: int) -> Slice:
    return slice_of(lambda count: runner.slice(batch, count), calls, max(1, int(WARM_UP * calls)))


def _silence() -> None:
    """Discard what runtimes print: it would mix with a JSON document."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
