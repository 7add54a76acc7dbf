"""What a model is compressed for: its examples, its loss, and how well a model does on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.artefact import HeldOut, Trained, load
from edgephys.data.division import Division, divide
from edgephys.errors import UsageError
from edgephys.fixed import Fixed
from edgephys.nets.backend import keras
from edgephys.train import evaluate, standardised

Floats = NDArray[np.float32]
Examples = tuple[Floats, NDArray[np.int64]]

BATCH = 8192


@dataclass(frozen=True, eq=False)
class Lesson:
    """Hold what teachers answer to the training examples, (example, class), and how much it counts."""

    logits: Floats
    temperature: float
    share: float


@dataclass(frozen=True, eq=False)
class Task:
    """Hold the jets of a tagger as it sees them; its logits times ``scale`` are those of the loss."""

    train: Examples
    validation: Examples
    test: HeldOut
    input: Fixed
    scale: float
    division: Division
    data: Path
    test_data: Path | None
    lesson: Lesson | None = None

    def loss(self, labels: Any, logits: Any, taught: Any) -> Any:
        """Return the mean cross entropy, or what the lesson makes of it; ``taught`` are the teachers' logits."""
        logits = logits * self.scale
        hard = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
        if self.lesson is None:
            return hard
        t, share = self.lesson.temperature, self.lesson.share
        wanted = keras.ops.log_softmax(taught / t)
        apart = keras.ops.exp(wanted) * (wanted - keras.ops.log_softmax(logits / t))
        return share * t * t * keras.ops.mean(keras.ops.sum(apart, -1)) + (1 - share) * hard

    def score(self, model: Any) -> dict[str, Any]:
        """Return accuracy and AUC, with errors, on the validation jets."""
        x, labels = self.validation
        return evaluate(model, self.input, HeldOut(self.input.quantise(x), labels), self.scale)

    def test_score(self, model: Any) -> dict[str, Any]:
        """Return accuracy and AUC, with errors, on the test jets: once a pipeline, at its end."""
        return evaluate(model, self.input, self.test, self.scale)

    def accuracy(self, model: Any) -> float:
        """Return the accuracy on the validation jets."""
        x, labels = self.validation
        return float(np.mean(model.predict(x, batch_size=BATCH, verbose=0).argmax(-1) == labels))

    def taught(self, teachers: Sequence[str], temperature: float, share: float) -> Task:
        """Return the task with a lesson: the mean of what trained models answer to the same jets, each as it sees them.

        Raises: ModelError where a folder is no model; UsageError where a teacher has other classes.
        """
        if not teachers:
            return self
        classes = self.train[1].max() + 1
        answers = []
        for folder in teachers:
            teacher = load(Path(folder))
            if teacher.model.output_shape[-1] != classes:
                raise UsageError(
                    f"teacher {folder}: it must know the {classes} classes of the model that it teaches, "
                    f"not {teacher.model.output_shape[-1]}; choose one that was trained on the same labels"
                )
            view = dataclasses.replace(
                self.division, constituents=teacher.model.input_shape[1], features=teacher.standardisation.names
            )
            seen = standardised(divide(view, self.data, self.test_data), teacher.standardisation).train[0]
            scale = float(teacher.card.get("logit_scale", 1.0))
            answers.append(teacher.model.predict(seen, batch_size=BATCH, verbose=0) * scale)
        return dataclasses.replace(self, lesson=Lesson(np.mean(answers, axis=0), temperature, share))


def of_jets(trained: Trained, data: Path, test_data: Path | None = None) -> Task:
    """Return the task of a jet tagger: the jets that trained, validated and tested it, if the files are the same.

    Raises: DataError as the reader of jets.
    """
    recipe = trained.card["recipe"]
    ready = trained.standardisation
    division = Division(trained.model.input_shape[1], ready.names, recipe["validation"], recipe["test"], recipe["seed"])
    sample = standardised(divide(division, data, test_data), ready)
    scale = float(trained.card.get("logit_scale", 1.0))
    return Task(sample.train, sample.validation, sample.test, ready.output, scale, division, data, test_data)
