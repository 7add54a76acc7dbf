"""Compute the softmaxes of an ONNX file with tables, in float64, as a Graph does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgephys.core.fixed import Fixed, Integers


@dataclass(frozen=True, eq=False)
class SoftmaxNodes:
    """State the tables of a softmax over an axis, which counts from the batch.

    It reads values that are whole steps of ``step``, times ``scale``. ``distance`` is the format of max(x) - x and
    ``powers`` its exponentials; ``excess`` that of their sum less 1, ``reciprocals`` those of the sum. Entries are at
    ``fraction``.
    """

    layer: str
    axis: int
    scale: float
    step: float
    distance: Fixed
    powers: Integers
    excess: Fixed
    reciprocals: Integers
    fraction: int
    result: Fixed


def with_softmaxes(proto: Any, softmaxes: Mapping[str, SoftmaxNodes]) -> Any:
    """Return a file whose nodes with these outputs are computed with tables; the file itself without any."""
    if not softmaxes:
        return proto
    replaced = onnx.ModelProto()
    replaced.CopyFrom(proto)
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    del replaced.graph.node[:]
    for node in proto.graph.node:
        by = softmaxes.get(node.output[0])
        if by is None:
            replaced.graph.node.append(node)
        else:
            _write(_Writer(replaced.graph, by.layer, opset), by, node.input[0], node.output[0])
    return replaced


@dataclass(frozen=True, eq=False)
class _Writer:
    """Add nodes and constants to a graph of ONNX; their names begin with the layer's."""

    graph: Any
    layer: str
    opset: int

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node and return its output."""
        name = f"{self.layer}_tables_{len(self.graph.node)}"
        self.graph.node.append(onnx.helper.make_node(kind, inputs, [output or name], name=name, **attributes))
        return output or name

    def number(self, values: Any, kind: Any = np.float64) -> str:
        """Add a constant and return its name."""
        name = f"{self.layer}_constant_{len(self.graph.initializer)}"
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def reduced(self, kind: str, x: str, axis: int, since: int) -> str:
        """Add a reduction of one axis, which is an input since a set of operators, an attribute before."""
        if self.opset >= since:
            return self.node(kind, x, self.number([axis], np.int64), keepdims=1)
        return self.node(kind, x, axes=[axis], keepdims=1)

    def steps(self, x: str, fixed: Fixed) -> str:
        """Add the steps of a format that rounds half up and saturates."""
        scaled = self.node("Mul", x, self.number(2.0**fixed.fraction))
        whole = self.node("Floor", self.node("Add", scaled, self.number(0.5)))
        return self.node("Min", self.node("Max", whole, self.number(0.0)), self.number(float(fixed.high)))

    def entry(self, table: Integers, places: str) -> str:
        """Add a read of a table."""
        at = self.node("Cast", places, to=onnx.TensorProto.INT64)
        return self.node("Gather", self.number(table), at, axis=0)


def _write(writer: _Writer, by: SoftmaxNodes, source: str, output: str) -> None:
    """Add the nodes of a softmax with tables."""
    x = writer.node("Div", writer.node("Cast", source, to=onnx.TensorProto.DOUBLE), writer.number(by.scale))
    whole = writer.node("Round", writer.node("Div", x, writer.number(by.step)))
    x = writer.node("Mul", whole, writer.number(by.step))
    distance = writer.node("Sub", writer.reduced("ReduceMax", x, by.axis, 18), x)
    powers = writer.entry(by.powers, writer.steps(distance, by.distance))
    total = writer.node("Mul", writer.reduced("ReduceSum", powers, by.axis, 13), writer.number(2.0**-by.fraction))
    excess = writer.node("Sub", total, writer.number(1.0))
    product = writer.node("Mul", powers, writer.entry(by.reciprocals, writer.steps(excess, by.excess)))
    result = writer.steps(writer.node("Mul", product, writer.number(2.0 ** (-2 * by.fraction))), by.result)
    values = writer.node("Mul", result, writer.number(by.result.step))
    writer.node("Cast", values, output=output, to=onnx.TensorProto.FLOAT)
