"""One rule an operator of ONNX: what it adds to the Graph, or why it cannot be computed exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.models.files.onnx.constants import FLOAT32_BITS, Known, Quantiser, integers, power_of_two, quantiser
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.integers import INTEGERS
from edgephys.models.files.onnx.pairs import PAIRS, joined
from edgephys.models.files.onnx.reading import CHANNELS_LAST, Edge, Reading, Value, Values, edge_of, format_of, known_of
from edgephys.models.files.onnx.wires import SUMS, WIRES

WIDEST_KERNEL = 1 << 12
"""Taps of a kernel, zeros between dilated ones among them."""

# Quantisers -------------------------------------------------------------------------------------


def _quant(reading: Reading, operation: Operation, xs: Values) -> Value:
    by = quantiser(operation, xs)
    edge = edge_of(operation, xs[0])
    owner, builder = reading.owner(operation, edge), reading.builder
    if by.narrow and not by.signed:
        raise operation.refused("an unsigned narrow range has no fixed-point format; export it with narrow=0")
    exponents = np.unique(by.exponents)
    if exponents.size == 1:
        return replace(edge, name=_rounded(reading, operation, owner, edge.name, by, int(exponents[0])))
    laid = _laid(operation, reading, edge, Known(by.exponents, "scale")).astype(np.int64)
    up, down = int(laid.max()), int(laid.min())
    if up - down > FLOAT32_BITS:
        raise operation.refused(f"its scales differ by 2**{up - down}, at most by 2**{FLOAT32_BITS}; bring them closer")
    scaled = builder.scale(owner, edge.name, 1 << (up - laid), up)  # in steps, whatever the channel
    rounded = _rounded(reading, operation, owner, scaled, by, 0)
    return replace(edge, name=builder.scale(owner, rounded, 1 << (laid - down), -down))


def _rounded(reading: Reading, operation: Operation, owner: str, x: str, by: Quantiser, exponent: int) -> str:
    builder = reading.builder
    if by.bipolar:  # the sign: -1 or 0 of the coarsest step, doubled and raised by one
        sign = builder.requantise(owner, x, Fixed(True, 1, 1 + exponent, Rounding.TRN, Overflow.SAT))
        return builder.bias(owner, builder.scale(owner, sign, np.array(2), 0), np.array(1), -exponent)
    finer = builder.fraction(x) + exponent
    if by.mode == "UP" and finer > 0:
        raise operation.refused("rounding mode UP, away from zero, has no exact form; use ROUND, FLOOR or CEIL")
    if by.mode == "CEIL" and finer > FLOAT32_BITS:
        raise operation.refused(f"rounds {finer} bits away by CEIL, at most {FLOAT32_BITS}; use FLOOR or ROUND")
    if by.mode == "CEIL" and finer > 0:  # ceil(x) = floor(x + just less than one)
        x = builder.bias(owner, x, np.array((1 << finer) - 1), builder.fraction(x))
    return builder.requantise(owner, x, format_of(by, exponent))


def _relu(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    return replace(edge, name=reading.builder.relu(reading.owner(operation, edge), edge.name))


# Products ---------------------------------------------------------------------------------------


def _dense(
    reading: Reading, operation: Operation, x: Value, weight: Known, bias: Known | None, layer: str | None = None
) -> Value:
    edge = edge_of(operation, x)
    if weight.values.ndim != 2 or not edge.axes or reading.shape(edge)[-1] != weight.values.shape[0]:
        shape = (*reading.shape(edge), *weight.values.shape)
        raise operation.refused(f"weight must be a matrix whose rows are the input's last axis, not {shape} together")
    if edge.axes[-1] != len(edge.axes) - 1:
        edge = reading.plain(operation, edge)
    layer = layer or reading.layer(operation)
    product = reading.builder.dense(layer, edge.name, *integers(operation, weight, "weight"))
    edge = replace(edge, name=product)
    return edge if bias is None else _biased(reading, operation, layer, edge, bias)


def _matmul(reading: Reading, operation: Operation, xs: Values) -> Value:
    return _dense(reading, operation, xs[0], known_of(operation, xs[1], "second factor"), None)


def _gemm(reading: Reading, operation: Operation, xs: Values) -> Value:
    attributes = operation.attributes
    for setting, required in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if attributes.get(setting, required) != required:
            raise operation.refused(f"{setting} must be {required:g}, not {attributes[setting]:g}; export it so")
    weight = known_of(operation, xs[1], "weight")
    if attributes.get("transB", 0):
        weight = weight.of(weight.values.T)
    bias = known_of(operation, xs[2], "bias") if len(xs) > 2 else None
    return _dense(reading, operation, xs[0], weight, bias)


def _conv(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Write a convolution as a window, which only moves pixels, and a product.

    Strides and smaller padding leave pixels out.
    """
    edge, kernel = edge_of(operation, xs[0]), known_of(operation, xs[1], "kernel")
    if len(edge.axes) != 3 or kernel.values.ndim != 4:
        raise operation.refused(f"fields must have 2 axes, not {len(edge.axes) - 1}; use a 2-D convolution")
    edge = reading.ordered(operation, edge, CHANNELS_LAST)
    dense = _whole_kernel(operation, kernel, reading.shape(edge)[0])
    rows, columns = dense.values.shape[:2]
    layer = reading.layer(operation)
    name = reading.builder.window(f"{layer}_window", edge.name, (rows, columns))
    for axis, pixels in enumerate(_pixels(operation, reading.shape(edge)[1:], (rows, columns))):
        if pixels is not None:
            name = reading.builder.take(f"{layer}_window", name, pixels, axis)
    matrix = dense.of(dense.values.reshape(-1, dense.values.shape[-1]))
    product = reading.builder.dense(layer, name, *integers(operation, matrix, "kernel"))
    edge = Edge(product, CHANNELS_LAST)
    if len(xs) < 3:
        return edge
    fixed = integers(operation, known_of(operation, xs[2], "bias"), "bias")
    return replace(edge, name=reading.builder.bias(layer, edge.name, *fixed))


def _whole_kernel(operation: Operation, kernel: Known, channels: int) -> Known:
    """Return the kernel (row, column, channel, output) with zeros where groups do not meet and between dilated taps."""
    outputs, depth, *size = kernel.values.shape
    groups = operation.attributes.get("group", 1)
    if depth * groups != channels or outputs % groups:
        raise operation.refused(f"{groups} groups of {depth} channels do not fit {channels} channels; export it again")
    steps = operation.attributes.get("dilations", [1, 1])
    spans = [(length - 1) * step + 1 for length, step in zip(size, steps, strict=True)]
    if prod(spans) > WIDEST_KERNEL:
        raise operation.refused(f"a kernel of {spans} must have at most {WIDEST_KERNEL} taps; use smaller dilations")
    whole = np.zeros((*spans, channels, outputs), kernel.values.dtype)
    taps = kernel.values.transpose(2, 3, 1, 0)
    each = outputs // groups
    for group in range(groups):
        ours, theirs = slice(group * depth, (group + 1) * depth), slice(group * each, (group + 1) * each)
        whole[:: steps[0], :: steps[1], ours, theirs] = taps[..., theirs]
    return kernel.of(whole)


def _pixels(operation: Operation, field: tuple[int, ...], size: tuple[int, int]) -> list[NDArray[np.int64] | None]:
    """Return the rows and columns that a convolution keeps of one with an output at every pixel; None for all."""
    attributes = operation.attributes
    strides, pads = attributes.get("strides", [1, 1]), list(attributes.get("pads", [0, 0, 0, 0]))
    same = [(length - 1) // 2 for length in size] + [length // 2 for length in size]
    auto = attributes.get("auto_pad", b"NOTSET").decode(errors="replace")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if list(strides) != [1, 1] or (auto == "SAME_LOWER" and same[:2] != same[2:]):
            raise operation.refused(f"auto_pad {auto} with these strides or sizes is not computed; state pads={same}")
        pads = same
    pixels: list[NDArray[np.int64] | None] = []
    for axis, length in enumerate(field):
        before, after = pads[axis], pads[axis + 2]
        count = (length + before + after - size[axis]) // strides[axis] + 1
        at = np.arange(max(count, 0)) * strides[axis] - before + same[axis]
        if not len(at) or at[0] < 0 or at[-1] >= length:
            raise operation.refused(
                f"pads {pads} with a kernel of {size} reach further than its own size; use pads={same}, or smaller ones"
            )
        pixels.append(None if np.array_equal(at, np.arange(length)) else at)
    return pixels


def _normalised(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Write a BatchNormalization as one factor and one shift for each channel, which float32 must hold exactly."""
    edge = edge_of(operation, xs[0])
    gamma, beta, mean, variance = (known_of(operation, x, "parameters").values.astype(np.float32) for x in xs[1:5])
    if len(edge.axes) == 0 or gamma.shape != (reading.shape(edge)[0],):
        raise operation.refused(f"expected {reading.shape(edge)[:1]} channels, not {gamma.shape}; export it again")
    with np.errstate(all="ignore"):  # what becomes infinite is refused below
        factor = gamma / np.sqrt(variance + np.float32(operation.attributes.get("epsilon", 1e-5)))
        shift = beta - mean * factor
    if operation.attributes.get("training_mode", 0):
        raise operation.refused("is in training mode; export the model in evaluation mode")
    tail = (1,) * (len(edge.axes) - 1)
    layer = reading.owner(operation, edge)
    for what, values in (("factor", factor), ("shift", shift)):
        known = Known(values.reshape(-1, *tail), f"{operation.inputs[1]} / sqrt({operation.inputs[4]} + epsilon)")
        try:
            number, fraction = integers(operation, known, what)
        except ModelError as error:
            raise operation.refused(
                f"its {what} of a channel is no fixed-point number; merge it into the weights before they are "
                f"quantised (Brevitas: merge_bn), or replace it by a quantised Mul and Add"
            ) from error
        laid = _laid(operation, reading, edge, Known(number, "")).astype(np.int64)
        result = (reading.builder.scale if what == "factor" else reading.builder.bias)(layer, edge.name, laid, fraction)
        edge = replace(edge, name=result)
    return edge


# Element by element -----------------------------------------------------------------------------


def _laid(operation: Operation, reading: Reading, edge: Edge, known: Known) -> NDArray[Any]:
    """Return a constant in the order of the edge's axes; raise ModelError where it makes the tensor larger."""
    shape, rank = reading.shape(edge), len(edge.axes)
    values = known.values
    if values.ndim > rank + 1:
        values = values.reshape(values.shape[-rank - 1 :]) if prod(values.shape[: -rank - 1]) == 1 else values
    whole = values.reshape((1,) * (rank + 1 - values.ndim) + values.shape) if values.ndim <= rank else values
    try:
        fits = np.broadcast_shapes(whole.shape, (1, *shape)) == (1, *shape)
    except ValueError:
        fits = False
    if not fits or whole.ndim != rank + 1:
        raise operation.refused(f"'{known.source}' of shape {known.values.shape} does not fit a tensor of {shape}")
    if whole.size == 1:
        return np.asarray(whole.reshape(()))
    order = [edge.axes.index(axis) for axis in range(rank)]
    return np.asarray(whole[0].transpose(order))


def _biased(reading: Reading, operation: Operation, layer: str, edge: Edge, bias: Known) -> Edge:
    number, fraction = integers(operation, bias, "bias")
    laid = _laid(operation, reading, edge, bias.of(number))
    return replace(edge, name=reading.builder.bias(layer, edge.name, laid, fraction))


def _scaled(reading: Reading, operation: Operation, edge: Edge, factor: Known) -> Edge:
    number, fraction = integers(operation, factor, "factor")
    laid = _laid(operation, reading, edge, factor.of(number))
    return replace(edge, name=reading.builder.scale(reading.owner(operation, edge), edge.name, laid, fraction))


def _added(reading: Reading, operation: Operation, xs: Values) -> Value:
    if len(xs) != 2:
        raise operation.refused(f"expected 2 inputs, not {len(xs)}; add two at a time")
    first, second = xs
    if isinstance(first, Known):
        first, second = second, first
    edge = edge_of(operation, first)
    if isinstance(second, Known):
        return _biased(reading, operation, reading.owner(operation, edge), edge, second)
    return joined(reading, operation, edge, second, reading.builder.add)


MINUS_ONE = Known(np.array(-1.0), "-1", quantised=True)


def _subtracted(reading: Reading, operation: Operation, xs: Values) -> Value:
    first, second = xs
    if isinstance(second, Known):
        return _added(reading, operation, [first, second.of(-second.values)])
    return _added(reading, operation, [first, _scaled(reading, operation, second, MINUS_ONE)])


def _multiplied(reading: Reading, operation: Operation, xs: Values) -> Value:
    first, second = xs
    if isinstance(first, Known):
        first, second = second, first
    if isinstance(second, Edge):
        return joined(reading, operation, edge_of(operation, first), second, reading.builder.mul)
    return _scaled(reading, operation, edge_of(operation, first), known_of(operation, second, "factor"))


def _divided(reading: Reading, operation: Operation, xs: Values) -> Value:
    divisor = known_of(operation, xs[1], "divisor")
    if power_of_two(np.abs(divisor.values)) is None:
        raise operation.refused(f"its divisor '{divisor.source}' must be powers of two; use Mul by a quantised factor")
    inverse = replace(divisor, values=1.0 / divisor.values.astype(np.float64), quantised=True)
    return _scaled(reading, operation, edge_of(operation, xs[0]), inverse)


def _negated(reading: Reading, operation: Operation, xs: Values) -> Value:
    return _scaled(reading, operation, edge_of(operation, xs[0]), MINUS_ONE)


def _last(reading: Reading, operation: Operation, xs: Values) -> Value:
    """What only spreads the outputs is left away at the end: the largest stays the largest."""
    if operation.outputs[0] != reading.model.output:
        raise operation.refused("has no exact form in fixed point; only at the end of a model is it left away")
    reading.output = operation.inputs[0]
    reading.dropped.append(
        f"{operation.kind} '{operation.name}' at the end: outputs are what it reads, of which the largest is the same"
    )
    return edge_of(operation, xs[0])


RULES: dict[str, Callable[[Reading, Operation, Values], Value]] = {
    "Quant": _quant,
    "BipolarQuant": _quant,
    "Relu": _relu,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "BatchNormalization": _normalised,
    "Add": _added,
    "Sub": _subtracted,
    "Mul": _multiplied,
    "Div": _divided,
    "Neg": _negated,
    **PAIRS,
    **INTEGERS,
    **WIRES,
    **SUMS,
    "Softmax": _last,
    "LogSoftmax": _last,
}
