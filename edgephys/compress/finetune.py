"""Train on, with every zero kept: the stage after one that removed something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.compress.anatomy import kernel_layers, rebuilt
from edgephys.compress.descent import descend
from edgephys.compress.stage import Made, Progress, Training
from edgephys.compress.task import Task


@dataclass(frozen=True)
class Finetune(Training):
    """Train the weights that are not zero, alone or after teachers: then it is distillation.

    Source: with a teacher, quantized distillation (arXiv 1802.05668, algorithm 1): the quantised weights make the
    answers and the gradient, which is applied to their full-precision copy.
    """

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the trained model."""
        kernel_layers(model)
        fresh = rebuilt(model, lambda layer: None)
        return Made(fresh, descend(fresh, task, self, seed, progress=progress))
