"""What a model is trained and compressed for: its examples, its loss, and how well a model does on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.application import Score
from edgephys.core.errors import DataError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.models.trained import Trained, load
from edgephys.models.vectors import HeldOut
from edgephys.networks.backend import predict

Floats = NDArray[np.float32]
Examples = tuple[Floats, NDArray[Any]]
"""What a model reads, and what it should answer."""

BATCH = 8192


@dataclass(frozen=True)
class Shares:
    """State which shares of the examples validate and test a model, and the seed by which examples are divided."""

    validation: float
    test: float
    seed: int

    def parts(self, count: int, what: str, test_file: bool, where: object) -> list[NDArray[np.int64]]:
        """Return the numbers of the examples that train, validate and test, in rising order.

        ``test_file`` says that a file of its own has the test examples; ``where`` and ``what`` name the examples.
        Raises: DataError for an empty part.
        """
        order = np.random.default_rng(self.seed).permutation(count)
        validate, test = round(self.validation * count), 0 if test_file else round(self.test * count)
        parts = [np.sort(part) for part in np.split(order, [count - validate - test, count - test])]
        for name, part in zip(("train", "validation", "test"), parts, strict=True):
            if not part.size and not (test_file and name == "test"):
                raise DataError(
                    f"{where}: the {name} split of its {count} {what} is empty; give more, or set {name}=0.2"
                )
        return parts


@dataclass(frozen=True, eq=False)
class Distillation:
    """Hold the mean outputs of teachers for the training examples, and their share of the loss."""

    outputs: Floats
    temperature: float
    share: float


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """Hold examples as a model reads them.

    ``network`` is the class of the networks that the task is for, ``metric`` the score; ``keras_metrics`` are shown
    after each epoch. ``most_vectors`` is how many test examples are stored with a model at most, ``jit`` whether XLA
    makes the training faster.
    """

    network: ClassVar[type]
    metric: ClassVar[Score]
    keras_metrics: ClassVar[tuple[str, ...]] = ()
    most_vectors: ClassVar[int]
    jit: ClassVar[bool] = False
    train: Examples
    validation: Examples
    test: HeldOut
    input: Fixed
    distillation: Distillation | None = field(default=None, kw_only=True)

    @abstractmethod
    def losses(self, target: Any, output: Any) -> Any:
        """Return the loss of each example."""

    @abstractmethod
    def loss(self, target: Any, output: Any, teacher_output: Any) -> Any:
        """Return the mean loss: with a distillation, its share is that to the teachers' outputs."""

    def validation_score(self, model: Any) -> float:
        """Return the score on the validation examples."""
        return float(self.validation_metrics(model)[self.metric.key])

    @abstractmethod
    def validation_metrics(self, model: Any) -> dict[str, Any]:
        """Return all metrics, with errors, on the validation examples."""

    @abstractmethod
    def test_metrics(self, model: Any) -> dict[str, Any]:
        """Return all metrics, with errors, on the test examples: once in a pipeline, at its end."""

    def teacher(self, folder: str) -> Trained:
        """Return the trained model in a folder, which can teach in this task.

        Raises: ModelError where the folder is no model; UsageError where it reads other inputs or has other answers.
        """
        return load(Path(folder))

    @abstractmethod
    def teacher_outputs(self, teacher: Trained) -> Any:
        """Return what a teacher computes for the training examples, as ``loss`` compares it."""

    def with_teachers(self, teachers: Sequence[str], temperature: float, share: float) -> Self:
        """Return the task with a distillation of the teachers' mean outputs; itself where there are none.

        ``temperature`` is that of logits; other losses do not use it.
        Raises: as ``teacher``.
        """
        if not teachers:
            return self
        outputs = [self.teacher_outputs(self.teacher(folder)) for folder in teachers]
        means = np.mean(outputs, axis=0).astype(np.float32)
        return replace(self, distillation=Distillation(means, temperature, share))

    def own_outputs(self, model: Any) -> Any:
        """Return what a model of this task computes for the training examples, as ``loss`` compares it."""
        return predict(model, self.train[0], BATCH)

    def taught_by(self, model: Any, temperature: float, share: float) -> Self:
        """Return the task with a distillation of the outputs of a model of this task."""
        outputs = np.asarray(self.own_outputs(model), np.float32)
        return replace(self, distillation=Distillation(outputs, temperature, share))

    def check_teachers(self, teachers: Sequence[str]) -> None:
        """Check, before any stage works, that every folder holds a model that can teach.  Raises: as ``teacher``."""
        for folder in teachers:
            self.teacher(folder)

    @abstractmethod
    def network_settings(self, model: Any) -> dict[str, Any]:
        """Return what the configuration of a student must state, by field, to replace a model."""

    def vectors(self) -> HeldOut:
        """Return the test examples that are stored with a model: the first ones."""
        return HeldOut(self.test.inputs[: self.most_vectors], self.test.labels[: self.most_vectors])

    def unrolled(self, model: Any) -> Any:
        """Return the model to train, with the weights of ``model``, which may be applied several times."""
        return model

    def scaled(self, scale: float) -> Task:
        """Return the task of a model whose outputs are to be multiplied by ``scale``; only logits may be scaled."""
        if scale != 1.0:
            raise UsageError(f"scale must be 1 where answers are not logits, not {scale:g}")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, where they are classes."""
        return ()

    def better(self, score: float, other: float) -> bool:
        """Tell whether a score is better than another."""
        return score > other if self.metric.rising else score < other
