"""Quantised layers that QKeras lacks, and the quantisers that the networks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.edges import Edges
from edgephys.networks.gated_operator import GatedOperator
from edgephys.networks.kernels import inputs_of, kernel_of

RECIPROCAL_BITS = 10
"""Width of 1/n in the mean over n constituents; exact where n is a power of two."""

POOL_EXTRA_BITS = 2
"""Bits that a mean, and a divided sum of edges, keeps beyond an activation's: few enough for float32 to hold the next
sums."""


def reciprocal(count: int) -> tuple[int, int]:
    """Return 1/count as (integer, fraction): integer * 2**-fraction, at most RECIPROCAL_BITS wide."""
    fraction = RECIPROCAL_BITS - 1 + (count - 1).bit_length()
    integer = round(2**fraction / count)
    while integer % 2 == 0:
        integer, fraction = integer // 2, fraction - 1
    return integer, fraction


@keras.saving.register_keras_serializable(package="edgephys")
class ConstituentMean(keras.layers.Layer):  # type: ignore[misc]
    """Average over the constituents: their sum times a fixed-point reciprocal of their number.

    Shape: (jet, constituent, feature) -> (jet, feature).
    """

    def call(self, inputs: Any) -> Any:
        """Return the mean over axis 1."""
        integer, fraction = reciprocal(inputs.shape[1])
        return keras.ops.sum(inputs, axis=1) * (integer * 2.0**-fraction)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Drop axis 1."""
        return (input_shape[0], *input_shape[2:])


@keras.saving.register_keras_serializable(package="edgephys")
class Pairs(keras.layers.Layer):  # type: ignore[misc]
    """Add what each constituent receives to what every other one sends: one row an ordered pair.

    Shape: two of (jet, constituent, feature) -> (jet, receiver, other, feature); the others of receiver i are
    all constituents but i, in order.
    """

    def call(self, inputs: Any) -> Any:
        """Return received[i] + sent[j] for every j other than i."""
        received, sent = inputs
        count, width = received.shape[1:]
        every = received[:, :, None, :] + sent[:, None, :, :]  # (jet, receiver, sender, feature)
        rest = keras.ops.reshape(every, (-1, count * count, width))[:, 1:]  # the first pair is (0, 0)
        rest = keras.ops.reshape(rest, (-1, count - 1, count + 1, width))[:, :, :-1]  # each row ends in (i, i)
        return keras.ops.reshape(rest, (-1, count, count - 1, width))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the pairs."""
        jets, count, width = input_shape[0]
        return (jets, count, count - 1, width)


@keras.saving.register_keras_serializable(package="edgephys")
class ReceivedSum(keras.layers.Layer):  # type: ignore[misc]
    """Sum over the edges that each constituent receives, times ``2**-shift``.

    Shape: (jet, receiver, other, feature) -> (jet, receiver, feature).
    """

    def __init__(self, shift: int = 0, **rest: Any) -> None:
        super().__init__(**rest)
        self.shift = int(shift)

    def call(self, inputs: Any) -> Any:
        """Return the sum over axis 2."""
        return keras.ops.sum(inputs, axis=2) * 2.0**-self.shift

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        return {**super().get_config(), **({"shift": self.shift} if self.shift else {})}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Drop axis 2."""
        return (*input_shape[:2], *input_shape[3:])


@keras.saving.register_keras_serializable(package="edgephys")
class ChannelActivation(keras.layers.Layer):  # type: ignore[misc]
    """Clip and round every channel, half to even, to a format of its own; unsigned ones are ReLUs.

    Channel c takes the multiples of ``2**-fraction[c]`` in [0, 2**integer[c]), or from -2**integer[c] where signed.
    Shape: (..., channel), kept.  Raises: UsageError where a channel has no bit.
    """

    def __init__(self, signed: bool, integer: list[int], fraction: list[int], **rest: Any) -> None:
        super().__init__(**rest)
        self.signed, self.integer, self.fraction = bool(signed), tuple(integer), tuple(fraction)
        if len(self.integer) != len(self.fraction) or min(map(sum, self.formats()), default=0) < 1:
            raise UsageError(f"layer '{self.name}': a channel needs integer and fraction bits, together at least 1")

    def formats(self) -> list[tuple[int, int]]:
        """Return each channel's bits before and behind the point, without the sign."""
        return list(zip(self.integer, self.fraction, strict=True))

    def activation(self, inputs: Any) -> Any:
        """Return the rounded inputs, with the gradient of the clipping."""
        step, steps, top = (
            keras.ops.cast([2.0**bits for bits in of], inputs.dtype)
            for of in ([-f for f in self.fraction], self.fraction, self.integer)
        )
        clipped = keras.ops.clip(inputs, -top * self.signed, top - step)
        rounded = keras.ops.round(clipped * steps) * step  # TensorFlow's quotients by a constant are not exact
        return clipped + keras.ops.stop_gradient(rounded - clipped)

    def call(self, inputs: Any) -> Any:
        """Return the rounded inputs."""
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        stated = {"signed": self.signed, "integer": list(self.integer), "fraction": list(self.fraction)}
        return {**super().get_config(), **stated}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape, kept."""
        return input_shape


@keras.saving.register_keras_serializable(package="edgephys")
class FrameSum(keras.layers.Layer):  # type: ignore[misc]
    """Add the channels of every pixel, each times a whole number of its own, which is not trained.

    Shape: (field, row, column, channel) -> (field, row, column, 1).
    """

    def __init__(self, factors: list[int], **rest: Any) -> None:
        super().__init__(**rest)
        self.factors = tuple(factors)

    def call(self, inputs: Any) -> Any:
        """Return the sum."""
        return keras.ops.sum(inputs * keras.ops.cast(list(self.factors), inputs.dtype), axis=-1, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        return {**super().get_config(), "factors": list(self.factors)}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Leave one channel."""
        return (*input_shape[:-1], 1)


@keras.saving.register_keras_serializable(package="edgephys")
class FixedRounding(keras.layers.Layer):  # type: ignore[misc]
    """Round every element to a fixed-point format of its own, which the weights state; nothing is trained.

    The weights are ap_fixed's: whether an element has a sign, its bits, and those before the point, both with the sign.
    An element without bits is 0. ``rounding`` is TRN, RND or RND_CONV, ``overflow`` WRAP, SAT or SAT_SYM.
    Shape: (batch, ..., channel), kept; ``shape`` is that of the weights, which stretch over that of the inputs.
    Raises: UsageError for another mode.
    """

    def __init__(self, shape: Sequence[int], rounding: str = "TRN", overflow: str = "WRAP", **rest: Any) -> None:
        super().__init__(**{**rest, "trainable": False})
        self.shape, self.rounding, self.overflow = tuple(shape), rounding, overflow
        for mode, known in ((rounding, ("TRN", "RND", "RND_CONV")), (overflow, ("WRAP", "SAT", "SAT_SYM"))):
            if mode not in known:
                raise UsageError(f"layer '{self.name}': mode must be one of {', '.join(known)}, not {mode}")
        self.keep_negative, self.bits, self.integers = (
            self.add_weight(name=name, shape=self.shape, dtype="int8", initializer="zeros", trainable=False)
            for name in ("keep_negative", "bits", "integers")
        )

    def call(self, inputs: Any) -> Any:
        """Return the rounded inputs."""
        ops = keras.ops
        signed, bits, integers = (ops.cast(w, "int32") for w in (self.keep_negative, self.bits, self.integers))
        steps = inputs * _power_of_two(bits - integers, inputs.dtype)
        ways = {"TRN": ops.floor, "RND": lambda x: ops.floor(x + 0.5), "RND_CONV": ops.round}
        steps = ways[self.rounding](steps)
        sign, half = ops.cast(signed, inputs.dtype), _power_of_two(bits - signed, inputs.dtype)
        low, high = -half * sign, half - 1.0
        if self.overflow == "WRAP":
            steps = ops.mod(steps - low, high - low + 1.0) + low
        else:
            steps = ops.clip(steps, low + (sign if self.overflow == "SAT_SYM" else 0.0), high)
        return ops.where(bits > 0, steps * _power_of_two(integers - bits, inputs.dtype), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        stated = {"shape": list(self.shape), "rounding": self.rounding, "overflow": self.overflow}
        return {**super().get_config(), **stated}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape, kept."""
        return input_shape


@keras.saving.register_keras_serializable(package="edgephys")  # type: ignore[untyped-decorator]
def binary_tanh(x: Any) -> Any:
    """Return BinaryNet's sign: 1 over 0 and -1 elsewhere, but for float32's rounding around 0."""
    return 2 * keras.ops.round(keras.ops.clip(0.5 * x + 0.5, 0, 1)) - 1


@keras.saving.register_keras_serializable(package="edgephys")  # type: ignore[untyped-decorator]
def ternary_tanh(x: Any) -> Any:
    """Return the sign of what is over a half, or at most minus a half, and 0 between."""
    positive, negative = keras.ops.greater(x, 0.5), keras.ops.less_equal(x, -0.5)
    return keras.ops.cast(positive, x.dtype) - keras.ops.cast(negative, x.dtype)


SIGNS = (binary_tanh, ternary_tanh)
"""Functions of ours that a model may name: their results are whole numbers."""


def _power_of_two(exponents: Any, dtype: str) -> Any:
    """Return 2**n, exactly, which TensorFlow's power is not bound to be."""
    table = keras.ops.convert_to_tensor([2.0**n for n in range(-126, 127)], dtype)
    return keras.ops.take(table, keras.ops.clip(exponents, -126, 126) + 126)


LAYERS = (ChannelActivation, ConstituentMean, Edges, FixedRounding, FrameSum, GatedOperator, Pairs, ReceivedSum)
"""Every layer of ours, for those who load a model."""


def summed(tensor: Any) -> list[Any] | None:
    """Return the layers with kernels whose results are added in a tensor; None where something else is, too."""
    layer = tensor._keras_history.operation
    if kernel_of(layer) is not None:
        return [layer]
    if not isinstance(layer, Pairs | keras.layers.Add | keras.layers.Reshape):
        return None
    parts = [summed(source) for source in inputs_of(layer)]
    return None if None in parts else [one for part in parts for one in part or ()]


QUANTISED = (qkeras.QDense, qkeras.QConv2D, qkeras.QDepthwiseConv2D, qkeras.QActivation)
"""Every layer of QKeras that has an exact firmware."""
