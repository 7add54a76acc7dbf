"""Run ONNX models with onnxruntime on one thread: the model that a project holds, and Keras' own export."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgephys.bench.runners import InPython, Runner, in_steps
from edgephys.bench.worker import Job
from edgephys.errors import ToolError
from edgephys.fixed import Integers

INTEGERS = {"tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(int16)": np.int16, "tensor(uint16)": np.uint16}
INTEGERS |= {"tensor(int32)": np.int32, "tensor(uint32)": np.uint32, "tensor(int64)": np.int64}
REALS = {"tensor(float)": np.float32, "tensor(double)": np.float64}


def ours(job: Job, x: Integers) -> Runner:
    """Return the model that a project holds; its facts say whether a real input or output counts steps."""
    return _loaded(job, x, steps=bool(job.facts.get("steps", False)))


def of_keras(job: Job, x: Integers) -> Runner:
    """Return Keras' own export, which takes and gives real values."""
    return _loaded(job, x, steps=False)


def _loaded(job: Job, x: Integers, steps: bool) -> Runner:
    try:
        import onnxruntime
    except ImportError as error:
        raise ToolError(f"onnxruntime is missing ({error}): pip install onnxruntime") from error
    session = _session(onnxruntime, job)
    name, kind = session.get_inputs()[0].name, session.get_inputs()[0].type
    whole = {**INTEGERS, **REALS} if steps else INTEGERS

    def feed(chunk: Integers) -> dict[str, Any]:
        if kind in whole:
            return {name: np.ascontiguousarray(chunk, whole[kind])}
        return {name: np.ascontiguousarray(job.input.values(chunk), REALS[kind])}

    def back(found: Any) -> Any:
        integers = np.issubdtype(found[0].dtype, np.integer)
        return found[0].astype(np.int64) if integers or steps else in_steps(job.output)(found[0])

    def bind(_: int) -> Any:
        run = session.run
        return lambda feeds: run(None, feeds)

    return InPython("onnxruntime", onnxruntime.__version__, x, bind, feed, back, _told(session))


def _session(onnxruntime: Any, job: Job) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(job.source), options, providers=["CPUExecutionProvider"])


def _told(session: Any) -> dict[str, Any]:
    return {"input_type": session.get_inputs()[0].type, "output_type": session.get_outputs()[0].type}
