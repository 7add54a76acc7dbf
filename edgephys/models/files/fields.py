"""Patches of fields, padding and maxima, written as moves, sums and ReLUs of a Graph.  Fields have channels last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow
from edgephys.graph.build import Builder

OUTSIDE = -1
"""Row of a patch's element that lies beyond the edges."""


Margins = Sequence[tuple[int, int]]


def same_margins(
    sides: Sequence[int], size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the margins of TensorFlow's "same" padding: as many patches as points, divided by the stride."""
    margins = []
    for side, points, stride, spread in zip(sides, size, strides, dilation, strict=True):
        both = max(0, (-(-side // stride) - 1) * stride + (points - 1) * spread + 1 - side)
        margins.append((both // 2, both - both // 2))
    return margins


def patches(
    sides: Sequence[int], size: Sequence[int], strides: Sequence[int], dilation: Sequence[int], margins: Margins
) -> Integers:
    """Return the flat index of every point of every patch, ``OUTSIDE`` beyond the edges.

    Patches begin in the margins around the field, and lie wholly in it and them.
    Shape: (*patches along each side, points of a patch).
    """
    axes = []
    for side, points, stride, spread, (before, after) in zip(sides, size, strides, dilation, margins, strict=True):
        count = (side + before + after - (points - 1) * spread - 1) // stride + 1
        places = np.arange(max(count, 0))[:, None] * stride - before + np.arange(points) * spread
        axes.append(np.where((places >= 0) & (places < side), places, OUTSIDE))
    return crossed(sides, axes)


def crossed(sides: Sequence[int], axes: Sequence[Integers]) -> Integers:
    """Return flat indices from those along each side, ``OUTSIDE`` where one is.

    Shape: axes (patch, point) each -> (*patches along each side, points of a patch).
    """
    flat = np.zeros((1, 1), np.int64)
    for side, places in zip(sides, axes, strict=True):
        joined = flat[:, None, :, None] * side + places[None, :, None, :]
        beyond = (flat[:, None, :, None] < 0) | (places[None, :, None, :] < 0)
        flat = np.where(beyond, OUTSIDE, joined).reshape(-1, flat.shape[1] * places.shape[1])
    return flat.reshape(*(len(places) for places in axes), flat.shape[1])


def in_each(rows: Integers, lead: Sequence[int], points: int) -> Integers:
    """Return flat indices of one field for each of several fields that follow each other, of so many points each.

    Shape: rows (*patches, points of a patch) -> (*lead, *patches, points of a patch).
    """
    firsts = np.arange(int(np.prod(lead))) * points
    whole = np.where(rows < 0, OUTSIDE, rows + firsts.reshape(-1, *(1 for _ in rows.shape)))
    return whole.reshape(*lead, *rows.shape)


def windows_of(builder: Builder, layer: str, edge: str, rows: Integers) -> str:
    """Return the elements of patches, all channels of a point together: (*patches, points * channels)."""
    shape = builder.shape(edge)
    gathered = taken(builder, layer, edge, rows)
    return builder.reshape(layer, gathered, (*rows.shape[:-1], rows.shape[-1] * shape[-1]))


def taken(builder: Builder, layer: str, edge: str, rows: Integers) -> str:
    """Return points by their flat index, zeros where it is ``OUTSIDE``: (*shape of rows, channels)."""
    shape = builder.shape(edge)
    points, channels = int(np.prod(shape[:-1])), shape[-1]
    flat = builder.reshape(layer, edge, (points, channels))
    if np.any(rows < 0):
        zeros = builder.scale(layer, builder.take(layer, flat, [0], 0), np.zeros(channels, np.int64), 0)
        flat = builder.concat(layer, (flat, zeros), 0)
    return builder.take(layer, flat, np.where(rows < 0, points, rows), 0)


def padded(builder: Builder, layer: str, edge: str, margins: Sequence[tuple[int, int]]) -> str:
    """Return a field with as many rows of zeros before and after each of its last axes as its margins say."""
    sides = builder.shape(edge)[:-1]
    flat = np.arange(int(np.prod(sides))).reshape(sides)
    for axis, (before, after) in enumerate(margins, start=len(sides) - len(margins)):
        widths = [(0, 0)] * len(sides)
        widths[axis] = (max(before, 0), max(after, 0))
        flat = np.pad(flat, widths, constant_values=OUTSIDE)
        length = flat.shape[axis]
        flat = np.take(flat, np.arange(max(-before, 0), length - max(-after, 0)), axis)
    return taken(builder, layer, edge, flat)


def difference(builder: Builder, name: str, x: str, y: str) -> str:
    """Return x - y."""
    return builder.add(name, x, builder.scale(name, y, np.array(-1), 0))


def smaller(builder: Builder, name: str, x: str, y: str) -> str:
    """Return min(x, y) as -max(-x, -y)."""
    x, y = (builder.scale(name, edge, np.array(-1), 0) for edge in (x, y))
    return builder.scale(name, builder.max(name, x, y), np.array(-1), 0)


def maxima(builder: Builder, layer: str, edge: str, rows: Integers) -> str:
    """Return the largest point of each patch, in each channel; beyond the edges nothing is larger."""
    shape = builder.shape(edge)
    inside = np.where(rows < 0, rows.max(-1, keepdims=True), rows)  # a point of the patch stands in
    flat = builder.reshape(layer, edge, (int(np.prod(shape[:-1])), shape[-1]))
    if inside.size == rows.shape[-1]:  # one patch
        return builder.reshape(layer, largest(builder, layer, flat, inside.reshape(-1)), (*rows.shape[:-1], shape[-1]))
    points = [builder.take(layer, flat, inside[..., point], 0) for point in range(rows.shape[-1])]
    return tournament(builder, layer, points)


def tournament(builder: Builder, name: str, edges: list[str]) -> str:
    """Return the largest of several edges, by pairs, so that the depth is that of a tree."""
    while len(edges) > 1:
        pairs = [builder.max(name, *edges[at : at + 2]) for at in range(0, len(edges) - 1, 2)]
        edges = pairs + edges[len(pairs) * 2 :]
    return edges[0]


def largest(builder: Builder, layer: str, edge: str, rows: Integers, axis: int = 0) -> str:
    """Return the largest elements of rows along an axis, which keeps a length of 1: of pairs, then of pairs of these.

    It has as many comparisons as a tournament of single rows, in fewer and larger operations.
    """
    apart: list[str] = []
    while rows.size > 1:
        if rows.size % 2:
            apart.append(builder.take(layer, edge, rows[-1:], axis))
        one, other = (builder.take(layer, edge, rows[first : rows.size // 2 * 2 : 2], axis) for first in (0, 1))
        edge = builder.max(layer, one, other)
        rows = np.arange(rows.size // 2)
    return tournament(builder, layer, [edge, *apart])


def leaky(builder: Builder, name: str, edge: str, slope: int, fraction: int) -> str:
    """Return max(x, 0) - slope * max(-x, 0), where the slope is an integer at 2**-fraction."""
    below = builder.relu(name, builder.scale(name, edge, np.array(-1), 0))
    part = builder.scale(name, below, np.array(-slope), fraction)
    return builder.add(name, builder.relu(name, edge), part)


def bounded(builder: Builder, emulated: set[str], name: str, edge: str, low: int | None, high: int | None) -> str:
    """Return x between two ends, integers in steps of x; None for an open end.

    Sums in between are added to ``emulated``: no framework computes them.
    """
    own = builder.fraction(edge)
    for end, sign in ((low, 1), (high, -1)):  # max(x, low) is low + max(x - low, 0)
        if end is None:
            continue
        turned = edge if sign > 0 else builder.scale(name, edge, np.array(-1), 0)
        less = builder.bias(name, turned, np.array(-sign * end), own) if end else turned
        over = builder.relu(name, less)
        back = builder.bias(name, over, np.array(sign * end), own) if end else over
        emulated.update({turned, less} - {edge})
        edge = back if sign > 0 else builder.scale(name, back, np.array(-1), 0)
    return edge


def saturating(low: int | None, high: int | None, fraction: int) -> Fixed | None:
    """Return the saturating format whose integers are low..high, where there is one."""
    if low is None or high is None:
        return None
    for signed, overflow in ((False, Overflow.SAT), (True, Overflow.SAT), (True, Overflow.SAT_SYM)):
        bits = (high + 1).bit_length() - 1 + signed if high > 0 else 0
        if 1 + signed <= bits <= 24:
            fixed = Fixed(signed, bits, bits - fraction, overflow=overflow)
            if (fixed.low, fixed.high) == (low, high):
                return fixed
    return None
