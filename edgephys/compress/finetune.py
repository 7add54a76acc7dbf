"""Train on, with every zero kept: the stage after one that removed something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.compress.anatomy import kernel_layers, rebuilt
from edgephys.compress.descent import Parameters, descend
from edgephys.compress.rounding import Budgeted, OddBias
from edgephys.compress.stage import Made, Progress, Training, one_of
from edgephys.compress.task import Task


@dataclass(frozen=True)
class Finetune(Training):
    """Train the weights that are not zero, alone or after teachers: then it is distillation.

    Source: with a teacher, quantized distillation (arXiv 1802.05668, algorithm 1): the quantised weights make the
    answers and the gradient, which is applied to their full-precision copy. Ours: ``digits`` "kept" lets a weight
    become only integers of at most as many signed digits as it has, so that the circuit does not grow again, and keeps
    biases odd where ``untie`` made them so.
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
        held: list[Budgeted | OddBias] = [*map(Budgeted, layers), *OddBias.of(layers)]
        parameters = Parameters(
            makes={of.copy.path: of.value for of in held},
            variables=tuple(of.copy for of in held),
        )
        return Made(fresh, descend(fresh, task, self, seed, parameters, progress))
