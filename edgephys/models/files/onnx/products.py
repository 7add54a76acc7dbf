"""Rules of operators that multiply by weights: matrices and convolutions of one and two axes."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.models.files.fields import OUTSIDE, Margins, crossed, patches, windows_of
from edgephys.models.files.onnx.chains import Floats
from edgephys.models.files.onnx.elementwise import plus, settled
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import Known, integers
from edgephys.models.files.onnx.matrices import multiplied
from edgephys.models.files.onnx.quantise import times
from edgephys.models.files.onnx.reading import Edge, Reading, Value, Values, channels_last, edge_of, known_of

WIDEST_KERNEL = 1 << 12
"""Taps of a kernel, zeros between dilated ones among them."""


def matmul(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Multiply by a matrix from either side, or two computed tensors."""
    first, second = xs
    if isinstance(first, Edge) and isinstance(second, Edge):
        return multiplied(reading, operation, first, second)
    if isinstance(first, Known):
        edge = edge_of(operation, second)
        if first.values.ndim != 2 or len(edge.axes) < 2:
            raise operation.refused(
                f"its constant {first.values.shape} must be a matrix on a tensor of 2 axes or more behind the batch, "
                f"not of {reading.shape(edge)}; export it so"
            )
        return _turned(_dense(reading, operation, _turned(edge), each(first, np.transpose), None))
    return _dense(reading, operation, first, known_of(operation, second, "second factor"), None)


def _turned(edge: Edge) -> Edge:
    """Return an edge with its last two axes exchanged, which moves nothing."""
    return replace(edge, axes=(*edge.axes[:-2], edge.axes[-1], edge.axes[-2]))


def gemm(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Multiply by a matrix and add a bias."""
    attributes = operation.attributes
    if attributes.get("transA", 0):
        raise operation.refused("transA must be 0, not 1: vectors of a batch do not meet; export it so")
    weight = _times(operation, known_of(operation, xs[1], "weight"), "alpha")
    if attributes.get("transB", 0):
        weight = each(weight, np.transpose)
    bias = _times(operation, known_of(operation, xs[2], "bias"), "beta") if len(xs) > 2 else None
    return _dense(reading, operation, xs[0], weight, bias)


def _times(operation: Operation, known: Known, setting: str) -> Known:
    """Return a constant times an attribute; a power of two rounds neither the constant nor the product in floats."""
    factor = float(operation.attributes.get(setting, 1.0))
    if factor == 1.0:
        return known
    if not np.isfinite(factor) or abs(np.frexp(factor)[0]) != 0.5:
        raise operation.refused(f"{setting} must be a power of two, with any sign, not {factor:g}; export it as 1")
    whole, scale = known.whole, known.scale
    if whole is not None and scale is not None:
        whole, scale = whole * int(np.sign(factor)), scale * abs(factor)
    return replace(known, values=known.values * factor, whole=whole, scale=scale)


def each(weight: Known, move: Any) -> Known:
    """Return weights moved, with the integers and the scales of which they are made."""
    whole, scale = (None if part is None else move(part) for part in (weight.whole, weight.scale))
    return replace(weight, values=move(weight.values), whole=whole, scale=scale)


def _dense(reading: Reading, operation: Operation, x: Value, weight: Known, bias: Known | None) -> Edge:
    edge = settled(reading, operation, x)
    if weight.values.ndim != 2 or not edge.axes or reading.shape(edge)[-1] != weight.values.shape[0]:
        shape = (*reading.shape(edge), *weight.values.shape)
        raise operation.refused(f"weight must be a matrix whose rows are the input's last axis, not {shape} together")
    if edge.axes[-1] != len(edge.axes) - 1:
        edge = reading.plain(operation, edge)
    layer = reading.layer(operation)
    product = _product(reading, operation, layer, edge, edge.name, weight)
    product = replace(product, axes=edge.axes)
    return product if bias is None else plus(reading, operation, product, bias, layer)


def _product(reading: Reading, operation: Operation, layer: str, edge: Edge, name: str, matrix: Known) -> Edge:
    """Return the product of node ``name``, whose values are times the scale of ``edge``, with a matrix (in, out)."""
    if edge.scale is not None and edge.scale.ndim:
        raise operation.refused(
            "reads values whose channels have scales of their own; put a Quant of one scale before it"
        )
    scale: Floats | None = None
    if matrix.whole is None or matrix.scale is None:
        whole, fraction = integers(operation, matrix, "weight")
    else:
        whole, fraction, scale = matrix.whole, 0, matrix.scale.max(0, keepdims=True)
        if np.any((matrix.scale != scale) & (whole != 0)):
            raise operation.refused(f"'{matrix.source}' has scales along what is summed; use one for each output")
    result = Edge(reading.builder.dense(layer, name, whole, fraction), (), edge.scale)
    if scale is None:
        return result
    factor = np.array(scale.flat[0]) if np.all(scale == scale.flat[0]) else scale.reshape(-1)
    if factor.ndim:
        factor = factor.reshape((1,) * (len(reading.builder.shape(result.name)) - 1) + factor.shape)
    return times(reading, layer, result, factor)


# Convolutions -----------------------------------------------------------------------------------


def convolve(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Write a convolution as patches, which only move pixels, and a product that is the same for all of them."""
    edge, kernel = settled(reading, operation, xs[0]), known_of(operation, xs[1], "kernel")
    rank = len(edge.axes) - 1
    if rank not in (1, 2) or kernel.values.ndim != rank + 2:
        raise operation.refused(f"fields must have 1 or 2 axes, not {rank}; use a 1-D or 2-D convolution")
    edge = reading.ordered(operation, edge, channels_last(len(edge.axes)))
    (channels, *sides), size = reading.shape(edge), kernel.values.shape[2:]
    strides, dilation, margins = placing(operation, sides, size)
    layer, builder = reading.layer(operation), reading.builder
    spans = [(length - 1) * step + 1 for length, step in zip(size, dilation, strict=True)]
    if prod(spans) > WIDEST_KERNEL:
        raise operation.refused(f"a kernel of {spans} must have at most {WIDEST_KERNEL} taps; use smaller dilations")
    pixels = _pixels(sides, spans, strides, margins) if rank == 2 else None
    if pixels is None:
        rows = patches(sides, size, strides, dilation, margins)
        if not rows.size:
            raise operation.refused(f"a kernel of {list(size)} is larger than its field of {sides}; export it again")
        gathered = windows_of(builder, f"{layer}_window", edge.name, rows)
        matrix = each(_whole(operation, kernel, channels), lambda taps: taps.reshape(-1, taps.shape[-1]))
    else:
        gathered = builder.window(f"{layer}_window", edge.name, (spans[0], spans[1]))
        for axis, kept_pixels in enumerate(pixels):
            if not np.array_equal(kept_pixels, np.arange(sides[axis])):
                gathered = builder.take(f"{layer}_window", gathered, kept_pixels, axis)
        matrix = each(_whole(operation, kernel, channels), lambda taps: _dilated(taps, spans, dilation))
    result = replace(_product(reading, operation, layer, edge, gathered, matrix), axes=channels_last(rank + 1))
    return _with_bias(reading, operation, result, xs, layer, rank)


def _with_bias(reading: Reading, operation: Operation, edge: Edge, xs: Values, layer: str, rank: int) -> Edge:
    if len(xs) < 3:
        return edge
    bias = each(known_of(operation, xs[2], "bias"), lambda values: values.reshape(-1, *(1,) * rank))
    return plus(reading, operation, edge, bias, layer)


def placing(operation: Operation, sides: list[int], size: tuple[int, ...]) -> tuple[list[int], list[int], Margins]:
    """Return the strides, dilations and margins that a convolution or pooling states."""
    attributes, rank = operation.attributes, len(sides)
    strides, dilation = (list(attributes.get(name, [1] * rank)) for name in ("strides", "dilations"))
    pads = list(attributes.get("pads", [0] * 2 * rank))
    margins = [(pads[axis], pads[axis + rank]) for axis in range(rank)]
    auto = attributes.get("auto_pad", b"NOTSET").decode(errors="replace")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        margins = []
        for side, points, stride, step in zip(sides, size, strides, dilation, strict=True):
            both = max(0, (-(-side // stride) - 1) * stride + (points - 1) * step + 1 - side)
            less, more = both // 2, both - both // 2
            margins.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return strides, dilation, margins


def _pixels(sides: list[int], spans: list[int], strides: list[int], margins: Margins) -> list[Integers] | None:
    """Return the pixels that remain of a convolution with an output at every pixel; None where there are others."""
    pixels: list[Integers] = []
    for side, span, stride, (before, after) in zip(sides, spans, strides, margins, strict=True):
        count = (side + before + after - span) // stride + 1
        at = np.arange(max(count, 0)) * stride - before + (span - 1) // 2
        if not len(at) or at[0] < 0 or at[-1] >= side:
            return None
        pixels.append(at)
    return pixels


def _whole(operation: Operation, kernel: Known, channels: int) -> Known:
    """Return a kernel as (*size, channel, output) with zeros where groups do not meet."""
    outputs, depth = kernel.values.shape[:2]
    groups = operation.attributes.get("group", 1)
    if depth * groups != channels or outputs % groups:
        raise operation.refused(f"{groups} groups of {depth} channels do not fit {channels} channels; export it again")
    share = outputs // groups
    own = (np.arange(channels)[:, None] // depth) == (np.arange(outputs)[None] // share)  # (channel, output)

    def spread(values: NDArray[Any]) -> NDArray[Any]:
        taps = np.moveaxis(values, (0, 1), (-1, -2))  # (*size, channel of the group, output)
        return np.tile(taps, (*(1,) * (taps.ndim - 2), groups, 1))

    parts = each(kernel, spread)
    values = np.where(own, parts.values, 0)
    return replace(parts, values=values, whole=None if parts.whole is None else np.where(own, parts.whole, 0))


def _dilated(taps: NDArray[Any], spans: list[int], dilation: list[int]) -> NDArray[Any]:
    """Return the matrix of a kernel (row, column, channel, output), with zeros between its taps."""
    if dilation == [1, 1]:
        return taps.reshape(-1, taps.shape[-1])
    whole = np.zeros((*spans, *taps.shape[2:]), taps.dtype)
    whole[:: dilation[0], :: dilation[1]] = taps
    return whole.reshape(-1, taps.shape[-1])


def convolve_transposed(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Write a transposed convolution as patches with zeros between the pixels, and a product."""
    edge, kernel = settled(reading, operation, xs[0]), known_of(operation, xs[1], "kernel")
    rank = len(edge.axes) - 1
    if rank not in (1, 2) or kernel.values.ndim != rank + 2 or operation.attributes.get("group", 1) != 1:
        raise operation.refused("must be of 1 or 2 axes and one group; use a convolution of an upsampled field")
    if operation.attributes.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in operation.attributes:
        raise operation.refused("must state its pads, without auto_pad and output_shape; export it so")
    edge = reading.ordered(operation, edge, channels_last(len(edge.axes)))
    (channels, *sides), size = reading.shape(edge), kernel.values.shape[2:]
    if kernel.values.shape[0] != channels:
        raise operation.refused(f"its kernel for {kernel.values.shape[0]} channels does not fit {channels}")
    strides, dilation, margins = placing(operation, sides, size)
    more = list(operation.attributes.get("output_padding", [0] * rank))
    axes = []
    for side, points, stride, step, (before, after), extra in zip(
        sides, size, strides, dilation, margins, more, strict=True
    ):
        count = (side - 1) * stride + (points - 1) * step + 1 - before - after + extra
        at = np.arange(max(count, 0))[:, None] + before - np.arange(points) * step
        axes.append(np.where((at % stride == 0) & (at >= 0) & (at < side * stride), at // stride, OUTSIDE))
    layer = reading.layer(operation)
    gathered = windows_of(reading.builder, f"{layer}_window", edge.name, crossed(sides, axes))
    matrix = each(kernel, lambda values: np.moveaxis(values, (0, 1), (-2, -1)).reshape(-1, values.shape[1]))
    result = replace(_product(reading, operation, layer, edge, gathered, matrix), axes=channels_last(rank + 1))
    return _with_bias(reading, operation, result, xs, layer, rank)
