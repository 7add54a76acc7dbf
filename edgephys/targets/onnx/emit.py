"""Graph -> ONNX, written node by node: standard operators whose floats are exact integers times powers of two.

A model takes float values of the input's format and gives float values, for any number of vectors N. Every sum is
proven to stay where float32 (or float64) holds every integer, so that no order of summation and no processor changes a
bit; what a runtime fuses, it fuses to integers of the same values. ``metadata_props`` say what the values stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from edgephys.core.errors import MismatchError, ModelError, ToolError, UsageError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node, check
from edgephys.graph.ranges import derive
from edgephys.targets.onnx import model_file as onnx_model
from edgephys.targets.onnx.forms import PLAIN, ROWS, TYPES, Form, Tensors
from edgephys.targets.onnx.nodes import write
from edgephys.targets.onnx.plan import CARRIERS, DOUBLE, FLOAT, QDQ, SINGLE, plan

REVISION = 1
"""Raised when the same Graph and options give another file: a table is then measured again."""
STYLES = (QDQ, FLOAT)
OPSETS = range(21, 25)
"""Versions of the operators: 21 is the first that quantises to 16 bits."""
CHUNK = 1 << 22
"""Elements of the widest edge in one call: bounds the memory."""


@dataclass(frozen=True)
class OnnxOptions:
    """State the operators of a model; refuse what cannot be.

    ``style`` 'qdq' rounds by pairs of QuantizeLinear and DequantizeLinear and stores integer weights; 'float' has
    fewer operators: float weights and Round.
    """

    opset: int = OPSETS[0]
    style: str = QDQ

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise UsageError(f"opset must be {OPSETS[0]}..{OPSETS[-1]}, not {self.opset}")
        if self.style not in STYLES:
            raise UsageError(f"style must be {' or '.join(STYLES)}, not '{self.style}'")


def emit(graph: Graph, folder: Path, options: OnnxOptions) -> dict[str, Any]:
    """Write model.onnx below ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError naming the layer that floats cannot compute exactly, before anything is written.
    """
    check(graph)
    source, output = graph.input, graph.output
    tensors = write(graph, plan(graph, options.style))
    widest = max(derive(graph)[output.name].highest, -derive(graph)[output.name].lowest)
    result = tensors.asked(output.name, PLAIN, SINGLE if widest < 1 << CARRIERS[SINGLE] else DOUBLE, 0)
    if result.tensor == source.name:
        raise ModelError(f"graph '{graph.name}': its output is its input; there is nothing to build")
    taken = tensors.forms[source.name]
    model = _model(graph, tensors, taken, result, options)
    return {
        "backend": "onnx",
        "style": options.style,
        "opset": options.opset,
        **onnx_model.save(model, folder),
        "widest": max(prod(node.shape) for node in graph.nodes),
        "input": {**_end(source, taken), "low": source.fixed.low, "high": source.fixed.high},
        "output": _end(output, result),
        "probes": {layer: _end(node, tensors.forms[node.name]) for layer, node in _seen(graph, tensors)},
    }


def _end(node: Node, form: Form) -> dict[str, Any]:
    """Say which tensor holds an edge, and how its integers are read from it."""
    return {
        "node": node.name,
        "name": form.tensor,
        "type": form.carrier,
        "layout": form.layout,
        "shape": list(node.shape),
        "format": str(node.fixed),
        "fraction": node.fixed.fraction - form.unit,
    }


def _seen(graph: Graph, tensors: Tensors) -> list[tuple[str, Node]]:
    """Return the layers whose last node is a tensor: not the wires of a convolution."""
    return [(layer, node) for layer, node in graph.layers() if node.name in tensors.forms]


def _model(graph: Graph, tensors: Tensors, taken: Form, result: Form, options: OnnxOptions) -> Any:
    source, output = graph.input, graph.output
    written = helper.make_graph(
        tensors.nodes,
        graph.name,
        [helper.make_tensor_value_info(taken.tensor, TYPES[taken.carrier], ["N", *source.shape])],
        [helper.make_tensor_value_info(result.tensor, TYPES[result.carrier], ["N", *output.shape])],
        tensors.initialisers,
    )
    model = onnx_model.closed(
        graph,
        written,
        [helper.make_opsetid("", options.opset)],
        input_fraction=str(source.fixed.fraction),
        output_fraction=str(output.fixed.fraction),
    )
    onnx.checker.check_model(model, full_check=True)
    return model


# Execution --------------------------------------------------------------------------------------


def run(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return what onnxruntime computes of the emitted model, in steps of the output's format.

    Shape: x (vector, *input shape) -> (vector, *output shape).  Exact: integers in and out.
    Raises: MismatchError for no vectors or a value between steps; ProjectError without a model; ToolError where
    onnxruntime takes it not.
    """
    (found,) = _computed(onnx_model.content(folder, facts), facts, x, [facts["output"]])
    return found


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return the integers that the emitted model computes at the end of every layer, by layer.

    In a copy of the model these edges are outputs. A convolution's wires, a layer of their own, are no tensor.
    Shape: x (vector, *input shape) -> each (vector, *shape).  Raises: as ``run``.
    """
    model = onnx_model.load(folder, facts)
    names = {facts["input"]["name"], *(entry.name for entry in model.graph.output)}
    for entry in facts["probes"].values():
        if entry["name"] not in names:
            model.graph.output.append(helper.make_tensor_value_info(entry["name"], TYPES[entry["type"]], None))
            names.add(entry["name"])
    computed = _computed(model.SerializeToString(), facts, x, list(facts["probes"].values()))
    return dict(zip(facts["probes"], computed, strict=True))


def tool() -> tuple[str, str]:
    """Return the name and version of what executes the model."""
    return "onnxruntime", onnxruntime.__version__


def session(content: bytes, what: str = onnx_model.FILE, level: str = "ENABLE_ALL") -> Any:
    """Return an onnxruntime session on one thread of the processor.

    ``level`` is what it may change of the model: DISABLE_ALL, ENABLE_BASIC, ENABLE_EXTENDED, ENABLE_LAYOUT, ENABLE_ALL.
    Raises: ToolError where onnxruntime does not take the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ToolError(f"onnxruntime does not take {what}: {str(error).splitlines()[0]}; emit it again") from error


def _computed(content: bytes, facts: Mapping[str, Any], x: Integers, wanted: list[Any]) -> list[Integers]:
    """Return the integers of tensors for vectors, a chunk of which is computed at a time."""
    given = facts["input"]
    x = _accepted(given, x)
    made = session(content, facts["file"])
    values = (x * 2.0 ** -given["fraction"]).astype(given["type"])
    size = max(1, CHUNK // facts["widest"])
    names = sorted({entry["name"] for entry in wanted} - {given["name"]})
    parts: list[list[Integers]] = [[] for _ in wanted]
    for start in range(0, len(x), size):
        chunk = values[start : start + size]
        tensors = {given["name"]: chunk}
        if names:
            tensors |= zip(names, made.run(names, tensors), strict=True)
        for part, entry in zip(parts, wanted, strict=True):
            part.append(_integers(entry, _in_order(entry, tensors[entry["name"]], len(chunk))))
    return [np.concatenate(part) for part in parts]


def _accepted(given: Mapping[str, Any], x: Integers) -> Integers:
    x, shape = np.asarray(x), tuple(given["shape"])
    if x.ndim == 0 or x.shape[1:] != shape or not len(x) or not np.issubdtype(x.dtype, np.integer):
        raise MismatchError(
            f"onnxruntime: vectors must be integers ({', '.join(map(str, ('1 or more', *shape)))}), "
            f"not {x.dtype} {x.shape}"
        )
    if x.min() < given["low"] or x.max() > given["high"]:
        raise MismatchError(
            f"onnxruntime: integers must be {given['low']}..{given['high']} ({given['format']}), "
            f"not {x.min()}..{x.max()}"
        )
    return x


def _in_order(entry: Mapping[str, Any], tensor: NDArray[Any], count: int) -> NDArray[Any]:
    """Return a tensor with the axes of the Graph."""
    if entry["layout"] not in (PLAIN, ROWS):
        tensor = np.moveaxis(tensor, 1, -1)
    return tensor.reshape(count, *entry["shape"])


def _integers(entry: Mapping[str, Any], values: NDArray[Any]) -> Integers:
    scaled = values.astype(np.float64) * 2.0 ** entry["fraction"]
    whole = np.rint(scaled)
    if not np.array_equal(whole, scaled):
        raise MismatchError(
            f"onnxruntime: '{entry['node']}' gives values between steps of its {entry['format']}; emit the model again"
        )
    return np.asarray(whole, np.int64)
