"""Layers that only move elements: patches of convolutions, padding, cropping, permutations and joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.graph.build import Builder
from edgephys.models.files.keras.reading import KerasReading, KerasValue

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


def moved(reading: KerasReading, layer: Any, value: KerasValue, order: Integers) -> KerasValue:
    """Return the elements of a value in the order of flat indices, in the shape of ``order``."""
    builder, edge = reading.builder, reading.edge(layer, value)
    size = int(np.prod(builder.shape(edge)))
    flat = builder.take(layer.name, builder.reshape(layer.name, edge, (size,)), order.reshape(-1), 0)
    return KerasValue(builder.reshape(layer.name, flat, order.shape))


def _order(reading: KerasReading, value: KerasValue) -> Integers:
    shape = reading.shape(value)
    return np.arange(int(np.prod(shape))).reshape(shape)


def flatten(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Join all axes; with channels first, Keras moves the channels to the front before it does."""
    (value,) = values
    shape = reading.shape(value)
    if layer.data_format == "channels_first" and len(shape) > 1:
        return moved(reading, layer, value, np.moveaxis(_order(reading, value), 0, -1).reshape(-1))
    return KerasValue(reading.builder.reshape(layer.name, reading.edge(layer, value), (int(np.prod(shape)),)))


def reshape(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Give the elements another shape."""
    edge = reading.edge(layer, values[0])
    shape = tuple(layer.compute_output_shape((None, *reading.builder.shape(edge)))[1:])
    return KerasValue(reading.builder.reshape(layer.name, edge, shape))


def permute(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Exchange axes; ``dims`` counts from 1."""
    return moved(reading, layer, values[0], _order(reading, values[0]).transpose([axis - 1 for axis in layer.dims]))


def repeat(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Repeat a vector in rows of its own."""
    return moved(reading, layer, values[0], np.tile(_order(reading, values[0]), (layer.n, 1)))


def upsample(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Repeat each point along the axes before the channels."""
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise ModelError(f"layer '{layer.name}': interpolation must be 'nearest', not '{layer.interpolation}'")
    order = _order(reading, values[0])
    sizes = (layer.size,) if isinstance(layer.size, int) else tuple(layer.size)
    for axis, size in enumerate(sizes):
        order = np.repeat(order, size, axis)
    return moved(reading, layer, values[0], order)


def crop(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Leave rows away at both ends of each axis."""
    margins = layer.cropping if isinstance(layer.cropping[0], tuple | list) else [layer.cropping]
    order = _order(reading, values[0])
    for axis, (before, after) in enumerate(margins):
        order = np.take(order, np.arange(before, order.shape[axis] - after), axis)
    return moved(reading, layer, values[0], order)


def concatenate(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Join along an axis."""
    rank = len(reading.shape(values[0]))
    axis = layer.axis - 1 if layer.axis >= 0 else rank + layer.axis
    if axis < 0:
        raise ModelError(f"layer '{layer.name}': axis must not be the batch; use axis 1 and over, or -1")
    return KerasValue(reading.builder.concat(layer.name, reading.edges(layer, values), axis))
