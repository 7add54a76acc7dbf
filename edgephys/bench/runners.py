"""How each kind of target is loaded and called: one table of runners, each with outputs and times.

The time of a call is what a user of the runtime waits for, at its own interface: in Python for onnxruntime, TFLite and
Keras, with input arrays made before the call; in C for compiled targets, with a compiled loop.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.reading import read_integers
from edgephys.core.timing import call_times

FEEDS = 256
"""Different inputs that the calls cycle through, at most."""
FEED_ELEMENTS = 1 << 16
"""Elements in all of them, where inputs are large: they shall stay in the cache."""
LEAST_FEEDS = 8
EMPTY_CALLS = 2000


class Runner(Protocol):
    """Hold a loaded target."""

    tool: str
    version: str
    details: Mapping[str, Any]

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return the outputs of the first ``count`` vectors, in steps of the output's format."""

    def slice(self, batch: int, calls: int) -> NDArray[np.int64]:
        """Return the nanoseconds of each of ``calls`` calls on ``batch`` vectors."""

    def timer_ns(self) -> float:
        """Return what the clock adds to a call; it is stated, not subtracted."""


def load(job: Job) -> Runner:
    """Return a job's target, loaded.

    Raises: ToolError where no runner is known, or as the target's own loading does.
    """
    module, _, function = RUNNERS.get(job.runner, job.runner).partition(":")
    if not function:
        raise ToolError(f"nothing here runs targets of kind '{job.runner}'; known are {', '.join(RUNNERS)}")
    (x,) = read_integers(job.vectors, ("inputs",))
    runner: Runner = getattr(importlib.import_module(module), function)(job, x)
    return runner


def distinct(x: Integers, batch: int) -> int:
    """Return how many different inputs the calls of a batch size cycle through."""
    count = max(LEAST_FEEDS, FEED_ELEMENTS // max(1, prod(x.shape[1:]) * batch))
    return min(FEEDS, count)


@dataclass(eq=False)
class InPython:
    """Call a runtime from Python.

    ``bind`` returns the function that runs a batch of a size, ``feed`` turns integers into its input, ``back`` turns
    its output into steps.
    """

    tool: str
    version: str
    x: Integers
    bind: Callable[[int], Callable[[Any], Any]]
    feed: Callable[[Integers], Any]
    back: Callable[[Any], NDArray[Any]]
    details: Mapping[str, Any] = field(default_factory=dict)
    _bound: dict[int, tuple[Callable[[Any], Any], Sequence[Any]]] = field(default_factory=dict)

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return the outputs of the first ``count`` vectors; other vectors fill up the last batch."""
        call, _ = self._call(batch)
        chunks = _chunks(self.x, batch, -(-count // batch))
        return np.concatenate([np.array(self.back(call(self.feed(chunk)))) for chunk in chunks])[:count]

    def slice(self, batch: int, calls: int) -> NDArray[np.int64]:
        """Return the nanoseconds of each call."""
        return call_times(*self._call(batch), calls)

    def timer_ns(self) -> float:
        """Return the median time of an empty call."""
        return float(np.median(call_times(lambda _: None, [None], EMPTY_CALLS)))

    def _call(self, batch: int) -> tuple[Callable[[Any], Any], Sequence[Any]]:
        if batch not in self._bound:
            feeds = [self.feed(chunk) for chunk in _chunks(self.x, batch, distinct(self.x, batch))]
            self._bound[batch] = (self.bind(batch), feeds)
        return self._bound[batch]


def _chunks(x: Integers, batch: int, count: int) -> list[Integers]:
    """Return ``count`` batches of vectors, which start again at the first after the last."""
    places = np.arange(count * batch) % len(x)
    return [x[part] for part in places.reshape(count, batch)]


def in_steps(output: Fixed) -> Callable[[Any], NDArray[np.float64]]:
    """Return the function that turns real outputs into steps of the output's format, not rounded."""
    return lambda values: np.asarray(values, np.float64) * 2.0**output.fraction


RUNNERS: Mapping[str, str] = {
    "c": "edgephys.bench.compiled_runtime:c",
    "onnx": "edgephys.bench.onnx_runtime:emitted",
    "keras_onnx": "edgephys.bench.onnx_runtime:keras_export",
    "tflite": "edgephys.bench.keras_runtime:tflite",
    "keras": "edgephys.bench.keras_runtime:keras",
    "csim": "edgephys.bench.compiled_runtime:csim",
}
"""The module and function that load each kind of target; a module is imported when it is first used.

A runner from outside of the package is named by its own module and function.
"""
