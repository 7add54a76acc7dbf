"""Rules of ONNX's operators that move numbers, and of those that add them up along axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.models.files.onnx.constants import Known, axes_of
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.reading import Edge, Reading, Value, Values, axis_of, edge_of, known_of

ANY_MEAN = "use a count that is a power of two, or a sum and a quantised factor"


def _same(reading: Reading, operation: Operation, xs: Values) -> Value:
    if operation.kind == "Cast" and operation.attributes.get("to") not in (1, 11):
        raise operation.refused("must keep floats; a Cast to another type rounds by no stated rule: use Quant")
    return xs[0]


def _transposed(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    order = operation.attributes.get("perm", list(range(len(edge.axes) + 1))[::-1])
    if len(order) != len(edge.axes) + 1 or order[0] != 0:
        raise operation.refused(f"perm must leave the batch first, not {list(order)}; vectors of a batch do not meet")
    return replace(edge, axes=tuple(edge.axes[axis - 1] for axis in order[1:]))


def _reshaped(reading: Reading, operation: Operation, edge: Edge, shape: tuple[int, ...]) -> Edge:
    if shape == reading.shape(edge):
        return edge
    edge = reading.plain(operation, edge)
    name = reading.builder.reshape(reading.layer(operation), edge.name, shape)
    return Edge(name, tuple(range(len(shape))))


def _reshape(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, before = edge_of(operation, xs[0]), (1, *reading.shape(edge_of(operation, xs[0])))
    lengths = [int(n) for n in np.ravel(known_of(operation, xs[1], "shape").values)]
    batch, rest = (lengths[0], lengths[1:]) if lengths else (1, [])
    if not operation.attributes.get("allowzero", 0):
        rest = [before[at] if length == 0 and at < len(before) else length for at, length in enumerate(rest, start=1)]
    size = prod(before)
    if rest.count(-1) == 1 and prod(rest) != 0 and size % -prod(rest) == 0:
        rest[rest.index(-1)] = size // -prod(rest)
    if batch not in (-1, 0, _batch(reading)) or prod(rest) != size or min(rest, default=1) < 1:
        raise operation.refused(
            f"shape {lengths} does not keep the batch and {size} elements a vector; begin it with 0"
        )
    return _reshaped(reading, operation, edge, tuple(rest))


def _batch(reading: Reading) -> int:
    """Return the batch that the file states, or 1."""
    (entry,) = [entry for entry in reading.model.proto.graph.input if entry.name == reading.model.input]
    return int(entry.type.tensor_type.shape.dim[0].dim_value) or 1


def _flatten(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    axis = operation.attributes.get("axis", 1)
    if axis not in (1, -len(edge.axes)):
        raise operation.refused(f"axis must be 1, which keeps the batch, not {axis}; export it so")
    return _reshaped(reading, operation, edge, (prod(reading.shape(edge)),))


def _squeezed(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, axes = edge_of(operation, xs[0]), axes_of(operation, xs)
    shape = (0, *reading.shape(edge))
    left = {axis % len(shape) for axis in axes} if axes is not None else {at for at, n in enumerate(shape) if n == 1}
    if 0 in left or any(shape[axis] != 1 for axis in left):
        raise operation.refused(f"axes {axes} must be of one element and not the batch; state others")
    return _reshaped(reading, operation, edge, tuple(n for at, n in enumerate(shape) if at not in left | {0}))


def _unsqueezed(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, axes = edge_of(operation, xs[0]), axes_of(operation, xs) or []
    rank = 1 + len(edge.axes) + len(axes)
    places = sorted(axis % rank for axis in axes)
    if 0 in places:
        raise operation.refused(f"axes {axes} must come after the batch; state others")
    shape = [*reading.shape(edge)]
    for place in places:
        shape.insert(place - 1, 1)
    return _reshaped(reading, operation, edge, tuple(shape))


def _shape(reading: Reading, operation: Operation, xs: Values) -> Value:
    """The batch's length is not known: 0 stands for it, which a Reshape reads as whatever it is."""
    return Known(np.array([0, *reading.shape(edge_of(operation, xs[0]))], np.int64), operation.name)


def _concatenated(reading: Reading, operation: Operation, xs: Values) -> Value:
    edges = [edge_of(operation, x) for x in xs]
    edges = [reading.ordered(operation, edge, edges[0].axes) for edge in edges]
    axis = axis_of(operation, edges[0], operation.attributes["axis"])
    joined = reading.builder.concat(reading.layer(operation), tuple(edge.name for edge in edges), axis)
    return replace(edges[0], name=joined)


def _taken(reading: Reading, operation: Operation, edge: Edge, axis: int, rows: Integers) -> Edge:
    if rows.ndim != 1:
        edge = reading.plain(operation, edge)
    at = axis_of(operation, edge, axis)
    name = reading.builder.take(reading.layer(operation), edge.name, rows % reading.builder.shape(edge.name)[at], at)
    return Edge(name, edge.axes if rows.ndim == 1 else tuple(range(len(reading.builder.shape(name)))))


def _spread(reading: Reading, operation: Operation, xs: Values) -> Value:
    """A DepthToSpace lays channels beside each other as pixels: wires."""
    edge = reading.plain(operation, edge_of(operation, xs[0]))
    block, shape = operation.attributes["blocksize"], reading.shape(edge)
    if len(shape) != 3 or shape[0] % (block * block):
        raise operation.refused(f"expected a field whose channels are a multiple of {block * block}, not {shape}")
    channels, height, width = shape[0] // (block * block), *shape[1:]
    places = np.arange(prod(shape))
    if operation.attributes.get("mode", b"DCR") == b"CRD":
        spread = places.reshape(channels, block, block, height, width).transpose(0, 3, 1, 4, 2)
    else:
        spread = places.reshape(block, block, channels, height, width).transpose(2, 3, 0, 4, 1)
    layer = reading.layer(operation)
    flat = reading.builder.reshape(layer, edge.name, (places.size,))
    rows = spread.reshape(channels, height * block, width * block)
    return Edge(reading.builder.take(layer, flat, rows, 0), (0, 1, 2))


def _gathered(reading: Reading, operation: Operation, xs: Values) -> Value:
    rows = known_of(operation, xs[1], "indices").values.astype(np.int64)
    return _taken(reading, operation, edge_of(operation, xs[0]), operation.attributes.get("axis", 0), rows)


def _sliced(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, attributes = edge_of(operation, xs[0]), operation.attributes
    if len(xs) > 1:
        ends = [np.ravel(known_of(operation, x, "starts, ends, axes and steps").values).tolist() for x in xs[1:]]
    else:
        ends = [list(attributes[name]) for name in ("starts", "ends", "axes") if name in attributes]
    starts, stops = ends[:2]
    axes = ends[2] if len(ends) > 2 else list(range(len(starts)))
    steps = ends[3] if len(ends) > 3 else [1] * len(starts)
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        length = reading.builder.shape(edge.name)[axis_of(operation, edge, axis)]
        rows = np.arange(length)[slice(start, stop if abs(stop) < 1 << 31 else None, step)]
        if not rows.size:
            raise operation.refused(f"its slice of axis {axis} is empty; export the model again")
        edge = _taken(reading, operation, edge, axis, rows)
    return edge


# Sums -------------------------------------------------------------------------------------------


def _summed(reading: Reading, operation: Operation, edge: Edge, axes: list[int], keep: bool) -> tuple[Edge, int]:
    """Return the sum over axes, and the count of elements in it."""
    layer, count, places = reading.layer(operation), 1, sorted(axis_of(operation, edge, axis) for axis in axes)
    lengths = [1 if axis in places else n for axis, n in zip(edge.axes, reading.shape(edge), strict=True)]
    for place in reversed(places):
        count *= reading.builder.shape(edge.name)[place]
        name = reading.builder.sum(layer, edge.name, place)
        edge = Edge(name, tuple(axis - (axis > place) for axis in edge.axes if axis != place))
    if keep:
        edge = reading.plain(operation, edge)
        edge = Edge(reading.builder.reshape(layer, edge.name, tuple(lengths)), tuple(range(len(lengths))))
    return edge, count


def _reduced(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, axes = edge_of(operation, xs[0]), axes_of(operation, xs)
    if not axes:
        raise operation.refused("its axes must be stated, none of them the batch; export it so")
    total, count = _summed(reading, operation, edge, axes, bool(operation.attributes.get("keepdims", 1)))
    return total if operation.kind == "ReduceSum" else _mean(reading, operation, total, count)


def _pooled(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    axes = list(range(2, len(edge.axes) + 1))
    if not axes:
        raise operation.refused(f"expected a field, not a tensor of {reading.shape(edge)}; leave it out")
    return _mean(reading, operation, *_summed(reading, operation, edge, axes, keep=True))


def _mean(reading: Reading, operation: Operation, edge: Edge, count: int) -> Edge:
    if count & (count - 1):
        raise operation.refused(f"its mean of {count} elements is rounded by float32; {ANY_MEAN}")
    layer = reading.builder.layer(edge.name)
    return replace(edge, name=reading.builder.scale(layer, edge.name, np.array(1), count.bit_length() - 1))


WIRES: dict[str, Callable[[Reading, Operation, Values], Value]] = {
    "Identity": _same,
    "Dropout": _same,
    "Cast": _same,
    "Transpose": _transposed,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Shape": _shape,
    "Concat": _concatenated,
    "Gather": _gathered,
    "Slice": _sliced,
    "DepthToSpace": _spread,
}
SUMS: dict[str, Callable[[Reading, Operation, Values], Value]] = {
    "ReduceSum": _reduced,
    "ReduceMean": _reduced,
    "GlobalAveragePool": _pooled,
}
