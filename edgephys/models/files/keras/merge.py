"""Layers of several inputs, and the layers of our own networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

from edgephys.models.files.fields import difference, smaller
from edgephys.models.files.keras.joins import extreme
from edgephys.models.files.keras.pools import mean_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.layers import reciprocal


def add(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add any number of inputs."""
    return KerasValue(_joined(reading, layer, values, reading.builder.add))


def subtract(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Subtract the second input from the first."""
    return KerasValue(_joined(reading, layer, values, partial(difference, reading.builder)))


def multiply(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Multiply any number of inputs, element by element."""
    return KerasValue(_joined(reading, layer, values, reading.builder.mul))


def average(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add the inputs and divide by their number."""
    return mean_of(reading, layer, _joined(reading, layer, values, reading.builder.add), len(values))


def maximum(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Take the largest of the inputs, element by element."""
    return _extreme(reading, layer, values, reading.builder.max)


def minimum(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Take the smallest of the inputs, element by element."""
    return _extreme(reading, layer, values, partial(smaller, reading.builder))


def _extreme(
    reading: KerasReading, layer: Any, values: Sequence[KerasValue], join: Callable[[str, str, str], str]
) -> KerasValue:
    """Join the inputs, two at a time; float results of one shape are joined behind the quantiser that follows."""
    alike = len({reading.shape(value) for value in values}) == 1
    if alike and any(value.pending for value in values):
        return extreme(reading, layer, values, lambda owner, edges: reduce(partial(join, owner), edges))
    return KerasValue(_joined(reading, layer, values, join))


def _joined(
    reading: KerasReading, layer: Any, values: Sequence[KerasValue], join: Callable[[str, str, str], str]
) -> str:
    """Join the inputs, two at a time; each is repeated first along the axes along which another is longer."""
    builder, edges = reading.builder, reading.edges(layer, values)
    shape = tuple(np.broadcast_shapes(*(builder.shape(edge) for edge in edges)))
    repeated = [
        edge if builder.shape(edge) == shape else builder.spread(f"{layer.name}_repeated_{place}", edge, shape)
        for place, edge in enumerate(edges)
    ]
    return reduce(lambda x, y: join(layer.name, x, y), repeated)


# The layers of our own networks ---------------------------------------------------------------------


def constituent_mean(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Return the mean over constituents as a sum times a short reciprocal."""
    builder, x = reading.builder, reading.edge(layer, values[0])
    integer, fraction = reciprocal(builder.shape(x)[0])
    return KerasValue(builder.scale(layer.name, builder.sum(layer.name, x, 0), np.array(integer), fraction))


def pairs(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Take both rows of every pair, in layers of their own, and add them; the addition is the same for every pair."""
    builder, (one, other) = reading.builder, reading.edges(layer, values)
    count = builder.shape(one)[0]
    apart = ~np.eye(count, dtype=bool)
    receivers, senders = (index.reshape(count, count - 1) for index in np.nonzero(apart))
    received = builder.take(f"{layer.name}_receivers", one, receivers, 0)
    sent = builder.take(f"{layer.name}_senders", other, senders, 0)
    return KerasValue(builder.add(layer.name, received, sent))


def received_sum(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Sum over the senders of each receiver; a power of two moves the point."""
    builder = reading.builder
    total = builder.sum(layer.name, reading.edge(layer, values[0]), 1)
    return KerasValue(builder.scale(layer.name, total, np.array(1), layer.shift) if layer.shift else total)


def frame_sum(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Return a weighted sum of the channels."""
    weights = np.array(layer.factors)[:, None]
    return KerasValue(reading.builder.dense(layer.name, reading.edge(layer, values[0]), weights, 0))
