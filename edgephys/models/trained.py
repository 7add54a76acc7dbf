"""A trained model's folder: weights, model card and held-out vectors, written whole or not at all.

``model.keras`` (weights; Keras safe mode stays on), ``card.json`` (recipe, seed, data hash, versions,
metrics, standardisation) and ``held_out.npz`` (input integers and labels that no training saw).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.files import replace_folder
from edgephys.core.remedies import train_again
from edgephys.graph.graph import Graph
from edgephys.models.card import CARD, Card, read_card, require_own_files, write_card
from edgephys.models.input_names import inputs_of
from edgephys.models.standardise import Standardisation
from edgephys.models.vectors import HELD_OUT, HeldOut, read_held_out

MODEL = "model.keras"


@dataclass(frozen=True, eq=False)
class Trained:
    """Hold a Keras model that is trained or compressed further, with its card and vectors."""

    model: Any
    held_out: HeldOut
    card: Card

    @property
    def name(self) -> str:
        """Name of the model, as its folder's."""
        return self.card.name

    @property
    def standardisation(self) -> Standardisation:
        """How raw features become input integers."""
        if self.card.standardisation is None:
            raise ModelError(f"model '{self.name}': its card must state a standardisation; {train_again()}")
        return self.card.standardisation

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.card.classes)

    def graph(self) -> Graph:
        """Return the model's Graph; raise ModelError where it cannot be computed exactly."""
        from edgephys.models.files.keras import lowered

        single = self.card.imported is None
        graph = lowered(self.model, self.card.input_format, self.name, self.card.softmax, single).graph
        inputs = {} if self.card.standardisation is None else inputs_of(self.card.standardisation.names)
        if not inputs:
            return graph
        entries = [{"tensor": name, "shape": list(shape)} for name, shape in inputs.items()]
        return replace(graph, metadata={**graph.metadata, "inputs": entries})


def save(trained: Trained, out: Path, force: bool = False) -> Path:
    """Write a trained model's folder, replacing a former one of ours in one step."""

    def write(folder: Path) -> None:
        trained.model.save(folder / MODEL, include_optimizer=False)
        held_out = trained.held_out
        np.savez_compressed(folder / HELD_OUT, inputs=_narrowed(held_out.inputs), labels=_narrowed(held_out.labels))
        write_card(trained.card, folder)

    return replace_folder(out, write, CARD, force)


def _narrowed(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the narrowest type that holds them; floats as they are."""
    if values.dtype.kind == "f":
        return values
    ends = (np.min_scalar_type(int(end)) for end in (values.min(), values.max()))
    return values.astype(np.promote_types(*ends))


def load(folder: Path) -> Trained:
    """Return the trained model in a folder, with its Keras model.

    Raises: ModelError naming the file that is missing, damaged, changed or would run code when loaded.
    """
    card = read_card(folder)
    require_own_files(card, folder)
    return Trained(load_keras(folder / MODEL), read_held_out(folder), card)


def load_keras(path: Path) -> Any:
    """Return the Keras model of a .keras file; Lambda layers and pickled code are refused."""
    from edgephys.models.files.keras.file import read

    return read(path)
