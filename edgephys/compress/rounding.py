"""Round weights and biases to integers chosen by their cost, straight through to a full-precision copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgephys.compress import digits
from edgephys.compress.model_structure import kernel_integers, kernel_step
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of, quantiser_of

MEMORY = 0.98
"""Decay per step of the running means of a weight's oscillations and values."""
WIDEST = 10
"""Largest width of a kernel, in bits: every integer is tried."""


class WeightRounding(ABC):
    """Hold one layer's weights, the values that they can round to, and the digits of each; zeros stay zero."""

    def __init__(self, layer: Any) -> None:
        quantiser = quantiser_of(layer)
        if quantiser.bits > WIDEST:
            raise UsageError(
                f"layer '{layer.name}': its weights must have {WIDEST} bits at most, as every integer is tried, not "
                f"{quantiser.bits}; put a stage with fewer bits before this one"
            )
        integers = np.arange(-(2 ** (quantiser.bits - 1)), 2 ** (quantiser.bits - 1))
        self.copy = kernel_of(layer)
        self.values = tf.constant(integers * kernel_step(layer), tf.float32)
        self.counts = tf.constant(digits.count(integers), tf.float32)
        self.nonzero = tf.constant(keras.ops.convert_to_numpy(kernel_of(layer)) != 0, tf.float32)

    @abstractmethod
    def loss(self, squares: Any) -> Any:
        """Return the cost of each choice from its squared distance to the weight.  Shape: (*kernel, integer)."""

    def value(self) -> Any:
        """Return the rounded weights, straight through."""
        copy = self.copy.value
        return self.nonzero * (copy + tf.stop_gradient(tf.gather(self.values, self._chosen()) - copy))

    def digits(self) -> Any:
        """Return the signed digits of each weight."""
        return self.nonzero * tf.gather(self.counts, self._chosen())

    def _chosen(self) -> Any:
        return tf.argmin(self.loss((self.copy.value[..., None] - self.values) ** 2), -1)


class OscillationFreeze:
    """Freeze weights that oscillate between two rounded values.

    A weight whose best value lies between two of them oscillates faster than the others can follow, so that its value
    at the end of an epoch is random. It is frozen at the value nearest to its mean once it turns back more often than
    ``patience``, a share of the steps. Source: arXiv 2203.11086, section 4.3.
    """

    def __init__(self, copy: Any, rounded: Callable[[Any], Any], patience: Any) -> None:
        self.copy, self.rounded, self.patience = copy, rounded, patience
        start = rounded(copy.value)
        self.last, self.mean, self.frozen_value = (keras.Variable(start, trainable=False) for _ in range(3))
        zeros = tf.zeros_like(start)
        self.direction, self.frequency, self.frozen = (keras.Variable(zeros, trainable=False) for _ in range(3))

    def value(self) -> Any:
        """Return the weights: rounded ones, straight through, and frozen ones."""
        copy, frozen = self.copy.value, self.frozen.value
        return (1.0 - frozen) * (copy + tf.stop_gradient(self.rounded(copy) - copy)) + frozen * self.frozen_value.value

    def update(self) -> None:
        """Update the running means after a step, and freeze the weights that oscillate."""
        now = self.rounded(self.copy.value)
        step = tf.sign(now - self.last.value)
        back = tf.cast(step * self.direction.value < 0, tf.float32)
        self.direction.assign(tf.where(step == 0, self.direction.value, step))
        self.frequency.assign(MEMORY * self.frequency.value + (1 - MEMORY) * back)
        self.mean.assign(MEMORY * self.mean.value + (1 - MEMORY) * now)
        self.last.assign(now)
        new = tf.cast(self.frequency.value > self.patience.value, tf.float32) * (1.0 - self.frozen.value)
        self.frozen_value.assign(tf.where(new > 0, self.rounded(self.mean.value), self.frozen_value.value))
        self.frozen.assign(self.frozen.value + new)


class OddBias:
    """Keep one layer's biases odd, in steps of their quantiser."""

    def __init__(self, layer: Any) -> None:
        quantiser = layer.bias_quantizer_internal
        self.copy = layer.bias
        self.fraction = int(quantiser.bits - quantiser.integer - quantiser.keep_negative)
        self.largest = 2.0 ** int(quantiser.bits - 1) - 1

    def value(self) -> Any:
        """Return the nearest odd biases, straight through."""
        copy = self.copy.value
        odd = 2.0 * tf.round((copy * 2.0**self.fraction - 1.0) / 2.0) + 1.0
        clipped = tf.clip_by_value(odd, -self.largest, self.largest) * 2.0**-self.fraction
        return copy + tf.stop_gradient(clipped - copy)

    @classmethod
    def of(cls, layers: Sequence[Any]) -> list[OddBias]:
        """Return one for each layer whose biases are all odd, as ``untie`` makes them."""
        return [cls(layer) for layer in layers if _is_odd(layer)]


def _is_odd(layer: Any) -> bool:
    quantiser: Any = layer.bias_quantizer_internal if layer.use_bias else None
    if type(quantiser).__name__ != "quantized_bits":
        return False
    steps = 2.0 ** int(quantiser.bits - quantiser.integer - quantiser.keep_negative)
    return bool(np.all(np.rint(keras.ops.convert_to_numpy(quantiser(layer.bias)) * steps) % 2 == 1))


class BudgetedRounding(WeightRounding):
    """Round to the nearest integer with at most the present number of digits; freeze weights that oscillate."""

    def __init__(self, layer: Any, patience: Any) -> None:
        super().__init__(layer)
        budget = tf.constant(digits.count(kernel_integers(layer)), tf.float32)
        self.penalty = tf.where(self.counts > budget[..., None], np.inf, 0.0)
        self.freeze = OscillationFreeze(kernel_of(layer), self.rounded, patience)

    def loss(self, squares: Any) -> Any:
        """Return the squares; integers with more digits cost infinity."""
        return squares + self.penalty

    def rounded(self, values: Any) -> Any:
        """Return the nearest weights with few enough digits."""
        return tf.gather(self.values, tf.argmin(self.loss((values[..., None] - self.values) ** 2), -1))

    def value(self) -> Any:
        """Return the weights of the forward pass."""
        return self.nonzero * self.freeze.value()
