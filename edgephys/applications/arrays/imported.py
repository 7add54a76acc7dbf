"""Scores of imported models on a user's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgephys.applications.application import Application
from edgephys.applications.arrays.application import UNIT, ArrayClasses, ArrayNumbers
from edgephys.core.errors import DataError
from edgephys.graph import evaluate
from edgephys.models import numbers, units, user_data
from edgephys.models.frameworks import load
from edgephys.models.importing import read_data
from edgephys.models.input_data import misfit


def measured(folder: Path, data: Path) -> tuple[Application, dict[str, Any]]:
    """Return what scores an imported model on a user's data, and the metrics of its golden model's outputs.

    Raises: DataError without answers that fit the outputs, and as ``read_data``.
    """
    model = load(folder)
    inputs, answers = read_data(folder, model.graph, data)
    outputs = evaluate.run(model.graph, inputs)
    if answers is None:
        own = user_data.read(data, units.inputs_of(model.graph)).answers
        if own is not None:
            raise DataError(f"{data}: {misfit(own, outputs.shape)}; correct y, or use data of the model {folder}")
        raise DataError(
            f"{data}: expected an array y with classes, or with {outputs[0].size} numbers an example, found none; "
            f"score {folder} on data with answers"
        )
    if answers.dtype.kind == "f":
        values = units.values_of(model.graph, outputs)
        return ArrayNumbers(), numbers.evaluated(values.reshape(len(outputs), -1), answers, UNIT)
    application = ArrayClasses()
    scores = application.score_outputs(model.graph, outputs, answers, model.card.scale)
    share = scores.pop("accuracy")
    metrics: dict[str, Any] = {"accuracy": share.value, "accuracy_error": share.error, UNIT: len(answers)}
    if scores:
        metrics["auc"] = {name.removeprefix("auc_"): area.value for name, area in scores.items()}
        metrics["auc_error"] = {name.removeprefix("auc_"): area.error for name, area in scores.items()}
    return application, metrics
