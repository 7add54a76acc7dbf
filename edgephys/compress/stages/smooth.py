"""Smooth activations under quantised noise during training; the result is an ordinary quantised network.

Source: arXiv 2402.02593, and its code: the input of a layer is clamped to [-1, 1], with a gradient only inside, reduced
in precision and disturbed by Gaussian noise, both with the gradient of the identity. Its result: near zero the
gradient of ReLU under noise is far less accurate than that of GELU or SiLU. Ours: as hardware computes a quantised
ReLU, the share of the smooth activation falls to 0 by half of the epochs, and validation uses the quantised ReLU
without noise; [-1, 1] is scaled to the range of the layer; the network's input has no noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from statistics import NormalDist
from typing import Any

from edgephys.applications.task import Task
from edgephys.compress.model_structure import kernel_layers
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, one_of, require
from edgephys.compress.stand_in import RandomSteps, StandIn, replaced, restored
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import inputs_of
from edgephys.networks.layers import ConstituentMean, ReceivedSum

ACTIVATIONS = {
    "relu": keras.ops.relu,
    "gelu": lambda x: keras.ops.gelu(x, approximate=False),
    "silu": keras.ops.silu,
}


@register("smooth")
@dataclass(frozen=True)
class Smooth(Training):
    """Train with noise, and with smooth activations in the first half of the epochs.

    ``activation`` is the smooth function; "relu" is for comparison, with the same noise and no smooth function.
    ``precision`` is the number of levels in (0, 1], 0: those of each layer's own width. ``leakage`` is the probability
    that the noise leads to another level; 0: no noise.
    """

    activation: str = "gelu"
    precision: int = 0
    leakage: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("activation", self.activation, tuple(ACTIVATIONS))
        require("precision", self.precision, 0, 2**16)
        require("leakage", self.leakage, 0, 0.99)
        if self.epochs < 2:
            raise UsageError("epochs must be 2 or more, so that the last one trains the ReLU of the hardware, not 1")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the trained model with its original activations."""
        kernel_layers(model)
        noise = NoiseSchedule(seed)
        fresh = self.disturbed(model, noise)
        hooks = TrainingHooks(
            before_epoch=lambda epoch, _: noise.share.assign(share(epoch, self.epochs)), after_step=noise.next_step
        )
        notes = train(fresh, task, self, seed, hooks, progress)
        return StageResult(restored(fresh), notes)

    def disturbed(self, model: Any, noise: NoiseSchedule) -> Any:
        """Return a copy of a model whose quantised ReLUs are smooth and disturbed during training.

        ReLUs behind sums, which only round, are disturbed but not smooth.
        """
        numbers = count()

        def noisy(layer: Any) -> Any:
            if type(layer.activation).__name__ != "quantized_relu":
                return None
            rounds = isinstance(inputs_of(layer)[0]._keras_history.operation, ConstituentMean | ReceivedSum)
            return NoisyActivation(layer, "relu" if rounds else self.activation, self, noise, next(numbers))

        return replaced(model, noisy)


def share(epoch: int, epochs: int) -> float:
    """Return the share of the smooth activation: 1 in the first epoch, 0 from half of them on."""
    return max(0.0, 1.0 - 2.0 * epoch / epochs)


class NoiseSchedule(RandomSteps):
    """Hold the share of the smooth activations, and the step, which seeds the noise."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.share = keras.Variable(1.0, trainable=False)

    def normal(self, shape: Any, number: int) -> Any:
        """Return standard normal numbers of this step for one of the layers."""
        first = tf.bitwise.bitwise_xor(tf.constant(self.seed, tf.int32), number << 16)
        return tf.random.stateless_normal(shape, tf.stack([first, self.step.value]))


class NoisyActivation(StandIn):
    """Replace a quantised ReLU by a smooth function that is clamped, reduced in precision and disturbed."""

    def __init__(self, of: Any, activation: str, plan: Smooth, noise: NoiseSchedule, number: int) -> None:
        super().__init__(of)
        self.smooth, self.noise, self.number = ACTIVATIONS[activation], noise, number
        self.range = 2.0**self.quantised.integer
        self.levels = plan.precision or 2**self.quantised.bits
        self.deviation = deviation(self.levels, plan.leakage)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the quantised activations, and during training a share of disturbed ones."""
        exact = self.quantised(x)
        if not training:
            return exact
        disturbed = reduced(tf.clip_by_value(self.smooth(x / self.range), -1.0, 1.0), self.levels)
        disturbed += self.deviation * self.noise.normal(tf.shape(x), self.number)
        return exact + self.noise.share.value * (self.range * disturbed - exact)


def reduced(x: Any, levels: int) -> Any:
    """Round to multiples of 1 / levels, a half towards zero; the gradient is that of the identity.

    Source: arXiv 2402.02593: sign(x) * ceil(|x p| - 0.5) / p.
    """
    return x + tf.stop_gradient(tf.sign(x) * tf.math.ceil(tf.abs(x * levels) - 0.5) / levels - x)


def deviation(levels: int, leakage: float) -> float:
    """Return the standard deviation of noise that leads to another level with the probability ``leakage``.

    Source: arXiv 2402.02593: 1 / (2 p sqrt(2) erfinv(1 - leakage)).
    """
    return 1.0 / (2.0 * levels * NormalDist().inv_cdf(1.0 - leakage / 2.0)) if leakage else 0.0
