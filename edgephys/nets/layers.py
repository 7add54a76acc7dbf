"""Quantised layers that QKeras lacks, and the quantisers that the networks share."""

from __future__ import annotations

from typing import Any

from edgephys.errors import UsageError
from edgephys.nets.backend import keras, qkeras

RECIPROCAL_BITS = 10
"""Width of 1/n in the mean over n constituents; exact where n is a power of two."""

WIDTHS = range(2, 17)

POOL_EXTRA_BITS = 2
RECEIVED_EXTRA_BITS = 4
"""Bits that a mean, and a sum of edges, keeps beyond an activation's: few enough for float32 to hold the next sums."""


def check_bits(name: str, bits: int | None) -> None:
    """Raise UsageError where a width is neither None (float) nor 2..16."""
    if bits is not None and bits not in WIDTHS:
        raise UsageError(f"{name} must be {WIDTHS.start}..{WIDTHS.stop - 1} or 'float', not {bits}")


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
    """Sum over the edges that each constituent receives.

    Shape: (jet, receiver, other, feature) -> (jet, receiver, feature).
    """

    def call(self, inputs: Any) -> Any:
        """Return the sum over axis 2."""
        return keras.ops.sum(inputs, axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Drop axis 2."""
        return (*input_shape[:2], *input_shape[3:])


LAYERS = (ConstituentMean, Pairs, ReceivedSum)
"""Every layer of ours, for those who load a model."""


def dense(units: int, bits: int | None, name: str, bias: bool = True, integer: int = 0) -> Any:
    """Return a dense layer with weights and biases in [-2**integer, 2**integer) of ``bits`` bits, or a float one."""
    if bits is None:
        return keras.layers.Dense(units, use_bias=bias, kernel_initializer="he_normal", name=name)  # as QDense
    return qkeras.QDense(
        units,
        use_bias=bias,
        kernel_quantizer=qkeras.quantized_bits(bits, integer, alpha=1),
        bias_quantizer=qkeras.quantized_bits(bits, integer, alpha=1) if bias else None,
        name=name,
    )


def relu(bits: int | None, name: str, integer: int = 0) -> Any:
    """Return a ReLU quantised to ``ufixed<bits, integer>``, or a float one."""
    if bits is None:
        return keras.layers.ReLU(name=name)
    return qkeras.QActivation(qkeras.quantized_relu(bits, integer), name=name)
