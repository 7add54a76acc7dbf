"""Frugal rounding: a weight becomes the integer that is worth its signed digits.

Each weight w keeps its full-precision copy, as in any quantised training. What it is rounded to is not the nearest
integer but the q that minimises h/2 (w - q)**2 + price * digits(q): what the rounding costs in loss, to second
order, and what its adders cost, by the width of the data and the number of copies. h is the diagonal of the Fisher
matrix, a running mean of squared gradients, as in optimal brain damage (LeCun 1990), which this is with more than
two choices a weight. Zeros, and powers of two, come out where they are worth it, and may be taken back. Ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgephys.applications.task import Task
from edgephys.compress import learned_widths
from edgephys.compress.cost import Circuit
from edgephys.compress.model_structure import kernel_layers, rebuilt
from edgephys.compress.rounding import Rounding
from edgephys.compress.stage import Made, Progress, Training, one_of, require
from edgephys.compress.training_loop import Parameters, descend
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of

NOTHING = 1e-6
MEMORY = 0.995
"""Share that the running mean of squared gradients keeps, each step."""


@dataclass(frozen=True)
class Frugal(Training):
    """Train weights, and the widths of activations and input, under the price of adders.

    ``lut_cost`` is the loss that one adder bit costs. Retraining wins back most of what a rounding loses, so the
    second-order estimate of that loss is divided by ``recovery``. ``widths`` says what has a width of its own, which is
    learned; ``inputs`` whether the model's input learns, too. Teachers' soft answers have far smaller gradients than
    labels have: what a rounding loses is estimated from the labels' share of the loss, which must not be 0.
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
        one_of("widths", self.widths, learned_widths.WORDS)
        one_of("inputs", self.inputs, ("learned", "fixed"))
        if self.inputs == "learned" and self.widths == "fixed":
            raise UsageError("inputs can only learn widths with the activations; set widths = 'channel' or 'tensor'")

        if self.teacher and self.teacher_share == 1:
            raise UsageError("teacher_share must be below 1 here: the labels tell what a rounding loses")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the model of rounded weights and ordinary activations of the learned widths."""
        kernel_layers(model)
        source = task.input if self.inputs == "learned" else None
        learns = self.widths != "fixed"
        fresh = learned_widths.learnable(model, self.widths, source) if learns else rebuilt(model, lambda layer: None)
        circuit = Circuit(fresh, task.input.bits, learned_widths.learned(fresh))
        ramp = keras.Variable(0.0, trainable=False)
        kernels = {
            layer.name: Priced(layer, partial(self._price, layer, circuit, ramp)) for layer in kernel_layers(fresh)
        }
        counts = {name: kernel.digits for name, kernel in kernels.items()}

        labelled = 1 - self.teacher_share if self.teacher else 1.0

        def remember(gradients: Mapping[str, Any]) -> None:
            for kernel in kernels.values():
                kernel.remember(gradients[kernel.copy.path] / labelled, self.batch)

        def hold(epoch: int, _: Any) -> None:
            learned_widths.hold(fresh, epoch, self.epochs)
            if epoch == round(learned_widths.MOVING * self.epochs):
                for kernel in kernels.values():
                    kernel.moves.assign(0.0)

        parameters = Parameters(
            makes={kernel.copy.path: kernel.value for kernel in kernels.values()},
            variables=tuple(kernel.copy for kernel in kernels.values()),
            cost=lambda: self.lut_cost * ramp.value * circuit.adder_bits(counts),
            ramp=ramp,
            after_step=remember,
            before_epoch=hold,
        )
        notes = descend(fresh, task, self, seed, parameters, progress)
        return Made(learned_widths.settled(fresh), notes)

    def _price(self, layer: Any, circuit: Circuit, ramp: Any) -> Any:
        """Return what a digit of each input channel of a layer is worth in loss, before retraining."""
        return tf.stop_gradient(self.recovery * self.lut_cost * ramp.value * circuit.price(layer))


class Priced(Rounding):
    """Round to the integer that costs least, in loss and in digits."""

    def __init__(self, layer: Any, price: Callable[[], Any]) -> None:
        super().__init__(layer)
        self.price = price
        self.squares = keras.Variable(tf.zeros(kernel_of(layer).shape), trainable=False)
        self.seen = keras.Variable(0.0, trainable=False)
        self.moves = keras.Variable(1.0, trainable=False)

    def loss(self, squares: Any) -> Any:
        """Return the second-order loss of each choice and the price of its digits."""
        own = (self.squares.value + NOTHING) / (self.seen.value + NOTHING)  # 1 before the first step: the nearest
        fisher = (own + tf.reduce_mean(own)) / 2  # what a few batches say of one weight is noisy
        return fisher[..., None] / 2 * squares + self.price()[:, None, None] * self.counts

    def remember(self, gradient: Any, batch: int) -> None:
        """Take a step's gradient, a mean over a batch, into the running mean of an example's squares."""
        share = (1 - MEMORY) * self.moves.value
        self.squares.assign((1 - share) * self.squares.value + share * batch * gradient**2)
        self.seen.assign((1 - share) * self.seen.value + share)
