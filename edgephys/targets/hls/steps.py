"""Graph -> steps: what each layer of the HLS project computes, in which formats, before hls4ml gets it.

In a stream a step computes one beat at a time, and its sizes are those of one beat (``beats``).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, narrowest
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Bias, Dense, Requantise
from edgephys.graph.ranges import derive
from edgephys.targets.hls.beats import Streamed, divided
from edgephys.targets.hls.rules import RULES, copy_step
from edgephys.targets.hls.step import HlsStep, Place, clean, plain

DOUBLE = 53
"""Bits to which the decimal number in a weights header, read as a double, is exact."""


def plan(graph: Graph, streamed: bool = False) -> tuple[HlsStep, ...]:
    """Return the steps of a graph with one input and one output, in order.

    Raises: ModelError naming the layer that cannot be computed exactly, or that has no stream of pixels.
    """
    graph = graph.with_nodes(graph.alive()) if streamed else graph  # a stream that is not read stops what writes to it
    check_exact(graph)
    edges = divided(graph) if streamed else _whole(graph)
    steps: list[HlsStep] = []
    names: dict[str, str] = {}
    fused = fused_biases(graph) - {
        reader.name for edge in edges if edge.rule is not None for reader in graph.readers[edge.node.name]
    }
    for position, edge in enumerate(edges):
        node = edge.node
        if edge.name in fused:
            continue
        name = f"n{position}_{clean(edge.name)}".lower() if node.inputs else "x"
        bias = next((bias for bias in graph.readers[node.name] if bias.name in fused), None)
        names[edge.name] = name
        if bias is not None:
            names[bias.name] = name
        place = Place(
            graph, node, bias, name, tuple(names[source] for source in edge.inputs), edge.one, edge.ones, edge.beats
        )
        wider = widened(node, graph.operands(node)) if edge.rule is None else None
        if wider is not None:
            steps.append(copy_step(_copied(place, graph.operands(node)[0], f"{name}_widened", edge.ones[0]), wider))
            place = replace(place, inputs=(steps[-1].name,))
        rule = edge.rule or RULES.lookup(node.op, node.layer)
        steps.append(rule(place))
    last, edge = graph.output, edges[-1]
    if graph.readers[last.name] or not last.inputs or edge.name != last.name:  # a port must not be read again
        place = Place(graph, last, None, f"n{len(edges)}_port", (names[edge.name],), edge.one, (edge.one,), edge.beats)
        steps.append(copy_step(place, plain(last.fixed)))
    return tuple(steps)


def _copied(place: Place, node: Node, name: str, one: Node) -> Place:
    """Return the place of a copy of an operand."""
    return replace(place, node=node, bias=None, name=name, one=one, ones=(one,))


def _whole(graph: Graph) -> tuple[Streamed, ...]:
    """Return the edges of a graph that is no stream: each all at once."""
    return tuple(Streamed(node.name, node, node.inputs, node, graph.operands(node), 0) for node in graph.nodes)


def check_exact(graph: Graph) -> None:
    """Raise ModelError for a result or a constant that does not fit into its format."""
    ranges = derive(graph)
    for node in graph.nodes:
        range_ = ranges[node.name]
        if not node.op.states_format and not node.fixed.holds(range_.lowest, range_.highest):
            needed = narrowest(range_.lowest, range_.highest, node.fixed.fraction)
            raise ModelError(
                f"layer '{node.layer}': {node.op.word} '{node.name}' reaches {range_.lowest}..{range_.highest} steps, "
                f"which {node.fixed} does not hold; give it {needed}"
            )
        if node.op.constant_bits > DOUBLE:
            raise ModelError(
                f"layer '{node.layer}': a constant of {node.op.constant_bits} bits is not exact in a weights header; "
                f"use {DOUBLE} bits or fewer"
            )


def widened(node: Node, operands: tuple[Node, ...]) -> Fixed | None:
    """Return the format in which a step must first get a number that it rounds, or None where it needs no other.

    ap_fixed reads the bits below the new step in the old number, and fails where the number has fewer bits.
    Raises: ModelError where that needs over 62 bits.
    """
    if not isinstance(node.op, Requantise):
        return None
    old = operands[0].fixed
    drop = old.fraction - node.fixed.fraction
    if drop < old.bits:
        return None
    if drop + 1 > WIDEST:
        raise ModelError(
            f"layer '{node.layer}': {drop} bits to round away to {node.fixed}; at most {WIDEST - 1} can be"
        )
    return Fixed(old.signed, drop + 1, drop + 1 - old.fraction)


def fused_biases(graph: Graph) -> frozenset[str]:
    """Return the biases that the dense step before them adds itself."""
    fused = set()
    for node in graph.nodes:
        if not isinstance(node.op, Bias):
            continue
        dense = graph.by_name[node.inputs[0]]
        alone = graph.readers[dense.name] == (node,) and dense.name not in graph.outputs
        each_row_alike = prod(node.op.constant.integers.shape[:-1]) == 1
        if isinstance(dense.op, Dense) and alone and each_row_alike and dense.layer == node.layer:
            fused.add(node.name)
    return frozenset(fused)
