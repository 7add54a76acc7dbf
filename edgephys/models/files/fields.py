"""Patches of fields, padding and maxima, written as moves, sums and ReLUs of a Graph.  Fields have channels last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.build import Builder

OUTSIDE = -1
"""Row of a patch's element that lies beyond the edges."""


def patches(
    sides: tuple[int, ...], size: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...], same: bool
) -> Integers:
    """Return the flat index of every point of every patch, ``OUTSIDE`` beyond the edges.

    Shape: (*patches along each side, points of a patch).  Source: TensorFlow's "same" and "valid" padding.
    """
    axes = []
    for side, points, stride, spread in zip(sides, size, strides, dilation, strict=True):
        reach = (points - 1) * spread + 1
        count = -(-side // stride) if same else (side - reach) // stride + 1
        before = max(0, (count - 1) * stride + reach - side) // 2 if same else 0
        places = np.arange(count)[:, None] * stride - before + np.arange(points) * spread
        axes.append(np.where((places >= 0) & (places < side), places, OUTSIDE))
    return crossed(sides, axes)


def crossed(sides: tuple[int, ...], axes: Sequence[Integers]) -> Integers:
    """Return the flat index of every point of every patch from its places along each axis: (patch, point).

    Shape: (*patches along each side, points of a patch).
    """
    flat = np.zeros((1, 1), np.int64)
    for side, places in zip(sides, axes, strict=True):
        joined = flat[:, None, :, None] * side + places[None, :, None, :]
        beyond = (flat[:, None, :, None] < 0) | (places[None, :, None, :] < 0)
        flat = np.where(beyond, OUTSIDE, joined).reshape(-1, flat.shape[1] * places.shape[1])
    return flat.reshape(*(len(places) for places in axes), -1)


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
    """Return a field with as many rows of zeros before and after each axis as its margins say."""
    sides = builder.shape(edge)[:-1]
    flat = np.arange(int(np.prod(sides))).reshape(sides)
    for axis, (before, after) in enumerate(margins):
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


def tournament(builder: Builder, name: str, edges: list[str]) -> str:
    """Return the largest of several edges, by pairs, so that the depth is that of a tree."""
    while len(edges) > 1:
        pairs = [builder.max(name, *edges[at : at + 2]) for at in range(0, len(edges) - 1, 2)]
        edges = pairs + edges[len(pairs) * 2 :]
    return edges[0]
