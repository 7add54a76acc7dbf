"""Train on with every zero kept: the stage after one that removed weights or digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgephys.applications.task import Task
from edgephys.compress.model_structure import kernel_layers, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.rounding import BudgetedRounding, OddBias
from edgephys.compress.stage import Progress, StageResult, Training, one_of
from edgephys.compress.training_loop import TrainingHooks, train
from edgephys.networks.backend import keras

PATIENCE = (0.04, 0.005)
"""Share of the steps in which a weight may turn back before it is frozen, at the start and at the end."""


@register("finetune")
@dataclass(frozen=True)
class Finetune(Training):
    """Train the weights that are not zero, on the labels or, as distillation, on teachers' answers too.

    Source: with a teacher, quantized distillation (arXiv 1802.05668, algorithm 1): the quantised weights give the
    answers and the gradient, which is applied to their full-precision copy. Ours: with ``digits`` "kept" no weight gets
    more signed digits than it has, so that the circuit does not grow again, biases that ``untie`` made odd stay odd,
    and a weight that oscillates is frozen (``OscillationFreeze``).
    """

    digits: str = "free"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("digits", self.digits, ("free", "kept"))

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the trained model."""
        kernel_layers(model)
        fresh = rebuilt(model)
        layers = kernel_layers(fresh) if self.digits == "kept" else []
        patience = keras.Variable(PATIENCE[0], trainable=False)
        kernels = [BudgetedRounding(layer, patience) for layer in layers]
        rounded: list[BudgetedRounding | OddBias] = [*kernels, *OddBias.of(layers)]

        def freeze(gradients: Mapping[str, Any]) -> None:
            for kernel in kernels:
                kernel.freeze.update()

        hooks = TrainingHooks(
            computed={of.copy.path: of.value for of in rounded},
            variables=tuple(of.copy for of in rounded),
            after_step=freeze if kernels else None,
            before_epoch=lambda epoch, _: patience.assign(patience_of(epoch, self.epochs)),
        )
        return StageResult(fresh, train(fresh, task, self, seed, hooks, progress))


def patience_of(epoch: int, epochs: int) -> float:
    """Return the patience of an epoch: half a cosine from the first to the last."""
    first, last = PATIENCE
    return last + (first - last) * (1 + math.cos(math.pi * epoch / max(1, epochs - 1))) / 2
