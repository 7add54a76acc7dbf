"""An emitted ONNX model in plain float32 operators, for runtimes without QuantizeLinear and DequantizeLinear.

Weights become float32 constants. QuantizeLinear becomes Mul, Add, Sub and Clip, DequantizeLinear becomes Mul: all
values are integers times a power of two, so the integers stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgephys.core.errors import ToolError

ROUND = np.float32(1.5 * 2**23)
"""Added and subtracted in float32 it rounds half to even where the value is below 2**22; Clip saturates the others."""
OPSET = 17
IR = 9
CONSTANT = "_constant"
"""End of the names of the constants that ``plain`` adds."""

Constants = Mapping[str, NDArray[Any]]


def plain(path: Path) -> tuple[list[Any], dict[str, NDArray[Any]], Any]:
    """Return the nodes, the constants and the former graph of an ONNX file in plain operators.

    Raises: ToolError for a scale or a zero that is computed, and for scales of several elements.
    """
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            nodes.append(node)
            continue
        scale, zero = _scale(node, constants)
        if node.op_type == "QuantizeLinear":
            nodes += _quantised(node, scale, zero, constants)
        elif node.input[0] in constants:
            integers = constants[node.input[0]].astype(np.float64) - int(zero)
            constants[node.output[0]] = (integers * scale).astype(np.float32)
        else:
            nodes.append(_with_constant("Mul", node.input[0], scale, node.output[0], constants))
    used = {name for node in nodes for name in node.input}
    return nodes, {name: value for name, value in constants.items() if name in used}, graph


def write_plain(path: Path, out: Path) -> None:
    """Write an ONNX file in plain operators, for one input vector a call.

    Names are numbered: a generator of C++ repeats them in its source, and those of a received file may be anything.
    Raises: as ``plain``.
    """
    nodes, constants, graph = plain(path)
    ends = (*graph.input, *graph.output)
    named = (*constants, *(end.name for end in ends), *(name for node in nodes for name in (*node.input, *node.output)))
    numbered = {name: f"t{number}" for number, name in enumerate(dict.fromkeys(named)) if name}
    numbered[""] = ""  # an optional input that is left out
    for end in ends:
        end.name = numbered[end.name]
        end.type.tensor_type.shape.dim[0].dim_value = 1
    for number, node in enumerate(nodes):
        node.name = f"n{number}"
        for names in (node.input, node.output):
            names[:] = [numbered[name] for name in names]
    tensors = [numpy_helper.from_array(value, numbered[name]) for name, value in constants.items()]
    body = helper.make_graph(nodes, "plain", list(graph.input), list(graph.output), tensors)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    onnx.save(model, out)


def _scale(node: Any, constants: Constants) -> tuple[float, NDArray[Any]]:
    """Return the scale of a node, and its zero, whose type says what QuantizeLinear saturates to."""
    names = node.input[1:]
    values = [constants[name] for name in names if name in constants and constants[name].size == 1]
    if len(values) != len(names):
        raise ToolError(f"{node.output[0]}: expected a scale and a zero of one constant each, received {list(names)}")
    return float(values[0].reshape(())), values[1] if len(values) > 1 else np.zeros((), np.uint8)


def _quantised(node: Any, scale: float, zero: NDArray[Any], constants: dict[str, NDArray[Any]]) -> list[Any]:
    """Return the nodes of a QuantizeLinear; its result is an integer in float32, whose zero is 0."""
    out, limits = node.output[0], np.iinfo(zero.dtype)
    for name, limit in (("low", limits.min), ("high", limits.max)):
        constants[f"{out}_{name}"] = np.array(limit - int(zero), np.float32)
    return [
        _with_constant("Mul", node.input[0], 1 / scale, f"{out}_scaled", constants),
        _with_constant("Add", f"{out}_scaled", ROUND, f"{out}_raised", constants),
        _with_constant("Sub", f"{out}_raised", ROUND, f"{out}_rounded", constants),
        helper.make_node("Clip", [f"{out}_rounded", f"{out}_low", f"{out}_high"], [out]),
    ]


def _with_constant(operator: str, name: str, value: Any, out: str, constants: dict[str, NDArray[Any]]) -> Any:
    """Return the node that computes a value and a constant, which is added to ``constants``."""
    constants[f"{out}{CONSTANT}"] = np.array([value], np.float32)
    return helper.make_node(operator, [name, f"{out}{CONSTANT}"], [out])
