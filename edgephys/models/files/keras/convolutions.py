"""Convolutions in two steps, and those that spread instead of gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.models.files.fields import OUTSIDE, crossed, windows_of
from edgephys.models.files.keras.activations import activated
from edgephys.models.files.keras.dense import matrix_of, product, require_channels_last, windows
from edgephys.models.files.keras.quantisers import weights_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.backend import keras


def separable(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Write a separable convolution as two products: one for each channel, and one of all channels of a point."""
    builder, name = reading.builder, layer.name
    gathered, channels = windows(reading, layer, values[0])
    depthwise, points = layer.depthwise_kernel, layer.pointwise_kernel
    if len(depthwise.shape) == 3:  # QKeras quantises a kernel of one axis as one of two
        depthwise, points = (keras.ops.expand_dims(kernel, 0) for kernel in (depthwise, points))
    kernels = {"depthwise": depthwise, "pointwise": points, "bias": layer.bias if layer.use_bias else None}
    weights = {
        which: weights_of(layer, which, kernel, getattr(layer, f"{which}_quantizer_internal", None))
        for which, kernel in kernels.items()
        if kernel is not None
    }
    first, fraction = weights["depthwise"]
    between = builder.dense(f"{name}_depthwise", gathered, matrix_of(layer, first, channels), fraction)
    second, fraction = weights["pointwise"]
    result = builder.dense(name, between, second.reshape(-1, second.shape[-1]), fraction)
    if "bias" in weights:
        result = builder.bias(name, result, *weights["bias"])
    return activated(reading, layer, name, KerasValue(result), layer.activation)


def transposed(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Write a transposed convolution as what each output reads, and a product that is the same for every output."""
    require_channels_last(layer)
    builder, edge = reading.builder, reading.edge(layer, values[0])
    shape = builder.shape(edge)
    outputs = layer.compute_output_shape((1, *shape))[1:-1]
    settings = (shape[:-1], outputs, layer.kernel_size, layer.strides, layer.dilation_rate)
    axes = [_read(*one, layer.padding.lower() == "same") for one in zip(*settings, strict=True)]
    gathered = windows_of(builder, f"{layer.name}_window", edge, crossed(shape[:-1], axes))

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
