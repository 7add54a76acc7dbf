"""Pooling: means over windows and over whole fields, with QKeras' quantised factor, and maxima."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.models.files.fields import in_each, maxima, patches, same_margins
from edgephys.models.files.keras.activations import activated
from edgephys.models.files.keras.dense import pair, require_channels_last
from edgephys.models.files.keras.doubles import exact_bits
from edgephys.models.files.keras.quantisers import weights_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue, TooWideError
from edgephys.networks.backend import keras


def average_pooling(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Sum the elements of each window and divide: exactly by a power of two, else with the rounding that follows."""
    builder, edge = reading.builder, reading.edge(layer, values[0])
    shape = builder.shape(edge)
    rows = _windows(layer, shape)
    if np.any(rows < 0):
        raise ModelError(f"layer '{layer.name}': padding must be 'valid', not 'same' with windows of unequal size")
    flat = builder.reshape(layer.name, edge, (int(np.prod(shape[:-1])), shape[-1]))
    total = builder.sum(layer.name, builder.take(layer.name, flat, rows, 0), rows.ndim - 1)
    return _averaged(reading, layer, total, rows.shape[-1], rows.shape[-1])


def global_average(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Sum over all axes but the last, and divide."""
    require_channels_last(layer)
    builder, edge = reading.builder, reading.edge(layer, values[0])
    lead, sides, channels = _divided(layer, builder.shape(edge))
    count = int(np.prod(sides))
    total = builder.sum(layer.name, builder.reshape(layer.name, edge, (*lead, count, channels)), len(lead))
    if getattr(layer, "keepdims", False):
        total = builder.reshape(layer.name, total, (*lead, *(1 for _ in sides), channels))
    return _averaged(reading, layer, total, count, 1)


def _averaged(reading: KerasReading, layer: Any, total: str, count: int, factor: int) -> KerasValue:
    """Return a sum divided by a number, or times QKeras' quantised reciprocal of it, and activated.

    QKeras' pooling multiplies by ``factor`` first, so that its mean is a whole number.
    Raises: TooWideError where Keras' type of floats does not hold that product.
    """
    quantiser = getattr(layer, "average_quantizer_internal", None)
    if quantiser is None:
        value = mean_of(reading, layer, total, count)
    else:
        bits = (reading.builder.range(total).largest * factor).bit_length()
        if bits > exact_bits():
            raise TooWideError(
                f"layer '{layer.name}': its sum times {factor} needs {bits} bits, but Keras' floats hold "
                f"{exact_bits()} exactly; use fewer activation bits before it"
            )
        reciprocal = np.array([1.0 / count], keras.config.floatx())
        integers, fraction = weights_of(layer, "average", reciprocal, quantiser)
        value = KerasValue(reading.builder.scale(layer.name, total, integers[0], fraction))
    return activated(reading, layer, layer.name, value, getattr(layer, "activation", None))


def mean_of(reading: KerasReading, layer: Any, total: str, count: int) -> KerasValue:
    """Return a sum divided by a number: exactly by a power of two, else with the rounding that follows."""
    bits = count.bit_length() - 1
    if count == 1 << bits:
        return KerasValue(reading.builder.scale(layer.name, total, np.array(1), bits))
    return reading.later(layer, KerasValue(total), lambda x: keras.ops.divide(x, np.float32(count)))


def max_pooling(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Take the largest element of each window."""
    builder, edge = reading.builder, reading.edge(layer, values[0])
    return KerasValue(maxima(builder, layer.name, edge, _windows(layer, builder.shape(edge))))


def global_maximum(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Take the largest element of each channel."""
    require_channels_last(layer)
    builder, edge = reading.builder, reading.edge(layer, values[0])
    lead, sides, _ = _divided(layer, builder.shape(edge))
    kept_axes = tuple(1 for _ in sides) if getattr(layer, "keepdims", False) else ()
    points = int(np.prod(sides))
    rows = in_each(np.arange(points).reshape(*kept_axes, -1), lead, points)
    return KerasValue(maxima(builder, layer.name, edge, rows))


def _windows(layer: Any, shape: tuple[int, ...]) -> Integers:
    """Return the flat index of every element of every window of a pooling layer.  Shape: as ``in_each``."""
    require_channels_last(layer)
    lead, sides, _ = _divided(layer, shape)
    rank = len(sides)
    size, strides, plain = pair(layer.pool_size, rank), pair(layer.strides, rank), (1,) * rank
    margins = same_margins(sides, size, strides, plain) if layer.padding == "same" else [(0, 0)] * rank
    return in_each(patches(sides, size, strides, plain, margins), lead, int(np.prod(sides)))


def _divided(layer: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Return the axes before those of a layer's fields, their sides and the number of channels."""
    rank = layer.input_spec.ndim - 2
    return shape[: -1 - rank], shape[-1 - rank : -1], shape[-1]
