"""A trained model's folder: weights, model card and held-out vectors, written whole or not at all.

``model.keras`` (weights; Keras safe mode stays on), ``card.json`` (recipe, seed, data hash, versions,
metrics, standardisation) and ``held_out.npz`` (input integers and labels of jets that no training saw).
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError, ProjectError
from edgephys.core.files import json_text, read_integers, replace_folder
from edgephys.core.fixed import Integers
from edgephys.models.standardise import Standardisation, from_record

CARD = "card.json"
MODEL = "model.keras"
VECTORS = "held_out.npz"
ONNX = "model.onnx"
"""The file that stands where a Keras model does in an imported model's folder (``imported``)."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Hold input integers that no training saw, and what a model should answer: classes, or the next frame's integers.

    Shape: inputs (vector, constituent, feature), labels (vector,); of fields (vector, row, column, channel), both.
    """

    inputs: Integers
    labels: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trained:
    """Hold a trained model with all that defines what it computes and how it came to be."""

    model: Any
    standardisation: Standardisation
    held_out: HeldOut
    card: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the model, as its folder's."""
        return str(self.card["name"])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.card["classes"])


def save(trained: Trained, out: Path, force: bool = False) -> Path:
    """Write a trained model's folder, replacing a former one of ours atomically."""

    def write(folder: Path) -> None:
        trained.model.save(folder / MODEL, include_optimizer=False)
        card = {**trained.card, "standardisation": trained.standardisation.to_record()}
        (folder / CARD).write_text(json_text(card))
        held_out = trained.held_out
        np.savez_compressed(folder / VECTORS, inputs=_narrow(held_out.inputs), labels=_narrow(held_out.labels))

    return replace_folder(out, write, CARD, force)


def load(folder: Path) -> Trained:
    """Return the trained model in ``folder``.

    Raises: ModelError naming the file where one is missing, damaged or would run code when loaded.
    """
    if not (folder / CARD).is_file():
        raise ModelError(f"{folder}: expected a model's folder with {CARD}; `edgephys train` makes one")
    card = read_card(folder / CARD)
    standardisation = from_record(card["standardisation"])
    return Trained(load_keras(folder / MODEL), standardisation, load_vectors(folder / VECTORS), card)


def read_card(path: Path) -> dict[str, Any]:
    """Return a model card; raise ModelError where it is not one."""
    try:
        card = json.loads(path.read_text())
        missing = {"name", "seed", "classes", "parameters", "metrics", "recipe", "versions", "standardisation"} - set(
            card
        )
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: expected a model card in JSON, found bytes that are no text; train again") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: expected a model card in JSON, found {error}; train again") from error
    return dict(card)


def load_keras(path: Path) -> Any:
    """Return the Keras model of a .keras file; Lambda layers and pickled code are refused."""
    from edgephys.networks.backend import keras, qkeras
    from edgephys.networks.layers import LAYERS, QUANTISED

    if not path.is_file():
        raise ModelError(f"{path}: no such file; `edgephys train` makes one")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: expected a whole .keras file (safe mode), found another or a damaged one")
    known = (*LAYERS, *QUANTISED, qkeras.quantized_bits, qkeras.quantized_relu)
    try:
        return keras.models.load_model(
            path, custom_objects={kind.__name__: kind for kind in known}, compile=False, safe_mode=True
        )
    except Exception as error:  # Keras raises many kinds; all mean that the file is not a model we may load
        reason = " ".join(str(error).split())[:200]
        if "ambda" in reason or "pickle" in reason or "safe_mode" in reason or "unsafe" in reason:
            reason = f"it holds a Lambda or pickled code, which would run on loading; use layers instead ({reason})"
        raise ModelError(f"{path}: refused: {reason}") from error


def load_vectors(path: Path) -> HeldOut:
    """Return held-out vectors; raise ProjectError where the file is missing, damaged or empty."""
    found = HeldOut(*read_integers(path, ("inputs", "labels")))
    if not len(found.inputs) or len(found.inputs) != len(found.labels):
        raise ProjectError(
            f"{path}: expected at least 1 vector with a label each, "
            f"found {len(found.inputs)} vectors and {len(found.labels)} labels"
        )
    return found


def _narrow(values: Integers) -> NDArray[Any]:
    ends = (np.min_scalar_type(int(end)) for end in (values.min(), values.max()))
    return values.astype(np.promote_types(*ends))
