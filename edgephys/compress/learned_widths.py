"""Learned widths of activations: layers whose numbers of fraction bits are trained under the cost of the circuit.

Source: the gradient of a width is HGQ's (arXiv 2405.00645): the error of rounding to f fraction bits shrinks as
2**-f, so its derivative is -ln 2 times itself; as there, a channel has a width of its own, and as many bits before
the point as its values need. Ours: a width for a whole tensor instead, where that is asked for; the input's widths
too, for what a detector reads out finely need not be multiplied finely; and that widths stand still at the end.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgephys.compress.model_structure import activation_formats, inputs_of, rebuilt
from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras, qkeras, tf
from edgephys.networks.layers import ChannelActivation

PACE = 30.0
"""Bits that a width moves where a weight moves by 1: widths are of the order of 8, weights of 1/4."""
MOVING = 0.7
"""Share of a training in which widths move: a bit that goes when the learning rate is nearly 0 is not made up for."""
MEMORY = 0.98
"""Share that the running mean of a channel's largest values keeps, each step."""

INPUT = "input_quantised"
QUANTISERS = ("quantized_relu", "quantized_bits")
WORDS = ("channel", "tensor", "fixed")
"""What may have a width of its own."""


class LearnedWidth(keras.layers.Layer):  # type: ignore[misc]
    """Clip to [0, 2**integer), or to [-2**integer, 2**integer), and round half to even to trained widths.

    ``integer`` and ``fraction`` hold a number a channel, and the most that there may be: the sums behind them were
    exact with these. ``apart`` lets every channel learn its own fraction bits and have no more integer bits than its
    values need; else all have the same.
    """

    def __init__(self, signed: bool, integer: Any, fraction: Any, apart: bool, **rest: Any) -> None:
        super().__init__(**rest)
        self.signed, self.apart = bool(signed), apart
        self.most = np.array(integer, np.float32) if apart else np.float32(np.max(integer))
        self.start = np.array(fraction, np.float32) if apart else np.float32(np.max(fraction))
        self.finest = float(np.max(fraction))

    def build(self, shape: Any) -> None:
        """Make the widths, and what they are told by: whether they move, and how large a channel's values are."""
        held = {"initializer": "ones", "trainable": False}
        self.fraction = self.add_weight(name="fraction", shape=self.start.shape, initializer="zeros")
        self.fraction.assign(self.start / PACE)
        self.moves = self.add_weight(name="moves", shape=(), **held)
        self.largest = self.add_weight(name="largest", shape=self.start.shape, **held)
        self.largest.assign(2.0**self.most)

    def integer(self) -> Any:
        """Return the bits before the point, a whole number."""
        needed = tf.math.ceil(tf.math.log(tf.maximum(self.largest.value, 2.0**-self.finest)) / math.log(2.0))
        return tf.minimum(tf.stop_gradient(needed), self.most) if self.apart else tf.constant(self.most)

    def behind(self) -> Any:
        """Return the bits behind the point, a whole number of at least 1 bit with those before it, and its gradient."""
        least = 1.0 - self.integer()
        real = tf.clip_by_value(PACE * self.fraction.value, least, tf.maximum(least, self.finest))
        moving = self.moves.value * real
        return moving + tf.stop_gradient(tf.round(real) - moving)

    def bits(self) -> Any:
        """Return the widths with the sign, and their gradient.  Shape: (channel,), or () for one width."""
        return float(self.signed) + self.integer() + self.behind()

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the rounded activations."""
        if training and self.apart:
            over = list(range(len(x.shape) - 1))
            seen = tf.reduce_max(tf.abs(x) if self.signed else x, over)
            self.largest.assign(MEMORY * self.largest.value + (1 - MEMORY) * tf.stop_gradient(tf.maximum(seen, 0.0)))
        fraction, top = self.behind(), tf.pow(2.0, self.integer())
        fixed = tf.stop_gradient(fraction)
        step, steps = tf.pow(2.0, -fixed), tf.pow(2.0, fixed)  # TensorFlow's quotients are not always exact
        clipped = tf.clip_by_value(x, -top * float(self.signed), top - step)
        error = tf.stop_gradient(clipped - tf.round(clipped * steps) * step)
        return clipped - error + math.log(2.0) * error * (fraction - fixed)

    def settled(self, channels: int) -> Any:
        """Return the ordinary layer of the present widths."""
        whole = np.rint([np.broadcast_to(of, channels) for of in (self.integer(), self.behind())]).astype(int)
        integer, fraction = whole.tolist()
        if not self.apart or len(set(zip(integer, fraction, strict=True))) == 1:
            kind = qkeras.quantized_bits if self.signed else qkeras.quantized_relu
            bits, scale = self.signed + integer[0] + fraction[0], {"alpha": 1} if self.signed else {}
            if integer[0] >= 0:
                return qkeras.QActivation(kind(bits, integer[0], **scale), name=self.name)
        return ChannelActivation(self.signed, integer, fraction, name=self.name)


def learnable(model: Any, each: str, source: Fixed | None = None) -> Any:
    """Return a copy of a model whose activations learn their widths, from those that they have.

    ``each`` "channel" or "tensor" has a width of its own. The input has, too, where its format is given.
    """
    apart = each == "channel"

    def change(layer: Any) -> Any:
        if isinstance(layer, qkeras.QActivation) and type(layer.activation).__name__ not in QUANTISERS:
            return None
        if layer.output is model.outputs[0]:  # what others read has the format that they expect
            return None
        found = activation_formats(layer)
        return None if found is None else LearnedWidth(*found, apart, name=layer.name)

    known = any(layer.name == INPUT for layer in model.layers)
    first = None
    if source is not None and not known:
        channels = model.input_shape[-1]
        integer, fraction = ([bits] * channels for bits in (source.integer - source.signed, source.fraction))
        first = LearnedWidth(source.signed, integer, fraction, apart, name=INPUT)
    return rebuilt(model, change, first)


def learned(model: Any) -> dict[str, Any]:
    """Return what computes the widths of each layer that learns them."""
    return {layer.name: layer.bits for layer in model.layers if isinstance(layer, LearnedWidth)}


def hold(model: Any, epoch: int, epochs: int) -> None:
    """Let the widths of a model be what they are once an epoch, from 0, is beyond those in which they move."""
    for layer in model.layers:
        if isinstance(layer, LearnedWidth) and epoch == round(MOVING * epochs):
            layer.moves.assign(0.0)
            layer.fraction.assign(tf.round(PACE * layer.fraction.value) / PACE)  # what momentum is left moves no bit


def settled(model: Any) -> Any:
    """Return a copy of a model whose learned widths are those of ordinary quantised activations."""

    def change(layer: Any) -> Any:
        return layer.settled(inputs_of(layer)[0].shape[-1]) if isinstance(layer, LearnedWidth) else None

    return rebuilt(model, change)
