"""Learned widths of activations: layers whose numbers of fraction bits are trained under the cost of the circuit.

Source: the gradient of a width is HGQ's (arXiv 2405.00645): the error of rounding to f fraction bits shrinks as
2**-f, so its derivative is -ln 2 times itself. As there, each channel has a width of its own and as many integer bits
as its values need. Ours: one width for a whole tensor as an option; learned widths of the model's input, as data that
a detector reads out finely need not be multiplied finely; constant widths at the end of the training.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgephys.compress.model_structure import activation_formats, rebuilt
from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras, qkeras, tf
from edgephys.networks.kernels import inputs_of
from edgephys.networks.layers import ChannelActivation

PACE = 30.0
"""Bits by which a width moves where a weight would move by 1: widths are of the order of 8, weights of 1/4."""
MOVING = 0.7
"""Share of a training in which widths move: at its end the learning rate is too low to make up for a lost bit."""
MEMORY = 0.98
"""Decay per step of the running mean of a channel's largest values."""

INPUT = "input_quantised"
SCOPES = ("channel", "tensor", "fixed")
"""What can have a width of its own; "fixed" learns none."""


class LearnedWidth(keras.layers.Layer):  # type: ignore[misc]
    """Clip to [0, 2**integer), or to [-2**integer, 2**integer), and round half to even to trained widths.

    ``integer`` and ``fraction`` hold the most bits of each channel: with these the sums behind were exact.
    With ``per_channel`` every channel learns its own fraction bits and has only the integer bits that its values need;
    else all channels have the same.
    """

    def __init__(self, signed: bool, integer: Any, fraction: Any, per_channel: bool, **rest: Any) -> None:
        super().__init__(**rest)
        self.signed, self.per_channel = bool(signed), per_channel
        self.most = np.array(integer, np.float32) if per_channel else np.float32(np.max(integer))
        self.start = np.array(fraction, np.float32) if per_channel else np.float32(np.max(fraction))
        self.finest = float(np.max(fraction))

    def build(self, shape: Any) -> None:
        """Create the widths, the switch that lets them move, and the running mean of each channel's largest values."""
        constant = {"initializer": "ones", "trainable": False}
        self.fraction = self.add_weight(name="fraction", shape=self.start.shape, initializer="zeros")
        self.fraction.assign(self.start / PACE)
        self.moves = self.add_weight(name="moves", shape=(), **constant)
        self.largest = self.add_weight(name="largest", shape=self.start.shape, **constant)
        self.largest.assign(2.0**self.most)

    def integer_bits(self) -> Any:
        """Return the integer bits, a whole number."""
        needed = tf.math.ceil(tf.math.log(tf.maximum(self.largest.value, 2.0**-self.finest)) / math.log(2.0))
        return tf.minimum(tf.stop_gradient(needed), self.most) if self.per_channel else tf.constant(self.most)

    def fraction_bits(self) -> Any:
        """Return the fraction bits, whole numbers with a gradient; with the integer bits there is at least 1 bit."""
        least = 1.0 - self.integer_bits()
        real = tf.clip_by_value(PACE * self.fraction.value, least, tf.maximum(least, self.finest))
        moving = self.moves.value * real
        return moving + tf.stop_gradient(tf.round(real) - moving)

    def bits(self) -> Any:
        """Return the widths with the sign bit, with a gradient.  Shape: (channel,), or () for one width."""
        return float(self.signed) + self.integer_bits() + self.fraction_bits()

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the rounded activations."""
        if training and self.per_channel:
            over = list(range(len(x.shape) - 1))
            peak = tf.reduce_max(tf.abs(x) if self.signed else x, over)
            self.largest.assign(MEMORY * self.largest.value + (1 - MEMORY) * tf.stop_gradient(tf.maximum(peak, 0.0)))
        fraction, top = self.fraction_bits(), tf.pow(2.0, self.integer_bits())
        fixed = tf.stop_gradient(fraction)
        step, steps = tf.pow(2.0, -fixed), tf.pow(2.0, fixed)  # TensorFlow's quotients are not always exact
        clipped = tf.clip_by_value(x, -top * float(self.signed), top - step)
        error = tf.stop_gradient(clipped - tf.round(clipped * steps) * step)
        return clipped - error + math.log(2.0) * error * (fraction - fixed)

    def settled(self, channels: int) -> Any:
        """Return the ordinary layer with the present widths."""
        bits = (self.integer_bits(), self.fraction_bits())
        integer, fraction = np.rint([np.broadcast_to(of, channels) for of in bits]).astype(int).tolist()
        if not self.per_channel or len(set(zip(integer, fraction, strict=True))) == 1:
            kind = qkeras.quantized_bits if self.signed else qkeras.quantized_relu
            width, scale = self.signed + integer[0] + fraction[0], {"alpha": 1} if self.signed else {}
            if integer[0] >= 0:
                return qkeras.QActivation(kind(width, integer[0], **scale), name=self.name)
        return ChannelActivation(self.signed, integer, fraction, name=self.name)


def learnable(model: Any, each: str, source: Fixed | None = None) -> Any:
    """Return a copy of a model whose activations learn their widths, starting from the present ones.

    ``each`` "channel" or "tensor" has a width of its own. With ``source``, the input's format, the input learns too.
    """
    per_channel = each == "channel"

    def change(layer: Any) -> Any:
        if layer.output is model.outputs[0]:  # the readers of the output expect its format
            return None
        formats = activation_formats(layer)
        return None if formats is None else LearnedWidth(*formats, per_channel, name=layer.name)

    first = None
    if source is not None and all(layer.name != INPUT for layer in model.layers):
        channels = model.input_shape[-1]
        integer, fraction = ([bits] * channels for bits in (source.integer - source.signed, source.fraction))
        first = LearnedWidth(source.signed, integer, fraction, per_channel, name=INPUT)
    return rebuilt(model, change, first)


def learned(model: Any) -> dict[str, Any]:
    """Return the functions that compute learned widths, by layer."""
    return {layer.name: layer.bits for layer in model.layers if isinstance(layer, LearnedWidth)}


def hold(model: Any, epoch: int, epochs: int) -> None:
    """Keep the widths of a model constant from the epoch on, counted from 0, at which they stop moving."""
    for layer in model.layers:
        if isinstance(layer, LearnedWidth) and epoch == round(MOVING * epochs):
            layer.moves.assign(0.0)
            # whole numbers of bits, which the optimiser's momentum does not change
            layer.fraction.assign(tf.round(PACE * layer.fraction.value) / PACE)


def settled(model: Any) -> Any:
    """Return a copy of a model with ordinary quantised activations of the learned widths."""

    def change(layer: Any) -> Any:
        return layer.settled(inputs_of(layer)[0].shape[-1]) if isinstance(layer, LearnedWidth) else None

    return rebuilt(model, change)
