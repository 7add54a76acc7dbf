"""Bit-wise training: every bit of every weight has a score and is trained.

Source: arXiv 2202.09571. A weight is alpha * sgn(sign score) * sum of 2**i * bit(score i), with bit(s) = 1 for
s > 0, else 0, and sgn = (-1)**bit: a positive sign score gives a negative weight. Straight through:
d bit / d s = 1, d sgn / d s = -1. Ours: alpha is a power of two; the start can be trained weights; the loss contains
the cost of the circuit, expected signed digits times the width of the data, and activation widths are learned with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress import digits, learned_widths
from edgephys.compress.cost import CircuitCost
from edgephys.compress.model_structure import fan_in, kernel_integers, kernel_layers, kernel_step, rebuilt, requantised
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, one_of, require
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import UsageError
from edgephys.core.fixed import Integers
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of, quantiser_of
from edgephys.networks.widths import WIDTHS

Floats = NDArray[np.float32]


@register("bitwise")
@dataclass(frozen=True)
class Bitwise(Training):
    """Train the bits of all weights.

    ``bits`` is the width of a weight with its sign, for all layers or for each by name; 0 keeps that of the layer.
    ``start`` takes the bits from the weights, or random ones as published. Counted from the sign, the first ``trained``
    bits are trained (0: all); the ``rest`` is frozen at its values, or dropped. ``lut_cost`` is the loss of one adder
    bit; ``widths`` states what learns a width of its own; ``margin`` is the distance of a first score from 0, 0: the
    spread of random ones.
    """

    keep: str = "last"
    bits: int | Mapping[str, int] = 0
    start: str = "weights"
    trained: int = 0
    rest: str = "frozen"
    lut_cost: float = 0.0
    widths: str = "fixed"
    margin: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, bits in self.bits.items() if isinstance(self.bits, Mapping) else [("all layers", self.bits)]:
            if bits and bits not in WIDTHS:
                raise UsageError(f"bits of {name} must be {WIDTHS.start}..{WIDTHS.stop - 1}, or 0, not {bits}")
        one_of("start", self.start, ("weights", "random"))
        one_of("rest", self.rest, ("frozen", "dropped"))
        one_of("widths", self.widths, learned_widths.SCOPES)
        require("trained", self.trained, 0, WIDTHS.stop - 1)
        require("lut_cost", self.lut_cost, 0)
        require("margin", self.margin, 0)
        if self.widths != "fixed" and not self.lut_cost:
            raise UsageError("widths can only be learned under a cost; set lut_cost, such as 1e-7")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model whose weights are the trained bits."""
        fresh = self._with_depths(model)
        if self.widths != "fixed":
            fresh = learned_widths.learnable(fresh, self.widths)
        random = np.random.default_rng(seed)
        kernels = {layer.name: self._kernel(layer, random) for layer in kernel_layers(fresh)}
        paths = {layer.name: kernel_of(layer).path for layer in kernel_layers(fresh)}
        counts = {name: kernel.digits for name, kernel in kernels.items()}
        circuit = CircuitCost(fresh, task.input.bits, learned_widths.learned(fresh))
        ramp = keras.Variable(0.0, trainable=False)
        hooks = TrainingHooks(
            computed={paths[name]: kernel.value for name, kernel in kernels.items()},
            variables=tuple(score for kernel in kernels.values() for score in kernel.scores),
            cost=(lambda: self.lut_cost * ramp.value * circuit.adder_bits(counts)) if self.lut_cost else None,
            ramp=ramp,
            before_epoch=lambda epoch, _: learned_widths.hold(fresh, epoch, self.epochs),
        )
        notes = train(fresh, task, self, seed, hooks, progress)
        return StageResult(learned_widths.settled(fresh), notes)

    def depth(self, layer: Any) -> int:
        """Return the bits of a layer's weights, with the sign."""
        stated = self.bits.get(layer.name, 0) if isinstance(self.bits, Mapping) else self.bits
        bits = stated or int(quantiser_of(layer).bits)
        return max(2, min(bits, self.trained)) if self.trained and self.rest == "dropped" else bits

    def _with_depths(self, model: Any) -> Any:
        """Return a copy of the model whose kernels have the widths and range of the trained bits."""
        layers = {layer.name: layer for layer in kernel_layers(model)}
        stated = self.bits if isinstance(self.bits, Mapping) else {}
        if unknown := sorted(set(stated) - set(layers)):
            raise UsageError(f"bits: no layer '{unknown[0]}' with weights; the model has {', '.join(layers)}")

        def change(layer: Any) -> Any:
            if layer.name not in layers:
                return None
            integer = quantiser_of(layer).integer
            if self.start == "random":
                magnitudes = self.depth(layer) - 1
                integer = magnitudes + round(math.log2(published_scale(fan_in(layer), magnitudes)))
            return requantised(layer, self.depth(layer), integer)

        return rebuilt(model, change)

    def _kernel(self, layer: Any, random: np.random.Generator) -> BitwiseKernel:
        magnitudes = self.depth(layer) - 1
        spread = math.sqrt(2 / ((magnitudes + 1) * fan_in(layer)))
        if self.start == "random":
            sign, scores = random_scores(tuple(kernel_of(layer).shape), magnitudes, spread, random)
        else:
            sign, scores = scores_of(kernel_integers(layer), magnitudes, self.margin or spread)
        frozen = self.trained if self.trained and self.rest == "frozen" else magnitudes + 1
        return BitwiseKernel(sign, scores, kernel_step(layer), frozen)


class BitwiseKernel:
    """Hold the scores of one kernel's bits: those of the sign, and of the magnitude from the least significant bit."""

    def __init__(self, sign: Floats, scores: Floats, step: float, trained: int) -> None:
        self.step = step
        self.frozen = len(scores) + 1 - trained
        """Number of magnitude bits that keep their values, the least significant ones."""
        self.scores = tuple(keras.Variable(of, dtype="float32", name="scores") for of in (sign, scores))

    def bits(self) -> list[Any]:
        """Return the magnitude bits, each of the kernel's shape, straight through to the trained scores."""
        scores = tf.unstack(self.scores[1].value)
        return [_bit(tf.stop_gradient(of) if i < self.frozen else of) for i, of in enumerate(scores)]

    def value(self) -> Any:
        """Return the weights."""
        sign = 1.0 - _bit(self.scores[0].value)  # d/ds = -1, as published
        sign += tf.stop_gradient(tf.round(2.0 * sign - 1.0) - sign)
        return self.step * sign * tf.add_n([2.0**i * bit for i, bit in enumerate(self.bits())])

    def digits(self) -> Any:
        """Return the signed digits of each weight, with the gradient of their expectation."""
        return digits.expected(self.bits())


def _bit(score: Any) -> Any:
    return score + tf.stop_gradient(tf.cast(score > 0, tf.float32) - score)


def published_scale(inputs: int, magnitudes: int) -> float:
    """Return alpha for a standard deviation of sqrt(2 / fan-in) at the start, the nearest power of two.

    Source: arXiv 2202.09571; the closed form holds for magnitude bits that are 0 or 1 alike.
    """
    exact = math.sqrt(2 / inputs) / math.sqrt(2**magnitudes * (2 ** (magnitudes + 1) - 1) / 6)
    return float(2.0 ** round(math.log2(exact)))


def random_scores(
    shape: tuple[int, ...], magnitudes: int, spread: float, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw normal scores as published; those of a magnitude again until no weight is zero.

    Shape: the kernel's, and (magnitude bit, kernel's).
    """
    scores = random.normal(0, spread, (magnitudes, *shape))
    while np.any(empty := ~np.any(scores > 0, axis=0)):
        scores[:, empty] = random.normal(0, spread, (magnitudes, int(empty.sum())))
    sign = random.normal(0, math.sqrt(2 / np.prod(shape[:-1])), shape)
    return sign.astype(np.float32), scores.astype(np.float32)


def scores_of(integers: Integers, magnitudes: int, margin: float) -> tuple[Floats, Floats]:
    """Return scores of integers, each ``margin`` away from flipping its bit; magnitudes saturate."""
    clipped = np.minimum(np.abs(integers), 2**magnitudes - 1)
    scores = np.stack([np.where(clipped >> i & 1, margin, -margin) for i in range(magnitudes)])
    return np.where(integers < 0, margin, -margin).astype(np.float32), scores.astype(np.float32)
