"""The inputs of an ONNX model: the edge of each, and the format that its first quantiser states."""

from __future__ import annotations

from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, narrowest
from edgephys.graph.build import Builder
from edgephys.models.files.onnx.file import OnnxModel
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.quantisers import Quantiser, quantiser
from edgephys.models.files.onnx.reading import Edge, channels_last, format_of, word
from edgephys.models.files.onnx.rules import QUANTISERS
from edgephys.models.files.onnx.wires import WIRES

ELEMENTWISE = frozenset(
    {*QUANTISERS, "DequantizeLinear", "Clip", "Identity", "Cast", "Relu", "LeakyRelu"}
    | {"Add", "Sub", "Mul", "Div", "Neg", "Max", "Min", "BatchNormalization"}
)
ON_FIELDS = frozenset({"Conv", "ConvTranspose", "GlobalAveragePool", "MaxPool", "AveragePool", "GlobalMaxPool"})
STATE_FORMAT = "give it, such as --input-format 'fixed<16,6>'"


class UnstatedFormatError(ModelError):
    """Say that nothing in the file states the format of the input."""


def input_edges(model: OnnxModel, builder: Builder, stated: Fixed | None) -> tuple[dict[str, Edge], float | None]:
    """Return the edge of each input, and the scale of their integers where that is no power of two."""
    formats: dict[str, tuple[Fixed, float | None]] = {}
    for name, shape in model.inputs.items():
        if not shape:
            raise ModelError(
                f"{model.path}: input '{name}' must have an axis behind the batch; give it one of length 1"
            )
        formats[name] = (stated, None) if stated is not None else _input_format(model, name)
        own = model.integers.get(name)
        if own is not None and (
            formats[name][0].fraction > 0 or not own.holds(formats[name][0].low, formats[name][0].high)
        ):
            raise ModelError(
                f"{model.path}: input '{name}' takes integers of {own}, which must hold its format, not "
                f"{formats[name][0]}"
            )
    (fixed, scale), *others = formats.values()
    if any(other != (fixed, scale) for other in others):
        shown = ", ".join(f"{name} {own}" for name, (own, _) in formats.items())
        raise ModelError(f"{model.path}: its inputs have formats of their own ({shown}); {STATE_FORMAT} for all")
    factor = None if scale is None else np.array(scale)
    if len(model.inputs) == 1:
        ((name, shape),) = model.inputs.items()
        axes = channels_last(len(shape)) if _looks_at_neighbours(model, name, shape) else tuple(range(len(shape)))
        carried = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
        return {name: Edge(builder.input(word(name), carried, fixed), axes, factor)}, scale
    joined = builder.input("inputs", (sum(prod(shape) for shape in model.inputs.values()),), fixed)
    edges, first = {}, 0
    for name, shape in model.inputs.items():
        part = builder.take(word(name), joined, np.arange(first, first + prod(shape)), 0)
        edges[name] = Edge(builder.reshape(word(name), part, shape), tuple(range(len(shape))), factor)
        first += prod(shape)
    return edges, scale


def _looks_at_neighbours(model: OnnxModel, name: str, shape: tuple[int, ...]) -> bool:
    """Tell whether a convolution reads the input, so that its pixels should come channels last."""
    reached = {name}
    for operation in model.operations:
        if len(shape) not in (2, 3) or not reached & set(operation.inputs):
            continue
        if operation.kind in ON_FIELDS:
            return True
        if operation.kind in ELEMENTWISE:
            reached.update(operation.outputs)
    return False


def _input_format(model: OnnxModel, name: str) -> tuple[Fixed, float | None]:
    """Return the format of the Quant through which everything reads the input, and its scale if no power of two."""
    reached: set[str] = {name}
    quantisers: list[Quantiser] = []
    if name in model.integers:
        return model.integers[name], None
    for operation in model.operations:
        if not reached & set(operation.inputs):
            continue
        if operation.kind in WIRES:
            reached.update(operation.outputs)
            continue
        if operation.kind not in ("Quant", "IntQuant", "QuantizeLinear") or operation.inputs[0] not in reached:
            raise UnstatedFormatError(
                f"node '{operation.name}' ({operation.kind}): reads input '{name}' without a Quant before it, so "
                f"nothing states the input's format; {STATE_FORMAT}, or --data"
            )
        parameters = [Known(model.constants[key], key) if key in model.constants else None for key in operation.inputs]
        with operation.whole():
            by = quantiser(operation, parameters)
        if by.bipolar or by.scale.size != 1 or (quantisers and not by.alike(quantisers[0])):
            raise UnstatedFormatError(
                f"node '{operation.name}' ({operation.kind}): the input '{name}' must be quantised in one way, of one "
                f"scale and 2 bits or more; {STATE_FORMAT}"
            )
        quantisers.append(by)
    if not quantisers:
        raise ModelError(f"{model.path}: nothing reads its input '{name}'; export it again")
    by, exponents = quantisers[0], quantisers[0].exponents
    fraction = 0 if exponents is None else -int(exponents.flat[0])
    fixed = narrowest(by.low - by.zero, by.high - by.zero, fraction)
    fixed = Fixed(fixed.signed, fixed.bits, fixed.integer)
    if not by.zero and (exponents is not None or not by.narrow):
        fixed = format_of(by, -fraction)
    return fixed, None if exponents is not None else float(by.scale.flat[0])
