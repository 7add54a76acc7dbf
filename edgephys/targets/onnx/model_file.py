"""What every ONNX file of ours has in common: how it is closed, written, counted and read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from edgephys import __version__
from edgephys.core.errors import ProjectError
from edgephys.graph.graph import Graph

FILE = "model.onnx"


def closed(graph: Graph, written: Any, opsets: Sequence[Any], **properties: str) -> Any:
    """Return the model of ONNX nodes ``written`` for a Graph, which its properties name; the standard opset is first.

    ``properties`` are added to the version, the Graph's digest and the formats of its ends.
    """
    model = helper.make_model(
        written,
        producer_name="edgephys",
        producer_version=__version__,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(list(opsets[:1])),
    )
    stated = {
        "edgephys": __version__,
        "graph": graph.digest,
        "input_format": str(graph.input.fixed),
        "output_format": str(graph.output.fixed),
    }
    helper.set_model_props(model, dict(sorted((stated | properties).items())))
    return model


def save(model: Any, folder: Path) -> dict[str, Any]:
    """Write model.onnx below ``folder`` and return what it counts; the same model gives the same bytes."""
    content = model.SerializeToString(deterministic=True)
    (folder / FILE).write_bytes(content)
    return {
        "ir_version": model.ir_version,
        "file": FILE,
        "bytes": len(content),
        "nodes": len(model.graph.node),
        "ops": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
    }


def content(folder: Path, facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of an emitted model; raise ProjectError where it is missing."""
    path = folder / str(facts["file"])
    if not path.is_file():
        raise ProjectError(f"{path}: the model is missing; emit the project again")
    return path.read_bytes()


def load(folder: Path, facts: Mapping[str, Any]) -> Any:
    """Return an emitted model; raise ProjectError where it is missing or no ONNX model."""
    found = content(folder, facts)
    try:
        return onnx.load_from_string(found)
    except Exception as error:  # protobuf's own, of which there are several
        raise ProjectError(f"{folder / facts['file']}: not an ONNX model; emit the project again") from error
