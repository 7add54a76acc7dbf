"""The table of frameworks, and the one function that loads a model of any of them."""

from __future__ import annotations

from pathlib import Path

from edgephys.core.errors import ModelError
from edgephys.core.remedies import train_one
from edgephys.models.card import CARD, read_card, require_own_files
from edgephys.models.keras_framework import KerasFramework
from edgephys.models.model import Framework, Model
from edgephys.models.onnx_framework import OnnxFramework
from edgephys.models.vectors import HELD_OUT, read_held_out

FRAMEWORKS: dict[str, Framework] = {framework.name: framework for framework in (KerasFramework(), OnnxFramework())}


def register(framework: Framework) -> None:
    """Add a framework to the table."""
    FRAMEWORKS[framework.name] = framework


def framework_of(folder: Path) -> Framework:
    """Return the framework of the model in a folder, by the file that marks it.

    Raises: ModelError where there is no such file.
    """
    for framework in reversed(FRAMEWORKS.values()):
        if (folder / framework.mark).is_file():
            return framework
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder}: expected a model's folder with {CARD}; {train_one()}")
    marks = " or ".join(framework.mark for framework in FRAMEWORKS.values())
    raise ModelError(f"{folder}: expected a model's file ({marks}), found none; {train_one()}")


def load(folder: Path) -> Model:
    """Return the model in a folder.

    Raises: ModelError or ProjectError naming the file that is missing, damaged or changed; ModelError where the model
    cannot be computed exactly.
    """
    framework = framework_of(folder)
    card = read_card(folder)
    require_own_files(card, folder)
    graph, held_out = framework.graph(folder), read_held_out(folder)
    if held_out.inputs.shape[1:] != graph.input.shape:
        raise ModelError(
            f"{folder / HELD_OUT}: inputs must be (vector, *{graph.input.shape}), not {held_out.inputs.shape}; "
            f"make the model again"
        )
    return Model(folder, graph, held_out, card, framework)
