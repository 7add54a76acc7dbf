"""Convolutions in two steps, and those that spread instead of gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.models.files.fields import OUTSIDE, crossed, in_each, windows_of
from edgephys.models.files.keras.dense import (
    biased,
    kernel_and_bias,
    matrix_of,
    product,
    require_channels_last,
    windows,
)
from edgephys.models.files.keras.quantisers import weights_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.models.files.keras.scales import Weights, scale_of, scale_of_columns, scale_of_rows, separable_weights
from edgephys.networks import kernels


def separable(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Write a separable convolution as two products: one for each channel, and one of all channels of a point."""
    builder, name = reading.builder, layer.name
    gathered, channels = windows(reading, layer, values[0])
    weights = {
        which: weights_of(layer, which, values, getattr(layer, f"{which}_quantizer_internal", None))
        for which, values in separable_weights(layer).items()
    }
    scales = [scale_of(getattr(layer, f"{which}_quantizer_internal", None)) for which in ("depthwise", "pointwise")]
    integers, fraction = weights["depthwise"]
    first = matrix_of(layer, integers, channels)
    between = builder.dense(f"{name}_depthwise", gathered, first, fraction)
    if scales[0] is not None:
        scales[0] = scale_of_columns(name, first, matrix_of(layer, scales[0], channels))
        own = scale_of_rows(np.ones((len(scales[0]), 1), np.int64), scales[0][:, None])
        if own is None:  # one scale, which every sum has
            scales[0] = scales[0][:1]
        else:
            between, scales[0] = builder.scale(f"{name}_depthwise", between, *own), None
    second, fraction = weights["pointwise"]
    points = second.reshape(-1, second.shape[-1])
    result = builder.dense(name, between, points, fraction)
    if scales[1] is not None:
        scales[1] = scale_of_columns(name, points, scales[1].reshape(points.shape))
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
    scales = _scales_of_inputs(layer)
    if scales is not None:
        edge = builder.scale(f"{layer.name}_scales", edge, *scales)
    gathered = windows_of(builder, f"{layer.name}_window", edge, rows)

    def matrix(kernel: NDArray[Any]) -> NDArray[Any]:
        return np.swapaxes(kernel, -1, -2).reshape(-1, kernel.shape[-2])

    return product(reading, layer, gathered, matrix, scaled=scales is not None)


def _scales_of_inputs(layer: Any) -> Weights | None:
    """Return the scale of each input channel of a transposed convolution; None where these are no float scales."""
    scale = scale_of(kernels.quantiser_of(layer))
    if scale is None:
        return None
    (integers, _), _ = kernel_and_bias(layer)
    channels = integers.shape[-1]
    last = np.moveaxis(integers, -1, 0).reshape(channels, -1)
    return scale_of_rows(last, np.moveaxis(scale, -1, 0).reshape(channels, -1))


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
