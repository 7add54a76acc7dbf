"""Round weights and biases to integers chosen for what they cost, straight through to a full-precision copy."""

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
"""Share that the running means of a weight's turns and values keep, each step."""
WIDEST = 10
"""Bits of a kernel of which every integer is tried."""


class Rounding(ABC):
    """Hold one layer's weights, the integers that they may become, and the digits of each; zeros stay zero."""

    def __init__(self, layer: Any) -> None:
        quantiser = quantiser_of(layer)
        if quantiser.bits > WIDEST:
            raise UsageError(
                f"layer '{layer.name}': every integer of a weight is tried, which may have {WIDEST} bits at most, not "
                f"{quantiser.bits}; put a stage with fewer bits before this one"
            )
        integers = np.arange(-(2 ** (quantiser.bits - 1)), 2 ** (quantiser.bits - 1))
        self.copy = kernel_of(layer)
        self.values = tf.constant(integers * kernel_step(layer), tf.float32)
        self.counts = tf.constant(digits.count(integers), tf.float32)
        self.held = tf.constant(keras.ops.convert_to_numpy(kernel_of(layer)) != 0, tf.float32)

    @abstractmethod
    def loss(self, squares: Any) -> Any:
        """Return what each choice costs, given the squares of its distance.  Shape: (*kernel, integer)."""

    def value(self) -> Any:
        """Return the rounded weights, straight through."""
        copy = self.copy.value
        return self.held * (copy + tf.stop_gradient(tf.gather(self.values, self._chosen()) - copy))

    def digits(self) -> Any:
        """Return the signed digits of each weight."""
        return self.held * tf.gather(self.counts, self._chosen())

    def _chosen(self) -> Any:
        return tf.argmin(self.loss((self.copy.value[..., None] - self.values) ** 2), -1)


class Resting:
    """Bring to rest what swings: weights that go to and fro between two values that they are rounded to.

    A weight whose best value lies between two of them turns faster than the others can follow, and what an epoch ends
    with is chance. It is frozen at the value nearest to its mean once it turns back more often than ``patience``, a
    share of the steps. Source: arXiv 2203.11086, section 4.3.
    """

    def __init__(self, copy: Any, rounded: Callable[[Any], Any], patience: Any) -> None:
        self.copy, self.rounded, self.patience = copy, rounded, patience
        start = rounded(copy.value)
        self.last, self.mean, self.rest = (keras.Variable(start, trainable=False) for _ in range(3))
        self.turned, self.often, self.frozen = (keras.Variable(tf.zeros_like(start), trainable=False) for _ in range(3))

    def value(self) -> Any:
        """Return the rounded weights, straight through, and the frozen ones."""
        copy, frozen = self.copy.value, self.frozen.value
        return (1.0 - frozen) * (copy + tf.stop_gradient(self.rounded(copy) - copy)) + frozen * self.rest.value

    def watch(self) -> None:
        """Look at the weights of a step, and freeze what swings."""
        now = self.rounded(self.copy.value)
        way = tf.sign(now - self.last.value)
        back = tf.cast(way * self.turned.value < 0, tf.float32)
        self.turned.assign(tf.where(way == 0, self.turned.value, way))
        self.often.assign(MEMORY * self.often.value + (1 - MEMORY) * back)
        self.mean.assign(MEMORY * self.mean.value + (1 - MEMORY) * now)
        self.last.assign(now)
        swings = tf.cast(self.often.value > self.patience.value, tf.float32) * (1.0 - self.frozen.value)
        self.rest.assign(tf.where(swings > 0, self.rounded(self.mean.value), self.rest.value))
        self.frozen.assign(self.frozen.value + swings)


class OddBias:
    """Hold one layer's biases, all odd in steps of their quantiser, and keep them so."""

    def __init__(self, layer: Any) -> None:
        quantiser = layer.bias_quantizer_internal
        self.copy = layer.bias
        self.fraction = int(quantiser.bits - quantiser.integer - quantiser.keep_negative)
        self.largest = 2.0 ** int(quantiser.bits - 1) - 1

    def value(self) -> Any:
        """Return the nearest odd biases, straight through."""
        copy = self.copy.value
        odd = 2.0 * tf.round((copy * 2.0**self.fraction - 1.0) / 2.0) + 1.0
        kept = tf.clip_by_value(odd, -self.largest, self.largest) * 2.0**-self.fraction
        return copy + tf.stop_gradient(kept - copy)

    @classmethod
    def of(cls, layers: Sequence[Any]) -> list[OddBias]:
        """Return those of the layers whose biases are all odd, as ``untie`` makes them."""
        return [cls(layer) for layer in layers if _is_odd(layer)]


def _is_odd(layer: Any) -> bool:
    quantiser: Any = layer.bias_quantizer_internal if layer.use_bias else None
    if type(quantiser).__name__ != "quantized_bits":
        return False
    steps = 2.0 ** int(quantiser.bits - quantiser.integer - quantiser.keep_negative)
    return bool(np.all(np.rint(keras.ops.convert_to_numpy(quantiser(layer.bias)) * steps) % 2 == 1))


class Budgeted(Rounding):
    """Round to the nearest integer of at most as many digits as the weight has now; what swings is brought to rest."""

    def __init__(self, layer: Any, patience: Any) -> None:
        super().__init__(layer)
        budget = tf.constant(digits.count(kernel_integers(layer)), tf.float32)
        self.beyond = tf.where(self.counts > budget[..., None], np.inf, 0.0)
        self.resting = Resting(kernel_of(layer), self.rounded, patience)

    def loss(self, squares: Any) -> Any:
        """Return the squares, without the integers that have more digits."""
        return squares + self.beyond

    def rounded(self, values: Any) -> Any:
        """Return the nearest weights within the digits."""
        return tf.gather(self.values, tf.argmin(self.loss((values[..., None] - self.values) ** 2), -1))

    def value(self) -> Any:
        """Return the weights as they are used."""
        return self.held * self.resting.value()
