"""Import a file of any framework."""

from __future__ import annotations

from pathlib import Path

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.models.files.softmax import SoftmaxForm
from edgephys.models.imported import import_onnx
from edgephys.models.imported_keras import import_keras
from edgephys.models.model import Imported


def import_file(
    file: Path,
    out: Path,
    input_format: Fixed | None = None,
    data: Path | None = None,
    count: int = 1000,
    seed: int = 1,
    force: bool = False,
    vectors: Path | None = None,
    softmax: SoftmaxForm | None = None,
    output_format: Fixed | None = None,
) -> Imported:
    """Import an ONNX file (by its ending) or else a Keras file into the folder ``out``.

    ``vectors`` is another form of data, for an ONNX file: integers in steps. To ``output_format`` the outputs of a
    Keras file are rounded.
    Raises: as ``import_onnx`` and ``import_keras``.
    """
    if file.suffix == ".onnx":
        if output_format is not None:
            raise UsageError("--output-format goes with a Keras file; put a Quant node at the end")
        return import_onnx(file, out, input_format, vectors, count, seed, force, data, softmax)
    return import_keras(file, out, input_format, data, count, seed, force, softmax, output_format)
