"""Magnitude pruning: remove the smallest weights, signed digits or units, at once or epoch by epoch.

Source: the gradual schedule is Zhu and Gupta's (arXiv 1710.01878, equation 1), with the mask updated once an epoch.
Ours: pruning of digits, where a weight becomes a sum of fewer signed powers of two, the cost of an adder tree; and of
units by the product of two norms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from edgephys.applications.task import Task
from edgephys.compress.digits import count
from edgephys.compress.masks import SCOPES
from edgephys.compress.model_structure import kernel_integers, kernel_layers, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, one_of, require
from edgephys.compress.stages.shrink import widths
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of


@register("prune")
@dataclass(frozen=True)
class Prune(Training):
    """Keep the share ``density`` of a model's weights, of their signed digits, or of its units.

    ``across`` "layer" keeps that share of each layer, "model" of all layers under one threshold. With the schedule
    ``gradual`` the density falls over the share ``ramp`` of the epochs, and only epochs at the last density can be
    the best; with ``oneshot`` it falls before the first, and 0 epochs prune without training.
    Pruned units are removed from the layers. Later stages can add digits again.
    """

    fewest_epochs: ClassVar[int] = 0
    density: float = 0.5
    scope: str = "weight"
    across: str = "layer"
    schedule: str = "oneshot"
    ramp: float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        require("density", self.density, 0, 1, above=True)
        one_of("scope", self.scope, tuple(SCOPES))
        one_of("across", self.across, ("layer", "model"))
        one_of("schedule", self.schedule, ("oneshot", "gradual"))
        require("ramp", self.ramp, 0, 1, above=True)
        if self.schedule == "gradual" and not self.epochs:
            raise UsageError("epochs must be 1 or more where schedule = 'gradual', not 0; or set schedule = 'oneshot'")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the pruned model."""
        kernel_layers(model)
        fresh = rebuilt(model)
        mask = SCOPES[self.scope](fresh, self.across)
        first = mask.density()
        gradual = self.schedule == "gradual"
        if not gradual:
            mask.thin(self.density)
        hooks = TrainingHooks(
            computed=mask.computed,
            variables=tuple(kernel_of(layer) for layer in mask.layers),
            after_epoch=(lambda epoch, _: mask.thin(self.at(epoch + 1, first))) if gradual else None,
            best_from=self.ramped - 1 if gradual else 0,
        )
        notes = train(fresh, task, self, seed, hooks, progress) if self.epochs else {}
        for layer in mask.layers if not self.epochs else ():
            kernel_of(layer).assign(mask.value(layer))
        pruned = mask.settled(fresh)
        return StageResult(pruned, {**notes, **remaining(pruned)})

    @property
    def ramped(self) -> int:
        """Number of epochs over which the density falls."""
        return max(1, round(self.ramp * self.epochs))

    def at(self, epochs: int, first: float) -> float:
        """Return the density after some epochs; ``first`` is that of the start model.

        Source: arXiv 1710.01878, equation 1: s_t = s_f + (s_0 - s_f) (1 - t / T)**3 for the sparsity s.
        """
        rest = 1 - min(1.0, epochs / self.ramped)
        return self.density + (max(first, self.density) - self.density) * rest**3


def remaining(model: Any) -> dict[str, Any]:
    """Return the numbers of weights, of those not zero as stored and as quantised, of digits and of units."""
    layers = kernel_layers(model)
    integers = [kernel_integers(layer) for layer in layers]
    return {
        "weights": sum(of.size for of in integers),
        "stored": sum(int(keras.ops.count_nonzero(kernel_of(layer))) for layer in layers),
        "nonzero": sum(int((of != 0).sum()) for of in integers),
        "digits": sum(int(count(of).sum()) for of in integers),
        "units": widths(layers),
    }
