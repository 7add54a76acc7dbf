"""Run a QONNX model in float64, which holds sums of 53 bits: where float32 would round, this is the reference.

The standard operators are those of the onnx package's own reference implementation, the quantisers those of the qonnx
package; both compute in the type of their tensors. Weights are the file's float32 numbers, none of which changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgephys.core.errors import ToolError
from edgephys.targets.qonnx.emit import in_chunks

SINGLE, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
QUANTISERS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
CHANNELS_LAST = "qonnx.custom_op.channels_last"


def execute(model: Any, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], size: int) -> dict[str, NDArray[Any]]:
    """Return the named tensors of a QONNX model computed in float64, ``size`` vectors at a time.

    Raises: ToolError where the model cannot be run so; ModelError for operators of other packages.
    """
    return in_chunks(model, feeds, names, size, np.float64, _prepared)


def _prepared(model: Any) -> Any:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(_in_doubles(model), new_ops=_operators())

    def run(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        try:
            tensors: Any = evaluator.run(None, dict(feeds), intermediate=True)
        except Exception as error:  # as many kinds as operators
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ToolError(f"the onnx package does not run the model in float64: {reason}") from error
        return dict(tensors)

    return run


def _in_doubles(model: Any) -> Any:
    """Return a model, changed in place, whose floats are all float64."""
    graph = model.graph
    stated = {entry.domain for entry in model.opset_import}
    for domain in {node.domain for node in graph.node} - stated:  # older tools state only the standard one
        model.opset_import.add(domain=domain, version=1)
    for tensor in graph.initializer:
        _widen(tensor)
    for entry in (*graph.input, *graph.output, *graph.value_info):
        if entry.type.tensor_type.elem_type == SINGLE:
            entry.type.tensor_type.elem_type = DOUBLE
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == SINGLE:
                attribute.i = DOUBLE
    return model


def _widen(tensor: Any) -> None:
    if tensor.data_type == SINGLE:
        values = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


@cache
def _operators() -> list[type]:
    """Return QONNX's operators as the onnx package runs them."""
    from onnx.reference import op_run
    from onnx.reference.ops import load_op
    from qonnx.custom_op.general import bipolar_quant, intquant, trunc
    from qonnx.custom_op.general.multithreshold import multithreshold

    def setting(op: Any, name: str, default: Any) -> Any:
        value = getattr(op, name, default)
        return default if value is None else value

    def quant(op: Any, x: Any, scale: Any, zero: Any, bits: Any, **_: Any) -> Any:
        modes = [setting(op, name, 1) for name in ("signed", "narrow")]
        return (intquant.int_quant(x, scale, zero, bits, *modes, setting(op, "rounding_mode", "ROUND")),)

    def bipolar(op: Any, x: Any, scale: Any, **_: Any) -> Any:
        return (bipolar_quant.binary_quant(x, scale),)

    def truncated(op: Any, x: Any, scale: Any, zero: Any, bits: Any, *rest: Any, **_: Any) -> Any:
        mode = setting(op, "rounding_mode", "FLOOR")
        if len(rest) == 1:
            return (trunc.trunc_v1(x, scale, zero, bits, rest[0], mode),)
        narrow, signed = setting(op, "narrow", 0), setting(op, "signed", 1)
        return (trunc.trunc_v2(x, scale, zero, bits, narrow, signed, *rest, mode),)

    def thresholds(op: Any, x: Any, steps: Any, **_: Any) -> Any:
        layout = setting(op, "data_layout", "") or {3: "NWC"}.get(x.ndim, "NC")
        at = layout.index("C") if "C" in layout else 1
        scale, bias = setting(op, "out_scale", 1.0), setting(op, "out_bias", 0.0)
        return (multithreshold(x.swapaxes(at, 1), steps, scale, bias).swapaxes(at, 1),)

    def normalised(op: Any, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, **_: Any) -> Any:
        # the onnx package's own takes models before opset 14 to be in training
        gamma, beta, mean, variance = (each.reshape(-1, *(1,) * (x.ndim - 2)) for each in (gamma, beta, mean, variance))
        return (gamma * (x - mean) / np.sqrt(variance + setting(op, "epsilon", 1e-5)) + beta,)

    def dequantised(op: Any, *inputs: Any, **_: Any) -> Any:
        return (load_op("", "DequantizeLinear", 19).eval(*inputs, n_outputs=1, axis=setting(op, "axis", 1)),)

    def last(kind: str) -> Any:
        def run(op: Any, x: Any, weight: Any = None, *rest: Any, **settings: Any) -> Any:
            first = [np.moveaxis(x, -1, 1)]
            if weight is not None:
                first.append(np.moveaxis(weight, -1, 1) if kind == "Conv" else weight)
            if kind == "BatchNormalization":
                (y,) = normalised(op, *first, *rest)
            else:
                y = load_op("", kind, 17).eval(*first, *rest, n_outputs=1, **settings)
            return (np.moveaxis(y, 1, -1),)

        return run

    quantisers: Mapping[str, Any] = {
        "Quant": quant,
        "IntQuant": quant,
        "BipolarQuant": bipolar,
        "Trunc": truncated,
        "MultiThreshold": thresholds,
    }
    kinds = {(domain, kind): run for domain in QUANTISERS for kind, run in quantisers.items()}
    kinds |= {(CHANNELS_LAST, kind): last(kind) for kind in ("Conv", "MaxPool", "BatchNormalization")}
    kinds |= {("", "BatchNormalization"): normalised, ("", "DequantizeLinear"): dequantised}
    return [type(kind, (op_run.OpRun,), {"op_domain": domain, "_run": run}) for (domain, kind), run in kinds.items()]
