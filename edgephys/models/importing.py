"""Import a file of any framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.models import user_data
from edgephys.models.files.keras import file as keras_file
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.import_plan import ImportPlan
from edgephys.models.imported import import_onnx, of_data
from edgephys.models.imported_keras import import_keras, inputs_of
from edgephys.models.input_data import classes_of, quantised, targets_of
from edgephys.models.model import Imported
from edgephys.models.onnx_framework import ONNX
from edgephys.models.trained import MODEL


def import_file(file: Path, out: Path, plan: ImportPlan) -> Imported:
    """Import an ONNX file (by its ending) or else a Keras file into the folder ``out``.

    Raises: as ``import_onnx`` and ``import_keras``.
    """
    if file.suffix == ".onnx":
        if plan.output_format is not None:
            raise UsageError("--output-format goes with a Keras file; put a Quant node at the end")
        return import_onnx(file, out, plan)
    return import_keras(file, out, plan)


def read_data(folder: Path, graph: Graph, data: Path, limit: int | None = None) -> tuple[Integers, NDArray[Any] | None]:
    """Return a user's inputs as integers of an imported model's input, and the answers where its outputs give them.

    Answers are classes, or else numbers as the outputs should be. Values beyond the input's format are clipped.
    Shape: (vector, *input shape); answers (vector,) or (vector, number).
    Raises: DataError as ``user_data.read``; ModelError for a damaged folder.
    """
    if (folder / ONNX).is_file():
        own = user_data.read(data, dict(onnx_file.read(folder / ONNX).inputs)).first(limit)
        inputs = of_data(graph, own, [])
    else:
        own = user_data.read(data, inputs_of(keras_file.read(folder / MODEL))).first(limit)
        inputs = quantised(own.inputs, graph.input.fixed, []).reshape(-1, *graph.input.shape)
    if own.answers is None:
        return inputs, None
    outputs = evaluate.run(graph, inputs)
    classes = classes_of(own.answers, outputs.shape)
    return inputs, targets_of(own.answers, outputs) if classes is None else classes
