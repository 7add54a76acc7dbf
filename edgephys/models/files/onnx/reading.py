"""The state while an ONNX model is read: the edge of each tensor, and the order of its axes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.models.files.onnx.constants import ROUNDINGS, Known, Quantiser
from edgephys.models.files.onnx.file import OnnxModel, Operation

CHANNELS_LAST = (2, 0, 1)
"""Axes of a field's edge that are ONNX's channel, row and column."""


@dataclass(frozen=True)
class Edge:
    """Name the Graph's node that carries a tensor, and its axis for each of the tensor's (without the batch).

    Where the tensor holds integers, between a QuantizeLinear and its DequantizeLinear, ``step`` is the exponent of the
    power of two that each stands for: the node has the values.
    """

    name: str
    axes: tuple[int, ...]
    step: int | None = None

    @property
    def in_order(self) -> bool:
        """Tell whether the axes are ONNX's own."""
        return self.axes == tuple(range(len(self.axes)))


Value = Edge | Known
Values = list[Value]


@dataclass
class Reading:
    """Collect the Graph while the operations are read in order."""

    model: OnnxModel
    builder: Builder
    values: dict[str, Edge | Known]
    source: str
    layers: set[str] = field(default_factory=set)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    output: str = ""
    """The tensor that is the output where something is dropped at the end."""

    def layer(self, operation: Operation, suffix: str = "") -> str:
        """Return a layer's name after an operation, made of letters, digits and _, and used once."""
        base = word(operation.name) + suffix
        name, count = base, 1
        while name in self.layers:
            count += 1
            name = f"{base}_{count}"
        self.layers.add(name)
        return name

    def owner(self, operation: Operation, edge: Edge) -> str:
        """Return the layer whose result an operation rounds or shifts: reports and modules speak of that one."""
        if edge.name == self.source:
            return self.layer(operation)
        return self.builder.layer(edge.name)

    def shape(self, edge: Edge) -> tuple[int, ...]:
        """Return the shape of the tensor that an edge carries, without the batch."""
        carried = self.builder.shape(edge.name)
        return tuple(carried[axis] for axis in edge.axes)

    def ordered(self, operation: Operation, edge: Edge, axes: tuple[int, ...]) -> Edge:
        """Return the edge with its axes in the stated order; this only moves elements."""
        if edge.axes == axes:
            return edge
        carried = self.builder.shape(edge.name)
        order = [edge.axes[axes.index(axis)] for axis in range(len(axes))]
        shape = tuple(carried[axis] for axis in order)
        layer = self.layer(operation, "_order")
        rows = np.arange(int(np.prod(carried))).reshape(carried).transpose(order)
        if np.array_equal(rows.ravel(), np.arange(rows.size)):  # axes of one element moved
            return Edge(self.builder.reshape(layer, edge.name, shape), axes)
        flat = self.builder.reshape(layer, edge.name, (rows.size,))
        return Edge(self.builder.take(layer, flat, rows, 0), axes)

    def plain(self, operation: Operation, edge: Edge) -> Edge:
        """Return the edge with ONNX's own order of axes."""
        return self.ordered(operation, edge, tuple(range(len(edge.axes))))


def word(name: str) -> str:
    """Return a name that every target takes: letters, digits and _, a letter first."""
    clean = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "node"
    return clean if clean[0].isalpha() else f"n_{clean}"


def format_of(by: Quantiser, exponent: int) -> Fixed:
    """Return the format of a quantiser with steps of ``2**exponent``."""
    overflow = Overflow.SAT_SYM if by.narrow and by.signed else Overflow.SAT
    # before a CEIL, just less than a step was added
    rounding = Rounding.TRN if by.mode == "CEIL" else ROUNDINGS.get(by.mode, Rounding.RND_CONV)
    return Fixed(by.signed, by.bits, by.bits + exponent, rounding, overflow)


def edge_of(operation: Operation, value: Value) -> Edge:
    """Return a value that depends on the input; raise ModelError where it is a constant."""
    if isinstance(value, Known):
        raise operation.refused(f"'{value.source}' is a constant where a computed tensor is expected; fold it before")
    return value


def known_of(operation: Operation, value: Value, what: str) -> Known:
    """Return a constant; raise ModelError where it depends on the input."""
    if isinstance(value, Edge):
        raise operation.refused(f"its {what} must be constant, not computed from the input; there is no exact form")
    return value


def axis_of(operation: Operation, edge: Edge, axis: int) -> int:
    """Return the edge's axis for ONNX's, whose 0 is the batch."""
    at = axis + len(edge.axes) + 1 if axis < 0 else axis
    if not 1 <= at <= len(edge.axes):
        raise operation.refused(f"axis must be 1..{len(edge.axes)}, not {axis}: vectors of a batch do not meet")
    return edge.axes[at - 1]
