"""Run ONNX models with onnxruntime on one thread: the model of a project, and Keras' own export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.bench.runners import InPython, Runner
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Integers

INTEGERS = {
    f"tensor({sign}int{bits})": np.dtype(f"{sign}int{bits}").type for bits in (8, 16, 32) for sign in ("", "u")
} | {"tensor(int64)": np.int64}
REALS = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def emitted(job: Job, x: Integers) -> Runner:
    """Return the model of a project, whose facts state the steps of its input and output."""
    return _runner(job, x, *fractions(job))


def fractions(job: Job) -> tuple[int, int]:
    """Return the fractions of the real values at the ends of a file: those of its facts, else of the model."""
    ends = (job.facts.get(end, {}) for end in ("input", "output"))
    first, last = (end.get("fraction", of.fraction) for end, of in zip(ends, (job.input, job.output), strict=True))
    return int(first), int(last)


def keras_export(job: Job, x: Integers) -> Runner:
    """Return Keras' own export, whose input and output are real values."""
    return _runner(job, x, job.input.fraction, job.output.fraction)


def _runner(job: Job, x: Integers, input_fraction: int, output_fraction: int) -> Runner:
    """Return a model of integers, or of real values whose steps are ``2**-fraction``."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolError(f"onnxruntime is missing ({error}): pip install onnxruntime") from error
    session = _session(onnxruntime, job)
    source, target = session.get_inputs()[0], session.get_outputs()[0]

    def feed(chunk: Integers) -> dict[str, Any]:
        if source.type in INTEGERS:
            return {source.name: np.ascontiguousarray(chunk, INTEGERS[source.type])}
        return {source.name: np.ascontiguousarray(chunk * 2.0**-input_fraction, REALS[source.type])}

    def back(outputs: Any) -> Any:
        y = outputs[0]
        return y if np.issubdtype(y.dtype, np.integer) else y.astype(np.float64) * 2.0**output_fraction

    def bind(_: int) -> Callable[[Any], Any]:
        run = session.run
        return lambda feeds: run(None, feeds)

    tool = ("onnxruntime", onnxruntime.__version__, x)
    details = {"input_type": source.type, "output_type": target.type}
    if job.bound:
        return InPython(*tool, lambda _: _run_bound(session), lambda chunk: _bound(session, feed(chunk)), back, details)
    return InPython(*tool, bind, feed, back, details)


@dataclass(frozen=True, eq=False)
class _Bound:
    """Hold arrays that a session reads and writes in place; ``inputs`` keeps its memory alive."""

    binding: Any
    inputs: dict[str, Any]
    outputs: list[Any]


def _bound(session: Any, feed: dict[str, Any]) -> _Bound:
    """Bind an input and memory for its output, so that a call converts nothing."""
    binding, outputs = session.io_binding(), [np.ascontiguousarray(y) for y in session.run(None, feed)]
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    for end, array in zip(session.get_outputs(), outputs, strict=True):
        array[...] = 0
        binding.bind_output(end.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    return _Bound(binding, feed, outputs)


def _run_bound(session: Any) -> Callable[[_Bound], Any]:
    run = session.run_with_iobinding

    def call(bound: _Bound) -> list[Any]:
        run(bound.binding)
        return bound.outputs

    return call


def _session(onnxruntime: Any, job: Job) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(job.source), options, providers=["CPUExecutionProvider"])
