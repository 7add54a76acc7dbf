"""Lower a QONNX model, such as Brevitas and hls4ml's zoo write, to the Graph, or refuse it by name.

Scales must be powers of two, zero points 0, and every sum must fit float32's 24 bits. Only then does the model give
the same result in any order of summation, so that all targets can be compared with it bit for bit. Axes are followed,
not moved: a Transpose between channels first and channels last costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive
from edgephys.models.files.onnx.constants import FLOAT32_BITS, Known, Quantiser, folded, quantiser
from edgephys.models.files.onnx.file import OnnxModel, Operation
from edgephys.models.files.onnx.integers import require_values
from edgephys.models.files.onnx.reading import CHANNELS_LAST, Edge, Reading, format_of, word
from edgephys.models.files.onnx.rules import RULES
from edgephys.models.files.onnx.wires import WIRES

ELEMENTWISE = frozenset(
    {"Quant", "BipolarQuant", "QuantizeLinear", "DequantizeLinear", "Clip", "Identity", "Relu"}
    | {"Add", "Sub", "Mul", "Div", "Neg", "Max", "Min", "BatchNormalization"}
)
ON_FIELDS = frozenset({"Conv", "GlobalAveragePool"})


def lower(model: OnnxModel, name: str, input_format: Fixed | None = None) -> Graph:
    """Return the checked Graph of an ONNX model, whose input is the output of its first Quant.

    ``input_format`` states the input's format where no Quant does, or another one. The metadata name the tensor at the
    end of each layer, with its axes, and the operators that were left out.
    Raises: ModelError naming the node that cannot be computed exactly, and what would work.
    """
    for operation in model.operations:
        if operation.kind not in RULES:
            raise operation.refused(
                f"has no exact form in fixed point; use one of {', '.join(sorted(RULES))}, or end the model before it"
            )
    builder = Builder(name)
    axes = CHANNELS_LAST if _looks_at_neighbours(model) else tuple(range(len(model.shape)))
    carried = tuple(model.shape[axes.index(axis)] for axis in range(len(axes)))
    fixed = input_format or _input_format(model)
    source = builder.input(word(model.input), carried, fixed)
    values: dict[str, Edge | Known] = {key: Known(value, key) for key, value in model.constants.items()}
    reading = Reading(model, builder, values | {model.input: Edge(source, axes)}, source, {source})
    for operation in model.operations:
        value = _computed(reading, operation)
        reading.values[operation.outputs[0]] = value
        if isinstance(value, Edge) and value.step is None and not reading.dropped:
            reading.tensors[builder.layer(value.name)] = (operation.outputs[0], value.axes)
    result = reading.values[model.output]
    if isinstance(result, Known):
        raise ModelError(f"{model.path}: its output '{model.output}' does not depend on its input; export it again")
    if result.step is not None:
        raise ModelError(f"{model.path}: its output '{model.output}' holds integers; end it with a DequantizeLinear")
    graph = builder.finish(result.name, metadata={"onnx": _metadata(reading, axes, result)})
    _require_exact(graph)
    return graph


def _computed(reading: Reading, operation: Operation) -> Edge | Known:
    """Return the result of an operation: by its rule, or a constant where all inputs are constants."""
    xs = [_value(reading, operation, key) for key in operation.inputs if key]
    known = [x for x in xs if isinstance(x, Known)]
    with operation.whole():
        require_values(operation, xs)
        return folded(operation, known) if len(known) == len(xs) else RULES[operation.kind](reading, operation, xs)


def _value(reading: Reading, operation: Operation, name: str) -> Edge | Known:
    """Return the edge or the constant of a tensor."""
    if name not in reading.values:
        raise operation.refused(f"reads '{name}', a second output of its node; only first outputs are computed")
    return reading.values[name]


def _metadata(reading: Reading, axes: tuple[int, ...], result: Edge) -> dict[str, Any]:
    """State which tensor of the file each layer's end is, and the order of its axes."""
    model = reading.model
    return {
        "input": model.input,
        "input_axes": list(axes),
        "output": reading.output or model.output,
        "output_axes": list(result.axes),
        "layers": {layer: [tensor, list(order)] for layer, (tensor, order) in reading.tensors.items()},
        "dropped": reading.dropped,
    }


def _looks_at_neighbours(model: OnnxModel) -> bool:
    """Tell whether a convolution reads the input, so that its pixels should come channels last."""
    reached = {model.input}
    for operation in model.operations:
        if len(model.shape) != len(CHANNELS_LAST) or not reached & set(operation.inputs):
            continue
        if operation.kind in ON_FIELDS:
            return True
        if operation.kind in ELEMENTWISE:
            reached.update(operation.outputs)
    return False


def _input_format(model: OnnxModel) -> Fixed:
    """Return the format of the Quant through which everything reads the input."""
    reached: set[str] = {model.input}
    quantisers: list[Quantiser] = []
    for operation in model.operations:
        if not reached & set(operation.inputs):
            continue
        if operation.kind in WIRES:
            reached.update(operation.outputs)
            continue
        if operation.kind not in ("Quant", "QuantizeLinear") or operation.inputs[0] not in reached:
            raise operation.refused(
                f"reads input '{model.input}' without a Quant before it, so nothing states the input's format; "
                f"give it, such as --input-format 'fixed<16,6>'"
            )
        parameters = [Known(model.constants[key], key) if key in model.constants else None for key in operation.inputs]
        with operation.whole():
            by = quantiser(operation, parameters)
        if by.bipolar or np.unique(by.exponents).size != 1 or (quantisers and not by.alike(quantisers[0])):
            raise operation.refused(
                f"the input '{model.input}' must be quantised in one way, of one scale and 2 bits or more; "
                f"give its format, such as --input-format 'fixed<16,6>'"
            )
        quantisers.append(by)
    if not quantisers:
        raise ModelError(f"{model.path}: nothing reads its input '{model.input}'; export it again")
    return format_of(quantisers[0], int(quantisers[0].exponents.flat[0]))


def _require_exact(graph: Graph) -> None:
    """Refuse sums that float32 rounds: the model itself is computed in it."""
    for name, range_ in derive(graph).items():
        bits = range_.partial.bit_length()
        if bits > FLOAT32_BITS:
            raise ModelError(
                f"layer '{graph.by_name[name].layer}': it needs {bits} bits, but ONNX sums in float32, which holds "
                f"{FLOAT32_BITS} exactly; use fewer weight or activation bits, or fewer inputs to the layer"
            )
