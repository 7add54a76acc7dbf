"""Write a Graph by hand: each method adds one node and returns its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgephys.core.fixed import WIDEST, Fixed
from edgephys.core.names import unused
from edgephys.graph import ops
from edgephys.graph.graph import Graph, Node
from edgephys.graph.interval import Range
from edgephys.graph.passes import lowered
from edgephys.graph.ranges import range_of


class Builder:
    """Collect nodes in order; ``finish`` gives exact edges their proven formats and checks the graph."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: dict[str, Node] = {}
        self._inputs: list[str] = []
        self._ranges: dict[str, Range] = {}

    def input(self, name: str, shape: tuple[int, ...], fixed: Fixed) -> str:
        """Add an input of a shape (without the batch) and a format."""
        self._inputs.append(name)
        return self._add(Node(name, ops.Input(), (), shape, fixed, name))

    def dense(self, layer: str, x: str, weights: Any, fraction: int) -> str:
        """Multiply by integer weights (in, out) at 2**-fraction over the last axis."""
        return self.exact(layer, ops.Dense(ops.Constant(np.asarray(weights), fraction)), x)

    def bias(self, layer: str, x: str, bias: Any, fraction: int) -> str:
        """Add integers at 2**-fraction."""
        return self.exact(layer, ops.Bias(ops.Constant(np.asarray(bias), fraction)), x)

    def add(self, layer: str, x: str, y: str) -> str:
        """Add two edges of one shape."""
        return self.exact(layer, ops.Add(), x, y)

    def max(self, layer: str, x: str, y: str) -> str:
        """Take the larger of two edges of one shape, element by element."""
        return self.exact(layer, ops.Max(), x, y)

    def mul(self, layer: str, x: str, y: str) -> str:
        """Multiply two edges of one shape, element by element; ``spread`` gives one the shape of the other."""
        return self.exact(layer, ops.Mul(), x, y)

    def scale(self, layer: str, x: str, factor: Any, fraction: int) -> str:
        """Multiply by integers at 2**-fraction, element by element."""
        return self.exact(layer, ops.Scale(ops.Constant(np.asarray(factor), fraction)), x)

    def relu(self, layer: str, x: str) -> str:
        """Replace negative values by 0."""
        return self.exact(layer, ops.Relu(), x)

    def sum(self, layer: str, x: str, axis: int) -> str:
        """Sum over an axis (0 is the first after the batch)."""
        return self.exact(layer, ops.Sum(axis), x)

    def concat(self, layer: str, xs: tuple[str, ...], axis: int) -> str:
        """Join along an axis."""
        return self.exact(layer, ops.Concat(axis), *xs)

    def take(self, layer: str, x: str, rows: Any, axis: int) -> str:
        """Take rows along an axis, which becomes the axes of ``rows``, as numpy.take does."""
        return self.exact(layer, ops.Take(axis, np.asarray(rows)), x)

    def reshape(self, layer: str, x: str, shape: tuple[int, ...]) -> str:
        """Give the same elements another shape."""
        return self.exact(layer, ops.Reshape(), x, shape=shape)

    def spread(self, layer: str, x: str, shape: tuple[int, ...]) -> str:
        """Repeat an edge along its axes of length 1, and along new axes in front, to a shape, as numpy broadcasts."""
        own = self.shape(x)
        if np.broadcast_shapes(own, shape) != shape:
            raise ValueError(f"shape {own} must broadcast to {shape}")
        whole = (1,) * (len(shape) - len(own)) + own
        x = x if whole == own else self.reshape(layer, x, whole)
        for axis, (length, wanted) in enumerate(zip(whole, shape, strict=True)):
            x = x if length == wanted else self.take(layer, x, np.zeros(wanted, np.int64), axis)
        return x

    def window(self, layer: str, x: str, size: tuple[int, int]) -> str:
        """Gather the (rows, columns) of neighbours of every pixel, zeros beyond the edges, into its channels."""
        return self.exact(layer, ops.Window(size), x)

    def lookup(self, layer: str, x: str, first: int, results: Any, fraction: int) -> str:
        """Replace integers by entries of a table at 2**-fraction; the first entry is that of ``first``, in steps of x.

        Shape: results (entries,), or (channels, entries) with a table for each channel of the last axis.
        """
        return self.exact(layer, ops.Lookup(ops.Constant(np.asarray(results), fraction), first, self.fraction(x)), x)

    def requantise(self, layer: str, x: str, fixed: Fixed) -> str:
        """Round and overflow into a format."""
        op = ops.Requantise()
        return self._add(Node(self._fresh(layer, op), op, (x,), self.shape(x), fixed, layer))

    def exact(self, layer: str, op: ops.Op, *inputs: str, shape: tuple[int, ...] = ()) -> str:
        """Add any operation whose format follows from its operands; ``shape`` is for those that choose it."""
        operands = tuple(self._nodes[name] for name in inputs)
        node = Node(self._fresh(layer, op), op, inputs, shape, operands[0].fixed, layer)
        node = replace(node, shape=op.shape(node, operands))
        fraction = op.fraction(node, operands)
        return self._add(replace(node, fixed=Fixed(True, WIDEST, WIDEST - fraction)))  # the passes make it narrower

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a node."""
        return self._nodes[name].shape

    def fraction(self, name: str) -> int:
        """Return the fraction bits of a node."""
        return self._nodes[name].fixed.fraction

    def range(self, name: str) -> Range:
        """Return the proven range of a node, in its steps; raise ModelError where it may leave 62 bits."""
        if name not in self._ranges:
            node = self._nodes[name]
            operands = tuple(self._nodes[other] for other in node.inputs)
            self._ranges[name] = range_of(node, operands, [self.range(other) for other in node.inputs])
        return self._ranges[name]

    def fixed(self, name: str) -> Fixed:
        """Return the format of a node; that of an exact one is still as wide as can be."""
        return self._nodes[name].fixed

    def layer(self, name: str) -> str:
        """Return the layer of a node."""
        return self._nodes[name].layer

    def finish(self, *outputs: str, metadata: dict[str, Any] | None = None) -> Graph:
        """Return the graph after all passes; raise ModelError where an edge is too wide."""
        nodes = tuple(self._nodes.values())
        return lowered(Graph(self._name, nodes, tuple(self._inputs), outputs, metadata or {}))

    def _fresh(self, layer: str, op: ops.Op) -> str:
        return unused(f"{layer}_{op.word}", self._nodes)

    def _add(self, node: Node) -> str:
        self._nodes[node.name] = node
        return node.name
