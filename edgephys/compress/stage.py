"""What a compression stage is: a record of its parameters that turns a model into a smaller one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from edgephys.applications.task import Task
from edgephys.core.errors import UsageError

Progress = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True, eq=False)
class StageResult:
    """Hold the model that a stage made, an ordinary QKeras one, and notes on how it was made."""

    model: Any
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage(ABC):
    """State one stage of a pipeline; its fields are the keys of its table in the pipeline's file.

    ``kind`` is its name there, set by ``compress.registry.register``. ``paths`` names the fields that hold files or
    models' folders: they are relative to the pipeline's file, and a stage runs again when their content changes; those
    of ``scripts`` are programs. ``takes_tables`` states that it takes networks of learnt tables, not of kernels.
    """

    kind: ClassVar[str]
    paths: ClassVar[tuple[str, ...]] = ()
    scripts: ClassVar[tuple[str, ...]] = ()
    takes_tables: ClassVar[bool] = False

    @abstractmethod
    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the compressed model and leave the given one unchanged.

        Exact: weights that are zero stay zero, except in stages that state otherwise.
        """

    def check(self, model: Any, task: Task) -> None:  # noqa: B027  (most stages name no file)
        """Check the files that the stage names before any stage of the pipeline works.

        Raises: what ``apply`` would raise for them.
        """

    def files(self) -> list[tuple[str, Path]]:
        """Return the files and folders that the stage reads, each with the name of its field."""
        values = {name: getattr(self, name) for name in self.paths}
        return [
            (name, Path(path))
            for name, value in values.items()
            for path in ((value,) if isinstance(value, str) else value)
            if path
        ]

    def to_record(self) -> dict[str, Any]:
        """Return kind and all parameters, defaults too."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Training(Stage):
    """State a stage that trains, on the labels alone or on teachers' answers too.

    ``keep`` states which weights are kept: those of the best epoch on the validation examples, or the last ones.
    With ``teacher``, folders of trained models, the loss is Hinton's: ``teacher_share`` of T**2 times the
    divergence of the softened answers from the teachers' mean, the rest of the loss on the labels.
    Source: arXiv 1802.05668, section 2, with its T = 2 and share of 0.7.
    """

    paths: ClassVar[tuple[str, ...]] = ("teacher",)
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

    def check(self, model: Any, task: Task) -> None:
        task.check_teachers(self.teacher)


def require(name: str, value: float, lowest: float, highest: float = float("inf"), above: bool = False) -> None:
    """Raise UsageError where a parameter is out of its range; with ``above`` the lowest value is out of it too."""
    if not (lowest <= value <= highest) or (above and value == lowest):
        least = f"above {lowest:g}" if above else f"{lowest:g} or more"
        most = "" if highest == float("inf") else f" and at most {highest:g}"
        raise UsageError(f"{name} must be {least}{most}, not {value:g}")


def one_of(name: str, value: str, words: tuple[str, ...]) -> None:
    """Raise UsageError where a parameter is not one of its words."""
    if value not in words:
        raise UsageError(f"{name} must be one of {', '.join(words)}, not '{value}'")
