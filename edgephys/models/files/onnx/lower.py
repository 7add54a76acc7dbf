"""Lower a QONNX model, such as Brevitas and hls4ml's zoo write, to the Graph, or refuse it by name.

What the file computes in floats between a sum of integers and the next quantiser is one function of that sum: it is
computed in float64 and written as integer arithmetic that gives the same result for every sum. Where all scales are
powers of two and all sums fit float32, the file itself gives the same numbers in float32 in any order of summation.
Axes are followed, not moved: a Transpose between channels first and channels last costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive
from edgephys.models.files.onnx.chains import Floats, FloatStep
from edgephys.models.files.onnx.constants import folded
from edgephys.models.files.onnx.elementwise import BIAS_BITS, settled
from edgephys.models.files.onnx.file import OnnxModel, Operation
from edgephys.models.files.onnx.inputs import input_edges
from edgephys.models.files.onnx.known import FLOAT32_BITS, UNQUANTISED_BITS, Known, dyadic
from edgephys.models.files.onnx.reading import Edge, NeedsFloat64Error, Reading, Value
from edgephys.models.files.onnx.rules import INTEGERS, LAST, QUANTISERS, RULES
from edgephys.models.files.onnx.search import FLOAT64_BITS
from edgephys.models.files.onnx.softmaxes import kept
from edgephys.models.files.softmax import SoftmaxForm


def lower(model: OnnxModel, name: str, input_format: Fixed | None = None, softmax: SoftmaxForm | None = None) -> Graph:
    """Return the checked Graph of an ONNX model, whose input is the output of its first Quant.

    ``input_format`` states the input's format where no Quant does, or another one. Several inputs become one, flat and
    joined in their order, and so do several outputs. The metadata name the tensor at the end of each layer, with its
    axes, and the operators that were left out. ``softmax`` may keep a softmax at the end, computed by tables.
    Raises: ModelError naming the node that cannot be computed exactly, and what would work.
    """
    _require_rules(model)
    try:
        wrapped = any(operation.kind == "ChannelsFirst" for operation in model.operations)  # as qonnx does not run it
        return _lowered(model, name, input_format, wrapped, softmax or SoftmaxForm())
    except NeedsFloat64Error:
        return _lowered(model, name, input_format, True, softmax or SoftmaxForm())


def _lowered(model: OnnxModel, name: str, input_format: Fixed | None, double: bool, softmax: SoftmaxForm) -> Graph:
    builder = Builder(name)
    edges, scale = input_edges(model, builder, input_format)
    values: dict[str, Value] = {key: Known(_as_computed(value, double), key) for key, value in model.constants.items()}
    sources = frozenset(edge.name for edge in edges.values())
    reading = Reading(model, builder, {**values, **edges}, sources, double, set(sources), softmax=softmax)
    for operation in model.operations:
        for output, value in zip(operation.outputs, _computed(reading, operation), strict=False):
            reading.values[output] = value
            if isinstance(value, Edge) and value.grid is None and not value.chain:
                reading.tensors[builder.layer(value.name)] = (output, value)
    ends = [_ended(reading, output) for output in model.outputs]
    result = ends[0][1].name
    if len(ends) > 1:
        flat = [reading.plain(model.operations[-1], edge) for _, edge in ends]
        ends = [(tensor, edge) for (tensor, _), edge in zip(ends, flat, strict=True)]
        sizes = [prod(builder.shape(edge.name)) for edge in flat]
        parts = [builder.reshape("outputs", edge.name, (size,)) for edge, size in zip(flat, sizes, strict=True)]
        result = builder.concat("outputs", tuple(parts), 0)
    metadata = _metadata(reading, edges, scale, ends)
    graph = builder.finish(result, metadata={"onnx": metadata})
    if graph.output is graph.input:
        raise ModelError(f"{model.path}: its output is its input; expected a model that computes something")
    if (_wide(graph, reading) or _has_scales(metadata)) and not double:
        raise NeedsFloat64Error
    return graph


def _as_computed(values: NDArray[Any], double: bool) -> NDArray[Any]:
    """Return a constant in the type in which the reference computes with it."""
    return values.astype(np.float64) if double and values.dtype == np.float32 else values


def _require_rules(model: OnnxModel) -> None:
    kinds = {operation.kind for operation in model.operations}
    known = set(model.constants)
    for operation in model.operations:
        if set(operation.inputs) - {""} <= known:
            known.update(operation.outputs)  # folded, whatever it is
        elif operation.kind not in RULES:
            raise operation.refused(
                f"has no exact form in fixed point; use one of {', '.join(sorted(RULES))}, or end the model before it"
            )
    if not kinds & QUANTISERS and any(_is_float(values) for values in model.constants.values()):
        raise ModelError(
            f"{model.path}: it has float weights and no quantisers; quantise it first: `edgephys quantise "
            f"{model.path.name} --data DATA`"
        )


def _is_float(values: Floats) -> bool:
    if values.dtype.kind != "f" or not values.size:
        return False
    whole, _ = dyadic(values)
    return bool(np.abs(whole).max() >= 1 << UNQUANTISED_BITS)


def _computed(reading: Reading, operation: Operation) -> list[Value]:
    """Return the results of an operation: by its rule, or constants where all inputs are constants."""
    xs = [reading.values[key] if key in reading.values else _missing(operation, key) for key in operation.inputs if key]
    known = [x for x in xs if isinstance(x, Known)]
    with operation.whole():
        if len(known) == len(xs) and operation.kind not in ("ChannelsFirst", "ChannelsLast"):
            return list(folded(operation, known, reading.model.opset))
        integers = any(isinstance(x, Edge) and x.grid is not None for x in xs)
        if integers and operation.kind not in INTEGERS:
            raise operation.refused("reads the integers of a QuantizeLinear; put a DequantizeLinear between them")
        values = RULES[operation.kind](reading, operation, xs)
        return values if isinstance(values, list) else [values]


def _missing(operation: Operation, name: str) -> Value:
    raise operation.refused(f"reads '{name}', a second output of its node; only first outputs are computed")


def _ended(reading: Reading, output: str) -> tuple[str, Edge]:
    """Return the tensor and the edge of an output, without what only spreads it at the end: the order stays."""
    value, model = reading.values[output], reading.model
    if isinstance(value, Known):
        raise ModelError(f"{model.path}: its output '{output}' does not depend on its input; export it again")
    if value.grid is not None:
        raise ModelError(f"{model.path}: its output '{output}' holds integers; end it with a DequantizeLinear")
    end = Operation(output, "the end of the model", (), (output,), {})
    last = value.chain[-1] if value.chain else None
    if reading.softmax.keep and last is not None and reading.kind_of(last) == "Softmax":
        return last.source, kept(reading, last, replace(value, chain=value.chain[:-1]), output)
    tensor, edge = _without_last(reading, output, value, lambda function: function.kind == LAST)
    try:
        edge = settled(reading, end, edge, BIAS_BITS)
    except ModelError:
        tensor, rest = _without_last(reading, tensor, edge, lambda function: function.increasing)
        if rest is edge:
            raise
        edge = settled(reading, end, rest, BIAS_BITS)
    if edge.scale is not None and (edge.scale.ndim or edge.scale < 0):
        raise ModelError(
            f"{model.path}: its output '{output}' has scales of its channels, or a negative one, no powers of two; "
            f"end it with a Quant of one scale"
        )
    return tensor, edge


def _without_last(reading: Reading, tensor: str, edge: Edge, which: Callable[[FloatStep], bool]) -> tuple[str, Edge]:
    """Return an end and its tensor without those float operators at the end of its chain."""
    while edge.chain and which(edge.chain[-1]):
        function = edge.chain[-1]
        reading.dropped.append(
            f"{reading.kind_of(function)} '{function.node}' at the end: outputs are what it reads, of which the "
            f"largest is the same"
        )
        tensor, edge = function.source, replace(edge, chain=edge.chain[:-1])
    return tensor, edge


def _metadata(
    reading: Reading, inputs: dict[str, Edge], scale: float | None, ends: list[tuple[str, Edge]]
) -> dict[str, Any]:
    """State which tensor of the file each layer's end is, the order of its axes, and what its integers are times."""
    outputs = [
        {
            "tensor": tensor,
            "axes": list(edge.axes),
            "scale": None if edge.scale is None else float(edge.scale),
            **({"shape": list(reading.builder.shape(edge.name))} if len(ends) > 1 else {}),
            **({"softmax": reading.softmaxes[output]} if output in reading.softmaxes else {}),
        }
        for output, (tensor, edge) in zip(reading.model.outputs, ends, strict=True)
    ]
    return {
        "inputs": [
            {"tensor": name, "axes": list(edge.axes), "shape": list(reading.model.inputs[name])}
            for name, edge in inputs.items()
        ],
        "input_axes": list(next(iter(inputs.values())).axes),
        "input_scale": scale,
        "outputs": outputs,
        "layers": {
            layer: [tensor, list(edge.axes), None if edge.scale is None else edge.scale.tolist()]
            for layer, (tensor, edge) in reading.tensors.items()
        },
        "dropped": reading.dropped,
        "float64": reading.double,
        **({"softmaxes": reading.inner_softmaxes} if reading.inner_softmaxes else {}),
    }


def _has_scales(metadata: dict[str, Any]) -> bool:
    scales = (metadata["input_scale"], *(end["scale"] for end in metadata["outputs"]))
    return any(scale is not None for scale in (*scales, *(layer[2] for layer in metadata["layers"].values())))


def _wide(graph: Graph, reading: Reading) -> bool:
    """Tell whether float32 rounds a sum of the file; raise ModelError where float64 does."""
    wide = False
    for name, range_ in derive(graph).items():
        bits = range_.partial.bit_length()
        if name in reading.staircases.emulated:
            continue
        if bits > FLOAT64_BITS:
            raise ModelError(
                f"layer '{graph.by_name[name].layer}': it needs {bits} bits, but ONNX sums in floats, which hold at "
                f"most {FLOAT64_BITS} exactly; use fewer weight or activation bits, or fewer inputs to the layer"
            )
        wide = wide or bits > FLOAT32_BITS
    return wide
