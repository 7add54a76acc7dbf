"""Import a file of any framework."""

from __future__ import annotations

from pathlib import Path

from edgephys.core.fixed import Fixed
from edgephys.models.imported import import_model
from edgephys.models.imported_keras import Imported, import_keras


def import_file(
    file: Path,
    out: Path,
    input_format: Fixed | None = None,
    data: Path | None = None,
    count: int = 1000,
    seed: int = 1,
    force: bool = False,
) -> Imported:
    """Import an ONNX file (by its ending) or else a Keras file into the folder ``out``.

    Raises: as ``import_model`` and ``import_keras``.
    """
    if file.suffix == ".onnx":
        return Imported(import_model(file, out, input_format, data, count, seed, force), ())
    return import_keras(file, out, input_format, data, count, seed, force)
