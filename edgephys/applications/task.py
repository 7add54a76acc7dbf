"""What a model is trained and compressed for: its examples, its loss, and how well a model does on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.models.trained import HeldOut

Floats = NDArray[np.float32]
Examples = tuple[Floats, NDArray[Any]]
"""What a model sees, and what it should answer."""

BATCH = 8192


@dataclass(frozen=True, eq=False)
class Lesson:
    """Hold what teachers answer to the training examples, and how much it counts."""

    answers: Floats
    temperature: float
    share: float


@dataclass(frozen=True)
class Times:
    """Say which times of a run are learnt from: one in ``every``, and ``unroll`` frames from each."""

    every: int = 1
    unroll: int = 1


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """Hold examples as a model sees them; ``figure`` names what says how well it does, ``rising`` if more is better.

    ``reads`` are the nets that the task is for, ``unit`` is what an example is called, ``watched`` what Keras shows of
    it after an epoch, ``travelling`` how many test examples go with a model at most, ``jit`` whether XLA makes its
    training faster.
    """

    reads: ClassVar[type]
    figure: ClassVar[str]
    rising: ClassVar[bool]
    unit: ClassVar[str]
    watched: ClassVar[tuple[str, ...]]
    travelling: ClassVar[int]
    jit: ClassVar[bool]
    train: Examples
    validation: Examples
    test: HeldOut
    input: Fixed
    lesson: Lesson | None = field(default=None, kw_only=True)

    @abstractmethod
    def losses(self, wanted: Any, given: Any) -> Any:
        """Return the loss of each of a model's answers."""

    @abstractmethod
    def loss(self, wanted: Any, given: Any, taught: Any) -> Any:
        """Return the mean loss of a model's answers, or what the lesson makes of it; ``taught`` are the teachers'."""

    @abstractmethod
    def judged(self, model: Any) -> float:
        """Return the figure on the validation examples."""

    @abstractmethod
    def score(self, model: Any) -> dict[str, Any]:
        """Return all figures, with errors, on the validation examples."""

    @abstractmethod
    def test_score(self, model: Any) -> dict[str, Any]:
        """Return all figures, with errors, on the test examples: once a pipeline, at its end."""

    @abstractmethod
    def taught(self, teachers: Sequence[str], temperature: float, share: float) -> Task:
        """Return the task with a lesson: the mean of what trained models answer; itself where there are none."""

    @abstractmethod
    def asks(self, model: Any) -> dict[str, Any]:
        """Return what the net of a student must state, by field, to stand in a model's place."""

    def unrolled(self, model: Any) -> Any:
        """Return what is trained in a model's place: its weights, applied as often as an example's answer asks."""
        return model

    def scaled(self, scale: float) -> Task:
        """Return the task of a model whose answers count times ``scale``, which only logits may."""
        if scale != 1.0:
            raise UsageError(f"scale must be 1 where answers are not logits, not {scale:g}")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what the model's answers are, where they are classes."""
        return ()

    def better(self, one: float, other: float) -> bool:
        """Tell whether one figure is better than another."""
        return one > other if self.rising else one < other
