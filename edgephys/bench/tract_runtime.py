"""Run ONNX models with tract on one thread, for a batch of a fixed size each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgephys.bench.onnx_runtime import fractions
from edgephys.bench.peers import imported
from edgephys.bench.runners import InPython, Runner
from edgephys.bench.worker import Job
from edgephys.core.errors import ToolError
from edgephys.core.fixed import Integers

KINDS = {"f": "float", "i": "int", "u": "uint"}


def tract(job: Job, x: Integers) -> Runner:
    """Return an ONNX model in tract; a call runs a state on a tensor that was made before it.

    The conversion of the output to an array is not part of a call: in tract's Python package it takes longer than a
    small network.
    Raises: ToolError where tract is missing or refuses the model, with the first sentences of its reason.
    """
    library = imported("tract")
    input_fraction, output_fraction = fractions(job)
    fact = _loaded(library, lambda: str(library.onnx().load(job.source).input_fact(0)))
    *dimensions, number = fact.split(",")
    kind = np.dtype(f"{KINDS[number[0].lower()]}{number[1:]}")
    integers = np.issubdtype(kind, np.integer)

    def bind(batch: int) -> Callable[[Any], Any]:
        run: Callable[[Any], Any] = _loaded(
            library, lambda: _state(library, job, ",".join([str(batch), *dimensions[1:], number]))
        )
        return run

    def feed(chunk: Integers) -> list[Any]:
        values = chunk if integers else chunk * 2.0**-input_fraction
        return [library.Tensor.from_numpy(np.ascontiguousarray(values, kind))]

    def back(outputs: Any) -> Any:
        y = outputs[0].to_numpy()
        return y if np.issubdtype(y.dtype, np.integer) else y.astype(np.float64) * 2.0**output_fraction

    runner = InPython("tract", library.version(), x, bind, feed, back, {"input_type": number})
    runner.outputs(1, 1)  # tract refuses a model where its shapes are known, not where it is read
    return runner


def _state(library: Any, job: Job, fact: str) -> Callable[[Any], Any]:
    """Return the function that runs a model whose input has the shape and type of a fact of tract."""
    model = library.onnx().load(job.source)
    model.set_input_fact(0, fact)
    return model.into_model().into_runnable().spawn_state().run  # type: ignore[no-any-return]


def _loaded(library: Any, load: Callable[[], Any]) -> Any:
    """Return what tract loads; its errors without the stack of its calls."""
    try:
        return load()
    except library.TractError as error:
        reason = " ".join(str(error).partition("Stack backtrace")[0].split())
        raise ToolError(f"tract refuses the model: {reason}") from error
