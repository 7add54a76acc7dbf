"""Learned widths of activations: layers whose numbers of fraction bits are trained under the cost of the circuit.

Source: the gradient of a width is HGQ's (arXiv 2405.00645): the error of rounding to f fraction bits shrinks as
2**-f, so its derivative is -ln 2 times itself. Ours: one width a tensor, so that the model stays an ordinary one;
the input's too, for what a detector reads out finely need not be multiplied finely.
"""

from __future__ import annotations

import math
from typing import Any

from edgephys.compress.anatomy import rebuilt
from edgephys.fixed import Fixed
from edgephys.nets.backend import keras, qkeras, tf

MOST_FRACTION = 14
PACE = 30.0
"""Bits that a width moves where a weight moves by 1: widths are of the order of 8, weights of 1/4."""

INPUT = "input_quantised"
QUANTISERS = ("quantized_relu", "quantized_bits")


class LearnedWidth(keras.layers.Layer):  # type: ignore[misc]
    """Clip to [0, 2**integer), or to [-2**integer, 2**integer), and round half to even to a trained width."""

    def __init__(self, signed: bool, integer: int, fraction: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.signed, self.integer, self.start = signed, integer, fraction

    def build(self, shape: Any) -> None:
        """Make the width."""
        start = keras.initializers.Constant(self.start / PACE)
        self.fraction = self.add_weight(name="fraction", shape=(), initializer=start)

    def bits(self) -> Any:
        """Return the width with the sign, a whole number of at least 1 bit without it, and its gradient."""
        real = tf.clip_by_value(PACE * self.fraction.value, 1.0 - self.integer, MOST_FRACTION)
        return self.signed + self.integer + real + tf.stop_gradient(tf.round(real) - real)

    def call(self, x: Any) -> Any:
        """Return the rounded activations."""
        fraction = self.bits() - self.integer - self.signed
        fixed = tf.stop_gradient(fraction)
        step = tf.pow(2.0, -fixed)
        clipped = tf.clip_by_value(x, -(2.0**self.integer) * self.signed, 2.0**self.integer - step)
        error = tf.stop_gradient(clipped - tf.round(clipped / step) * step)
        return clipped - error + math.log(2.0) * error * (fraction - fixed)

    def settled(self) -> Any:
        """Return the ordinary layer of the present width."""
        kind = qkeras.quantized_bits if self.signed else qkeras.quantized_relu
        scale = {"alpha": 1} if self.signed else {}
        return qkeras.QActivation(kind(round(float(self.bits())), self.integer, **scale), name=self.name)


def learnable(model: Any, source: Fixed | None = None) -> Any:
    """Return a copy of a model whose activations learn their widths, from those that they have.

    The input does, too, where its format is given.
    """

    def change(layer: Any) -> Any:
        quantiser: Any = getattr(layer, "activation", None)
        if not isinstance(layer, qkeras.QActivation) or type(quantiser).__name__ not in QUANTISERS:
            return None
        signed = type(quantiser).__name__ == "quantized_bits"
        return LearnedWidth(signed, quantiser.integer, quantiser.bits - quantiser.integer - signed, name=layer.name)

    known = any(layer.name == INPUT for layer in model.layers)
    first = None
    if source is not None and not known:
        first = LearnedWidth(source.signed, source.integer - source.signed, source.fraction, name=INPUT)
    return rebuilt(model, change, first)


def learned(model: Any) -> dict[str, Any]:
    """Return what computes the width of each layer that learns it."""
    return {layer.name: layer.bits for layer in model.layers if isinstance(layer, LearnedWidth)}


def settled(model: Any) -> Any:
    """Return a copy of a model whose learned widths are those of ordinary quantised activations."""
    return rebuilt(model, lambda layer: layer.settled() if isinstance(layer, LearnedWidth) else None)
