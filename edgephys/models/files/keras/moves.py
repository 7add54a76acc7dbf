"""Layers that only move elements: cropping, permutations and joins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.models.files.keras.joins import concatenated
from edgephys.models.files.keras.reading import KerasReading, KerasValue


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


def flatten_each(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Join all axes but the first one, of each of whose elements a TimeDistributed calls its layer."""
    order = _order(reading, values[0])
    if layer.data_format == "channels_first" and order.ndim > 2:
        order = np.moveaxis(order, 1, -1)
    return moved(reading, layer, values[0], order.reshape(len(order), -1))


def reshape_each(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Give each element of the first axis another shape."""
    edge = reading.edge(layer, values[0])
    shape = reading.builder.shape(edge)
    return KerasValue(reading.builder.reshape(layer.name, edge, tuple(layer.compute_output_shape(shape))))


def reshape(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Give the elements another shape."""
    edge = reading.edge(layer, values[0])
    shape = tuple(layer.compute_output_shape((None, *reading.builder.shape(edge)))[1:])
    return KerasValue(reading.builder.reshape(layer.name, edge, shape))


def permute(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Exchange axes; ``dims`` counts from 1."""
    return moved(reading, layer, values[0], _order(reading, values[0]).transpose([axis - 1 for axis in layer.dims]))


def permute_each(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Exchange the axes of each element of the first one; ``dims`` counts from 1."""
    return moved(reading, layer, values[0], _order(reading, values[0]).transpose([0, *layer.dims]))


def repeat_each(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Repeat each vector of the first axis in rows of its own."""
    return moved(reading, layer, values[0], np.repeat(_order(reading, values[0])[:, None], layer.n, axis=1))


def repeat(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Repeat a vector in rows of its own."""
    return moved(reading, layer, values[0], np.tile(_order(reading, values[0]), (layer.n, 1)))


def sides_of(layer: Any, rank: int, count: int) -> range:
    """Return the axes of the sides of a field: the last ``count`` with channels first, else those before the last."""
    end = rank - (getattr(layer, "data_format", None) != "channels_first")
    return range(end - count, end)


def upsample(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Repeat each point along the axes beside the channels."""
    if getattr(layer, "interpolation", "nearest") != "nearest":
        raise ModelError(f"layer '{layer.name}': interpolation must be 'nearest', not '{layer.interpolation}'")
    order = _order(reading, values[0])
    sizes = (layer.size,) if isinstance(layer.size, int) else tuple(layer.size)
    for axis, size in zip(sides_of(layer, order.ndim, len(sizes)), sizes, strict=True):
        order = np.repeat(order, size, axis)
    return moved(reading, layer, values[0], order)


def crop(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Leave rows away at both ends of each axis."""
    margins = layer.cropping if isinstance(layer.cropping[0], tuple | list) else [layer.cropping]
    order = _order(reading, values[0])
    for axis, (before, after) in zip(sides_of(layer, order.ndim, len(margins)), margins, strict=True):
        order = np.take(order, np.arange(before, order.shape[axis] - after), axis)
    return moved(reading, layer, values[0], order)


def concatenate(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Join along an axis."""
    rank = len(reading.shape(values[0]))
    axis = layer.axis - 1 if layer.axis >= 0 else rank + layer.axis
    if axis < 0:
        raise ModelError(f"layer '{layer.name}': axis must not be the batch; use axis 1 and over, or -1")
    return concatenated(reading, layer, values, axis)
