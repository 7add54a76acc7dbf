"""The golden model: exact integer arithmetic in one numpy program, on numbers and on symbols.

``run`` takes integers in steps. The same program runs on symbolic arrays (any object array that knows
``@``, ``+``, ``*``, ``sum``, ``np.maximum``, ``np.concatenate``, ``np.take``, ``np.pad``, ``reshape`` and
``quantize``): the RTL is made from them, so that the verified and the emitted program are one. Each operation
evaluates itself (``ops``); matrix products, roundings and constants differ between ``numbers`` and ``symbols``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.graph import numbers, symbols
from edgephys.graph.carriers import carriers
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Arithmetic, Input

CHUNK = 1 << 18
"""Elements of the widest edge that a thread computes at a time: what one operation leaves, the next finds in cache."""


def run(graph: Graph, x: Any) -> Any:
    """Return the output integers of a graph with one input and one output.

    Shape: x (vector, *input shape) -> (vector, *output shape); symbols go without the vector axis.
    Exact: yes.  Raises: ModelError for a wrong shape or a number outside the input's format.
    """
    source, output, freed = graph.input, graph.output, _freed(graph)
    x = _accepted(graph, source, {source.name: x})
    if symbols.are(x):
        return _edges(graph, {source.name: x}, freed)[output.name]
    outputs = np.empty((len(x), *output.shape), np.int64)
    size = max(1, CHUNK // max(prod(node.shape) for node in graph.nodes))

    def compute(start: int) -> None:
        chunk = slice(start, start + size)
        outputs[chunk] = _edges(graph, {source.name: x[chunk]}, freed)[output.name]

    compute(0)  # what is derived once is there before the threads
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compute, range(size, len(x), size)))
    return outputs


def trace(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the integers on every edge, by node name. Shape, Exact, Raises: as ``run``."""
    accepted = {name: _accepted(graph, graph.by_name[name], inputs) for name in graph.inputs}
    edges = _edges(graph, accepted, {})
    return {name: edge if symbols.are(edge) else edge.astype(np.int64) for name, edge in edges.items()}


def continued(graph: Graph, edges: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the integers on every edge where those on some edges are others; ``edges`` are those of a ``trace``.

    Only what reads a changed edge is computed again.
    """
    types, now, different = carriers(graph), {**edges, **changed}, set(changed)
    for node in graph.nodes:
        if node.name not in changed and not different.isdisjoint(node.inputs):
            xs = [_carried(now[name], types[node.name]) for name in node.inputs]
            now[node.name] = node.op.evaluate(node, graph.operands(node), xs, numbers).astype(np.int64)
            different.add(node.name)
    return now


def _edges(graph: Graph, inputs: Mapping[str, Any], freed: Mapping[str, list[str]]) -> dict[str, Any]:
    """Compute node after node, and let go of the edges that are ``freed`` by each."""
    edges: dict[str, Any] = {}
    types = carriers(graph)
    for node in graph.nodes:
        sources = [inputs[node.name]] if isinstance(node.op, Input) else [edges[name] for name in node.inputs]
        xs = [_carried(x, types[node.name]) for x in sources]
        arithmetic: Arithmetic = symbols if symbols.are(xs[0]) else numbers
        edges[node.name] = node.op.evaluate(node, graph.operands(node), xs, arithmetic)
        for name in freed.get(node.name, ()):
            del edges[name]
    return edges


def _freed(graph: Graph) -> dict[str, list[str]]:
    """Return, by node, the edges that nothing reads after it."""
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    freed: dict[str, list[str]] = {}
    for name, reader in last.items():
        if name not in graph.outputs:
            freed.setdefault(reader, []).append(name)
    return freed


def _accepted(graph: Graph, node: Node, inputs: Mapping[str, Any]) -> Any:
    if node.name not in inputs:
        raise ModelError(f"graph '{graph.name}': input '{node.name}' must be given, not only {sorted(inputs)}")
    x = inputs[node.name]
    if symbols.are(x):
        return x
    x = np.asarray(x)
    if x.shape[1:] != node.shape or x.ndim == 0:
        raise ModelError(f"input '{node.name}': shape must be (vector, *{node.shape}), not {x.shape}")
    if not np.issubdtype(x.dtype, np.integer):
        raise ModelError(f"input '{node.name}': integers in steps expected, not {x.dtype}; quantise first")
    if x.size and not node.fixed.holds(int(x.min()), int(x.max())):
        raise ModelError(
            f"input '{node.name}': integers must be {node.fixed.low}..{node.fixed.high} ({node.fixed}), "
            f"not {int(x.min())}..{int(x.max())}"
        )
    return x


def _carried(x: Any, carrier: np.dtype[Any]) -> Any:
    return x if symbols.are(x) else x.astype(carrier, copy=False)
