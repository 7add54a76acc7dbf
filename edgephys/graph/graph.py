"""The Graph: a typed fixed-point program in which every edge states its format.

Its operations, one file each in ``ops/``:

====================  ======================================================  =====================
operation             computes (integers in steps; exact but for requantise)  parameters
====================  ======================================================  =====================
Input                 the caller's integers
Dense                 x @ w over the last axis                                constant (in, out)
Bias                  x + b, binary points aligned                            constant, broadcast
Add                   x + y, binary points aligned
Scale                 x * c                                                   constant, broadcast
Mul                   x * y
Relu                  max(x, 0)
Max                   max(x, y), binary points aligned
Sum                   sum over one axis, which disappears                     axis
Concat                inputs joined along one axis, points aligned            axis
Take                  rows of x along one axis, as often as named             axis, rows
Reshape               the same integers in another shape
Window                the channels of every pixel's neighbours, zeros         size
                      beyond the edges: (H, W, C) -> (H, W, kh * kw * C)
Lookup                the entry for x in a table, one for all or one for      constant, first
                      each channel of the last axis                           and operand_fraction
Requantise            x in the node's format, by its rounding and overflow
====================  ======================================================  =====================

Shapes are without the batch. A node's ``fraction`` is that of its ``fixed``; exact operations have the
fraction that their operands give, and a format that provably holds their range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.names import require_name, require_plain
from edgephys.core.reading import MALFORMED, fault
from edgephys.graph.ops import OPS, Constant, Input, Op

__all__ = ["Constant", "Graph", "Node", "check", "from_record", "to_record"]


@dataclass(frozen=True, eq=False)
class Node:
    """State one operation, the shape of its result (without the batch) and its format.

    ``layer`` is the layer of the model that the node came from: reports, RTL modules and mismatches name layers.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    fixed: Fixed
    layer: str

    def wrong(self, what: str) -> ModelError:
        """Return an error that names the node."""
        return ModelError(f"node '{self.name}' ({self.op.word}, layer '{self.layer}'): {what}")


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
        return {name: tuple(nodes) for name, nodes in readers.items()}

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

    def alive(self) -> tuple[Node, ...]:
        """Return the nodes on which an output depends, in order."""
        needed = set(self.outputs)
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        return tuple(node for node in self.nodes if node.name in needed)

    @cached_property
    def digest(self) -> str:
        """Return a SHA-256 of everything that is computed."""
        return hashlib.sha256(json.dumps(to_record(self), sort_keys=True).encode()).hexdigest()


def check(graph: Graph) -> Graph:
    """Return the graph if every node follows the specification of its operation; raise ModelError otherwise."""
    nodes: dict[str, Node] = {}
    _check_names(graph)
    for node in graph.nodes:
        if node.name in nodes:
            raise node.wrong("name must be unique, not used twice")
        missing = [name for name in node.inputs if name not in nodes]
        if missing:
            raise node.wrong(f"inputs must come before it, not {missing[0]!r}")
        _check_operand_count(node)
        if any(length < 1 for length in node.shape):
            raise node.wrong(f"every axis must be 1 or longer, not {node.shape}")
        operands = tuple(nodes[name] for name in node.inputs)
        shape, fraction = node.op.shape(node, operands), node.op.fraction(node, operands)
        if shape != node.shape:
            raise node.wrong(f"shape must be {shape}, not {node.shape}")
        if fraction != node.fixed.fraction:
            raise node.wrong(f"an exact result has {fraction} fraction bits, not {node.fixed.fraction}")
        nodes[node.name] = node
    inputs = tuple(node.name for node in graph.nodes if isinstance(node.op, Input))
    if inputs != graph.inputs:
        raise ModelError(f"graph '{graph.name}': inputs must be {inputs}, not {graph.inputs}")
    if not graph.outputs or any(name not in nodes for name in graph.outputs):
        raise ModelError(f"graph '{graph.name}': outputs must be nodes of it, not {graph.outputs}")
    return graph


def _check_names(graph: Graph) -> None:
    """Raise ModelError for a name that would not be safe in a path, a comment or a source."""
    try:
        require_name("graph: name", graph.name)
        for node in graph.nodes:
            for what, text in (("node: name", node.name), ("node: layer", node.layer)):
                require_plain(what, text)
    except ValueError as error:
        raise ModelError(f"{error}; rename it where the model is made") from error


def _check_operand_count(node: Node) -> None:
    count, expected = len(node.inputs), node.op.operand_count
    if expected is None and count < 1:
        raise node.wrong("expected 1 input or more, not 0")
    if expected is not None and count != expected:
        raise node.wrong(f"expected {expected} input{'' if expected < 2 else 's'}, not {count}")


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
    except MALFORMED as error:
        raise ModelError(f"graph record: a field is missing or malformed ({fault(error)})") from error


def _node_record(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.op.word,
        "inputs": list(node.inputs),
        "shape": list(node.shape),
        "fixed": node.fixed.to_record(),
        "layer": node.layer,
        **node.op.to_record(),
    }


def _node_of(entry: dict[str, Any]) -> Node:
    if entry["kind"] not in OPS:
        raise ValueError(f"{entry['kind']!r} is no operation; known are {', '.join(OPS)}")
    node = Node(
        name=entry["name"],
        op=OPS[entry["kind"]].of_record(entry),
        inputs=tuple(entry["inputs"]),
        shape=tuple(entry["shape"]),
        fixed=Fixed.of_record(entry["fixed"]),
        layer=entry["layer"],
    )
    unknown = set(entry) - set(_node_record(node))
    if unknown:
        raise node.wrong(f"the record must not have {', '.join(sorted(unknown))}")
    return node
