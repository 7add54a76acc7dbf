"""Single faults in an ONNX model: in its constants and in its operators."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from mutants_of_text import Mutant
from onnx import helper, numpy_helper

OPERATORS = (
    ("Add", "Sub", "sign"),
    ("Sub", "Add", "sign"),
    ("Mul", "Sub", "sign"),
    ("Round", "Floor", "rounding"),
    ("Floor", "Ceil", "rounding"),
    ("Floor", "Round", "rounding"),
    ("Relu", "Abs", "saturation"),
    ("Max", "Min", "saturation"),
    ("Clip", "Identity", "saturation"),
)
"""An operator, what it is changed to, and the kind of the fault."""


def of_onnx(folder: Path) -> Iterator[Mutant]:
    """Yield every single fault of an ONNX model that the rules below state."""
    path = next(folder.glob("*.onnx"))
    content = path.read_bytes()

    def mutant(kind: str, place: str, before: str, after: str, change: Callable[[Any], None]) -> Mutant:
        return Mutant(path.name, place, kind, before, after, changed_model(path.name, content, change))

    graph = onnx.load_from_string(content).graph
    for index, tensor in enumerate(graph.initializer):
        array = numpy_helper.to_array(tensor)
        for place, kind, value in other_values(tensor.name, array):
            fresh = array.copy()
            fresh[place] = value
            before, where = str(array[place]), f"{tensor.name}{list(place)}"
            yield mutant(kind, where, before, str(value), replaced(index, fresh, tensor.name))
    for index, node in enumerate(graph.node):
        if len(node.input) > 1 and node.op_type in ("Sub", "MatMul", "Gemm", "Concat", "Gather", "Less"):
            yield mutant(
                "operand swap", node.name or node.output[0], node.op_type, "first two inputs swapped", swapped(index)
            )
        for before, after, kind in OPERATORS:
            if node.op_type == before:
                yield mutant(kind, node.output[0], before, after, operator(index, after))
        if node.op_type == "QuantizeLinear":
            yield mutant("rounding", node.output[0], "input", "input + step / 4", nudged(index))
        if node.op_type == "QuantizeLinear" and node.input[2].startswith("zero_uint8"):
            yield mutant("width", node.output[0], "uint8", "int8", narrowed(index))


def changed_model(name: str, content: bytes, change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Return what writes a changed model into a folder."""

    def write(folder: Path) -> None:
        model = onnx.load_from_string(content)
        change(model.graph)
        (folder / name).write_bytes(model.SerializeToString())

    return write


def changed_tensor(name: str, content: bytes, index: int, array: np.ndarray, tensor: str) -> Callable[[Path], None]:
    """Return what writes a model with another constant tensor into a folder."""
    return changed_model(name, content, replaced(index, array, tensor))


def other_values(name: str, array: np.ndarray) -> Iterator[tuple[tuple[int, ...], str, Any]]:
    """Yield a place, the kind of the fault and the other number, for every number of a constant tensor."""
    is_float = array.dtype.kind == "f"
    magnitudes = np.abs(array[array != 0]) if is_float else np.ones(1)
    step = min((float(np.ldexp(1.0, np.frexp(n)[1] - 1)) for n in magnitudes), default=0.0625)
    for place in np.ndindex(array.shape):
        number = float(array[place]) if is_float else int(array[place])
        others = [("constant", number + step), ("constant", number - step), ("sign", -number)]
        others += [("shift", number * 2), ("shift", number / 2)] if is_float else []
        for kind, other in others:
            fits = is_float or np.iinfo(array.dtype).min <= other <= np.iinfo(array.dtype).max
            if other != number and fits:
                end = name.endswith(("high", "low"))
                yield place, "saturation" if end else kind, array.dtype.type(other)


def replaced(index: int, array: np.ndarray, name: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        graph.initializer[index].CopyFrom(numpy_helper.from_array(array, name))

    return change


def swapped(index: int) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        node = graph.node[index]
        node.input[0], node.input[1] = node.input[1], node.input[0]

    return change


def operator(index: int, word: str) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        node = graph.node[index]
        node.op_type = word
        if word in ("Identity", "Abs"):
            del node.input[1:]

    return change


def nudged(index: int) -> Callable[[Any], None]:
    """Return what adds a quarter of a step before a rounding."""

    def change(graph: Any) -> None:
        node = graph.node[index]
        steps = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        graph.initializer.append(numpy_helper.from_array(steps[node.input[1]] / 4, "quarter"))
        graph.node.insert(index, helper.make_node("Add", [node.input[0], "quarter"], ["moved_by_a_quarter"]))
        graph.node[index + 1].input[0] = "moved_by_a_quarter"

    return change


def narrowed(index: int) -> Callable[[Any], None]:
    """Return what makes a quantisation, and what reads it, one of signed bytes."""

    def change(graph: Any) -> None:
        graph.initializer.append(numpy_helper.from_array(np.int8(0), "zero_of_int8"))
        for node in graph.node:
            if node is graph.node[index] or (
                node.op_type == "DequantizeLinear" and node.input[0] == graph.node[index].output[0]
            ):
                node.input[2] = "zero_of_int8"

    return change
