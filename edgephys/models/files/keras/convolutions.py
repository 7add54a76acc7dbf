"""Convolutions in two steps, and those that spread instead of gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.models.files.fields import OUTSIDE, crossed, in_each, windows_of
from edgephys.models.files.keras.dense import biased, matrix_of, product, require_channels_last, windows
from edgephys.models.files.keras.quantisers import weights_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.models.files.keras.scales import scale_of, scale_of_columns, separable_weights


def separable(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Write a separable convolution as two products: one for each channel, and one of all channels of a point."""
    builder, name = reading.builder, layer.name
    gathered, channels = windows(reading, layer, values[0])
    weights = {
        which: weights_of(layer, which, values, getattr(layer, f"{which}_quantizer_internal", None))
        for which, values in separable_weights(layer).items()
    }
    first, fraction = weights["depthwise"]
    between = builder.dense(f"{name}_depthwise", gathered, matrix_of(layer, first, channels), fraction)
    second, fraction = weights["pointwise"]
    points = second.reshape(-1, second.shape[-1])
    result = builder.dense(name, between, points, fraction)
    scales = [scale_of(getattr(layer, f"{which}_quantizer_internal", None)) for which in ("depthwise", "pointwise")]
    if scales[1] is not None:
        scales[1] = scale_of_columns(name, points, scales[1].reshape(points.shape))
    if scales[0] is not None:  # every channel goes into every sum
        scales[0] = scale_of_columns(name, first.reshape(-1, 1), scales[0].reshape(-1, 1))
    factors = [scale for scale in scales if scale is not None]
    scale = np.prod(np.stack(np.broadcast_arrays(*factors, np.ones(points.shape[1]))), axis=0) if factors else None
    return biased(reading, layer, result, weights.get("bias"), scale, len(factors))


def transposed(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Write a transposed convolution as what each output reads, and a product that is the same for every output."""
    require_channels_last(layer)
    builder, edge = reading.builder, reading.edge(layer, values[0])
    shape = builder.shape(edge)
    rank = len(tuple(layer.kernel_size))
    lead, sides = shape[: -1 - rank], shape[-1 - rank : -1]
    outputs = layer.compute_output_shape((1, *sides, shape[-1]))[1:-1]
    settings = (sides, outputs, layer.kernel_size, layer.strides, layer.dilation_rate)
    axes = [_read(*one, layer.padding.lower() == "same") for one in zip(*settings, strict=True)]
    rows = in_each(crossed(sides, axes), lead, int(np.prod(sides)))
    gathered = windows_of(builder, f"{layer.name}_window", edge, rows)

    def matrix(kernel: NDArray[Any]) -> NDArray[Any]:
        return np.swapaxes(kernel, -1, -2).reshape(-1, kernel.shape[-2])

    return product(reading, layer, gathered, matrix)


def _read(side: int, outputs: int, points: int, stride: int, spread: int, same: bool) -> Integers:
    """Return which input each tap of each output reads along an axis, ``OUTSIDE`` for none.

    A transposed convolution is the gradient of one that goes from its outputs to its inputs.
    Shape: (output, tap).
    """
    reach = (points - 1) * spread + 1
    before = max(0, (side - 1) * stride + reach - outputs) // 2 if same else 0
    places = np.arange(outputs)[:, None] + before - np.arange(points) * spread
    read = places // stride
    return np.where((places % stride == 0) & (read >= 0) & (read < side), read, OUTSIDE)
