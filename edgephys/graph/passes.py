"""The passes, in order: each Graph -> Graph, each keeping every output value.

Integers may change with their step: ``trim_constants`` states the same values in coarser steps.
"""

from __future__ import annotations

from dataclasses import replace

from edgephys.core.rounding import Rounding
from edgephys.graph.graph import Graph, Node, check
from edgephys.graph.ops import Input, Move, Requantise
from edgephys.graph.ranges import derive, format_of, require_proven


def drop_dead(graph: Graph) -> Graph:
    """Remove nodes that no output needs; inputs stay, for they are the caller's interface."""
    alive = set(graph.alive())
    return graph.with_nodes(tuple(node for node in graph.nodes if node in alive or isinstance(node.op, Input)))


def trim_constants(graph: Graph) -> Graph:
    """Move trailing zero bits of constants into their power-of-two scale."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        node = replace(node, op=node.op.trimmed())
        fraction = node.op.fraction(node, tuple(nodes[name] for name in node.inputs))
        if fraction != node.fixed.fraction:  # the same values in coarser steps: same width, point moved
            node = replace(node, fixed=replace(node.fixed, integer=node.fixed.bits - fraction))
        nodes[node.name] = node
    return graph.with_nodes(tuple(nodes.values()))


def drop_identity(graph: Graph) -> Graph:
    """Remove nodes that provably change nothing."""
    ranges = derive(graph)
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        source = graph.by_name[node.inputs[0]] if node.inputs and node.name not in graph.outputs else None
        if source is not None and node.op.is_identity(node, source, ranges[source.name]):
            renamed[node.name] = source.name
        else:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def round_half_up(graph: Graph) -> Graph:
    """Round half up instead of half to even where no value is a tie: the same integers from less logic."""
    without_ties = tieless(graph)
    return graph.with_nodes(
        tuple(
            replace(node, fixed=replace(node.fixed, rounding=Rounding.RND))
            if node.name in without_ties and node.fixed.rounding is Rounding.RND_CONV
            else node
            for node in graph.nodes
        )
    )


def tieless(graph: Graph) -> frozenset[str]:
    """Return the names of the roundings that provably meet no tie, so that all ways to round a half are one.

    Values are no ties where all are odd multiples of a step finer than half of the wanted one, or zero.
    """

    def never_zero(node: Node) -> bool:
        """Tell whether no operation has mixed zeros into a node's odd multiples."""
        while isinstance(node.op, Move) and not node.op.adds_zeros:
            node = graph.by_name[node.inputs[0]]
        return not node.op.adds_zeros

    odd: dict[str, int] = {}
    names: set[str] = set()
    for node in graph.nodes:
        fraction = node.op.odd_fraction(node, graph.operands(node), odd, never_zero)
        if fraction is not None:
            odd[node.name] = fraction
        finest = odd.get(node.inputs[0]) if isinstance(node.op, Requantise) else None
        if finest is not None and finest > node.fixed.fraction + 1:
            names.add(node.name)
    return frozenset(names)


def tighten(graph: Graph) -> Graph:
    """Give every exact node the narrowest format that holds its proven range."""
    ranges = derive(graph)
    return graph.with_nodes(
        tuple(
            node if node.op.states_format else replace(node, fixed=format_of(ranges[node.name], node.fixed.fraction))
            for node in graph.nodes
        )
    )


PASSES = (drop_dead, trim_constants, drop_identity, round_half_up, tighten)


def lowered(graph: Graph) -> Graph:
    """Return the graph after all passes, checked before and after each, and proven at the end."""
    check(graph)
    for step in PASSES:
        graph = check(step(graph))
    return require_proven(graph)
