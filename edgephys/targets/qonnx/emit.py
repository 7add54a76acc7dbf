"""Graph -> QONNX, which FINN, hls4ml and Brevitas read; executed by the qonnx package.

Values are float32, each an exact integer times a power of two. A layer for which this is not proven is refused.
Source: Pappalardo et al., "QONNX: Representing Arbitrary-Precision Quantized Neural Networks" (2022), arXiv:2206.07527.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgephys.core.errors import EdgephysError, ToolError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, check
from edgephys.targets.emit_again import emit_again
from edgephys.targets.onnx import model_file as onnx_model
from edgephys.targets.qonnx.options import QonnxOptions
from edgephys.targets.qonnx.rules import write
from edgephys.targets.qonnx.writer import FIRST, PLAIN, QonnxWriter, floats, opset_imports, value_info
from edgephys.targets.vectors import require_vectors

CHUNK = 1 << 24
"""Elements of the widest tensor in one call of qonnx, to limit the memory: it keeps every tensor."""


def emit(graph: Graph, folder: Path, options: QonnxOptions) -> dict[str, Any]:
    """Write model.onnx into ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError naming the layer that QONNX does not compute exactly, before anything is written.
    """
    check(graph)
    source, output = graph.input, graph.output
    writer = write(graph)
    result = writer.tensor(output.name, PLAIN)
    model = _model(writer, result, options)
    return {
        "backend": "qonnx",
        "opset": options.opset,
        **onnx_model.save(model, folder),
        "widest": max(prod(shape) for name, shape in writer.shapes.items() if name not in writer.initialisers),
        "input": onnx_model.edge_facts(source, source.name, PLAIN),
        "output": onnx_model.edge_facts(output, result, PLAIN),
        "probes": {  # the window of a convolution is no tensor
            layer: onnx_model.edge_facts(node, *writer.edge(node.name))
            for layer, node in graph.layers()
            if node.name in writer.carried
        },
    }


def _model(writer: QonnxWriter, result: str, options: QonnxOptions) -> Any:
    """Return the model for one vector, with the shape of every tensor; qonnx and FINN expect both."""
    graph = writer.graph
    ends = {graph.input.name, result}
    onnx_graph = helper.make_graph(
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
    model = onnx_model.make(graph, onnx_graph, opset_imports(options.opset))
    onnx.checker.check_model(model)
    return model


# Execution --------------------------------------------------------------------------------------


def run(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Run the emitted model in the qonnx package and return its outputs, in steps of the output's format.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: MismatchError for no vectors or a value between steps; ProjectError without a model; ToolError where
    qonnx does not execute it.
    """
    return _run(folder, facts, x, {"output": facts["output"]})["output"]


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return the integers of the emitted model at the end of every layer, by layer; a window has no tensor.

    Shape: x (vector, *input shape) -> each (vector, *shape).  Raises: as ``run``.
    """
    return _run(folder, facts, x, facts["probes"])


def tool() -> tuple[str, str]:
    """Return the name and version of the program that runs the model."""
    return "qonnx", importlib.metadata.version("qonnx")


def _run(folder: Path, facts: Mapping[str, Any], x: Integers, edges: Mapping[str, Any]) -> dict[str, Integers]:
    source = facts["input"]
    x = require_vectors("qonnx", x, source["shape"])
    model = onnx_model.load(folder, facts)
    names = list(dict.fromkeys(edge["name"] for edge in edges.values()))
    size = max(1, CHUNK // facts["widest"])
    tensors = execute(model, {source["name"]: floats(x, source["fraction"])}, names, size)
    return {key: _integers(edge, tensors[edge["name"]]) for key, edge in edges.items()}


def _integers(edge: Mapping[str, Any], values: NDArray[Any]) -> Integers:
    if edge["layout"] == FIRST:
        values = np.moveaxis(values, 1, -1)
    return integers_of(values, edge["fraction"], f"'{edge['node']}'", edge["format"])


def integers_of(values: NDArray[Any], fraction: int, what: str, wanted: str) -> Integers:
    """Return outputs of qonnx as integers in steps of ``2**-fraction``; raise MismatchError as ``model_file`` does."""
    return onnx_model.integers_of(values, fraction, f"qonnx: {what}", wanted, emit_again(to="qonnx"))


def execute(model: Any, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], size: int) -> dict[str, NDArray[Any]]:
    """Return the named tensors of a QONNX model, ``size`` vectors in a call of the qonnx package.

    A call takes about as long for many vectors as for one. Floats are read as float32, or as the type of the input.
    Raises: ToolError where qonnx does not execute the model; ModelError for operators of other packages.
    """
    return in_chunks(model, feeds, names, size, np.float32, lambda ready: partial(_execute, ready))


def in_chunks(
    model: Any,
    feeds: Mapping[str, NDArray[Any]],
    names: Sequence[str],
    size: int,
    floats_as: Any,
    prepared: Callable[[Any], Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]],
) -> dict[str, NDArray[Any]]:
    """Return the named tensors of a model, ``size`` vectors at a time.

    ``prepared`` makes a model for a number of vectors into a function from its inputs to all tensors.
    Raises: ToolError where a tensor is not computed; ModelError for operators of other packages.
    """
    onnx_model.require_closed(model)  # qonnx imports the Python module that an operator's package names
    types = {
        entry.name: helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type) for entry in model.graph.input
    }
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    runs: dict[int, Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]] = {}
    count = len(next(iter(feeds.values())))
    for start in range(0, count, size):
        chunk = {
            name: x[start : start + size].astype(floats_as if types[name].kind == "f" else types[name])
            for name, x in feeds.items()
        }
        length = min(size, count - start)
        if length not in runs:
            runs[length] = prepared(for_vectors(model, tuple(feeds), length))
        tensors = runs[length](chunk)
        for name in names:
            if name not in tensors:
                raise ToolError(f"the model computes no tensor '{name}'; {emit_again(to='qonnx')}")
            parts[name].append(np.array(tensors[name]))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _execute(model: Any, feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old domains and deprecated names in other packages
            wrapped = ModelWrapper(model).transform(InferShapes())
            tensors: Mapping[str, NDArray[Any]] = execute_onnx(wrapped, dict(feeds), return_full_exec_context=True)
            return tensors
    except EdgephysError:
        raise
    except Exception as error:  # qonnx raises Exception itself
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ToolError(f"qonnx does not execute the model: {reason}") from error


def for_vectors(model: Any, sources: Sequence[str], count: int) -> Any:
    """Return a copy of a model for ``count`` vectors, without shapes: they are inferred from the input's."""
    copied = type(model)()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {entry.name: entry for entry in graph.initializer}
    before = 0
    for entry in graph.input:
        if entry.name in sources:
            batch = entry.type.tensor_type.shape.dim[0]
            before = batch.dim_value
            batch.dim_value = count
    del graph.value_info[:]
    for entry in graph.output:
        entry.type.tensor_type.ClearField("shape")
    batched = set(sources)
    for node in graph.node:
        if not batched & set(node.input):
            continue
        batched.update(node.output)
        if node.op_type == "Reshape" and before > 0:
            _set_batch(node.input[1], before, 0, graph, constants)  # 0: that of the tensor that is reshaped
        if node.op_type == "Resize" and before > 0 and len(node.input) > 3:
            _set_batch(node.input[3], before, count, graph, constants)
        if node.op_type == "Flatten" and before == 1:  # older tools flatten the batch of one, too
            for attribute in node.attribute:
                attribute.i = attribute.i or 1
    return copied


def _set_batch(name: str, before: int, after: int, graph: Any, constants: Mapping[str, Any]) -> None:
    """Replace a stated batch size, the first number of a constant, by another one."""
    tensor = constants.get(name)
    if tensor is None:
        writers = [other for other in graph.node if name in other.output and other.op_type == "Constant"]
        if not writers:
            return
        tensor = writers[0].attribute[0].t
    shape = numpy_helper.to_array(tensor).copy()
    if shape.size and shape[0] == before:
        shape[0] = after
        tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
