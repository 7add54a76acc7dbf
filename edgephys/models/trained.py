"""A trained model's folder: weights, model card and held-out vectors, written whole or not at all.

``model.keras`` (weights; Keras safe mode stays on), ``card.json`` (recipe, seed, data hash, versions,
metrics, standardisation) and ``held_out.npz`` (input integers and labels that no training saw).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.files import replace_folder
from edgephys.core.fixed import Integers
from edgephys.core.hdf5 import check_content
from edgephys.core.reading import open_archive, open_regular, parse_json
from edgephys.graph.graph import Graph
from edgephys.models.card import CARD, Card, read_card, require_own_files, write_card
from edgephys.models.standardise import Standardisation
from edgephys.models.vectors import HELD_OUT, HeldOut, read_held_out

MODEL = "model.keras"
CONFIGURATION, WEIGHTS = "config.json", "model.weights.h5"
"""What is in a .keras file."""


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
            raise ModelError(f"model '{self.name}': its card must state a standardisation; train again")
        return self.card.standardisation

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return tuple(self.card.classes)

    def graph(self) -> Graph:
        """Return the model's Graph; raise ModelError where it cannot be computed exactly."""
        from edgephys.models.files.keras import lower

        return lower(self.model, self.standardisation.output, self.name)


def save(trained: Trained, out: Path, force: bool = False) -> Path:
    """Write a trained model's folder, replacing a former one of ours in one step."""

    def write(folder: Path) -> None:
        trained.model.save(folder / MODEL, include_optimizer=False)
        held_out = trained.held_out
        np.savez_compressed(folder / HELD_OUT, inputs=_narrowed(held_out.inputs), labels=_narrowed(held_out.labels))
        write_card(trained.card, folder)

    return replace_folder(out, write, CARD, force)


def _narrowed(values: Integers) -> NDArray[Any]:
    """Return integers in the narrowest type that holds them."""
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
    from edgephys.networks.backend import keras, qkeras
    from edgephys.networks.layers import LAYERS, QUANTISED

    if not path.exists():
        raise ModelError(f"{path}: no such file; `edgephys train` makes one")
    try:
        _check_archive(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: expected a whole .keras file (safe mode), found another or a damaged one ({error}); train again"
        ) from error
    known = (*LAYERS, *QUANTISED, qkeras.quantized_bits, qkeras.quantized_relu)
    try:
        model = keras.models.load_model(
            path, custom_objects={kind.__name__: kind for kind in known}, compile=False, safe_mode=True
        )
    except Exception as error:  # Keras raises many kinds; all mean that the file is not a model we may load
        reason = " ".join(str(error).split())[:200]
        if "ambda" in reason or "pickle" in reason or "safe_mode" in reason or "unsafe" in reason:
            reason = f"it holds a Lambda or pickled code, which would run on loading; use layers instead ({reason})"
        raise ModelError(f"{path}: refused: {reason}") from error
    _require_finite(path, model)
    return model


def _check_archive(path: Path) -> None:
    """Raise OSError or ValueError where a .keras file is none, or holds more than such a file may."""
    if path.suffix != ".keras":
        raise ValueError(f"a name that ends in '{path.suffix}'")
    with open_regular(path) as stream, open_archive(stream) as archive:
        missing = {CONFIGURATION, WEIGHTS} - set(archive.namelist())
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))}")
        try:
            configuration, weights = archive.read(CONFIGURATION), archive.read(WEIGHTS)
        except Exception as error:  # zipfile and zlib raise many kinds
            raise ValueError(f"a damaged archive: {error}") from error
    parse_json(configuration)
    check_content(weights)


def _require_finite(path: Path, model: Any) -> None:
    for weight in model.weights:
        if not np.all(np.isfinite(np.asarray(weight, np.float64))):
            raise ModelError(f"{path}: weights '{weight.path}' must be finite, NaN or infinity found; train again")
