"""Graph -> ONNX: standard operators whose floats are exact integers times powers of two.

Input and output of a model are float values, for any number of vectors N. For every sum it is proven that float32 (or
float64) holds all its integers, so that neither the order of summation nor the processor changes a bit. Where a runtime
fuses operators, the result has the same integers. ``metadata_props`` state the formats of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from edgephys.core.errors import MismatchError, ModelError, ToolError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node, check
from edgephys.graph.ranges import derive
from edgephys.targets.emit_again import emit_again
from edgephys.targets.onnx import model_file as onnx_model
from edgephys.targets.onnx.forms import PLAIN, ROWS, TYPES, Form, Tensors
from edgephys.targets.onnx.options import OnnxOptions
from edgephys.targets.onnx.plan import CARRIERS, DOUBLE, SINGLE
from edgephys.targets.onnx.rules import write
from edgephys.targets.vectors import require_vectors

LEVELS = ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_LAYOUT", "ENABLE_ALL")
"""How onnxruntime may change a model before it runs: from not at all to all that it can do."""
CHUNK = 1 << 22
"""Elements of the widest edge in one call, to limit the memory."""


def emit(graph: Graph, folder: Path, options: OnnxOptions) -> dict[str, Any]:
    """Write model.onnx into ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError naming the layer that floats cannot compute exactly, before anything is written.
    """
    check(graph)
    source, output = graph.input, graph.output
    tensors = write(graph, options.style)
    widest = max(derive(graph)[output.name].highest, -derive(graph)[output.name].lowest)
    result = tensors.form(output.name, PLAIN, SINGLE if widest < 1 << CARRIERS[SINGLE] else DOUBLE, 0)
    if result.tensor == source.name:
        raise ModelError(f"graph '{graph.name}': its output is its input; there is nothing to build")
    first = tensors.forms[source.name]
    model = _model(graph, tensors, first, result, options)
    return {
        "backend": "onnx",
        "style": options.style,
        "opset": options.opset,
        **onnx_model.save(model, folder),
        "widest": max(prod(node.shape) for node in graph.nodes),
        "input": {**_edge_facts(source, first), "low": source.fixed.low, "high": source.fixed.high},
        "output": _edge_facts(output, result),
        "probes": {  # the window of a convolution is no tensor
            layer: _edge_facts(node, tensors.forms[node.name])
            for layer, node in graph.layers()
            if node.name in tensors.forms
        },
    }


def _edge_facts(node: Node, form: Form) -> dict[str, Any]:
    return {**onnx_model.edge_facts(node, form.tensor, form.layout, form.unit), "type": form.carrier}


def _model(graph: Graph, tensors: Tensors, first: Form, result: Form, options: OnnxOptions) -> Any:
    source, output = graph.input, graph.output
    onnx_graph = helper.make_graph(
        tensors.nodes,
        graph.name,
        [helper.make_tensor_value_info(first.tensor, TYPES[first.carrier], ["N", *source.shape])],
        [helper.make_tensor_value_info(result.tensor, TYPES[result.carrier], ["N", *output.shape])],
        tensors.initialisers,
    )
    model = onnx_model.make(
        graph,
        onnx_graph,
        [helper.make_opsetid("", options.opset)],
        input_fraction=str(source.fixed.fraction),
        output_fraction=str(output.fixed.fraction),
    )
    onnx.checker.check_model(model, full_check=True)
    return model


# Execution --------------------------------------------------------------------------------------


def run(folder: Path, facts: Mapping[str, Any], x: Integers, level: str = LEVELS[-1]) -> Integers:
    """Run the emitted model in onnxruntime and return its outputs, in steps of the output's format.

    ``level`` is one of ``LEVELS``.
    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: MismatchError for no vectors or a value between steps; ProjectError without a model; ToolError where
    onnxruntime does not load it.
    """
    (outputs,) = _run(onnx_model.content(folder, facts), facts, x, [facts["output"]], level)
    return outputs


def probe(folder: Path, facts: Mapping[str, Any], x: Integers, level: str = LEVELS[-1]) -> dict[str, Integers]:
    """Return the integers of the emitted model at the end of every layer, by layer; a window has no tensor.

    A copy of the model gets these edges as outputs.
    Shape: x (vector, *input shape) -> each (vector, *shape).  Raises: as ``run``.
    """
    model = onnx_model.load(folder, facts)
    names = {facts["input"]["name"], *(entry.name for entry in model.graph.output)}
    for entry in facts["probes"].values():
        if entry["name"] not in names:
            model.graph.output.append(helper.make_tensor_value_info(entry["name"], TYPES[entry["type"]], None))
            names.add(entry["name"])
    edges = _run(model.SerializeToString(), facts, x, list(facts["probes"].values()), level)
    return dict(zip(facts["probes"], edges, strict=True))


def tool() -> tuple[str, str]:
    """Return the name and version of the program that runs the model."""
    return "onnxruntime", onnxruntime.__version__


def session(content: bytes, what: str = onnx_model.FILE, level: str = LEVELS[-1]) -> Any:
    """Return an onnxruntime session on one thread.

    ``level`` states how it may change the model, one of ``LEVELS``.
    Raises: ToolError where onnxruntime does not load the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ToolError(
            f"onnxruntime does not take {what}: {str(error).splitlines()[0]}; {emit_again(to='onnx')}"
        ) from error


def _run(content: bytes, facts: Mapping[str, Any], x: Integers, edges: list[Any], level: str) -> list[Integers]:
    """Return the integers of edges for vectors, a chunk of which is computed at a time."""
    source = facts["input"]
    x = _checked(source, x)
    running = session(content, facts["file"], level)
    values = (x * 2.0 ** -source["fraction"]).astype(source["type"])
    size = max(1, CHUNK // facts["widest"])
    names = sorted({edge["name"] for edge in edges} - {source["name"]})
    parts: list[list[Integers]] = [[] for _ in edges]
    for start in range(0, len(x), size):
        chunk = values[start : start + size]
        tensors = {source["name"]: chunk}
        if names:
            tensors |= zip(names, _computed(running, names, tensors, facts["file"]), strict=True)
        for part, edge in zip(parts, edges, strict=True):
            part.append(_integers(edge, tensors[edge["name"]], len(chunk)))
    return [np.concatenate(part) for part in parts]


def _computed(running: Any, names: list[str], tensors: Mapping[str, Any], what: str) -> list[Any]:
    try:
        computed: list[Any] = running.run(names, tensors)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ToolError(f"onnxruntime does not run {what}: {reason}; {emit_again(to='onnx')}") from error
    return computed


def _checked(source: Mapping[str, Any], x: Integers) -> Integers:
    x = require_vectors("onnxruntime", x, source["shape"])
    if x.min() < source["low"] or x.max() > source["high"]:
        raise MismatchError(
            f"onnxruntime: integers must be {source['low']}..{source['high']} ({source['format']}), "
            f"not {x.min()}..{x.max()}"
        )
    return x


def _integers(edge: Mapping[str, Any], tensor: NDArray[Any], count: int) -> Integers:
    """Return a tensor as integers, with the axes of the Graph."""
    if edge["layout"] not in (PLAIN, ROWS):
        tensor = np.moveaxis(tensor, 1, -1)
    what = f"onnxruntime: '{edge['node']}'"
    if tensor.size != count * prod(edge["shape"]):
        raise MismatchError(f"{what}: expected {count} vectors of shape {edge['shape']}, received {tensor.shape}")
    values = tensor.reshape(count, *edge["shape"])
    return onnx_model.integers_of(values, edge["fraction"], what, edge["format"], emit_again(to="onnx"))
