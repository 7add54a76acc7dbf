"""Layers that multiply by weights: dense layers and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.models.files.fields import in_each, padded, patches, same_margins, windows_of
from edgephys.models.files.keras.activations import activated
from edgephys.models.files.keras.quantisers import weights_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.models.files.keras.scales import (
    FINEST,
    Floats,
    Weights,
    dyadic,
    float_weights,
    scale_of,
    scale_of_columns,
    scale_of_rows,
    scaling,
)
from edgephys.networks import kernels


def dense(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Multiply the last axis by a matrix, add a bias, and activate."""
    return product(reading, layer, reading.edge(layer, values[0]), lambda kernel: kernels.matrix(layer, kernel))


def convolution(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Write a convolution as patches, a layer of its own, and a product that is the same for every patch."""
    gathered, channels = windows(reading, layer, values[0])
    return product(reading, layer, gathered, lambda kernel: matrix_of(layer, kernel, channels))


def windows(reading: KerasReading, layer: Any, value: KerasValue) -> tuple[str, int]:
    """Return the patches that a convolution reads, in a layer of their own, and the number of channels."""
    require_channels_last(layer)
    edge, builder = reading.edge(layer, value), reading.builder
    if layer.get_config().get("mask") is not None:
        raise _setting(layer, "mask", None, layer.get_config()["mask"])
    shape, rank = builder.shape(edge), len(tuple(layer.kernel_size))
    size, strides, dilation = (pair(n, rank) for n in (layer.kernel_size, layer.strides, layer.dilation_rate))
    padding, window = layer.padding.lower(), f"{layer.name}_window"
    if padding == "causal" and type(layer).__module__.startswith("qkeras"):  # QKeras itself fails
        raise _setting(layer, "padding", "valid", layer.padding, " behind ZeroPadding1D((n, 0))")
    lead, sides = shape[: -1 - rank], shape[-1 - rank : -1]
    if rank == 2 and not lead and padding == "same" and strides == dilation == (1,) * rank:
        return builder.window(window, edge, (size[0], size[1])), shape[-1]
    margins = [(0, 0)] * rank
    if padding == "same":
        margins = same_margins(sides, size, strides, dilation)
    elif padding == "causal":
        margins = [((size[0] - 1) * dilation[0], 0)]
    rows = in_each(patches(sides, size, strides, dilation, margins), lead, int(np.prod(sides)))
    return windows_of(builder, window, edge, rows), shape[-1]


def require_channels_last(layer: Any) -> None:
    """Raise ModelError for a layer of fields whose channels come first."""
    if layer.data_format != "channels_last":
        raise _setting(layer, "data_format", "channels_last", layer.data_format)


def _setting(layer: Any, setting: str, required: Any, value: Any, more: str = "") -> ModelError:
    return ModelError(
        f"layer '{layer.name}': {setting} must be {required!r}, not {value!r}; set {setting}={required!r}{more}"
    )


def matrix_of(layer: Any, kernel: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return a kernel (*size, channel, output) as the matrix of a patch; a group is zero off its channels."""
    if kernels.is_depthwise(layer):
        inputs, multiple = kernel.shape[-2:]
        full = np.zeros((*kernel.shape[:-1], inputs * multiple), kernel.dtype)
        for channel in range(inputs):
            full[..., channel, channel * multiple : (channel + 1) * multiple] = kernel[..., channel, :]
        return full.reshape(-1, inputs * multiple)
    groups = getattr(layer, "groups", 1)
    inputs, outputs = kernel.shape[-2:]
    full = np.zeros((*kernel.shape[:-2], channels, outputs), kernel.dtype)
    for group in range(groups):
        own, others = outputs // groups * group, outputs // groups * (group + 1)
        full[..., inputs * group : inputs * (group + 1), own:others] = kernel[..., own:others]
    return full.reshape(-1, outputs)


def product(reading: KerasReading, layer: Any, edge: str, matrix: Any, scaled: bool = False) -> KerasValue:
    """Multiply by a layer's kernel, which ``matrix`` shapes (input, output), add its bias, and activate.

    ``scaled`` inputs are multiplied by their scales already, as ``scale_of_rows`` states them.
    """
    builder = reading.builder
    (integers, fraction), bias = kernel_and_bias(layer)
    shaped, scale = matrix(integers), scale_of(kernels.quantiser_of(layer))
    rows = None if scale is None else scale_of_rows(shaped, matrix(scale))
    if rows is None:
        out = builder.dense(layer.name, edge, shaped, fraction)
        columns = None if scale is None else scale_of_columns(layer.name, shaped, matrix(scale))
        return biased(reading, layer, out, bias, columns)
    edge = edge if scaled else builder.scale(f"{layer.name}_scales", edge, *rows)
    out = builder.dense(layer.name, edge, shaped, fraction)
    out = out if bias is None else builder.bias(layer.name, out, *_unscaled(layer, bias))
    return activated(reading, layer, layer.name, KerasValue(out), layer.activation)


def _unscaled(layer: Any, bias: Weights) -> Weights:
    """Return a bias as integers without a float scale of its own."""
    scale = scale_of(getattr(layer, "bias_quantizer_internal", None))
    if scale is None:
        return bias
    exact = dyadic(np.ldexp(bias[0].astype(np.float64), -bias[1]) * scale)
    if exact is None:
        raise ModelError(
            f"layer '{layer.name}': its bias has values between steps of 2^-{FINEST}, and its weights a float scale "
            f"for each input; use alpha='auto_po2' for the bias"
        )
    return exact


def biased(
    reading: KerasReading, layer: Any, edge: str, bias: Weights | None, scale: Floats | None, factors: int = 1
) -> KerasValue:
    """Return a sum times the float scales of its channels, a product of ``factors`` each, plus a bias, activated."""
    builder, bias_scale = reading.builder, scale_of(getattr(layer, "bias_quantizer_internal", None))
    if scale is None and (bias is None or bias_scale is None):
        return activated(
            reading,
            layer,
            layer.name,
            KerasValue(edge if bias is None else builder.bias(layer.name, edge, *bias)),
            layer.activation,
        )
    channels = builder.shape(edge)[-1]
    addend = np.zeros(channels)
    if bias is not None:
        addend = np.ldexp(bias[0].astype(np.float64), -bias[1]) * (1.0 if bias_scale is None else bias_scale)
    factor = np.ones(channels) if scale is None else scale
    reach = builder.range(edge).partial
    function = scaling(reach, builder.fraction(edge), factor, addend, 0 if scale is None else factors)
    return activated(reading, layer, layer.name, reading.later(layer, KerasValue(edge), function), layer.activation)


def kernel_and_bias(layer: Any) -> tuple[Weights, Weights | None]:
    """Return the integers of a layer's kernel and bias, each with its fraction."""
    kernel, bias = float_weights(layer)
    own = weights_of(layer, "kernel", kernel, kernels.quantiser_of(layer))
    if bias is None:
        return own, None
    return own, weights_of(layer, "bias", bias, getattr(layer, "bias_quantizer_internal", None))


def pair(sizes: Any, rank: int) -> tuple[int, ...]:
    """Return a setting of each axis that a layer may state by one number."""
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def zero_padding(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Surround with zeros; with channels first, each element is a point of one channel."""
    builder, edge = reading.builder, reading.edge(layer, values[0])
    margins = layer.padding if isinstance(layer.padding[0], tuple | list) else [layer.padding]
    margins = [(int(before), int(after)) for before, after in margins]
    if layer.data_format != "channels_first":
        return KerasValue(padded(builder, layer.name, edge, margins))
    points = padded(builder, layer.name, builder.reshape(layer.name, edge, (*builder.shape(edge), 1)), margins)
    return KerasValue(builder.reshape(layer.name, points, builder.shape(points)[:-1]))
