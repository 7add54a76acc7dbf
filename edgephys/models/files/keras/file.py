"""Read a Keras or QKeras file without running any code of it: .keras, Keras 2's .h5, and .json with weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.hdf5 import check_content
from edgephys.core.reading import fault, open_archive, open_regular, parse_json
from edgephys.models.files.keras import hgq2, keras2, strangers
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.layers import LAYERS, QUANTISED, SIGNS

SUFFIXES = (".keras", ".h5", ".hdf5", ".json")
CONFIGURATION, WEIGHTS = "config.json", "model.weights.h5"
"""What is in a .keras file."""
CODE = ("Lambda", "lambda", "pickle", "safe_mode", "unsafe")
"""Words of Keras' reasons for files that would run code."""


def read(path: Path) -> Any:
    """Return the Keras model of a file; raise ModelError where it is none that may be loaded."""
    if not path.exists():
        raise ModelError(f"{path}: no such file; check the path")
    try:
        open_regular(path).close()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: expected a model's file, but it is {fault(error)}; check the path") from error
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path}: expected a Keras file ({', '.join(SUFFIXES)}), found '{path.suffix}'")
    try:
        _check_content(path)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: expected a whole {path.suffix} file (safe mode), found another or a damaged one "
            f"({fault(error)}); train it again and save it"
        ) from error
    try:
        model = _loaded(path)
    except ModelError:
        raise
    except Exception as error:  # Keras raises many kinds; all mean that the file is not a model we may load
        reason = strangers.reason_of(error)
        if any(word in str(error) for word in CODE):
            reason = (
                f"refused: it holds a Lambda or pickled code, which would run on loading; use layers instead ({reason})"
            )
        raise ModelError(f"{path}: {reason}; see docs/supported.md for what is read") from error
    _require_finite(path, model)
    return model


def _check_content(path: Path) -> None:
    """Raise OSError or ValueError where a file is none of its kind, or holds more than such a file may."""
    with open_regular(path) as stream:
        if path.suffix == ".json":
            parse_json(stream.read())
        elif path.suffix == ".keras":
            _check_archive(stream)
        else:
            check_content(stream.read())


def _check_archive(stream: BinaryIO) -> None:
    """Raise OSError or ValueError where a .keras file is none, or holds more than such a file may."""
    with open_archive(stream) as archive:
        missing = {CONFIGURATION, WEIGHTS} - set(archive.namelist())
        if missing:
            raise ValueError(f"no {' and no '.join(sorted(missing))}")
        try:
            configuration, weights = archive.read(CONFIGURATION), archive.read(WEIGHTS)
        except Exception as error:  # zipfile and zlib raise many kinds
            raise ValueError(f"a damaged archive: {fault(error)}") from error
    parse_json(configuration, finite=False)  # settings of training may be infinite
    check_content(weights)


def _require_finite(path: Path, model: Any) -> None:
    for weight in model.weights:
        if not np.all(np.isfinite(np.asarray(weight, np.float64))):
            raise ModelError(f"{path}: weights '{weight.path}' must be finite, NaN or infinity found; train it again")


def is_keras_own(path: Path) -> bool:
    """Tell whether Keras itself reads a file as it is, with QKeras and our layers."""
    return path.suffix == ".keras" and not hgq2.is_named(_archived(path))


def _archived(path: Path) -> Any:
    """Return the configuration in a .keras file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(CONFIGURATION))


def _loaded(path: Path) -> Any:
    """Return the model of a file that has been checked to be of its kind."""
    known = known_objects()
    if path.suffix == ".keras":
        config = _archived(path)
    elif path.suffix == ".json":
        config = json.loads(path.read_text("utf-8"))
    else:
        config = keras2.configuration(path)
    strangers.check(path, config, {**known, **dict.fromkeys(keras2.NAMES_OF_LAYERS)})
    if path.suffix == ".keras":
        if hgq2.is_named(config):
            with zipfile.ZipFile(path) as archive:
                return hgq2.model(config, archive.read(WEIGHTS), known)
        return keras.models.load_model(path, custom_objects=known, compile=False, safe_mode=True)
    weights = _weights_of(path) if path.suffix == ".json" else path
    if path.suffix != ".json" or ("module" not in config and keras2.has_weights(weights)):
        return keras2.model(config, weights, known)
    model = keras.models.model_from_json(path.read_text("utf-8"), custom_objects=known)
    model.load_weights(weights)
    return model


def _weights_of(path: Path) -> Path:
    """Return the file of weights beside an architecture in JSON."""
    weights = next((beside for beside in _weights_beside(path) if beside.is_file()), None)
    if weights is None:
        names = " or ".join(beside.name for beside in _weights_beside(path))
        raise ModelError(f"{path}: expected its weights beside it ({names}), found none; copy them there")
    _check_content(weights)
    return weights


def _weights_beside(path: Path) -> list[Path]:
    return [path.with_name(f"{path.stem}{ending}") for ending in ("_weights.h5", ".weights.h5", ".h5")]


def known_objects() -> dict[str, Any]:
    """Return the classes that a file may name: QKeras' and ours."""
    theirs = {name: kind for name, kind in vars(qkeras).items() if isinstance(kind, type)}
    return {**theirs, **{kind.__name__: kind for kind in (*LAYERS, *QUANTISED, *SIGNS)}}
