"""The state while an ONNX model is read: the edge of each tensor, the order of its axes, and its scale."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed, Integers
from edgephys.core.names import unused
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.models.files.functions.staircase import Staircases
from edgephys.models.files.onnx.chains import Floats, FloatStep
from edgephys.models.files.onnx.file import OnnxModel, Operation
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.quantisers import ROUNDINGS, Quantiser
from edgephys.models.files.softmax import SoftmaxForm


@dataclass(frozen=True, eq=False)
class Edge:
    """Name the Graph's node that carries a tensor, and its axis for each of the tensor's (without the batch).

    ``scale`` is what the node's values are times in the file, where that is no power of two; ``chain`` are float
    operators that the next quantiser takes in. Both have the layout of the node. Where the tensor holds integers,
    between a QuantizeLinear and its DequantizeLinear, ``grid`` is the scale and zero point of those.
    """

    name: str
    axes: tuple[int, ...]
    scale: Floats | None = None
    chain: tuple[FloatStep, ...] = ()
    grid: tuple[float, int] | None = None

    @property
    def in_order(self) -> bool:
        """Tell whether the axes are ONNX's own."""
        return self.axes == tuple(range(len(self.axes)))

    @property
    def exact(self) -> bool:
        """Tell whether the node has the tensor's own values."""
        return self.scale is None and not self.chain

    def moved(self, name: str, axes: tuple[int, ...], move: Callable[[Floats], Floats]) -> Edge:
        """Return the edge of a node that moves the elements of this one; ``move`` does so with an array of them."""
        scale = self.scale
        if scale is not None and scale.ndim:
            scale = move(scale)
        return Edge(name, axes, scale, tuple(function.moved(move) for function in self.chain), self.grid)

    def then(self, function: FloatStep) -> Edge:
        """Return the edge with one more float operator."""
        return replace(self, chain=(*self.chain, function))


Value = Edge | Known
Values = list[Value]


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the axes of a field's edge that are ONNX's channel and sides."""
    return (rank - 1, *range(rank - 1))


class NeedsFloat64Error(Exception):
    """Say that a model was read for a reference in float32, but has sums or functions that float32 rounds."""


@dataclass
class Reading:
    """Collect the Graph while the operations are read in order.

    ``double``: the file's operators are computed in float64, by the reference as here. ``softmaxes`` are the records of
    those that are computed at the end, by the name of the output; ``inner_softmaxes`` those of the others.
    """

    model: OnnxModel
    builder: Builder
    values: dict[str, Edge | Known]
    sources: frozenset[str]
    double: bool = False
    layers: set[str] = field(default_factory=set)
    tensors: dict[str, tuple[str, Edge]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    softmax: SoftmaxForm = field(default_factory=SoftmaxForm)
    softmaxes: dict[str, dict[str, Any]] = field(default_factory=dict)
    inner_softmaxes: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.staircases = Staircases(self.builder)

    def kind_of(self, function: FloatStep) -> str:
        """Return the operator of which a function is a part."""
        return next((own.kind for own in self.model.operations if own.name == function.node), function.kind)

    def layer(self, operation: Operation, suffix: str = "") -> str:
        """Return a layer's name after an operation, made of letters, digits and _, and used once."""
        name = unused(word(operation.name) + suffix, self.layers)
        self.layers.add(name)
        return name

    def owner(self, operation: Operation, edge: Edge) -> str:
        """Return the layer whose result an operation rounds or shifts: reports and modules speak of that one."""
        if edge.name in self.sources:
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
        rows = np.arange(prod(carried)).reshape(carried).transpose(order)
        if np.array_equal(rows.ravel(), np.arange(rows.size)):  # axes of one element moved
            name = self.builder.reshape(layer, edge.name, shape)
        else:
            flat = self.builder.reshape(layer, edge.name, (rows.size,))
            name = self.builder.take(layer, flat, rows, 0)
        return edge.moved(name, axes, lambda array: array.transpose(order))

    def plain(self, operation: Operation, edge: Edge) -> Edge:
        """Return the edge with ONNX's own order of axes."""
        return self.ordered(operation, edge, tuple(range(len(edge.axes))))

    def reshaped(self, operation: Operation, edge: Edge, shape: tuple[int, ...]) -> Edge:
        """Return the edge of the same elements in another shape."""
        if shape == self.shape(edge):
            return edge
        edge = self.plain(operation, edge)
        carried = self.builder.shape(edge.name)
        name = self.builder.reshape(self.layer(operation), edge.name, shape)
        return edge.moved(name, tuple(range(len(shape))), lambda array: np.broadcast_to(array, carried).reshape(shape))

    def taken(self, operation: Operation, edge: Edge, axis: int, rows: Integers) -> Edge:
        """Return rows along one of ONNX's axes, which becomes the axes of ``rows``."""
        if rows.ndim != 1:
            edge = self.plain(operation, edge)
        at, carried = axis_of(operation, edge, axis), self.builder.shape(edge.name)
        places = rows % carried[at]
        name = self.builder.take(self.layer(operation), edge.name, places, at)
        axes = edge.axes if rows.ndim == 1 else tuple(range(len(self.builder.shape(name))))

        def move(array: Floats) -> Floats:
            if rows.ndim == 1 and array.shape[at] == 1:
                return array
            return np.take(np.broadcast_to(array, carried), places, at)

        return edge.moved(name, axes, move)

    def spread(self, operation: Operation, edge: Edge, order: Integers) -> Edge:
        """Return elements by their flat index in ONNX's own order, in the shape of ``order``; 0 where that is -1."""
        edge = self.plain(operation, edge)
        layer, carried = self.layer(operation), self.builder.shape(edge.name)
        size = prod(carried)
        flat = self.builder.reshape(layer, edge.name, (size,))
        if np.any(order < 0):
            zero = self.builder.scale(layer, self.builder.take(layer, flat, [0], 0), np.zeros(1, np.int64), 0)
            flat = self.builder.concat(layer, (flat, zero), 0)
        places = np.where(order < 0, size, order)
        name = self.builder.take(layer, flat, places, 0)

        def move(array: Floats) -> Floats:
            return np.append(np.broadcast_to(array, carried), 1.0)[places]

        return edge.moved(name, tuple(range(order.ndim)), move)


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


def laid(reading: Reading, operation: Operation, edge: Edge, known: Known) -> NDArray[Any]:
    """Return a constant in the order of the edge's axes; raise ModelError where it makes the tensor larger."""
    shape, rank = reading.shape(edge), len(edge.axes)
    values = known.values
    if values.ndim > rank + 1:
        values = values.reshape(values.shape[-rank - 1 :]) if prod(values.shape[: -rank - 1]) == 1 else values
    whole = values.reshape((1,) * (rank + 1 - values.ndim) + values.shape) if values.ndim <= rank else values
    try:
        fits = np.broadcast_shapes(whole.shape, (1, *shape)) == (1, *shape)
    except ValueError:
        fits = False
    if not fits or whole.ndim != rank + 1:
        raise operation.refused(f"'{known.source}' of shape {known.values.shape} does not fit a tensor of {shape}")
    if whole.size == 1:
        return np.asarray(whole.reshape(()))
    order = [edge.axes.index(axis) for axis in range(rank)]
    return np.asarray(whole[0].transpose(order))


def named(operation: Operation, xs: Values) -> list[Value | None]:
    """Return the values of an operation's inputs, None for those without a name."""
    values = iter(xs)
    return [next(values) if name else None for name in operation.inputs]


def batch_of(reading: Reading) -> int:
    """Return the batch that the file states, or 0."""
    entry = next(entry for entry in reading.model.proto.graph.input if entry.name in reading.model.inputs)
    return int(entry.type.tensor_type.shape.dim[0].dim_value)
