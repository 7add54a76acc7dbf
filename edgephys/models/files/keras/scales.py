"""Weights that are integers times float scales, as alpha='auto' makes them: the scale goes into the next quantiser.

QKeras rounds each product of an integer and its scale to float32, and its sums depend on their order. What a Graph is
compared with is therefore the model in float64, whose weights are the same integers times the same scales, exactly. A
sum is then S * scale, and the next quantiser of it one function of the integer S. Where a sum has more bits than
float64, or two floats next to each other round apart, the model is refused.

Scales of the inputs, as a transposed convolution has them, multiply the inputs before the sum: a float32 is an integer
times a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.models.files.keras.reading import KerasValue
from edgephys.networks import kernels
from edgephys.networks.backend import keras

Floats = NDArray[np.float64]
Weights = tuple[Integers, int]
"""Integers and their fraction."""

WIDEST_WEIGHT = 18
"""Bits of the widest weight: that of a DSP's operand."""
FINEST = 40
"""Most fraction bits of a weight or a rounded value."""
MOST_DIGITS = 20
"""Most fraction bits of weights without their scale."""
NEAR = 2.0**-22
"""Relative difference of float32 weights to integers times a scale, which rounding makes."""
SINGLE_BITS, DOUBLE_BITS = 24, 53
"""Bits that float32 and float64 hold; a scale is a float32."""


WEIGHTS = ("kernel", "depthwise", "pointwise", "bias")
"""Weights of layers, as the settings of their quantisers name them."""
FOLDED = ("QDenseBatchnorm", "QConv2DBatchnorm", "QDepthwiseConv2DBatchnorm")
"""Layers that multiply by the weights of a batch normalisation, too."""


@dataclass(frozen=True, eq=False)
class PowerWeights:
    """Hold quantised weights as integers at a fraction; called as a quantiser, it returns their values."""

    integers: Integers
    fraction: int

    @property
    def values(self) -> Floats:
        """The weights, exact in float64."""
        return np.ldexp(self.integers.astype(np.float64), -self.fraction)

    def __call__(self, weights: Any) -> Any:
        """Return the values, whatever the float weights."""
        return keras.ops.convert_to_tensor(self.values, keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        """Return nothing: a layer with such weights is not saved."""
        return {}


@dataclass(frozen=True, eq=False)
class ScaledWeights(PowerWeights):
    """Hold quantised weights as integers at a fraction times a scale.  Shape: scale, as the integers."""

    scale: Floats

    @property
    def values(self) -> Floats:
        """The weights, exact in float64."""
        return super().values * self.scale


@dataclass(frozen=True, eq=False)
class Scaling:
    """Multiply a sum by the scales of its channels and add a bias, in float64.

    ``error`` is how far a framework's own float64 sum can be from it, beside the rounding of the result.
    """

    scale: Floats
    addend: Floats
    error: float

    def __call__(self, x: Any) -> Floats:
        """Return the values.  Shape: (..., channel), the same."""
        result: Floats = np.asarray(x, np.float64) * self.scale + self.addend
        return result

    def around(self, x: Any) -> Iterator[Floats]:
        """Yield the value and both ends between which a float64 sum in any order is; adding to 0 rounds nothing."""
        value = self(x)
        yield value
        for sign in (-1, 1):
            yield value + sign * (np.where(np.asarray(x) == 0, 0.0, np.abs(value)) * 2.0**-51 + self.error)


def split(quantiser: Any, values: Floats) -> ScaledWeights | None:
    """Return quantised weights as integers and the scales that their quantiser states; None where they are not so."""
    if getattr(quantiser, "scale", None) is None:
        return None
    scale = np.asarray(keras.ops.convert_to_numpy(quantiser.scale), np.float64)
    try:
        scale = np.broadcast_to(scale, values.shape)
    except ValueError:
        return None
    if not np.all(np.isfinite(scale)) or np.any((scale == 0) & (values != 0)):
        return None
    parts = np.divide(values, scale, out=np.zeros_like(values), where=scale != 0)
    for fraction in range(MOST_DIGITS + 1):
        whole = np.rint(np.ldexp(parts, fraction))
        if np.all(np.abs(np.ldexp(whole, -fraction) * scale - values) <= NEAR * np.abs(values)):
            return ScaledWeights(whole.astype(np.int64), fraction, scale)
    return None


def is_scaled(value: KerasValue) -> bool:
    """Tell whether a value is a sum whose float scales are still to be applied."""
    return bool(value.pending) and isinstance(value.pending[0], Scaling)


def scale_of(quantiser: Any) -> Floats | None:
    """Return the scales of weights; None where they are powers of two, which their fraction states."""
    return quantiser.scale if isinstance(quantiser, ScaledWeights) else None


def float_weights(layer: Any) -> tuple[Any, Any | None]:
    """Return the weights that a layer quantises: its kernel, and its bias or None."""
    if type(layer).__name__ in FOLDED:
        kernel, bias = layer.get_folded_weights()
        return kernel, bias
    return kernels.kernel_of(layer), layer.bias if layer.use_bias else None


def separable_weights(layer: Any) -> dict[str, Any]:
    """Return the weights that a separable convolution quantises, by their names."""
    depthwise, points = layer.depthwise_kernel, layer.pointwise_kernel
    if len(depthwise.shape) == 3:  # QKeras quantises a kernel of one axis as one of two
        depthwise, points = (keras.ops.expand_dims(kernel, 0) for kernel in (depthwise, points))
    weights = {"depthwise": depthwise, "pointwise": points}
    return {**weights, "bias": layer.bias} if layer.use_bias else weights


def settle(layer: Any, copied: Any) -> None:
    """Let the copy of a layer in float64 multiply by the weights that the layer itself quantises in float32.

    An automatic scale, and the weights of a batch normalisation, would be other ones in float64.
    """
    if not hasattr(layer, "kernel_quantizer_internal") and not hasattr(layer, "depthwise_quantizer_internal"):
        return
    if hasattr(layer, "pointwise_kernel"):
        weights = separable_weights(layer)
    else:
        kernel, bias = float_weights(layer)
        weights = {kernels.which(layer): kernel, **({} if bias is None else {"bias": bias})}
    for which, values in weights.items():
        name = f"{which}_quantizer_internal"
        quantiser = getattr(layer, name, None)
        if quantiser is None or not (_is_scaled(quantiser) or type(layer).__name__ in FOLDED):
            continue
        quantised = np.asarray(keras.ops.convert_to_numpy(quantiser(values)), np.float64)
        parts = split(quantiser, quantised)
        if parts is not None:
            setattr(copied, name, _settled(quantised, parts))


def without_activation(layer: Any) -> Any:
    """Return a layer with the same weights and no activation."""
    settled = {which: getattr(layer, f"{which}_quantizer_internal", None) for which in WEIGHTS}
    settled = {which: own for which, own in settled.items() if isinstance(own, PowerWeights)}
    plain = {f"{which}_quantizer": None for which in settled}
    config = {**layer.get_config(), **plain, "activation": None, "name": f"{layer.name}_before_activation"}
    bare = type(layer).from_config(config)
    bare.build(layer._build_shapes_dict["input_shape"] if layer._build_shapes_dict else layer.input.shape)
    bare.set_weights(layer.get_weights())
    for which, own in settled.items():
        setattr(bare, f"{which}_quantizer", own)
        setattr(bare, f"{which}_quantizer_internal", own)
    return bare


def _is_scaled(quantiser: Any) -> bool:
    """Tell whether a quantiser multiplies by a scale other than 1."""
    alpha = quantiser.get_config().get("alpha") if hasattr(quantiser, "get_config") else None
    return alpha is not None and (isinstance(alpha, str) or bool(np.any(np.not_equal(alpha, 1))))


def _settled(values: Floats, parts: ScaledWeights) -> PowerWeights:
    """Return weights without scales where they are integers of few bits times one power of two."""
    for fraction in range(FINEST + 1):
        whole = np.ldexp(values, fraction)
        if np.array_equal(whole, np.rint(whole)):
            short = np.abs(whole).max(initial=0.0) < 1 << (WIDEST_WEIGHT - 1)
            return PowerWeights(whole.astype(np.int64), fraction) if short else parts
    return parts


def scale_of_columns(name: str, integers: Integers, scale: Floats) -> Floats:
    """Return the scale of each column of a matrix of weights, (input, output).

    Raises: ModelError where scales differ along what is summed.
    """
    column: Floats = scale.max(0)
    if np.any((scale != column) & (integers != 0)):
        raise ModelError(
            f"layer '{name}': its weights have float scales that differ along what is summed, so that no integers give "
            f"the sum exactly; use alpha='auto_po2', or a scale for each output"
        )
    return column


def scale_of_rows(integers: Integers, scale: Floats) -> Weights | None:
    """Return the scales of the inputs of a matrix of weights, (input, output), as integers at a fraction.

    None where all weights have one scale, or an input's differ from output to output. A scale is a float32, and its
    products with integers are summed without rounding.
    """
    used = integers != 0
    if np.unique(scale[used]).size < 2:
        return None
    row: Floats = np.where(used, scale, 0.0).max(1)
    if np.any((scale != row[:, None]) & used):
        return None
    return dyadic(row)


def dyadic(values: Floats) -> Weights | None:
    """Return values as integers at the smallest fraction that holds them all; None with no such up to ``FINEST``."""
    for fraction in range(FINEST + 1):
        whole = np.ldexp(values, fraction)
        if np.array_equal(whole, np.rint(whole)):
            return whole.astype(np.int64), fraction
    return None


def scaling(largest: int, fraction: int, scale: Floats, addend: Floats, factors: int) -> Scaling:
    """Return the function from a sum of up to ``largest`` steps of ``2**-fraction`` to Keras' value.

    ``factors`` is the number of scales that are multiplied. A sum is exact in float64 where it holds all of their bits.
    """
    reach = float(np.ldexp(float(largest), -fraction) * np.abs(scale).max(initial=0.0))
    exact = largest.bit_length() + SINGLE_BITS * factors <= DOUBLE_BITS
    return Scaling(scale, addend, 0.0 if exact else reach * 2.0 ** -(DOUBLE_BITS - 12))
