"""Write a Graph by hand: each method adds one node and returns its name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgephys.core.fixed import WIDEST, Fixed, Integers
from edgephys.graph.graph import Constant, Graph, Kind, Node, exact_fraction, exact_shape
from edgephys.graph.passes import lowered


class Builder:
    """Collect nodes in order; ``finish`` gives exact edges their proven formats and checks the graph."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: dict[str, Node] = {}
        self._inputs: list[str] = []

    def input(self, name: str, shape: tuple[int, ...], fixed: Fixed) -> str:
        """Add an input of the given shape (without the batch) and format."""
        self._inputs.append(name)
        return self._add(Node(name, Kind.INPUT, (), shape, fixed, name))

    def dense(self, layer: str, x: str, weights: Any, fraction: int) -> str:
        """Multiply by integer weights (in, out) at 2**-fraction over the last axis."""
        return self._exact(layer, Kind.DENSE, (x,), Constant(np.asarray(weights), fraction))

    def bias(self, layer: str, x: str, bias: Any, fraction: int) -> str:
        """Add integers at 2**-fraction."""
        return self._exact(layer, Kind.BIAS, (x,), Constant(np.asarray(bias), fraction))

    def add(self, layer: str, x: str, y: str) -> str:
        """Add two edges of one shape."""
        return self._exact(layer, Kind.ADD, (x, y))

    def scale(self, layer: str, x: str, factor: Any, fraction: int) -> str:
        """Multiply by integers at 2**-fraction, element by element."""
        return self._exact(layer, Kind.SCALE, (x,), Constant(np.asarray(factor), fraction))

    def relu(self, layer: str, x: str) -> str:
        """Replace negative values by 0."""
        return self._exact(layer, Kind.RELU, (x,))

    def sum(self, layer: str, x: str, axis: int) -> str:
        """Sum over an axis (0 is the first after the batch)."""
        return self._exact(layer, Kind.SUM, (x,), axis=axis)

    def concat(self, layer: str, xs: tuple[str, ...], axis: int) -> str:
        """Join along an axis."""
        return self._exact(layer, Kind.CONCAT, xs, axis=axis)

    def take(self, layer: str, x: str, rows: Any, axis: int) -> str:
        """Take rows along an axis, which becomes the axes of ``rows``, as numpy.take does."""
        return self._exact(layer, Kind.TAKE, (x,), axis=axis, rows=np.asarray(rows))

    def reshape(self, layer: str, x: str, shape: tuple[int, ...]) -> str:
        """Give the same elements another shape."""
        return self._exact(layer, Kind.RESHAPE, (x,), shape=shape)

    def window(self, layer: str, x: str, size: tuple[int, int]) -> str:
        """Gather the (rows, columns) of neighbours of every pixel, zeros beyond the edges, into its channels."""
        return self._exact(layer, Kind.WINDOW, (x,), window=size)

    def requantise(self, layer: str, x: str, fixed: Fixed) -> str:
        """Round and overflow into a format."""
        node = Node(self._fresh(layer, Kind.REQUANTISE), Kind.REQUANTISE, (x,), self.shape(x), fixed, layer)
        return self._add(node)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a node."""
        return self._nodes[name].shape

    def fraction(self, name: str) -> int:
        """Return the fraction bits of a node."""
        return self._nodes[name].fixed.fraction

    def layer(self, name: str) -> str:
        """Return the layer of a node."""
        return self._nodes[name].layer

    def finish(self, *outputs: str, metadata: dict[str, Any] | None = None) -> Graph:
        """Return the graph with every pass applied; raise ModelError where an edge is too wide."""
        nodes = tuple(self._nodes.values())
        return lowered(Graph(self._name, nodes, tuple(self._inputs), outputs, metadata or {}))

    def _exact(
        self,
        layer: str,
        kind: Kind,
        inputs: tuple[str, ...],
        constant: Constant | None = None,
        axis: int | None = None,
        shape: tuple[int, ...] = (),
        rows: Integers | None = None,
        window: tuple[int, int] | None = None,
    ) -> str:
        operands = tuple(self._nodes[name] for name in inputs)
        first = operands[0]
        node = Node(self._fresh(layer, kind), kind, inputs, shape, first.fixed, layer, constant, axis, rows, window)
        node = replace(node, shape=exact_shape(node, operands))
        fraction = exact_fraction(node, operands)
        return self._add(replace(node, fixed=Fixed(True, WIDEST, WIDEST - fraction)))  # tightened by the passes

    def _fresh(self, layer: str, kind: Kind) -> str:
        base = name = f"{layer}_{kind.value}"
        count = 1
        while name in self._nodes:
            count += 1
            name = f"{base}_{count}"
        return name

    def _add(self, node: Node) -> str:
        self._nodes[node.name] = node
        return node.name
