"""Learned widths of activations: ReLUs whose numbers of fraction bits are trained under the cost of the circuit.

Source: the gradient of a width is HGQ's (arXiv 2405.00645): the error of rounding to f fraction bits shrinks as
2**-f, so its derivative is -ln 2 times itself. Ours: one width a tensor, so that the model stays an ordinary one.
"""

from __future__ import annotations

import math
from typing import Any

from edgephys.compress.anatomy import activation_layers, rebuilt
from edgephys.nets.backend import keras, qkeras, tf

MOST_FRACTION = 14
PACE = 30.0
"""Bits that a width moves where a weight moves by 1: widths are of the order of 8, weights of 1/4."""


class LearnedRelu(keras.layers.Layer):  # type: ignore[misc]
    """Clip to [0, 2**integer) and round half to even, as quantized_relu, to a trained number of fraction bits."""

    def __init__(self, integer: int, fraction: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.integer, self.start = integer, fraction

    def build(self, shape: Any) -> None:
        """Make the width."""
        start = keras.initializers.Constant(self.start / PACE)
        self.fraction = self.add_weight(name="fraction", shape=(), initializer=start)

    def bits(self) -> Any:
        """Return the width, a whole number with the gradient of the trained one, at least 1."""
        real = tf.clip_by_value(PACE * self.fraction.value, 1.0 - self.integer, MOST_FRACTION)
        return self.integer + real + tf.stop_gradient(tf.round(real) - real)

    def call(self, x: Any) -> Any:
        """Return the rounded activations."""
        fraction = self.bits() - self.integer
        fixed = tf.stop_gradient(fraction)
        step = tf.pow(2.0, -fixed)
        clipped = tf.clip_by_value(x, 0.0, 2.0**self.integer - step)
        error = tf.stop_gradient(clipped - tf.round(clipped / step) * step)
        return clipped - error + math.log(2.0) * error * (fraction - fixed)


def learnable(model: Any) -> Any:
    """Return a copy of a model whose activations learn their widths, from those that they have."""
    found = {layer.name for layer in activation_layers(model)}

    def change(layer: Any) -> Any:
        if layer.name not in found or type(layer.activation).__name__ != "quantized_relu":
            return None
        quantiser = layer.activation
        return LearnedRelu(quantiser.integer, quantiser.bits - quantiser.integer, name=layer.name)

    return rebuilt(model, change)


def settled(model: Any) -> Any:
    """Return a copy of a model whose learned widths are those of ordinary quantised ReLUs."""

    def change(layer: Any) -> Any:
        if not isinstance(layer, LearnedRelu):
            return None
        return qkeras.QActivation(qkeras.quantized_relu(round(float(layer.bits())), layer.integer), name=layer.name)

    return rebuilt(model, change)
