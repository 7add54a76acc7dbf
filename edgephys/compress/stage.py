"""What a stage is: a record of its parameters that turns a model into a smaller one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from edgephys.applications.task import Task
from edgephys.core.errors import UsageError

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class Made:
    """Hold the model that a stage made, an ordinary QKeras one, and what it has to say about it."""

    model: Any
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage(ABC):
    """State one step of a pipeline; its fields are the keys of its table in the pipeline's file."""

    @abstractmethod
    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the compressed model; the given one is not changed.

        Exact: weights that are zero stay zero, but in stages that say otherwise.
        """


@dataclass(frozen=True)
class Training(Stage):
    """State a stage that trains, alone or after teachers.

    ``keep`` says which weights are kept: those of the best epoch on the validation examples, or the last.
    With ``teacher``, folders of trained models, the loss is Hinton's: ``teacher_share`` of T**2 times the
    divergence of the softened answers from the teachers' mean, the rest of the loss on the labels.
    Source: arXiv 1802.05668, section 2, with its T = 2 and share of 0.7.
    """

    fewest_epochs: ClassVar[int] = 1
    epochs: int = 10
    batch: int = 1024
    learning_rate: float = 1e-3
    keep: str = "best"
    teacher: tuple[str, ...] = ()
    temperature: float = 2.0
    teacher_share: float = 0.7

    def __post_init__(self) -> None:
        require("epochs", self.epochs, self.fewest_epochs)
        require("batch", self.batch, 1)
        require("learning_rate", self.learning_rate, 0, 1, above=True)
        one_of("keep", self.keep, ("best", "last"))
        require("temperature", self.temperature, 0, 100, above=True)
        require("teacher_share", self.teacher_share, 0, 1)


def require(name: str, value: float, lowest: float, highest: float = float("inf"), above: bool = False) -> None:
    """Raise UsageError where a parameter is out of its range; ``above`` leaves the lowest out."""
    if not (lowest <= value <= highest) or (above and value == lowest):
        least = f"above {lowest:g}" if above else f"{lowest:g} or more"
        most = "" if highest == float("inf") else f" and at most {highest:g}"
        raise UsageError(f"{name} must be {least}{most}, not {value:g}")


def one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    """Raise UsageError where a parameter is none of its words."""
    if value not in words:
        raise UsageError(f"{name} must be one of {', '.join(words)}, not '{value}'")
