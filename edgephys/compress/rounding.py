"""Round weights and biases to integers chosen by their cost, straight through to a full-precision copy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.compress import digits
from edgephys.compress.model_structure import kernel_integers, kernel_step
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of, quantiser_of

MEMORY = 0.98
"""Decay per step of the running means of a weight's oscillations and values."""
WIDEST = 16
"""Largest width of a kernel, in bits: each half step has an entry in a table."""


class WeightRounding(ABC):
    """Hold one layer's weights, and find the value of the lowest cost that each can round to; zeros stay zero.

    Of the integers of at most d signed digits only the nearest to a weight can cost least, so that each d has one
    candidate. The candidates are looked up by the half step that holds the weight: it lies between two integers or
    midpoints, where no other integer becomes the nearest.
    """

    def __init__(self, layer: Any) -> None:
        quantiser = quantiser_of(layer)
        if quantiser.bits > WIDEST:
            raise UsageError(
                f"layer '{layer.name}': its weights must have {WIDEST} bits at most, not {quantiser.bits}, as a table "
                "has an entry for each half step; put a stage with fewer bits before this one"
            )
        self.copy, self.step = kernel_of(layer), kernel_step(layer)
        integers = np.arange(-(2 ** (quantiser.bits - 1)), 2 ** (quantiser.bits - 1))
        self.lowest = float(integers[0]) - 0.5
        candidates = _nearest(integers, self.lowest + 0.25 + np.arange(2 * len(integers)) / 2)
        self.values = tf.constant(candidates * self.step, tf.float32)
        self.counts = tf.constant(digits.count(candidates), tf.float32)
        self.nonzero = tf.constant(keras.ops.convert_to_numpy(self.copy) != 0, tf.float32)

    @abstractmethod
    def loss(self, squares: Any, counts: Any) -> Any:
        """Return the cost of candidates from their squared distances to the weight and their digits.

        Shape: each (*kernel, candidate).
        """

    def value(self) -> Any:
        """Return the rounded weights, straight through."""
        copy = self.copy.value
        return self.nonzero * (copy + tf.stop_gradient(self.best(copy)[0] - copy))

    def digits(self) -> Any:
        """Return the signed digits of each weight."""
        return self.nonzero * self.best(self.copy.value)[1]

    def best(self, weights: Any) -> tuple[Any, Any]:
        """Return the values of the lowest cost and their digits.  Shape: each as the weights."""
        cells = tf.cast(tf.floor(2.0 * (weights / self.step - self.lowest)), tf.int32)
        cells = tf.clip_by_value(cells, 0, len(self.values) - 1)
        values, counts = tf.gather(self.values, cells), tf.gather(self.counts, cells)
        cheapest = tf.argmin(self.loss((weights[..., None] - values) ** 2, counts), -1)
        chosen = tf.one_hot(cheapest, self.values.shape[-1])
        return tf.reduce_sum(chosen * values, -1), tf.reduce_sum(chosen * counts, -1)


def _nearest(integers: NDArray[np.int64], places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the integers nearest to each place that have at most 0, 1, 2, ... digits.  Shape: (place, digits)."""
    counts = digits.count(integers)
    columns = []
    for most in range(int(counts.max()) + 1):
        allowed = integers[counts <= most]
        columns.append(allowed[np.searchsorted((allowed[1:] + allowed[:-1]) / 2, places)])
    return np.stack(columns, axis=1)


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
        self.budget = tf.constant(digits.count(kernel_integers(layer)), tf.float32)
        self.freeze = OscillationFreeze(kernel_of(layer), lambda weights: self.best(weights)[0], patience)

    def loss(self, squares: Any, counts: Any) -> Any:
        """Return the squares; integers with more digits cost infinity."""
        return squares + tf.where(counts > self.budget[..., None], np.inf, 0.0)

    def value(self) -> Any:
        """Return the weights of the forward pass."""
        return self.nonzero * self.freeze.value()
