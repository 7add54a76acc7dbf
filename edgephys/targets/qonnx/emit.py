"""Graph -> QONNX, which FINN, hls4ml and Brevitas' own tools read; executed by the qonnx package.

Values are float32, each an exact integer times a power of two: a layer for which that is not proven is refused.
Source: Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks" (2022), arXiv:2206.07527.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgephys.core.errors import EdgephysError, MismatchError, ToolError, UsageError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node, check
from edgephys.targets.onnx import model_file as onnx_model
from edgephys.targets.qonnx.nodes import FIRST, PLAIN, Writer, floats, opset_imports, value_info

REVISION = 1
"""Raised when the same Graph and options give another file: a table is then measured again."""
OPSETS = range(13, 19)
"""Versions of the standard operators: from 13 on a sum's axes are an input; the ecosystem lags behind the newest."""
CHUNK = 1 << 24
"""Elements of the widest tensor in one call of qonnx: bounds the memory, for it keeps every tensor."""


@dataclass(frozen=True)
class QonnxOptions:
    """State the version of the standard operators; refuse what cannot be."""

    opset: int = OPSETS[0]

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise UsageError(f"opset of a QONNX model must be {OPSETS[0]}..{OPSETS[-1]}, not {self.opset}")


def emit(graph: Graph, folder: Path, options: QonnxOptions) -> dict[str, Any]:
    """Write model.onnx below ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError naming the layer that QONNX does not compute exactly, before anything is written.
    """
    check(graph)
    source, output = graph.input, graph.output
    writer = Writer(graph)
    result = writer.asked(output.name, PLAIN)
    model = _model(writer, result, options)
    return {
        "backend": "qonnx",
        "opset": options.opset,
        **onnx_model.save(model, folder),
        "widest": max(prod(shape) for name, shape in writer.shapes.items() if name not in writer.initialisers),
        "input": _end(source, source.name, PLAIN),
        "output": _end(output, result, PLAIN),
        "probes": {
            layer: _end(node, writer.asked(node.name, writer.layout(node.name)), writer.layout(node.name))
            for layer, node in graph.layers()
            if node.name in writer.carried
        },
    }


def _end(node: Node, tensor: str, layout: str) -> dict[str, Any]:
    """Say which tensor holds an edge, and how its integers are read from it."""
    return {
        "node": node.name,
        "name": tensor,
        "layout": layout,
        "shape": list(node.shape),
        "format": str(node.fixed),
        "fraction": node.fixed.fraction,
    }


def _model(writer: Writer, result: str, options: QonnxOptions) -> Any:
    """Return the model for one vector, every tensor's shape stated: qonnx and FINN expect both."""
    graph = writer.graph
    ends = {graph.input.name, result}
    written = helper.make_graph(
        writer.nodes,
        graph.name,
        [value_info(graph.input.name, writer.shapes[graph.input.name])],
        [value_info(result, writer.shapes[result])],
        list(writer.initialisers.values()),
        value_info=[
            value_info(name, shape)
            for name, shape in writer.shapes.items()
            if name not in ends and name not in writer.initialisers
        ],
    )
    model = onnx_model.closed(graph, written, opset_imports(options.opset))
    onnx.checker.check_model(model)
    return model


# Execution --------------------------------------------------------------------------------------


def run(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return what the qonnx package computes of the emitted model, in steps of the output's format.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: MismatchError for no vectors or a value between steps; ProjectError without a model; ToolError where
    qonnx does not execute it.
    """
    return _computed(folder, facts, x, {"output": facts["output"]})["output"]


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return the integers that the emitted model computes at the end of every layer, by layer.

    A convolution's wires, a layer of their own, are no tensor.
    Shape: x (vector, *input shape) -> each (vector, *shape).  Raises: as ``run``.
    """
    return _computed(folder, facts, x, facts["probes"])


def tool() -> tuple[str, str]:
    """Return the name and version of what executes the model."""
    return "qonnx", importlib.metadata.version("qonnx")


def _computed(folder: Path, facts: Mapping[str, Any], x: Integers, wanted: Mapping[str, Any]) -> dict[str, Integers]:
    given = facts["input"]
    x = np.asarray(x)
    if x.ndim == 0 or list(x.shape[1:]) != given["shape"] or not len(x):
        raise MismatchError(f"qonnx: vectors must be (1 or more, *{tuple(given['shape'])}), not {x.shape}")
    model = onnx_model.load(folder, facts)
    names = tuple({entry["name"]: None for entry in wanted.values()})
    size = max(1, CHUNK // facts["widest"])
    values = execute(model, given["name"], floats(x, given["fraction"]), names, size)
    return {key: _integers(entry, values[entry["name"]]) for key, entry in wanted.items()}


def _integers(entry: Mapping[str, Any], values: NDArray[Any]) -> Integers:
    if entry["layout"] == FIRST:
        values = np.moveaxis(values, 1, -1)
    return whole(values, entry["fraction"], f"'{entry['node']}'", entry["format"])


def whole(values: NDArray[Any], fraction: int, what: str, wanted: str) -> Integers:
    """Return the integers at ``2**-fraction`` that values are; raise MismatchError where one is between steps."""
    scaled = values.astype(np.float64) * 2.0**fraction
    found = np.rint(scaled)
    if not np.array_equal(found, scaled):
        raise MismatchError(f"qonnx: {what} gives values between steps of its {wanted}; make the model again")
    return found.astype(np.int64)


def execute(
    model: Any, given: str, x: NDArray[np.float32], wanted: tuple[str, ...], size: int
) -> dict[str, NDArray[Any]]:
    """Return tensors of a QONNX model for vectors, of which the qonnx package takes ``size`` in one call.

    It executes node after node and starts anew for each: a model for many vectors is as fast as for one.
    Raises: ToolError where qonnx does not execute the model.
    """
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in wanted}
    prepared: dict[int, Any] = {}
    for start in range(0, len(x), size):
        chunk = x[start : start + size]
        if len(chunk) not in prepared:
            prepared[len(chunk)] = _for_vectors(model, given, len(chunk))
        context = _executed(prepared[len(chunk)], given, chunk)
        for name in wanted:
            if name not in context:
                raise ToolError(f"qonnx computes no tensor '{name}'; make the model again")
            parts[name].append(np.array(context[name]))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _executed(model: Any, given: str, x: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old domains and deprecated names, none of which are ours
            wrapped = ModelWrapper(model).transform(InferShapes())
            found: Mapping[str, NDArray[Any]] = execute_onnx(wrapped, {given: x}, return_full_exec_context=True)
            return found
    except EdgephysError:
        raise
    except Exception as error:  # qonnx raises Exception itself
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ToolError(f"qonnx does not execute the model: {reason}") from error


def _for_vectors(model: Any, given: str, count: int) -> Any:
    """Return a copy of a model for so many vectors: its shapes are inferred anew from the input's."""
    copied = type(model)()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {entry.name: entry for entry in graph.initializer}
    (source,) = [entry for entry in graph.input if entry.name == given]
    batch = source.type.tensor_type.shape.dim[0]
    before = batch.dim_value
    batch.dim_value = count
    del graph.value_info[:]
    for entry in graph.output:
        entry.type.tensor_type.ClearField("shape")
    moving = {given}
    for node in graph.node:
        if not moving & set(node.input):
            continue
        moving.update(node.output)
        if node.op_type == "Reshape" and before > 0:
            _batch_of(node, before, graph, constants)
    return copied


def _batch_of(node: Any, before: int, graph: Any, constants: Mapping[str, Any]) -> None:
    """Let a Reshape to a stated batch take any."""
    tensor = constants.get(node.input[1])
    if tensor is None:
        made = [other for other in graph.node if node.input[1] in other.output and other.op_type == "Constant"]
        if not made:
            return
        tensor = made[0].attribute[0].t
    shape = numpy_helper.to_array(tensor).copy()
    if shape.size and shape[0] == before:
        shape[0] = 0  # that of what is reshaped
        tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
