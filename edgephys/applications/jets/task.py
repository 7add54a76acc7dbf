"""The task of a jet tagger: its jets, the cross entropy of its logits, its accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgephys.applications.application import Score
from edgephys.applications.classes import evaluated
from edgephys.applications.jets.application import JetTagging
from edgephys.applications.jets.data import inputs
from edgephys.applications.jets.data.division import MIXED, Division, divide
from edgephys.applications.jets.data.files import Jets
from edgephys.applications.jets.data.layout import CLASSES
from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.applications.logits import LogitTask
from edgephys.applications.task import BATCH, Examples, Shares
from edgephys.core.errors import UsageError
from edgephys.models import standardise
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained, load
from edgephys.models.vectors import HeldOut
from edgephys.networks.backend import predict


@dataclass(frozen=True, eq=False)
class TaggingTask(LogitTask):
    """Hold jets as a tagger reads them."""

    network: ClassVar[type] = Tagger
    metric: ClassVar[Score] = JetTagging.score
    most_vectors: ClassVar[int] = 12_000
    jit: ClassVar[bool] = True
    division: Division
    data: Path
    test_data: Path | None

    def network_settings(self, model: Any) -> dict[str, Any]:
        """Return the jets' constituents and features, and the number of classes, by field of a tagger."""
        read = self.division
        return {"constituents": read.constituents, "features": read.features, "classes": model.output_shape[-1]}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return CLASSES

    def teacher(self, folder: str) -> Trained:
        """Return a trained tagger of the same classes; raise UsageError where it has others."""
        teacher, classes = load(Path(folder)), self.train[1].max() + 1
        if teacher.model.output_shape[-1] != classes:
            raise UsageError(
                f"teacher {folder}: it must know the {classes} classes of the model that it teaches, "
                f"not {teacher.model.output_shape[-1]}; choose one that was trained on the same labels"
            )
        return teacher

    def teacher_outputs(self, teacher: Trained) -> Any:
        """Return a teacher's logits of the same jets, which it reads with its own inputs.  Shape: (jet, class)."""
        division = dataclasses.replace(
            self.division, constituents=teacher.model.input_shape[1], features=teacher.standardisation.names
        )
        x = _examples(divide(division, self.data, self.test_data)["train"], teacher.standardisation)[0]
        return predict(teacher.model, x, BATCH) * teacher.card.scale


def of_trained(trained: Trained, data: Path, test_data: Path | None = None) -> TaggingTask:
    """Return the task of a trained tagger: the jets that trained, validated and tested it, if the files are the same.

    Raises: DataError as the reader of jets.
    """
    recipe, ready = trained.card.recipe, trained.standardisation
    shares = recipe["validation"], recipe["test"], recipe["seed"]
    division = Division(trained.model.input_shape[1], ready.names, recipe.get("order", MIXED), *shares)
    return _task(divide(division, data, test_data), ready, trained.card.scale, division, data, test_data)


def prepare(
    net: Tagger, order: str, shares: Shares, data: Path, test_data: Path | None = None
) -> tuple[TaggingTask, Standardisation]:
    """Return the task of a new tagger, and the standardisation of the training jets.

    Raises: DataError as ``divide``, and for a feature without spread.
    """
    division = Division(net.constituents, net.features, order, shares.validation, shares.test, shares.seed)
    parts = divide(division, data, test_data)
    ready = standardise.fit(parts["train"].features, net.features, net.input)
    return _task(parts, ready, 1.0, division, data, test_data), ready


def _task(
    parts: Mapping[str, Jets],
    ready: Standardisation,
    scale: float,
    division: Division,
    data: Path,
    test_data: Path | None,
) -> TaggingTask:
    train, validation = (_examples(parts[name], ready) for name in ("train", "validation"))
    test = _integers(parts["test"], ready)
    return TaggingTask(train, validation, test, ready.output, scale, division, data, test_data)


def _examples(jets: Jets, ready: Standardisation) -> Examples:
    return ready.output.values(ready.apply(jets.features)).astype(np.float32), jets.labels


def _integers(jets: Jets, ready: Standardisation) -> HeldOut:
    return HeldOut(ready.apply(jets.features), jets.labels)


def measure(trained: Trained, data: Path) -> dict[str, Any]:
    """Return accuracy and AUC by class, with their errors, of a tagger on the jets of a file.

    Raises: DataError as the reader of jets.
    """
    test, ready = read(trained.standardisation, trained.model.input_shape[1], data), trained.standardisation
    x = ready.output.values(test.inputs).astype(np.float32)
    logits = predict(trained.model, x, BATCH) * trained.card.scale
    return evaluated(logits, test.labels, CLASSES, TaggingTask.metric.unit)


def read(ready: Standardisation, constituents: int, data: Path, limit: int | None = None) -> HeldOut:
    """Return the standardised features and the classes of the jets of a file.  Raises: DataError as the reader."""
    return _integers(inputs.read(data, constituents, ready.names, limit), ready)
