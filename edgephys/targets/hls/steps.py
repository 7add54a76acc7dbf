"""Graph -> steps: what each layer of the HLS project computes, in which formats, before hls4ml gets it.

In a stream of pixels a step computes one pixel at a time, and its sizes are those of one pixel.
"""

from __future__ import annotations

from math import prod

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, narrowest
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Bias, Dense, Input, Requantise
from edgephys.graph.ranges import derive
from edgephys.targets.hls.rules import RULES, copy_step
from edgephys.targets.hls.step import HlsStep, Place, clean, plain
from edgephys.targets.rtl.stream import AXES, levels

DOUBLE = 53
"""Bits to which the decimal number in a weights header, read as a double, is exact."""


def plan(graph: Graph, streamed: bool = False) -> tuple[HlsStep, ...]:
    """Return the steps of a graph with one input and one output, in order.

    Raises: ModelError naming the layer that cannot be computed exactly, or that has no stream of pixels.
    """
    axes = AXES if streamed else 0
    graph = _alive(graph) if streamed else graph
    check_exact(graph)
    steps: list[HlsStep] = []
    names: dict[str, str] = {}
    fused = fused_biases(graph)
    for position, node in enumerate(graph.nodes):
        if node.name in fused:
            continue
        name = f"n{position}_{clean(node.name)}".lower() if node.inputs else "x"
        bias = next((bias for bias in graph.readers[node.name] if bias.name in fused), None)
        names[node.name] = name
        if bias is not None:
            names[bias.name] = name
        inputs = tuple(names[operand] for operand in node.inputs)
        wider = widened(node, graph.operands(node))
        if wider is not None:
            steps.append(copy_step(graph.operands(node)[0], f"{name}_widened", inputs, wider, axes))
            inputs = (steps[-1].name,)
        rule = RULES.lookup(node.op, node.layer)
        steps.append(rule(Place(graph, node, bias, name, inputs, axes)))
    last = graph.output
    if graph.readers[last.name] or not last.inputs:  # a port must not be read again
        steps.append(copy_step(last, f"n{len(graph.nodes)}_port", (names[last.name],), plain(last.fixed), axes))
    return tuple(steps)


def _alive(graph: Graph) -> Graph:
    """Return the graph without nodes that nobody reads: a stream that is not read would stop what writes to it."""
    names = {node.name for level in levels(graph) for node in (*level.windows, *level.graph.nodes)}
    return graph.with_nodes(tuple(node for node in graph.nodes if node.name in names or isinstance(node.op, Input)))


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
