"""Nested sub-networks: one training for several sizes, each of which has the first units of the larger ones.

Source: arXiv 2309.00255 (SortedNet). Sub-networks share all parameters; each step draws one of them, and the units
outside it are set to 0. Ours: one draw a step instead of gradients summed over several; no batch norms to recompute,
as our networks have none; the result is a smaller model, not a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import activation_layers, kernel_layers
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, require
from edgephys.compress.stages.shrink import channels, shrink
from edgephys.compress.stand_in import RandomSteps, StandIn, replaced, restored
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf


@register("nested")
@dataclass(frozen=True)
class Nested(Training):
    """Train sub-networks with the first units of every hidden layer, and return one of them.

    ``fractions`` are the shares of the units, rising; ``emit`` is the share of the result, whose figure on the
    validation examples decides which epoch is the best.
    """

    fractions: tuple[float, ...] = (0.25, 0.5, 1.0)
    emit: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for fraction in self.fractions:
            require("fractions", fraction, 0, 1, above=True)
        if not self.fractions or list(self.fractions) != sorted(set(self.fractions)):
            raise UsageError(f"fractions must rise from each to the next, 1 or more of them, not {self.fractions}")
        if self.emit not in self.fractions:
            raise UsageError(f"emit must be one of the fractions {_text(self.fractions)}, not {self.emit:g}")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the sub-network of ``emit``; the notes hold the validation figure of each."""
        kernel_layers(model)
        draws = SubnetworkDraws(seed, len(self.fractions))
        removed = [units_outside(model, fraction) for fraction in self.fractions]
        fresh = nested(model, removed, draws)
        emitted = self.fractions.index(self.emit)
        draws.judged.assign(emitted)
        notes = train(fresh, task, self, seed, TrainingHooks(after_step=draws.next_step), progress)
        figures = {}
        for size, fraction in enumerate(self.fractions):
            draws.judged.assign(size)
            figures[f"{fraction:g}"] = round(task.validation_score(fresh), 5)
        small = shrink(restored(fresh), removed[emitted])
        return StageResult(small, {**notes, f"{task.metric.key}_of": figures, "parameters": int(small.count_params())})


class SubnetworkDraws(RandomSteps):
    """Hold the step, which draws the sub-network to train, and the number of the one that is ``judged``."""

    def __init__(self, seed: int, sizes: int) -> None:
        super().__init__(seed)
        self.sizes = sizes
        self.judged = keras.Variable(0, dtype="int32", trainable=False)

    def drawn(self) -> Any:
        """Return the number of the sub-network that this step trains."""
        seed = tf.stack([tf.constant(self.seed, tf.int32), self.step.value])
        return tf.random.stateless_uniform([], seed, 0, self.sizes, tf.int32)


class NestedActivation(StandIn):
    """Replace an activation: each sub-network has its first channels, the others are 0."""

    def __init__(self, of: Any, masks: NDArray[np.float32], draws: SubnetworkDraws) -> None:
        super().__init__(of)
        self.masks, self.draws = tf.constant(masks), draws

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the activations of the sub-network that is drawn, or judged."""
        size = self.draws.drawn() if training else self.draws.judged.value
        return self.quantised(x) * tf.gather(self.masks, size)


def nested(model: Any, removed: list[set[int]], draws: SubnetworkDraws) -> Any:
    """Return a copy of a model of which one sub-network at a time is active."""
    identities = channels(model).of

    def nest(layer: Any) -> NestedActivation:
        masks = [~np.isin(identities[layer.name], list(units)) for units in removed]  # (sub-network, channel)
        return NestedActivation(layer, np.array(masks, np.float32), draws)

    return replaced(model, nest)


def units_outside(model: Any, fraction: float) -> set[int]:
    """Return the channels outside the sub-network with a fraction of each hidden layer's units: the last ones.

    Hidden layers are those with an activation behind them; each keeps 1 unit or more.
    """
    identities = channels(model)
    hidden = {one for layer in activation_layers(model) for one in identities.written(layer).tolist()}
    groups = [[one for one in group.tolist() if one in hidden] for group in identities.groups(model)]
    return {one for group in groups for one in group[max(1, round(fraction * len(group))) :]}


def _text(fractions: tuple[float, ...]) -> str:
    return ", ".join(f"{fraction:g}" for fraction in fractions)
