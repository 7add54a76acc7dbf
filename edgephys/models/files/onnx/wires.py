"""Rules of ONNX's operators that move numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.models.files.onnx.constants import FLOATS, axes_of
from edgephys.models.files.onnx.elementwise import settled, together
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.joins import concatenated, have_common_step, joined_later
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.products import each
from edgephys.models.files.onnx.reading import Reading, Value, Values, axis_of, batch_of, edge_of, known_of, named
from edgephys.models.files.onnx.resizes import resized


def _same(reading: Reading, operation: Operation, xs: Values) -> Value:
    if operation.kind == "Cast" and operation.attributes.get("to") not in FLOATS:
        raise operation.refused("must keep floats; a Cast to another type rounds by no stated rule: use Quant")
    training = named(operation, xs)[2] if operation.kind == "Dropout" and len(operation.inputs) > 2 else None
    if training is not None and np.any(known_of(operation, training, "training_mode").values):
        raise operation.refused("is in training mode; export the model in evaluation mode")
    return xs[0]


def _transposed(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    order = operation.attributes.get("perm", list(range(len(edge.axes) + 1))[::-1])
    if len(order) != len(edge.axes) + 1 or order[0] != 0:
        raise operation.refused(f"perm must leave the batch first, not {list(order)}; vectors of a batch do not meet")
    return replace(edge, axes=tuple(edge.axes[axis - 1] for axis in order[1:]))


def _reshape(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, before = edge_of(operation, xs[0]), (1, *reading.shape(edge_of(operation, xs[0])))
    lengths = [int(n) for n in np.ravel(known_of(operation, xs[1], "shape").values)]
    batch, rest = (lengths[0], lengths[1:]) if lengths else (1, [])
    if not operation.attributes.get("allowzero", 0):
        rest = [before[at] if length == 0 and at < len(before) else length for at, length in enumerate(rest, start=1)]
    size = prod(before)
    if rest.count(-1) == 1 and prod(rest) != 0 and size % -prod(rest) == 0:
        rest[rest.index(-1)] = size // -prod(rest)
    if batch not in (-1, 0, batch_of(reading)) or prod(rest) != size or min(rest, default=1) < 1:
        raise operation.refused(
            f"shape {lengths} does not keep the batch and {size} elements a vector; begin it with 0"
        )
    return reading.reshaped(operation, edge, tuple(rest))


def _flatten(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    axis = operation.attributes.get("axis", 1)
    alone = axis == 0 and batch_of(reading) == 1  # older tools flatten the batch of one, too
    if axis not in (1, -len(edge.axes)) and not alone:
        raise operation.refused(f"axis must be 1, which keeps the batch, not {axis}; export it so")
    return reading.reshaped(operation, edge, (prod(reading.shape(edge)),))


def _squeezed(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, axes = edge_of(operation, xs[0]), axes_of(operation, xs)
    shape = (0, *reading.shape(edge))
    left = {axis % len(shape) for axis in axes} if axes is not None else {at for at, n in enumerate(shape) if n == 1}
    if 0 in left or any(shape[axis] != 1 for axis in left):
        raise operation.refused(f"axes {axes} must be of one element and not the batch; state others")
    return reading.reshaped(operation, edge, tuple(n for at, n in enumerate(shape) if at not in left | {0}))


def _unsqueezed(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, axes = edge_of(operation, xs[0]), axes_of(operation, xs) or []
    rank = 1 + len(edge.axes) + len(axes)
    places = sorted(axis % rank for axis in axes)
    if 0 in places:
        raise operation.refused(f"axes {axes} must come after the batch; state others")
    shape = [*reading.shape(edge)]
    for place in places:
        shape.insert(place - 1, 1)
    return reading.reshaped(operation, edge, tuple(shape))


def _shape(reading: Reading, operation: Operation, xs: Values) -> Value:
    """The batch's length is not known: 0 stands for it, which a Reshape reads as whatever it is."""
    part = slice(operation.attributes.get("start", 0), operation.attributes.get("end"))
    return Known(np.array([0, *reading.shape(edge_of(operation, xs[0]))], np.int64)[part], operation.name)


def _concatenated(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Join along an axis: parts of other scales keep them, and those with float operators are rounded first."""
    edges = [edge_of(operation, x) for x in xs]
    edges = [reading.ordered(operation, edge, edges[0].axes) for edge in edges]
    axis = axis_of(operation, edges[0], operation.attributes["axis"])
    try:
        edges = [settled(reading, operation, edge) for edge in edges]
    except ModelError:
        return joined_later(reading, operation, edges, axis)
    if have_common_step(edges):
        edges = together(reading, operation, list(edges))
    return concatenated(reading, reading.layer(operation), edges, axis)


def _split(reading: Reading, operation: Operation, xs: Values) -> list[Value]:
    edge, axis = edge_of(operation, xs[0]), operation.attributes.get("axis", 0)
    length, count = reading.builder.shape(edge.name)[axis_of(operation, edge, axis)], len(operation.outputs)
    each_part = -(-length // count)
    parts = [each_part] * (count - 1) + [length - each_part * (count - 1)]
    if len(xs) > 1:
        parts = [int(part) for part in known_of(operation, xs[1], "lengths").values]
    elif "split" in operation.attributes:
        parts = list(operation.attributes["split"])
    if sum(parts) != length or len(parts) != count or min(parts) < 1:
        raise operation.refused(f"lengths {parts} do not make {length} elements in {count} parts; export it again")
    ends = np.cumsum([0, *parts])
    return [reading.taken(operation, edge, axis, np.arange(begin, end)) for begin, end in pairwise(ends)]


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
    return reading.spread(operation, edge, spread.reshape(channels, height * block, width * block))


def _padded(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Surround with zeros, or with the elements at the edges."""
    mode = operation.attributes.get("mode", b"constant").decode(errors="replace")
    edge, rank = edge_of(operation, xs[0]), len(edge_of(operation, xs[0]).axes) + 1
    pads, value = _pads(operation, xs, rank)
    if mode not in ("constant", "edge", "reflect") or len(pads) != 2 * rank or pads[0] or pads[rank]:
        raise operation.refused(f"must pad in mode constant, edge or reflect, not the batch, and not {mode} by {pads}")
    if mode == "constant":
        edge = settled(reading, operation, edge)
        zero = 0 if edge.grid is None else edge.grid[1]
        if value != zero:
            raise operation.refused(f"must pad with {zero}, not {value:g}; add a constant before and after it")
    shape = reading.shape(edge)
    order = np.arange(prod(shape)).reshape(shape)
    for axis, (before, after) in enumerate(zip(pads[1:rank], pads[rank + 1 :], strict=True)):
        order = np.take(order, np.arange(max(-before, 0), shape[axis] - max(-after, 0)), axis)
        widths = [(0, 0)] * len(shape)
        widths[axis] = (max(before, 0), max(after, 0))
        order = np.pad(order, widths, constant_values=-1) if mode == "constant" else np.pad(order, widths, mode)
    return reading.spread(operation, edge, order)


def _pads(operation: Operation, xs: Values, rank: int) -> tuple[list[int], float]:
    """Return how many elements a Pad adds before and after every axis, and their value."""
    if len(xs) == 1:
        return list(operation.attributes["pads"]), float(operation.attributes.get("value", 0.0))
    inputs = named(operation, xs)
    pads = [int(n) for n in known_of(operation, xs[1], "pads").values]
    value = inputs[2] if len(inputs) > 2 else None
    if len(inputs) > 3 and inputs[3] is not None:
        axes = [int(axis) % rank for axis in known_of(operation, inputs[3], "axes").values]
        stated, pads = pads, [0] * (2 * rank)
        for at, axis in enumerate(axes):
            pads[axis], pads[axis + rank] = stated[at], stated[at + len(axes)]
    return pads, 0.0 if value is None else float(known_of(operation, value, "value").values.flat[0])


MOST = (1 << 31) - 1
"""Least end of a slice that exporters write where it has none."""


def _expanded(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Repeat elements along axes of length 1 (Expand), or everything (Tile)."""
    edge = edge_of(operation, xs[0])
    counts = [int(n) for n in known_of(operation, xs[1], "shape").values]
    order = np.arange(prod(reading.shape(edge))).reshape(1, *reading.shape(edge))
    try:
        order = np.tile(order, counts) if operation.kind == "Tile" else order * np.ones(counts, np.int64)
    except ValueError as error:
        raise operation.refused(f"{counts} does not fit {order.shape}; export it again") from error
    if order.ndim != len(edge.axes) + 1 or len(order) != 1:
        raise operation.refused(f"{counts} must repeat the elements of a vector, not the batch; use a Gather")
    return reading.spread(operation, edge, order[0])


def _channels_moved(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Move the last axis to the place of the channels, or back; a constant's, too."""
    first = operation.kind == "ChannelsFirst"
    if isinstance(xs[0], Known):
        moved = (-1, 1) if first else (1, -1)
        return each(xs[0], lambda values: np.moveaxis(values, *moved))
    axes = xs[0].axes
    return replace(xs[0], axes=(axes[-1], *axes[:-1]) if first else (*axes[1:], axes[0]))


def _gathered(reading: Reading, operation: Operation, xs: Values) -> Value:
    rows = known_of(operation, xs[1], "indices").values.astype(np.int64)
    return reading.taken(operation, edge_of(operation, xs[0]), operation.attributes.get("axis", 0), rows)


def _sliced(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Take rows from a start to a stop along axes: the first ones, where they are not stated; of the batch, all."""
    edge, attributes = edge_of(operation, xs[0]), operation.attributes
    if len(xs) > 1:
        ends: list[Any] = [
            None if x is None else np.ravel(known_of(operation, x, "starts, ends, axes and steps").values).tolist()
            for x in named(operation, xs)[1:]
        ]
    else:
        ends = [list(attributes[name]) if name in attributes else None for name in ("starts", "ends", "axes")]
    starts, stops, axes, steps = [*ends, None, None][:4]
    axes = list(range(len(starts))) if axes is None else axes
    for start, stop, axis, step in zip(starts, stops, axes, steps or [1] * len(starts), strict=True):
        if axis in (0, -1 - len(edge.axes)) and (start, step) == (0, 1) and stop >= MOST:
            continue
        length = reading.builder.shape(edge.name)[axis_of(operation, edge, axis)]
        rows = np.arange(length)[slice(start, stop if abs(stop) < MOST else None, step)]
        if not rows.size:
            raise operation.refused(f"its slice of axis {axis} is empty; export the model again")
        edge = reading.taken(operation, edge, axis, rows)
    return edge


WIRES: dict[str, Callable[[Reading, Operation, Values], Value | list[Value]]] = {
    "Identity": _same,
    "Dropout": _same,
    "Cast": _same,
    "ChannelsFirst": _channels_moved,
    "ChannelsLast": _channels_moved,
    "Transpose": _transposed,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Shape": _shape,
    "Concat": _concatenated,
    "Split": _split,
    "Gather": _gathered,
    "Slice": _sliced,
    "Expand": _expanded,
    "Tile": _expanded,
    "Pad": _padded,
    "Resize": resized,
    "Upsample": resized,
    "DepthToSpace": _spread,
}
