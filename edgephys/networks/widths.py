"""Layers of QKeras of a stated width, or float ones of Keras where none is stated."""

from __future__ import annotations

import math
from typing import Any

from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.decompositions import Part

WIDTHS = range(2, 17)

TRUNCATED = 0.87962566
"""Deviation of a normal number that is drawn again beyond two deviations."""


def check_bits(name: str, bits: int | None) -> None:
    """Raise UsageError where a width is neither None (float) nor 2..16."""
    if bits is not None and bits not in WIDTHS:
        raise UsageError(f"{name} must be {WIDTHS.start}..{WIDTHS.stop - 1} or 'float', not {bits}")


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


def convolution(part: Part, bits: int | None, name: str, bias: bool = True, integer: int = 0, gain: float = 2.0) -> Any:
    """Return a convolution with weights and biases in [-2**integer, 2**integer) of ``bits`` bits, or a float one.

    ``gain`` is by how much the variance of its outputs, at the start, is that of its inputs: 2 makes up for a ReLU.
    Of Keras' own scaling a depthwise kernel's output reads all channels, and QKeras changes the scale of a narrow
    kernel's initialiser to a tensor, with which the model cannot be loaded again; a deviation has neither trouble.
    """
    which, deviation = "depthwise" if part.depthwise else "kernel", math.sqrt(gain / part.reads) / TRUNCATED
    settings: dict[str, Any] = {
        "kernel_size": part.size,
        "padding": "same",
        "use_bias": bias,
        f"{which}_initializer": keras.initializers.TruncatedNormal(0.0, deviation),
        "name": name,
    }
    if not part.depthwise:
        settings["filters"] = part.outputs
    if bits is None:
        return (keras.layers.DepthwiseConv2D if part.depthwise else keras.layers.Conv2D)(**settings)
    settings[f"{which}_quantizer"] = qkeras.quantized_bits(bits, integer, alpha=1)
    settings["bias_quantizer"] = qkeras.quantized_bits(bits, integer, alpha=1) if bias else None
    return (qkeras.QDepthwiseConv2D if part.depthwise else qkeras.QConv2D)(**settings)


def relu(bits: int | None, name: str, integer: int = 0) -> Any:
    """Return a ReLU quantised to ``ufixed<bits, integer>``, or a float one."""
    if bits is None:
        return keras.layers.ReLU(name=name)
    return qkeras.QActivation(qkeras.quantized_relu(bits, integer), name=name)


def rounding(bits: int, integer: int, name: str) -> Any:
    """Return what rounds to the ``bits`` bits of a signed format, whose values lie in [-2**integer, 2**integer)."""
    return qkeras.QActivation(qkeras.quantized_bits(bits, integer, alpha=1), name=name)
