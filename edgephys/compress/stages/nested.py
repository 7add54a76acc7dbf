"""Nested sub-networks: one training for several sizes, of which each holds the first units of the larger ones.

Source: arXiv 2309.00255 (SortedNet). Sub-networks share all parameters; each step draws one of them, and units that
it does not hold are silent. Ours: one draw a step instead of gradients gathered over several; no batch norms to set
anew, since our nets have none; the sub-network that is emitted is a smaller model, not a mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import activation_layers, kernel_layers
from edgephys.compress.stage import Made, Progress, Training, require
from edgephys.compress.stages.shrink import channels, shrink
from edgephys.compress.stand_in import StandIn, replaced, restored
from edgephys.compress.training_loop import Parameters, descend
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras, tf


@dataclass(frozen=True)
class Nested(Training):
    """Train sub-networks with the first of the units of every hidden layer, and emit one of them.

    ``fractions`` are the shares of the units, rising; ``emit`` is the one whose sub-network is the result, and whose
    figure on the validation examples says which epoch is the best.
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
            raise UsageError(f"emit must be one of the fractions {_told(self.fractions)}, not {self.emit:g}")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the sub-network that is emitted; the notes hold the validation figure of each."""
        kernel_layers(model)
        course = Course(seed, len(self.fractions))
        silent = [silent_units(model, fraction) for fraction in self.fractions]
        fresh = nested(model, silent, course)
        emitted = self.fractions.index(self.emit)
        course.size.assign(emitted)
        notes = descend(fresh, task, self, seed, Parameters(after_step=course.go_on), progress)
        figures = {}
        for size, fraction in enumerate(self.fractions):
            course.size.assign(size)
            figures[f"{fraction:g}"] = round(task.validation_score(fresh), 5)
        small = shrink(restored(fresh), silent[emitted])
        return Made(small, {**notes, f"{task.metric.key}_of": figures, "parameters": int(small.count_params())})


class Course:
    """Hold where a training stands: the step, which draws the sub-network that trains, and the one that is judged."""

    def __init__(self, seed: int, sizes: int) -> None:
        self.seed, self.sizes = seed % 2**31, sizes
        self.step = keras.Variable(0, dtype="int32", trainable=False)
        self.size = keras.Variable(0, dtype="int32", trainable=False)

    def drawn(self) -> Any:
        """Return the number of the sub-network that trains in this step."""
        seed = tf.stack([tf.constant(self.seed, tf.int32), self.step.value])
        return tf.random.stateless_uniform([], seed, 0, self.sizes, tf.int32)

    def go_on(self, gradients: Mapping[str, Any]) -> None:
        """Go to the next step."""
        self.step.assign(self.step + 1)


class Nest(StandIn):
    """Stand for an activation of which each sub-network has the first channels; the others are 0."""

    def __init__(self, of: Any, held: NDArray[np.float32], course: Course) -> None:
        super().__init__(of)
        self.held, self.course = tf.constant(held), course

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the activations of the sub-network that is drawn, or judged."""
        size = self.course.drawn() if training else self.course.size.value
        return self.quantised(x) * tf.gather(self.held, size)


def nested(model: Any, silent: list[set[int]], course: Course) -> Any:
    """Return a copy of a model in which a course says which of its sub-networks is heard."""
    found = channels(model).of

    def nest(layer: Any) -> Nest:
        held = [~np.isin(found[layer.name], list(units)) for units in silent]  # (sub-network, channel)
        return Nest(layer, np.array(held, np.float32), course)

    return replaced(model, nest)


def silent_units(model: Any, fraction: float) -> set[int]:
    """Return the channels that a sub-network with a fraction of each hidden layer's units leaves out, the last ones.

    Hidden layers are those with an activation behind them; each keeps 1 unit or more.
    """
    found = channels(model)
    hidden = {one for layer in activation_layers(model) for one in found.made(layer).tolist()}
    groups = [[one for one in group.tolist() if one in hidden] for group in found.groups(model)]
    return {one for group in groups for one in group[max(1, round(fraction * len(group))) :]}


def _told(fractions: tuple[float, ...]) -> str:
    return ", ".join(f"{fraction:g}" for fraction in fractions)
