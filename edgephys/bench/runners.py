"""How each kind of target is loaded and called: one table, two things asked of each, outputs and times.

The time of a call is what a user of that runtime waits from its own interface: from Python for onnxruntime, TFLite
and Keras, whose inputs are arrays made beforehand; from C for what is compiled, where the loop is compiled too.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Fixed, Integers
from edgephys.models.trained import integers

FEEDS = 256
"""Different inputs that calls cycle through, at most."""
FEED_ELEMENTS = 1 << 16
"""Elements in all of them, where inputs are large: what is timed are calls on data at hand."""
LEAST_FEEDS = 8
EMPTY_CALLS = 2000


class Runner(Protocol):
    """Hold a loaded target."""

    tool: str
    version: str
    told: Mapping[str, Any]

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return what it makes of the first ``count`` vectors, in steps of the output's format."""

    def slice(self, batch: int, calls: int) -> NDArray[np.int64]:
        """Return the nanoseconds of each of ``calls`` calls on ``batch`` vectors."""

    def timer_ns(self) -> float:
        """Return what the clock itself adds to a call; it is stated, not subtracted."""


def load(job: Job) -> Runner:
    """Return a job's target, loaded and ready to be called.

    Raises: ToolError where no runner is known, or as the target's own loading does.
    """
    if job.runner not in RUNNERS:
        raise ToolError(f"nothing here runs targets of kind '{job.runner}'; known are {', '.join(RUNNERS)}")
    return RUNNERS[job.runner](job, integers(job.vectors, ("inputs",))[0])


def distinct(x: Integers, batch: int) -> int:
    """Return how many different inputs calls of a batch cycle through."""
    few = max(LEAST_FEEDS, FEED_ELEMENTS // max(1, prod(x.shape[1:]) * batch))
    return min(FEEDS, few)


@dataclass(eq=False)
class InPython:
    """Call a runtime from Python.

    ``bind`` returns what runs a batch of a size, ``feed`` makes its input of integers, ``back`` steps of its output.
    """

    tool: str
    version: str
    x: Integers
    bind: Callable[[int], Callable[[Any], Any]]
    feed: Callable[[Integers], Any]
    back: Callable[[Any], NDArray[Any]]
    told: Mapping[str, Any] = field(default_factory=dict)
    _ready: dict[int, tuple[Callable[[Any], Any], Sequence[Any]]] = field(default_factory=dict)

    def outputs(self, batch: int, count: int) -> NDArray[Any]:
        """Return what it makes of the first ``count`` vectors; the last batch is filled up with others."""
        call, _ = self._bound(batch)
        made = [np.array(self.back(call(self.feed(chunk)))) for chunk in _chunks(self.x, batch, -(-count // batch))]
        return np.concatenate(made)[:count]

    def slice(self, batch: int, calls: int) -> NDArray[np.int64]:
        """Return the nanoseconds of each call."""
        return timed(*self._bound(batch), calls)

    def timer_ns(self) -> float:
        """Return the median time of calling nothing."""
        return float(np.median(timed(lambda _: None, [None], EMPTY_CALLS)))

    def _bound(self, batch: int) -> tuple[Callable[[Any], Any], Sequence[Any]]:
        if batch not in self._ready:
            feeds = [self.feed(chunk) for chunk in _chunks(self.x, batch, distinct(self.x, batch))]
            self._ready[batch] = (self.bind(batch), feeds)
        return self._ready[batch]


def timed(
    call: Callable[[Any], Any], feeds: Sequence[Any], calls: int, clock: Callable[[], int] = time.perf_counter_ns
) -> NDArray[np.int64]:
    """Return the nanoseconds of each call, inputs in turn."""
    count = len(feeds)
    found = [0] * calls
    for number in range(calls):
        feed = feeds[number % count]
        began = clock()
        call(feed)
        found[number] = clock() - began
    return np.array(found, np.int64)


def _chunks(x: Integers, batch: int, count: int) -> list[Integers]:
    """Return ``count`` batches of vectors, from the first again after the last."""
    places = np.arange(count * batch) % len(x)
    return [x[part] for part in places.reshape(count, batch)]


def in_steps(output: Fixed) -> Callable[[Any], NDArray[np.float64]]:
    """Return what turns real outputs into steps of the output's format, whole or not."""
    return lambda values: np.asarray(values, np.float64) * 2.0**output.fraction


def _of(module: str, name: str) -> Callable[[Job, Integers], Runner]:
    """Return what loads a target by a function of a module that is imported only then."""

    def load(job: Job, x: Integers) -> Runner:
        found: Runner = getattr(importlib.import_module(f"edgephys.bench.{module}"), name)(job, x)
        return found

    return load


RUNNERS: Mapping[str, Callable[[Job, Integers], Runner]] = {
    "c": _of("compiled", "c"),
    "onnx": _of("onnx_runtime", "ours"),
    "keras_onnx": _of("onnx_runtime", "of_keras"),
    "tflite": _of("keras_runtime", "tflite"),
    "keras": _of("keras_runtime", "keras"),
    "csim": _of("compiled", "csim"),
}
"""What loads each kind of target; the libraries of one are not loaded for another."""
