"""Frugal rounding: round each weight to the integer with the lowest cost in loss and in adders.

Each weight w keeps its full-precision copy, as in any quantised training. It is rounded not to the nearest integer but
to the q that minimises h/2 (w - q)**2 + price * digits(q): the cost of the rounding in loss, to second order, and the
cost of its adders, by the width of the data and the number of copies. h is the diagonal of the Fisher matrix, a running
mean of squared gradients, as in optimal brain damage (LeCun 1990), here with more than two choices for each weight.
Weights become zero or a power of two where that is cheapest, and can change back later. Ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgephys.applications.task import Task
from edgephys.compress import learned_widths
from edgephys.compress.cost import CircuitCost
from edgephys.compress.model_structure import kernel_layers, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.rounding import WeightRounding
from edgephys.compress.stage import Progress, StageResult, Training, one_of, require
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of

NOTHING = 1e-6
MEMORY = 0.995
"""Decay per step of the running mean of squared gradients."""


@register("frugal")
@dataclass(frozen=True)
class Frugal(Training):
    """Train weights, and the widths of activations and input, under the price of adders.

    ``lut_cost`` is the loss of one adder bit. As training recovers most of the loss of a rounding, the second-order
    estimate of that loss is divided by ``recovery``. ``widths`` states what learns a width of its own; ``inputs``
    whether the model's input learns widths too. Gradients of teachers' soft answers are far smaller than those of
    labels: the loss of a rounding is estimated from the labels' share of the loss, which must not be 0.
    """

    learning_rate: float = 2e-3
    epochs: int = 30
    keep: str = "last"
    lut_cost: float = 2e-7
    recovery: float = 20.0
    widths: str = "tensor"
    inputs: str = "learned"

    def __post_init__(self) -> None:
        super().__post_init__()
        require("lut_cost", self.lut_cost, 0, above=True)
        require("recovery", self.recovery, 1)
        one_of("widths", self.widths, learned_widths.SCOPES)
        one_of("inputs", self.inputs, ("learned", "fixed"))
        if self.inputs == "learned" and self.widths == "fixed":
            raise UsageError("inputs can only learn widths with the activations; set widths = 'channel' or 'tensor'")
        if self.teacher and self.teacher_share == 1:
            raise UsageError("teacher_share must be below 1 here: the loss of a rounding is estimated from the labels")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model with rounded weights, and with ordinary activations of the learned widths."""
        kernel_layers(model)
        source = task.input if self.inputs == "learned" else None
        learns = self.widths != "fixed"
        fresh = learned_widths.learnable(model, self.widths, source) if learns else rebuilt(model)
        circuit = CircuitCost(fresh, task.input.bits, learned_widths.learned(fresh))
        ramp = keras.Variable(0.0, trainable=False)
        kernels = {
            layer.name: PricedRounding(layer, partial(self._price, layer, circuit, ramp))
            for layer in kernel_layers(fresh)
        }
        counts = {name: kernel.digits for name, kernel in kernels.items()}
        labels_share = 1 - self.teacher_share if self.teacher else 1.0

        def add_gradients(gradients: Mapping[str, Any]) -> None:
            for kernel in kernels.values():
                kernel.add_gradient(gradients[kernel.copy.path] / labels_share, self.batch)

        def stop_moving(epoch: int, _: Any) -> None:
            learned_widths.hold(fresh, epoch, self.epochs)
            if epoch == round(learned_widths.MOVING * self.epochs):
                for kernel in kernels.values():
                    kernel.moves.assign(0.0)

        hooks = TrainingHooks(
            computed={kernel.copy.path: kernel.value for kernel in kernels.values()},
            variables=tuple(kernel.copy for kernel in kernels.values()),
            cost=lambda: self.lut_cost * ramp.value * circuit.adder_bits(counts),
            ramp=ramp,
            after_step=add_gradients,
            before_epoch=stop_moving,
        )
        notes = train(fresh, task, self, seed, hooks, progress)
        return StageResult(learned_widths.settled(fresh), notes)

    def _price(self, layer: Any, circuit: CircuitCost, ramp: Any) -> Any:
        """Return the price in loss of a digit, for each input channel of a layer, before ``recovery``."""
        return tf.stop_gradient(self.recovery * self.lut_cost * ramp.value * circuit.price(layer))


class PricedRounding(WeightRounding):
    """Round to the integer with the lowest cost in loss and in digits."""

    def __init__(self, layer: Any, price: Callable[[], Any]) -> None:
        super().__init__(layer)
        self.price = price
        self.squares = keras.Variable(tf.zeros(kernel_of(layer).shape), trainable=False)
        self.weight_sum = keras.Variable(0.0, trainable=False)
        self.moves = keras.Variable(1.0, trainable=False)

    def loss(self, squares: Any, counts: Any) -> Any:
        """Return the second-order loss of each candidate and the price of its digits."""
        # 1 before the first step, which rounds to nearest
        own = (self.squares.value + NOTHING) / (self.weight_sum.value + NOTHING)
        fisher = (own + tf.reduce_mean(own)) / 2  # averaged, as the estimate of one weight is noisy
        return fisher[..., None] / 2 * squares + self.price()[:, None, None] * counts

    def add_gradient(self, gradient: Any, batch: int) -> None:
        """Add a step's gradient, a mean over a batch, to the running mean of squares for one example."""
        share = (1 - MEMORY) * self.moves.value
        self.squares.assign((1 - share) * self.squares.value + share * batch * gradient**2)
        self.weight_sum.assign((1 - share) * self.weight_sum.value + share)
