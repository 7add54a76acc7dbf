"""ONNX files: the properties that every emitted model states, writing, reading, and integers from its floats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgephys import __version__
from edgephys.core.errors import MismatchError, ModelError, ProjectError
from edgephys.core.fixed import Integers
from edgephys.core.names import own_file
from edgephys.core.reading import fault, read_bytes
from edgephys.graph.graph import Graph, Node
from edgephys.targets.emit_again import emit_again
from edgephys.targets.source_scan import facts_are_ours

FILE = "model.onnx"
DOMAINS = (
    "",
    "ai.onnx",
    "qonnx.custom_op.general",
    "onnx.brevitas",
    "finn.custom_op.general",
    "qonnx.custom_op.channels_last",
)
"""Packages of operators that an emitted or imported model may name."""


def make(graph: Graph, onnx_graph: Any, opsets: Sequence[Any], **properties: str) -> Any:
    """Return the model of an ONNX graph that was made from a Graph; ``opsets`` starts with the standard operators.

    Its properties are the version, the Graph's digest, the formats of input and output, and ``properties``.
    """
    model = helper.make_model(
        onnx_graph,
        producer_name="edgephys",
        producer_version=__version__,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(list(opsets[:1])),
    )
    common = {
        "edgephys": __version__,
        "graph": graph.digest,
        "input_format": str(graph.input.fixed),
        "output_format": str(graph.output.fixed),
    }
    helper.set_model_props(model, dict(sorted((common | properties).items())))
    return model


def save(model: Any, folder: Path) -> dict[str, Any]:
    """Write model.onnx into ``folder`` and return its facts; the same model gives the same bytes."""
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
    try:
        return read_bytes(path)
    except (OSError, ValueError) as error:
        raise ProjectError(f"{path}: the model is missing or no file ({fault(error)}); {emit_again(folder)}") from error


def load(folder: Path, facts: Mapping[str, Any]) -> Any:
    """Return an emitted model; raise ProjectError where it is missing or no ONNX model."""
    data = content(folder, facts)
    try:
        return onnx.load_from_string(data)
    except Exception as error:  # protobuf raises several kinds
        raise ProjectError(f"{folder / facts['file']}: not an ONNX model; {emit_again(folder)}") from error


def scan(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raise ProjectError for a model with operators of other packages, or with data in other files."""
    with facts_are_ours(folder):
        own_file(folder, facts["file"])
    if not (folder / facts["file"]).is_file():
        return  # named where it is read
    try:
        require_closed(load(folder, facts))
    except ModelError as error:
        raise ProjectError(
            f"{folder / facts['file']}: {error}, which we do not emit: nothing was run; {emit_again(folder)}"
        ) from error


def require_closed(model: Any) -> None:
    """Raise ModelError for operators beyond ONNX and QONNX, whose names choose Python modules, and for outside data."""
    graphs = [model.graph]
    for graph in graphs:
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise ModelError(f"operator '{node.op_type}' of the package {ascii(node.domain)[:60]}")
            graphs += [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
            graphs += [each for attribute in node.attribute for each in attribute.graphs]
        tensors = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.HasField("t"))]
        for tensor in tensors:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise ModelError(f"tensor {ascii(tensor.name)[:60]} with its data in another file")
    if len(model.functions):
        raise ModelError("functions of its own")


# Tensors that hold an edge of the Graph ---------------------------------------------------------------


def edge_facts(node: Node, tensor: str, layout: str, unit: int = 0) -> dict[str, Any]:
    """Return the facts by which the integers of a node are read from a tensor, whose values are times ``2**unit``."""
    return {
        "node": node.name,
        "name": tensor,
        "layout": layout,
        "shape": list(node.shape),
        "format": str(node.fixed),
        "fraction": node.fixed.fraction - unit,
    }


def integers_of(values: NDArray[Any], fraction: int, what: str, wanted: str, hint: str) -> Integers:
    """Return floats as integers in steps of ``2**-fraction``.

    Raises: MismatchError, which names ``what`` and its ``wanted`` format, where a value lies between two steps.
    """
    scaled = values.astype(np.float64) * 2.0**fraction
    integers = np.rint(scaled)
    if not np.array_equal(integers, scaled):
        raise MismatchError(f"{what} gives values between steps of its {wanted}; {hint}")
    return integers.astype(np.int64)
