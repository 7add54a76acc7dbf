"""Rules of operators that take the sum, the mean or the largest of several elements."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.models.files.fields import largest, maxima, patches, smaller, taken
from edgephys.models.files.onnx.chains import FloatStep, directions
from edgephys.models.files.onnx.constants import axes_of
from edgephys.models.files.onnx.elementwise import settled, together
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.joins import compared, have_common_step
from edgephys.models.files.onnx.pairs import joined
from edgephys.models.files.onnx.products import placing
from edgephys.models.files.onnx.reading import Edge, Reading, Value, Values, axis_of, channels_last, edge_of


def _summed(reading: Reading, operation: Operation, edge: Edge, axes: list[int], keep: bool) -> tuple[Edge, int]:
    """Return the sum over axes, and the count of elements in it."""
    if edge.scale is not None and edge.scale.ndim:
        raise operation.refused(
            "adds values whose channels have scales of their own; put a Quant of one scale before it"
        )
    layer, count, places = reading.layer(operation), 1, sorted(axis_of(operation, edge, axis) for axis in axes)
    lengths = [1 if axis in places else n for axis, n in zip(edge.axes, reading.shape(edge), strict=True)]
    for place in reversed(places):
        count *= reading.builder.shape(edge.name)[place]
        name = reading.builder.sum(layer, edge.name, place)
        edge = Edge(name, tuple(axis - (axis > place) for axis in edge.axes if axis != place), edge.scale)
    if keep:
        edge = reading.plain(operation, edge)
        name = reading.builder.reshape(layer, edge.name, tuple(lengths))
        edge = Edge(name, tuple(range(len(lengths))), edge.scale)
    return edge, count


def reduced(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Add elements along axes, or take their mean."""
    edge, axes = settled(reading, operation, xs[0]), axes_of(operation, xs)
    if not axes:
        raise operation.refused("its axes must be stated, none of them the batch; export it so")
    total, count = _summed(reading, operation, edge, axes, bool(operation.attributes.get("keepdims", 1)))
    return total if operation.kind == "ReduceSum" else _mean(reading, operation, total, np.array(count))


def reduced_extreme(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Take the largest or the smallest element along axes."""
    edge, axes = _rising(reading, operation, settled(reading, operation, xs[0])), axes_of(operation, xs)
    if not axes:
        raise operation.refused("its axes must be stated, none of them the batch; export it so")
    if edge.scale is not None and edge.scale.ndim:
        raise operation.refused(
            "compares values whose channels have scales of their own; put a Quant of one scale before it"
        )
    builder, layer, name = reading.builder, reading.layer(operation), edge.name
    turned = operation.kind == "ReduceMin"
    name = builder.scale(layer, name, np.array(-1), 0) if turned else name
    places = sorted(axis_of(operation, edge, axis) for axis in axes)
    for place in places:
        name = largest(builder, layer, name, np.arange(builder.shape(name)[place]), place)
    name = builder.scale(layer, name, np.array(-1), 0) if turned else name
    if operation.attributes.get("keepdims", 1):
        return replace(edge, name=name)
    name = builder.reshape(layer, name, tuple(n for at, n in enumerate(builder.shape(name)) if at not in places))
    left = [axis for axis in edge.axes if axis not in places]
    return replace(edge, name=name, axes=tuple(axis - sum(place < axis for place in places) for axis in left))


def global_average(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Take the mean over all axes but the channels."""
    edge = settled(reading, operation, xs[0])
    total, count = _summed(reading, operation, edge, _sides(operation, edge, reading), keep=True)
    return _mean(reading, operation, total, np.array(count))


def _sides(operation: Operation, edge: Edge, reading: Reading) -> list[int]:
    axes = list(range(2, len(edge.axes) + 1))
    if not axes:
        raise operation.refused(f"expected a field, not a tensor of {reading.shape(edge)}; leave it out")
    return axes


def _mean(reading: Reading, operation: Operation, edge: Edge, counts: Integers) -> Edge:
    """Divide sums by the number of their elements: exactly by a power of two, else as a float operator."""
    if counts.ndim == 0 and int(counts) & (int(counts) - 1) == 0:
        layer, bits = reading.builder.layer(edge.name), int(counts).bit_length() - 1
        return replace(edge, name=reading.builder.scale(layer, edge.name, np.array(1), bits))
    source = operation.outputs[0]  # no tensor of the file has the sum
    return edge.then(FloatStep("divide", operation.name, source, counts.astype(np.float64)))


def _patches(reading: Reading, operation: Operation, edge: Edge) -> Integers:
    """Return the patches of a pooling of a field with channels last; ``ceil_mode`` has part of one at the end."""
    sides = list(reading.shape(edge)[1:])
    size = tuple(operation.attributes["kernel_shape"])
    strides, dilation, margins = placing(operation, sides, size)
    if operation.attributes.get("ceil_mode", 0):
        margins = list(margins)
        for axis, (side, points) in enumerate(zip(sides, size, strict=True)):
            before, after = margins[axis]
            reach, stride = (points - 1) * dilation[axis] + 1, strides[axis]
            count = -(-(side + before + after - reach) // stride) + 1
            count -= (count - 1) * stride >= side + before  # no patch begins behind the field
            margins[axis] = (before, max(after, (count - 1) * stride + reach - side - before))
    rows = patches(sides, size, strides, dilation, margins)
    if not rows.size or np.any(rows.max(-1) < 0):
        raise operation.refused(f"a window of {list(size)} does not fit a field of {sides}; export it again")
    return rows


def _padded_counts(reading: Reading, operation: Operation, edge: Edge, rows: Integers) -> Integers:
    """Return how many elements of each patch lie in the field or its stated margins, not behind them."""
    sides = list(reading.shape(edge)[1:])
    size = tuple(operation.attributes["kernel_shape"])
    strides, dilation, margins = placing(operation, sides, size)
    counts = np.ones((), np.int64)
    for patches_, side, points, stride, step, (before, after) in zip(
        rows.shape[:-1], sides, size, strides, dilation, margins, strict=True
    ):
        places = np.arange(patches_)[:, None] * stride - before + np.arange(points) * step
        counts = counts[..., None] * (places < side + after).sum(-1)
    return counts


def _field(reading: Reading, operation: Operation, edge: Edge) -> Edge:
    if len(edge.axes) not in (2, 3):
        raise operation.refused(f"fields must have 1 or 2 axes, not {len(edge.axes) - 1}")
    return reading.ordered(operation, edge, channels_last(len(edge.axes)))


def max_pool(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Take the largest element of each window; float operators of each channel stay for the next quantiser."""
    edge = _rising(reading, operation, _field(reading, operation, edge_of(operation, xs[0])))
    if operation.kind == "GlobalMaxPool":
        sides = reading.shape(edge)[1:]
        rows = np.arange(prod(sides)).reshape(*(1,) * len(sides), -1)
    else:
        rows = _patches(reading, operation, edge)
    name = maxima(reading.builder, reading.layer(operation), edge.name, rows)
    return replace(edge, name=name)


def _rising(reading: Reading, operation: Operation, edge: Edge) -> Edge:
    """Return an edge whose largest element is that of its tensor, in every channel: those that fall change sign."""
    if edge.exact:
        return edge
    arrays = [edge.scale, *(own.constant for own in edge.chain)]
    apart = any(array is not None and prod(array.shape[:-1]) > 1 for array in arrays)
    sign = directions(edge.chain)
    if apart or sign is None:
        edge = settled(reading, operation, edge)
        sign = np.ones(())
    sign = sign if edge.scale is None else sign * np.sign(edge.scale)
    if np.all(sign > 0):
        return edge
    name = reading.builder.scale(reading.builder.layer(edge.name), edge.name, sign.astype(np.int64), 0)
    if edge.scale is not None:
        return replace(edge, name=name, scale=edge.scale * sign)
    first = FloatStep("multiply", operation.name, operation.inputs[0], sign)
    return replace(edge, name=name, chain=(first, *edge.chain))


def average_pool(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Take the mean of each window."""
    edge = _field(reading, operation, settled(reading, operation, xs[0]))
    if edge.scale is not None and edge.scale.ndim:
        raise operation.refused(
            "adds values whose channels have scales of their own; put a Quant of one scale before it"
        )
    rows, layer, builder = _patches(reading, operation, edge), reading.layer(operation), reading.builder
    total = builder.sum(layer, taken(builder, layer, edge.name, rows), rows.ndim - 1)
    counts = (rows >= 0).sum(-1)
    if operation.attributes.get("count_include_pad", 0):
        counts = _padded_counts(reading, operation, edge, rows)
    same = np.array(counts.flat[0]) if np.all(counts == counts.flat[0]) else counts[..., None]
    return _mean(reading, operation, Edge(total, edge.axes, edge.scale), same)


def extreme(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Take the largest or the smallest of any number of computed tensors, element by element."""
    builder = reading.builder
    join, turned = builder.max, partial(smaller, builder)
    if operation.kind == "Min":
        join, turned = turned, join
    edges = [edge_of(operation, x) for x in xs]
    try:
        edges = [settled(reading, operation, edge) for edge in edges]
    except ModelError:
        return compared(reading, operation, edges, join, turned)
    if not have_common_step(edges):
        return compared(reading, operation, edges, join, turned)
    edges = together(reading, operation, list(edges))
    return reduce(lambda one, other: joined(reading, operation, one, other, join), edges)
