"""The task of a jet tagger: its jets, the cross entropy of its logits, its accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgephys.applications import metrics
from edgephys.applications.jets.data import files as jets
from edgephys.applications.jets.data import inputs
from edgephys.applications.jets.data.division import Division, divide
from edgephys.applications.jets.data.layout import CLASSES
from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.applications.task import BATCH, Examples, Lesson, Task
from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.models import standardise
from edgephys.models.trained import HeldOut, Trained, load
from edgephys.networks.backend import keras


@dataclass(frozen=True, eq=False)
class Tagging(Task):
    """Hold the jets of a tagger as it sees them; its logits times ``scale`` are those of the loss."""

    reads: ClassVar[type] = Tagger
    figure: ClassVar[str] = "accuracy"
    rising: ClassVar[bool] = True
    unit: ClassVar[str] = "jets"
    watched: ClassVar[tuple[str, ...]] = ("accuracy",)
    travelling: ClassVar[int] = 12_000
    jit: ClassVar[bool] = True
    scale: float
    division: Division
    data: Path
    test_data: Path | None

    def losses(self, wanted: Any, given: Any) -> Any:
        """Return the cross entropy of each jet."""
        return keras.losses.sparse_categorical_crossentropy(wanted, given * self.scale, from_logits=True)

    def loss(self, wanted: Any, given: Any, taught: Any) -> Any:
        """Return the mean cross entropy, or what the lesson makes of it; ``taught`` are the teachers' logits."""
        hard = keras.ops.mean(self.losses(wanted, given))
        if self.lesson is None:
            return hard
        logits = given * self.scale
        t, share = self.lesson.temperature, self.lesson.share
        soft = keras.ops.log_softmax(taught / t)
        apart = keras.ops.exp(soft) * (soft - keras.ops.log_softmax(logits / t))
        return share * t * t * keras.ops.mean(keras.ops.sum(apart, -1)) + (1 - share) * hard

    def judged(self, model: Any) -> float:
        """Return the accuracy on the validation jets."""
        x, labels = self.validation
        return float(np.mean(model.predict(x, batch_size=BATCH, verbose=0).argmax(-1) == labels))

    def score(self, model: Any) -> dict[str, Any]:
        """Return accuracy and AUC, with errors, on the validation jets."""
        x, labels = self.validation
        return evaluate(model, self.input, HeldOut(self.input.quantise(x), labels), self.scale)

    def test_score(self, model: Any) -> dict[str, Any]:
        """Return accuracy and AUC, with errors, on the test jets: once a pipeline, at its end."""
        return evaluate(model, self.input, self.test, self.scale)

    def asks(self, model: Any) -> dict[str, Any]:
        """Return the jets' constituents and features, and the classes, by field of a tagger."""
        seen = self.division
        return {"constituents": seen.constituents, "features": seen.features, "classes": model.output_shape[-1]}

    def scaled(self, scale: float) -> Tagging:
        """Return the task of a model whose logits are to be taken times ``scale``."""
        return dataclasses.replace(self, scale=scale)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return CLASSES

    def taught(self, teachers: Sequence[str], temperature: float, share: float) -> Tagging:
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
            seen = standardised(divide(view, self.data, self.test_data), teacher.standardisation)[0][0]
            answers.append(teacher.model.predict(seen, batch_size=BATCH, verbose=0) * _scale(teacher))
        return dataclasses.replace(self, lesson=Lesson(np.mean(answers, axis=0), temperature, share))


def of_jets(trained: Trained, data: Path, test_data: Path | None = None) -> Tagging:
    """Return the task of a jet tagger: the jets that trained, validated and tested it, if the files are the same.

    Raises: DataError as the reader of jets.
    """
    recipe = trained.card["recipe"]
    ready = trained.standardisation
    division = Division(trained.model.input_shape[1], ready.names, recipe["validation"], recipe["test"], recipe["seed"])
    return _task(division, data, test_data, ready, _scale(trained))


def prepare(
    net: Tagger, shares: tuple[float, float], seed: int, data: Path, test_data: Path | None = None
) -> tuple[Tagging, standardise.Standardisation]:
    """Divide jets by the shares of validation and test, and fit their standardisation.

    Raises: DataError as ``divide``, and for a feature without spread.
    """
    division = Division(net.constituents, net.features, *shares, seed)
    parts = divide(division, data, test_data)
    ready = standardise.fit(parts["train"].features, net.features, net.input)
    return Tagging(*standardised(parts, ready), ready.output, 1.0, division, data, test_data), ready


def _task(
    division: Division, data: Path, test_data: Path | None, ready: standardise.Standardisation, scale: float
) -> Tagging:
    parts = standardised(divide(division, data, test_data), ready)
    return Tagging(*parts, ready.output, scale, division, data, test_data)


def _scale(trained: Trained) -> float:
    return float(trained.card.get("logit_scale", 1.0))


def standardised(
    parts: Mapping[str, jets.Jets], ready: standardise.Standardisation
) -> tuple[Examples, Examples, HeldOut]:
    """Return divided jets as a model with this standardisation sees them: to train, to validate, to test."""

    def values(of: jets.Jets) -> Examples:
        return ready.output.values(ready.apply(of.features)).astype(np.float32), of.labels

    test = parts["test"]
    return values(parts["train"]), values(parts["validation"]), HeldOut(ready.apply(test.features), test.labels)


def evaluate(model: Any, input_format: Fixed, test: HeldOut, scale: float = 1.0) -> dict[str, Any]:
    """Return accuracy and AUC by class, with their errors, on held-out integers; logits are times ``scale``."""
    logits = model.predict(input_format.values(test.inputs).astype(np.float32), batch_size=BATCH, verbose=0)
    share = metrics.accuracy(logits, test.labels)
    areas = metrics.auc(logits * scale, test.labels, CLASSES)
    return {
        "accuracy": share.value,
        "accuracy_error": share.error,
        "auc": {name: area.value for name, area in areas.items()},
        "auc_error": {name: area.error for name, area in areas.items()},
        "jets": len(test.labels),
    }


def score(trained: Trained, data: Path) -> dict[str, Any]:
    """Return accuracy and AUC by class, with their errors, of a tagger on the jets of a file.

    Raises: DataError as the reader of jets does.
    """
    ready = trained.standardisation
    read = inputs.read(data, trained.model.input_shape[1], ready.names)
    held = HeldOut(ready.apply(read.features), read.labels)
    return evaluate(trained.model, ready.output, held, _scale(trained))
