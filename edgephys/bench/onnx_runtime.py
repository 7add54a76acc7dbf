"""Run ONNX models with onnxruntime on one thread: the model that a project holds, and Keras' own export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.bench.runners import InPython, Runner
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Integers

INTEGERS = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int16)": np.int16, "tensor(uint16)": np.uint16}
INTEGERS |= {"tensor(int32)": np.int32, "tensor(uint32)": np.uint32, "tensor(int64)": np.int64}
REALS = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def ours(job: Job, x: Integers) -> Runner:
    """Return the model that a project holds, whose facts say what a step of its input and output is."""
    ends = (job.facts.get(end, {}) for end in ("input", "output"))
    taken, given = (
        end.get("fraction", fixed.fraction) for end, fixed in zip(ends, (job.input, job.output), strict=True)
    )
    return _loaded(job, x, int(taken), int(given))


def of_keras(job: Job, x: Integers) -> Runner:
    """Return Keras' own export, which takes and gives real values."""
    return _loaded(job, x, job.input.fraction, job.output.fraction)


def _loaded(job: Job, x: Integers, taken: int, given: int) -> Runner:
    """Return a model of integers, or of real values in steps of ``2**-taken`` and ``2**-given``."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolError(f"onnxruntime is missing ({error}): pip install onnxruntime") from error
    session = _session(onnxruntime, job)
    name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type

    def feed(chunk: Integers) -> dict[str, Any]:
        if kind in INTEGERS:
            return {name: np.ascontiguousarray(chunk, INTEGERS[kind])}
        return {name: np.ascontiguousarray(chunk * 2.0**-taken, REALS[kind])}

    def back(found: Any) -> Any:
        return found[0] if np.issubdtype(found[0].dtype, np.integer) else found[0].astype(np.float64) * 2.0**given

    def bind(_: int) -> Callable[[Any], Any]:
        run = session.run
        return lambda feeds: run(None, feeds)

    version, told = onnxruntime.__version__, _told(session)
    if job.bound:
        return InPython(
            "onnxruntime",
            version,
            x,
            lambda _: _run_bound(session),
            lambda chunk: _bound(session, feed(chunk)),
            back,
            told,
        )
    return InPython("onnxruntime", version, x, bind, feed, back, told)


@dataclass(frozen=True, eq=False)
class _Bound:
    """Hold arrays that a session reads and writes in place."""

    binding: Any
    given: dict[str, Any]
    found: list[Any]


def _bound(session: Any, feed: dict[str, Any]) -> _Bound:
    """Bind an input and room for its output: a call then converts nothing."""
    binding, found = session.io_binding(), [np.ascontiguousarray(y) for y in session.run(None, feed)]
    for name, array in feed.items():
        binding.bind_cpu_input(name, array)
    for end, array in zip(session.get_outputs(), found, strict=True):
        array[...] = 0
        binding.bind_output(end.name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    return _Bound(binding, feed, found)


def _run_bound(session: Any) -> Callable[[_Bound], Any]:
    run = session.run_with_iobinding

    def call(bound: _Bound) -> list[Any]:
        run(bound.binding)
        return bound.found

    return call


def _session(onnxruntime: Any, job: Job) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(job.source), options, providers=["CPUExecutionProvider"])


def _told(session: Any) -> dict[str, Any]:
    """Return the types of its ends; how many nodes it has is not to be asked of a session."""
    return {"input_type": session.get_inputs()[0].type, "output_type": session.get_outputs()[0].type}
