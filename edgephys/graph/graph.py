"""The Graph: a typed fixed-point program in which every edge states its format.

The written spec, held by ``check``:

====================  ======================================================  =====================
kind                  computes (integers in steps; exact but for requantise)  needs
====================  ======================================================  =====================
INPUT                 the caller's integers                                   shape, fixed
DENSE                 x @ w over the last axis                                constant (in, out)
BIAS                  x + b, binary points aligned                            constant, broadcast
ADD                   x + y, binary points aligned                            2 inputs of one shape
SCALE                 x * c                                                   constant, broadcast
RELU                  max(x, 0)
SUM                   sum over one axis, which disappears                     axis
CONCAT                inputs joined along one axis, points aligned            axis
TAKE                  rows of x along one axis, as often as named             axis, rows
RESHAPE               the same integers in another shape
WINDOW                the channels of every pixel's neighbours, zeros         window
                      beyond the edges: (H, W, C) -> (H, W, kh * kw * C)
REQUANTISE            x in the node's format, by its rounding and overflow    fixed
====================  ======================================================  =====================

Shapes are without the batch. A node's ``fraction`` is that of its ``fixed``; exact kinds have the
fraction that their operands give, and a format that provably holds their range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from math import prod
from operator import index
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers


class Kind(Enum):
    """What a node computes."""

    INPUT = "input"
    DENSE = "dense"
    BIAS = "bias"
    ADD = "add"
    SCALE = "scale"
    RELU = "relu"
    SUM = "sum"
    CONCAT = "concat"
    TAKE = "take"
    RESHAPE = "reshape"
    WINDOW = "window"
    REQUANTISE = "requantise"


WITH_CONSTANT = frozenset({Kind.DENSE, Kind.BIAS, Kind.SCALE})
OPERANDS = {Kind.INPUT: 0, Kind.ADD: 2}
"""Inputs of a kind, where they are not one; a CONCAT has any number."""
WITH_AXIS = frozenset({Kind.SUM, Kind.CONCAT, Kind.TAKE})


@dataclass(frozen=True, eq=False)
class Constant:
    """Hold integers with a power-of-two scale: value = integer * 2**-fraction."""

    integers: Integers
    fraction: int

    def __post_init__(self) -> None:
        frozen = np.array(self.integers, np.int64)
        frozen.setflags(write=False)
        object.__setattr__(self, "integers", frozen)

    @property
    def bits(self) -> int:
        """Width of the widest integer, its sign included where one is negative."""
        low, high = int(self.integers.min(initial=0)), int(self.integers.max(initial=0))
        return max(1, max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (low < 0))


@dataclass(frozen=True, eq=False)
class Node:
    """State one operation, its output's shape (without the batch) and format.

    ``layer`` names the layer of the model that the node came from: reports, RTL modules and
    mismatches speak of layers. ``rows`` are the indices that a TAKE takes along its axis, in whatever shape;
    ``window`` is a WINDOW's (rows, columns) of neighbours, the pixel itself among them.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    fixed: Fixed
    layer: str
    constant: Constant | None = None
    axis: int | None = None
    rows: Integers | None = None
    window: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.rows is not None:
            frozen = np.array(self.rows, np.int64)
            frozen.setflags(write=False)
            object.__setattr__(self, "rows", frozen)


@dataclass(frozen=True, eq=False)
class Graph:
    """Hold nodes in topological order; ``inputs`` and ``outputs`` are names of nodes."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Map each node's name to the node."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def readers(self) -> dict[str, tuple[Node, ...]]:
        """Map each node's name to the nodes that read it."""
        readers: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                readers[name].append(node)
        return {name: tuple(found) for name, found in readers.items()}

    @property
    def input(self) -> Node:
        """Return the only input."""
        if len(self.inputs) != 1:
            raise ModelError(f"graph '{self.name}': expected 1 input, not {len(self.inputs)}")
        return self.by_name[self.inputs[0]]

    @property
    def output(self) -> Node:
        """Return the only output."""
        if len(self.outputs) != 1:
            raise ModelError(f"graph '{self.name}': expected 1 output, not {len(self.outputs)}")
        return self.by_name[self.outputs[0]]

    def operands(self, node: Node) -> tuple[Node, ...]:
        """Return the nodes that ``node`` reads, in order."""
        return tuple(self.by_name[name] for name in node.inputs)

    def layers(self) -> Iterator[tuple[str, Node]]:
        """Yield each layer's name with its last node, in order."""
        last: dict[str, Node] = {}
        for node in self.nodes:
            last[node.layer] = node
        yield from last.items()

    def with_nodes(self, nodes: tuple[Node, ...]) -> Graph:
        """Return the graph with other nodes."""
        return replace(self, nodes=nodes)

    @cached_property
    def digest(self) -> str:
        """Return a SHA-256 of everything that is computed."""
        return hashlib.sha256(json.dumps(to_record(self), sort_keys=True).encode()).hexdigest()


def exact_shape(node: Node, operands: tuple[Node, ...]) -> tuple[int, ...]:
    """Return the shape that ``node`` must have; raise ModelError where its operands do not fit."""
    shapes = [operand.shape for operand in operands]
    first = shapes[0] if shapes else node.shape
    if node.kind is Kind.DENSE and node.constant is not None:
        weight = node.constant.integers.shape
        if len(weight) != 2 or not first or weight[0] != first[-1]:
            raise _wrong(node, f"weight must be ({first[-1] if first else 1}, outputs), not {weight}")
        return (*first[:-1], weight[1])
    if node.kind in (Kind.BIAS, Kind.SCALE) and node.constant is not None:
        try:
            shape = np.broadcast_shapes(first, node.constant.integers.shape)
        except ValueError:
            shape = ()
        if shape != first:
            raise _wrong(node, f"constant must broadcast to {first}, not {node.constant.integers.shape}")
        return first
    if node.kind in WITH_AXIS and node.axis is not None:
        if not 0 <= node.axis < len(first):
            raise _wrong(node, f"axis must be 0..{len(first) - 1}, not {node.axis}")
        before, after = first[: node.axis], first[node.axis + 1 :]
        if node.kind is Kind.SUM:
            return before + after
        if node.kind is Kind.TAKE and node.rows is not None:
            if node.rows.min(initial=0) < 0 or node.rows.max(initial=0) >= first[node.axis]:
                raise _wrong(node, f"rows must be 0..{first[node.axis] - 1}, not {node.rows.min()}..{node.rows.max()}")
            return (*before, *node.rows.shape, *after)
        if any((len(s), s[: node.axis], s[node.axis + 1 :]) != (len(first), before, after) for s in shapes):
            raise _wrong(node, f"inputs must agree off axis {node.axis}, not {shapes}")
        return (*before, sum(s[node.axis] for s in shapes), *after)
    if node.kind is Kind.ADD and len(set(shapes)) > 1:
        raise _wrong(node, f"inputs must have one shape, not {shapes}")
    if node.kind is Kind.RESHAPE:
        if prod(node.shape) != prod(first):
            raise _wrong(node, f"shape must hold {prod(first)} elements, not {node.shape}")
        return node.shape
    if node.window is not None:
        if len(first) != 3:
            raise _wrong(node, f"input must be (height, width, channel), not {first}")
        return (*first[:2], prod(node.window) * first[2])
    return first


def exact_fraction(node: Node, operands: tuple[Node, ...]) -> int:
    """Return the fraction of ``node``'s exact result; REQUANTISE and INPUT choose their own."""
    if node.kind in (Kind.INPUT, Kind.REQUANTISE):
        return node.fixed.fraction
    fraction = max(operand.fixed.fraction for operand in operands)
    if node.constant is None:
        return fraction
    if node.kind is Kind.BIAS:
        return max(fraction, node.constant.fraction)
    return fraction + node.constant.fraction


def check(graph: Graph) -> Graph:
    """Return the graph if it keeps the spec at the top of this file; raise ModelError where it does not."""
    seen: dict[str, Node] = {}
    for node in graph.nodes:
        if node.name in seen:
            raise _wrong(node, "name must be unique, not used twice")
        missing = [name for name in node.inputs if name not in seen]
        if missing:
            raise _wrong(node, f"inputs must come before it, not {missing[0]!r}")
        _check_operands(node)
        operands = tuple(seen[name] for name in node.inputs)
        shape = exact_shape(node, operands)
        if shape != node.shape:
            raise _wrong(node, f"shape must be {shape}, not {node.shape}")
        fraction = exact_fraction(node, operands)
        if fraction != node.fixed.fraction:
            raise _wrong(node, f"an exact result has {fraction} fraction bits, not {node.fixed.fraction}")
        seen[node.name] = node
    _check_ends(graph, seen)
    return graph


def _check_operands(node: Node) -> None:
    count = len(node.inputs)
    if node.kind is Kind.CONCAT:
        if count < 1:
            raise _wrong(node, "expected 1 input or more, not 0")
    elif count != (wanted := OPERANDS.get(node.kind, 1)):
        raise _wrong(node, f"expected {wanted} input{'' if wanted < 2 else 's'}, not {count}")
    for what, found, wanted in (
        ("a constant", node.constant, node.kind in WITH_CONSTANT),
        ("an axis", node.axis, node.kind in WITH_AXIS),
        ("rows", node.rows, node.kind is Kind.TAKE),
        ("a window", node.window, node.kind is Kind.WINDOW),
    ):
        if (found is not None) != wanted:
            raise _wrong(node, f"{what} must {'be there' if wanted else 'not be there'}")
    if node.window is not None and (len(node.window) != 2 or min(node.window) < 1):
        raise _wrong(node, f"window must be (rows, columns) of 1 and over, not {node.window}")
    if any(length < 1 for length in node.shape):
        raise _wrong(node, f"every axis must be 1 or longer, not {node.shape}")


def _check_ends(graph: Graph, seen: dict[str, Node]) -> None:
    inputs = tuple(node.name for node in graph.nodes if node.kind is Kind.INPUT)
    if inputs != graph.inputs:
        raise ModelError(f"graph '{graph.name}': inputs must be {inputs}, not {graph.inputs}")
    if not graph.outputs or any(name not in seen for name in graph.outputs):
        raise ModelError(f"graph '{graph.name}': outputs must be nodes of it, not {graph.outputs}")


def _wrong(node: Node, what: str) -> ModelError:
    return ModelError(f"node '{node.name}' ({node.kind.value}, layer '{node.layer}'): {what}")


# The record on disk ---------------------------------------------------------------------------


def to_record(graph: Graph) -> dict[str, Any]:
    """Return the graph as plain JSON types, byte for byte the same for the same graph."""
    return {
        "name": graph.name,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "metadata": graph.metadata,
        "nodes": [_node_record(node) for node in graph.nodes],
    }


def from_record(record: dict[str, Any]) -> Graph:
    """Return the checked graph of a record; raise ModelError where the record is not a graph's."""
    try:
        nodes = tuple(_node_of(entry) for entry in record["nodes"])
        graph = Graph(record["name"], nodes, tuple(record["inputs"]), tuple(record["outputs"]), record["metadata"])
        return check(graph)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"graph record: a field is missing or malformed ({error!r})") from error


def _node_record(node: Node) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": node.name,
        "kind": node.kind.value,
        "inputs": list(node.inputs),
        "shape": list(node.shape),
        "fixed": node.fixed.to_record(),
        "layer": node.layer,
    }
    if node.constant is not None:
        record["constant"] = {"integers": node.constant.integers.tolist(), "fraction": node.constant.fraction}
    if node.axis is not None:
        record["axis"] = node.axis
    if node.rows is not None:
        record["rows"] = node.rows.tolist()
    if node.window is not None:
        record["window"] = list(node.window)
    return record


def _node_of(entry: dict[str, Any]) -> Node:
    constant = entry.get("constant")
    return Node(
        name=entry["name"],
        kind=Kind(entry["kind"]),
        inputs=tuple(entry["inputs"]),
        shape=tuple(entry["shape"]),
        fixed=Fixed.of_record(entry["fixed"]),
        layer=entry["layer"],
        constant=constant and Constant(_integers(constant["integers"]), constant["fraction"]),
        axis=entry.get("axis"),
        rows=None if entry.get("rows") is None else _integers(entry["rows"]),
        window=None if entry.get("window") is None else _size(entry["window"]),
    )


def _size(window: Any) -> tuple[int, int]:
    rows, columns = map(index, window)
    return rows, columns


def _integers(numbers: Any) -> Integers:
    found = np.array(numbers)
    if found.dtype != np.int64 and found.size:  # neither fractions nor more than 64 bits become integers by themselves
        raise ValueError(f"expected integers of 64 bits, found {found.dtype}")
    return found.astype(np.int64)
