"""The model that a pipeline starts with, and its task: whatever it came from, stages read the same record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from edgephys.applications import registry
from edgephys.applications.task import Shares, Task
from edgephys.core.errors import ModelError
from edgephys.core.remedies import quantise
from edgephys.models.card import read_card
from edgephys.models.frameworks import framework_of
from edgephys.models.trained import MODEL, Trained, load
from edgephys.networks.joined import joined
from edgephys.train.fit import data_record
from edgephys.train.recipe import Recipe
from edgephys.workflow.candidates import Candidate

SHARES = Shares(Recipe.validation, Recipe.test, Recipe.seed)
"""How the data of an imported model are divided: as those of a user's own script."""


@dataclass(frozen=True, eq=False)
class StartModel:
    """Hold a model that stages can train, its task, and what its user should know."""

    trained: Trained
    task: Task
    notes: tuple[str, ...] = ()


def start_model(folder: Path, data: Path, test_data: Path | None = None) -> StartModel:
    """Return the model in a folder as stages read it, with its task on the data.

    An imported Keras model becomes one that is trained on its user's arrays, which are divided as those of a script;
    several inputs are joined into one.
    Raises: ModelError for a model without layers that can be trained, or naming the layer that stages cannot follow;
    DataError where the data do not fit the model.
    """
    trained = described(folder, data)
    task = registry.of_card(trained.card).task(trained, data, test_data)
    if read_card(folder).imported is None:
        return StartModel(trained, task)
    card = dataclasses.replace(trained.card, data=data_record(SHARES.test, data, test_data, task))
    notes = [f"the data train, validate and test {card.name}: {_counts(task)}, divided with seed {SHARES.seed}"]
    if test_data is None:
        notes.append(
            "the file was perhaps trained on the same examples: only --test-data then gives an independent score"
        )
    card = dataclasses.replace(card, classes=list(task.classes))
    return StartModel(Trained(trained.model, task.vectors(), card), task, tuple(notes))


def described(folder: Path, data: Path) -> Trained:
    """Return the model in a folder with the card of a trained one; its network has layers that stages can follow.

    Raises: as ``start_model``.
    """
    require_trainable(folder)
    trained = load(folder)
    card = trained.card
    if card.imported is None and "network_function" not in card.net:
        return trained
    from edgephys.applications.arrays import import_task
    from edgephys.compress.model_structure import kernel_layers
    from edgephys.compress.trainable import trainable
    from edgephys.networks.table_dense import TableDense

    whole = joined(trained.model, f"model '{card.name}'")
    trained = dataclasses.replace(trained, model=trainable(whole))
    if not any(isinstance(layer, TableDense) for layer in trained.model.layers):
        kernel_layers(trained.model)
    return trained if card.imported is None else import_task.as_trained(trained, SHARES, data)


def require_trainable(folder: Path) -> None:
    """Raise ModelError where a folder holds no model, or one of another framework than Keras."""
    card = read_card(folder)
    if card.imported is not None and framework_of(folder).mark != MODEL:
        raise ModelError(
            f"{folder}: expected a Keras model, whose layers can be trained, found one imported from "
            f"{card.imported.file}, whose Graph cannot; a float ONNX file becomes a Keras model: {quantise()}"
        )


def candidate(folder: Path, data: Path) -> Candidate:
    """Return the model in a folder with the card of a trained one, as tables name it.  Raises: as ``start_model``."""
    card = read_card(folder)
    return Candidate(folder, card if card.imported is None else described(folder, data).card)


def _counts(task: Task) -> str:
    parts = {"train": task.train[1], "validation": task.validation[1], "test": task.test.labels}
    return ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
