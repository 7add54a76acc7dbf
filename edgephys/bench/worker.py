"""A target in a process of its own, on one core and one thread, which works only when it is asked.

While one is timed the others wait for a word on their pipes: they do not disturb it.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.bench.turns import Slice
from edgephys.core import machine
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Fixed

LOAD_S = 3600.0
"""What loading may take: a C simulation is compiled."""
ANSWER_S = 600.0
WARM = 0.1
"""Share of a slice's calls that are made before it and not counted."""


@dataclass(frozen=True)
class Job:
    """State what a process is to load and time: a runner's key and what it reads.

    ``must_match`` refuses other integers than the golden model's; ``bound`` asks for inputs and outputs bound to an
    ONNX session beforehand, which is nearest to a call from C.
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

    Raises, every call: ToolError where the target fails, was killed or takes too long.
    """

    def __init__(self, job: Job, core: int | None, load_s: float = LOAD_S, answer_s: float = ANSWER_S):
        self.job = job
        self.answer_s = answer_s
        context = get_context("spawn")  # a fork would copy a running TensorFlow
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job, core), daemon=True)
        with machine.one_thread():
            self._process.start()
        theirs.close()
        try:
            self.told: Mapping[str, Any] = self._answer(load_s)
        except BaseException:
            self.close()
            raise

    def outputs(self, batch: int, count: int) -> Any:
        """Return what the target makes of the first vectors, in steps of the output's format."""
        return self._ask(self.answer_s, "outputs", batch, count)

    def slice(self, batch: int, calls: int) -> Slice:
        """Return the time of each of ``calls`` calls, after some that are not counted."""
        return Slice(*self._ask(self.answer_s, "slice", batch, calls))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, timeout_s: float, *words: Any) -> Any:
        try:
            self._pipe.send(words)
        except OSError as error:
            raise ToolError(self._ended()) from error
        return self._answer(timeout_s)

    def _answer(self, timeout_s: float) -> Any:
        try:
            if not self._pipe.poll(timeout_s):
                self._process.kill()
                raise ToolError(f"{self.job.target}: no answer after {timeout_s:g} s")
            done, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ToolError(self._ended()) from error
        if not done:
            raise ToolError(f"{self.job.target}: {answer}")
        return answer

    def _ended(self) -> str:
        self._process.join(timeout=5)
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"{self.job.target}: its process {how}"


def _serve(pipe: Connection, job: Job, core: int | None) -> None:
    """Answer until the other end of the pipe is closed, which it also is when its process was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _silence()
    machine.pin(core)
    try:
        from edgephys.bench.runners import load

        runner = load(job)
        stated = {"tool": runner.tool, "version": runner.version, "timer_ns": runner.timer_ns()}
        pipe.send((True, stated | dict(runner.told)))
        while True:
            word, batch, number = pipe.recv()
            if word == "outputs":
                pipe.send((True, runner.outputs(batch, number)))
            else:
                pipe.send((True, _slice(runner, batch, number)))
    except EOFError:
        return
    except Exception as error:  # whatever a runtime raises is why its row has no value
        told = str(error) if type(error).__module__ == "edgephys.core.errors" else f"{type(error).__name__}: {error}"
        pipe.send((False, " ".join(told.split())[:400]))


def _slice(runner: Any, batch: int, calls: int) -> tuple[Any, int, int]:
    """Return the time of each call, of all together, and the processor's; no garbage is collected meanwhile."""
    runner.slice(batch, max(1, int(WARM * calls)))
    gc.collect()
    gc.disable()
    try:
        began, used = time.perf_counter_ns(), time.process_time_ns()
        ns = runner.slice(batch, calls)
        used, wall = time.process_time_ns() - used, time.perf_counter_ns() - began
    finally:
        gc.enable()
    return np.asarray(ns, np.int64), max(1, wall), used


def _silence() -> None:
    """Keep what runtimes print of themselves off the terminal, and off a JSON document."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
