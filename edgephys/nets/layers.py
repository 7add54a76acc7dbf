"""Quantised layers that QKeras lacks, and the quantisers that the networks share."""

from __future__ import annotations

from typing import Any

from edgephys.errors import UsageError
from edgephys.nets.backend import keras, qkeras

RECIPROCAL_BITS = 10
"""Width of 1/n in the mean over n constituents; exact where n is a power of two."""

WIDTHS = range(2, 17)


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


def dense(units: int, bits: int | None, name: str) -> Any:
    """Return a dense layer with weights and biases quantised to ``fixed<bits, 1>``, or a float one."""
    if bits is None:
        return keras.layers.Dense(units, kernel_initializer="he_normal", name=name)  # as QDense
    return qkeras.QDense(
        units,
        kernel_quantizer=qkeras.quantized_bits(bits, 0, alpha=1),
        bias_quantizer=qkeras.quantized_bits(bits, 0, alpha=1),
        name=name,
    )


def relu(bits: int | None, name: str) -> Any:
    """Return a ReLU quantised to ``ufixed<bits, 0>``, or a float one."""
    if bits is None:
        return keras.layers.ReLU(name=name)
    return qkeras.QActivation(qkeras.quantized_relu(bits, 0), name=name)
