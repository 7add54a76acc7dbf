"""Rules of ONNX's operators that move numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.models.files.onnx.constants import axes_of
from edgephys.models.files.onnx.elementwise import settled, together
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.joins import concatenated, have_common_step, joined_later
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.products import each
from edgephys.models.files.onnx.reading import Reading, Value, Values, axis_of, edge_of, known_of


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
    return reading.reshaped(operation, edge, tuple(rest))


def _batch(reading: Reading) -> int:
    """Return the batch that the file states, or 1."""
    entry = next(entry for entry in reading.model.proto.graph.input if entry.name in reading.model.inputs)
    return int(entry.type.tensor_type.shape.dim[0].dim_value) or 1


def _flatten(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge = edge_of(operation, xs[0])
    axis = operation.attributes.get("axis", 1)
    alone = axis == 0 and _batch(reading) == 1  # older tools flatten the batch of one, too
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
    return Known(np.array([0, *reading.shape(edge_of(operation, xs[0]))], np.int64), operation.name)


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
        if value != 0:
            raise operation.refused(f"must pad with 0, not {value:g}; add a constant before and after it")
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
    named = _named(operation, xs)
    pads = [int(n) for n in known_of(operation, xs[1], "pads").values]
    value = named[2] if len(named) > 2 else None
    if len(named) > 3 and named[3] is not None:
        axes = [int(axis) % rank for axis in known_of(operation, named[3], "axes").values]
        stated, pads = pads, [0] * (2 * rank)
        for at, axis in enumerate(axes):
            pads[axis], pads[axis + rank] = stated[at], stated[at + len(axes)]
    return pads, 0.0 if value is None else float(known_of(operation, value, "value").values.flat[0])


def _named(operation: Operation, xs: Values) -> list[Value | None]:
    """Return the values of an operation's inputs, None for those without a name."""
    values = iter(xs)
    return [next(values) if name else None for name in operation.inputs]


NEAREST: dict[bytes, Callable[[Any], Any]] = {
    b"floor": np.floor,
    b"ceil": np.ceil,
    b"round_prefer_floor": lambda x: np.ceil(x - 0.5),
    b"round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def _resized(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Repeat or leave out pixels, as the nearest one is."""
    edge, attributes, old = edge_of(operation, xs[0]), operation.attributes, operation.kind == "Upsample"
    before = (1, *reading.shape(edge))
    mode = attributes.get("mode", b"nearest")
    shift = attributes.get("coordinate_transformation_mode", b"asymmetric" if old else b"half_pixel")
    nearest = attributes.get("nearest_mode", b"floor" if old else b"round_prefer_floor")
    factors, after = _factors(operation, xs, before)
    known = mode == b"nearest" and shift in (b"half_pixel", b"asymmetric") and nearest in NEAREST
    if not known or len(factors) != len(before) or after[0] != 1:
        raise operation.refused("must be of mode nearest, and asymmetric or half_pixel; use such an upsampling")
    order = np.arange(prod(before)).reshape(before[1:])
    for axis, (count, factor) in enumerate(zip(after[1:], factors[1:], strict=True)):
        at = np.arange(count) / factor if shift == b"asymmetric" else (np.arange(count) + 0.5) / factor - 0.5
        order = np.take(order, np.clip(NEAREST[nearest](at), 0, before[axis + 1] - 1).astype(np.int64), axis)
    return reading.spread(operation, edge, order)


def _factors(operation: Operation, xs: Values, before: tuple[int, ...]) -> tuple[list[float], list[int]]:
    """Return by how much each axis grows, and its new length."""
    if operation.kind == "Upsample" and len(xs) == 1:
        named: list[Value | None] = [xs[0], None, Known(np.array(operation.attributes["scales"]), "scales")]
    else:
        named = [*_named(operation, xs)] + [None] * 3
        if len(operation.inputs) == 2:
            named = [named[0], None, named[1], None]
    if isinstance(named[3] if len(named) > 3 else None, Known):
        after = [int(n) for n in known_of(operation, named[3], "sizes").values]  # type: ignore[arg-type]
        return [new / length for new, length in zip(after, before, strict=True)], after
    scales = named[2]
    if scales is None:
        raise operation.refused("must state its scales or sizes; export it so")
    factors = [float(n) for n in known_of(operation, scales, "scales").values]
    return factors, [int(np.floor(length * factor)) for length, factor in zip(before, factors, strict=True)]


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
    "Resize": _resized,
    "Upsample": _resized,
    "DepthToSpace": _spread,
}
