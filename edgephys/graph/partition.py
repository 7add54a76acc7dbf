"""Divide a graph into blocks, one a layer, and find the blocks that treat every row alike.

Some blocks do the same to each row of their leading axes: phi of Deep Sets to each constituent, the edge function of an
interaction network to each pair. Such a block holds the graph of one row and the number of copies, so that a target
emits it once and instantiates it. An edge between blocks has the name of its node in the whole graph.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Input


@dataclass(frozen=True, eq=False)
class Block:
    """Hold the nodes of a layer as a graph of their own.

    ``graph.inputs`` and ``graph.outputs`` carry the names that these edges have in the whole graph. With
    ``copies`` over 1 the graph is that of one row, and copy i works on row i of every edge.
    """

    name: str
    layers: tuple[str, ...]
    graph: Graph
    copies: int


def blocks(graph: Graph, used_names: set[str] | None = None) -> tuple[Block, ...]:
    """Return the blocks in an order in which each reads only earlier ones.

    Layers that read each other are merged. Evaluating the blocks in turn equals ``evaluate.run``. The name of each
    block is new among ``used_names`` and is added to them.
    """
    used_names = set() if used_names is None else used_names
    parts = []
    for members in _groups(graph):
        outputs = _outputs(graph, members)
        if not outputs:
            continue
        layers = tuple(dict.fromkeys(node.layer for node in members))
        name = identifier("_".join(layers), used_names)
        parts.append(_block(graph, name, layers, members, outputs))
    return tuple(parts)


def identifier(name: str, used_names: set[str]) -> str:
    """Return a legal name of Verilog and VHDL that is new among ``used_names``, and add it to them in lower case."""
    legal = re.sub(r"_+", "_", re.sub(r"[^0-9A-Za-z]", "_", name)).strip("_") or "layer"
    legal = legal if legal[0].isalpha() else f"layer_{legal}"
    unique, count = legal, 1
    while unique.lower() in used_names:
        count += 1
        unique = f"{legal}_v{count}"
    used_names.add(unique.lower())
    return unique


def _groups(graph: Graph) -> list[tuple[Node, ...]]:
    """Return the nodes of each block; layers on a common cycle form one block."""
    computed = [node for node in graph.nodes if not isinstance(node.op, Input)]
    reads: dict[str, set[str]] = {node.layer: set() for node in computed}
    for node in computed:
        sources = {source.layer for source in graph.operands(node) if not isinstance(source.op, Input)}
        reads[node.layer] |= sources - {node.layer}
    reached = {layer: _reached(layer, reads) for layer in reads}
    cycle_of = {
        layer: next(other for other in reads if other == layer or (other in reached[layer] and layer in reached[other]))
        for layer in reads
    }
    # a block reaches itself and all that its sources reach, so that this count is a topological order
    heads = sorted(set(cycle_of.values()), key=lambda head: (len(reached[head] | {head}), list(reads).index(head)))
    return [tuple(node for node in computed if cycle_of[node.layer] == head) for head in heads]


def _reached(start: str, reads: dict[str, set[str]]) -> set[str]:
    """Return the layers that a layer depends on."""
    layers: set[str] = set()
    waiting = list(reads[start])
    while waiting:
        layer = waiting.pop()
        if layer not in layers:
            layers.add(layer)
            waiting.extend(reads[layer])
    return layers


def _outputs(graph: Graph, members: Iterable[Node]) -> tuple[str, ...]:
    """Return the nodes that others read, and the last node of each layer where layers are merged, for probes."""
    last = {node.layer: node.name for node in members}
    inside = {node.name for node in members}
    exposed = set(last.values()) if len(last) > 1 else set()

    def is_read(name: str) -> bool:
        return name in graph.outputs or any(reader.name not in inside for reader in graph.readers[name])

    if not any(is_read(name) for name in inside):
        return ()
    return tuple(node.name for node in members if node.name in exposed or is_read(node.name))


def _block(
    graph: Graph, name: str, layers: tuple[str, ...], members: tuple[Node, ...], outputs: tuple[str, ...]
) -> Block:
    inside = {node.name for node in members}
    read = dict.fromkeys(source for node in members for source in node.inputs if source not in inside)
    inputs = tuple(as_input(graph.by_name[source]) for source in read)
    axes = _row_axes(graph, members)
    copies = prod(members[0].shape[:axes])
    nodes = inputs + members
    if copies > 1:
        nodes = tuple(one_row(node, axes) for node in nodes)
    return Block(name, layers, Graph(name, nodes, tuple(read), outputs), copies)


def as_input(node: Node) -> Node:
    """Return an input with the name, shape and format of a node."""
    return replace(node, op=Input(), inputs=())


def _row_axes(graph: Graph, members: tuple[Node, ...]) -> int:
    """Return the number of leading axes along which every node does the same to each row."""
    shapes = [shape for node in members for shape in (node.shape, *(o.shape for o in graph.operands(node)))]
    for axes in range(min(len(shape) for shape in shapes) - 1, 0, -1):
        if len({shape[:axes] for shape in shapes}) == 1 and all(node.op.same_for_rows(node, axes) for node in members):
            return axes
    return 0


def one_row(node: Node, axes: int) -> Node:
    """Return a node that does the same to all rows of its leading axes as it acts on one row."""
    return replace(node, op=node.op.one_row(node, axes), shape=node.shape[axes:])
