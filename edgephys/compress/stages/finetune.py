"""Train on, with every zero kept: the stage after one that removed something."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgephys.applications.task import Task
from edgephys.compress.model_structure import kernel_layers, rebuilt
from edgephys.compress.rounding import Budgeted, OddBias
from edgephys.compress.stage import Made, Progress, Training, one_of
from edgephys.compress.training_loop import Parameters, descend
from edgephys.networks.backend import keras

PATIENCE = (0.04, 0.005)
"""Share of the steps in which a weight may turn back before it is frozen: at the start, and at the end."""


@dataclass(frozen=True)
class Finetune(Training):
    """Train the weights that are not zero, alone or after teachers: then it is distillation.

    Source: with a teacher, quantized distillation (arXiv 1802.05668, algorithm 1): the quantised weights make the
    answers and the gradient, which is applied to their full-precision copy. Ours: ``digits`` "kept" lets a weight
    become only integers of at most as many signed digits as it has, so that the circuit does not grow again, and keeps
    biases odd where ``untie`` made them so; a weight that goes to and fro is frozen (``Resting``).
    """

    digits: str = "free"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("digits", self.digits, ("free", "kept"))

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the trained model."""
        kernel_layers(model)
        fresh = rebuilt(model, lambda layer: None)
        layers = kernel_layers(fresh) if self.digits == "kept" else []
        patience = keras.Variable(PATIENCE[0], trainable=False)
        kernels = [Budgeted(layer, patience) for layer in layers]
        held: list[Budgeted | OddBias] = [*kernels, *OddBias.of(layers)]

        def watch(gradients: Mapping[str, Any]) -> None:
            for kernel in kernels:
                kernel.resting.watch()

        parameters = Parameters(
            makes={of.copy.path: of.value for of in held},
            variables=tuple(of.copy for of in held),
            after_step=watch if kernels else None,
            before_epoch=lambda epoch, _: patience.assign(patience_of(epoch, self.epochs)),
        )
        return Made(fresh, descend(fresh, task, self, seed, parameters, progress))


def patience_of(epoch: int, epochs: int) -> float:
    """Return the patience of an epoch: half a cosine from the first to the last."""
    first, last = PATIENCE
    return last + (first - last) * (1 + math.cos(math.pi * epoch / max(1, epochs - 1))) / 2
