"""Import an ONNX file: lower it, prove its Graph against the file, and write a model's folder.

``model.onnx`` (the file as it came, with external data put into it), ``graph.json`` (the Graph), ``card.json`` (where
the model came from and how it was proven) and ``held_out.npz`` (input integers and labels).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np

from edgephys.core.errors import DataError, MismatchError, ModelError, ToolError
from edgephys.core.files import check_free
from edgephys.core.fixed import Integers
from edgephys.core.reading import fault, read_arrays
from edgephys.graph.graph import Graph, to_record
from edgephys.models import user_data
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.inputs import UnstatedFormatError
from edgephys.models.files.onnx.lower import lower
from edgephys.models.import_plan import DEFAULT, ImportPlan
from edgephys.models.input_data import quantised, widest
from edgephys.models.model import Imported
from edgephys.models.onnx_framework import GRAPH, ONNX, OnnxFramework, OnnxReference, with_graph_axes
from edgephys.models.proven_import import Examples, LoweredFile, import_lowered
from edgephys.models.user_data import UserData
from edgephys.targets.qonnx import emit as qonnx

OURS = (GRAPH, "an imported model")
"""The file that marks a folder which may be replaced, and what such a folder is."""


def import_onnx(path: Path, out: Path, plan: ImportPlan = DEFAULT) -> Imported:
    """Lower an ONNX file, prove its Graph against the file itself, and write the model's folder.

    A softmax at the end is left out, or computed by tables: its largest difference to the file's is measured then.
    Raises: ModelError naming what is refused; DataError for data that do not fit; else as ``import_lowered``. Nothing
    is written then.
    """
    mark, what = OURS
    check_free(out, mark, plan.force, what)
    model = onnx_file.read(path)
    own = None if plan.data is None else user_data.read(plan.data, dict(model.inputs))
    warnings: list[str] = []
    graph = _lowered(model, out.absolute().name, plan, own, warnings)
    examples = None
    if own is not None:
        examples = Examples(of_data(graph, own, warnings), own.answers)
    elif plan.vectors is not None:
        examples = _read(graph, plan.vectors)

    def write(folder: Path) -> None:
        (folder / ONNX).write_bytes(model.proto.SerializeToString(deterministic=True))
        (folder / GRAPH).write_text(json.dumps(to_record(graph)) + "\n")

    tool, version = qonnx.tool()
    dropped = graph.metadata["onnx"]["dropped"]
    file = LoweredFile(
        graph,
        OnnxReference(model.proto, graph),
        OnnxFramework(),
        program="the ONNX file",
        only_classes=bool(dropped),
        in_single=partial(_compare_single, graph, model),
        facts={
            "file": model.path.name,
            "sha256": model.sha256,
            "producer": model.producer,
            "opset": model.opset,
            "operators": len(model.operations),
            "input_format": _format_text(graph),
            "dropped": dropped,
        },
        versions={tool: version},
        write=write,
        mark=mark,
        what=what,
    )
    return import_lowered(file, examples, out, plan, warnings)


def _lowered(
    model: onnx_file.OnnxModel, name: str, plan: ImportPlan, data: UserData | None, warnings: list[str]
) -> Graph:
    """Return the Graph; where nothing states the input's format, data propose the widest one that can be exact."""
    try:
        return lower(model, name, plan.input_format, plan.softmax)
    except UnstatedFormatError:
        if data is None:
            raise
    return widest(data.inputs, lambda fixed: lower(model, name, fixed, plan.softmax), ModelError, warnings)


def of_data(graph: Graph, data: UserData, warnings: list[str]) -> Integers:
    """Return a user's inputs as integers, in the layout of the Graph."""
    facts = graph.metadata["onnx"]
    steps = quantised(data.inputs, graph.input.fixed, warnings, facts["input_scale"] or 1.0)
    if len(facts["inputs"]) > 1:
        return steps
    return with_graph_axes(steps.reshape(-1, *facts["inputs"][0]["shape"]), facts["input_axes"])


def _compare_single(graph: Graph, model: onnx_file.OnnxModel, inputs: Integers, outputs: Integers) -> tuple[str, ...]:
    """Say in how many outputs a run of the file in float32 differs, where the reference is in float64."""
    if not graph.metadata["onnx"]["float64"]:
        return ()
    try:
        single = OnnxReference(model.proto, graph, single=True).outputs(inputs)
    except (MismatchError, ToolError) as error:
        return (f"the file in float32 was not compared: {error}",)
    wrong = int(np.count_nonzero(single != outputs))
    text = f"in float32 qonnx rounds {wrong:,} of {outputs.size:,} outputs otherwise"
    return (f"compared with the file in float64; {text}",)


def _read(graph: Graph, path: Path) -> Examples:
    """Return the vectors of a file, which has them in the shape of the ONNX file's input."""
    facts, fixed = graph.metadata["onnx"], graph.input.fixed
    axes = facts["input_axes"]
    scale = graph.metadata["onnx"]["input_scale"] or 1.0
    try:
        arrays = read_arrays(path, ["inputs"], ["labels"])
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a .npz with 'inputs' and perhaps 'labels', found {fault(error)}") from error
    inputs, labels = arrays["inputs"], arrays.get("labels")
    shape = tuple(graph.input.shape[axis] for axis in axes)
    if inputs.ndim == 0 or inputs.shape[1:] != shape or not len(inputs) or inputs.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: inputs must be numbers of shape (1 or more, *{shape}), not {inputs.dtype} {inputs.shape}"
        )
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape[:1] != inputs.shape[:1]):
        raise DataError(f"{path}: labels must be an integer for each of {len(inputs)} inputs, not {labels.shape}")
    steps = fixed.quantise(inputs / scale) if inputs.dtype.kind == "f" else inputs.astype(np.int64)
    if not fixed.holds(int(steps.min()), int(steps.max())):
        raise DataError(f"{path}: integer inputs must be {fixed.low}..{fixed.high} ({fixed}); give floats, or fewer")
    return Examples(with_graph_axes(steps, axes), labels)


def _format_text(graph: Graph) -> str:
    """Return the input's format in words, with what its integers are times where that is no power of two."""
    scale = graph.metadata["onnx"]["input_scale"]
    return str(graph.input.fixed) if scale is None else f"{graph.input.fixed} times {scale:g}"
