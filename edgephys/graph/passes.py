"""The passes, in order: each Graph -> Graph, each keeping every output value.

Integers may change with their step: ``trim_constants`` states the same values in coarser steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgephys.core.fixed import Rounding
from edgephys.graph.graph import Constant, Graph, Kind, Node, check, exact_fraction
from edgephys.graph.ranges import Range, derive, format_of


def drop_dead(graph: Graph) -> Graph:
    """Remove nodes that no output needs; inputs stay, for they are the caller's interface."""
    needed = set(graph.outputs) | set(graph.inputs)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return graph.with_nodes(tuple(node for node in graph.nodes if node.name in needed))


def trim_constants(graph: Graph) -> Graph:
    """Move trailing zero bits of constants into their power-of-two scale."""
    nodes: list[Node] = []
    done: dict[str, Node] = {}
    for node in graph.nodes:
        if node.constant is not None:
            node = replace(node, constant=_trimmed(node.constant))
        fraction = exact_fraction(node, tuple(done[name] for name in node.inputs))
        if fraction != node.fixed.fraction:  # the same values in coarser steps: same width, point moved
            node = replace(node, fixed=replace(node.fixed, integer=node.fixed.bits - fraction))
        done[node.name] = node
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _trimmed(constant: Constant) -> Constant:
    together = int(np.bitwise_or.reduce(np.abs(constant.integers), axis=None))
    zeros = (together & -together).bit_length() - 1 if together else 0
    return Constant(constant.integers >> zeros, constant.fraction - zeros) if zeros else constant


def drop_identity(graph: Graph) -> Graph:
    """Remove nodes that provably change nothing: requantise, relu, reshape and window without effect."""
    ranges = derive(graph)
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        if node.name not in graph.outputs and node.inputs and _is_identity(graph, node, ranges[node.inputs[0]]):
            renamed[node.name] = node.inputs[0]
        else:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def _is_identity(graph: Graph, node: Node, range_: Range) -> bool:
    source = graph.by_name[node.inputs[0]]
    if node.kind is Kind.RELU:
        return range_.lowest >= 0
    if node.kind is Kind.RESHAPE:
        return node.shape == source.shape
    if node.kind is Kind.WINDOW:
        return node.window == (1, 1)
    if node.kind is not Kind.REQUANTISE or source.kind not in (Kind.INPUT, Kind.REQUANTISE):
        return False
    old, new = source.fixed, node.fixed
    alike = (old.signed, old.bits, old.integer) == (new.signed, new.bits, new.integer)
    return alike and new.holds(range_.lowest, range_.highest)  # SAT_SYM holds one number less


def round_half_up(graph: Graph) -> Graph:
    """Round half up where half to even was asked for and no value is a tie: the same integers, for a constant."""
    without = tieless(graph)
    return graph.with_nodes(
        tuple(
            replace(node, fixed=replace(node.fixed, rounding=Rounding.RND))
            if node.name in without and node.fixed.rounding is Rounding.RND_CONV
            else node
            for node in graph.nodes
        )
    )


def tieless(graph: Graph) -> frozenset[str]:
    """Return the names of roundings that provably meet no tie, so that all ways to round a half are one.

    Values are no ties where all are odd multiples of a step finer than half of the wanted one, or zero.
    """
    odd: dict[str, int] = {}
    found: set[str] = set()
    for node in graph.nodes:
        if (fraction := _odd_fraction(graph, node, odd)) is not None:
            odd[node.name] = fraction
        finest = odd.get(node.inputs[0]) if node.kind is Kind.REQUANTISE else None
        if finest is not None and finest > node.fixed.fraction + 1:
            found.add(node.name)
    return frozenset(found)


def _odd_fraction(graph: Graph, node: Node, odd: Mapping[str, int]) -> int | None:
    """Return f where every value of a node is proven to be an odd multiple of 2**-f, or zero."""
    if node.kind in (Kind.RELU, Kind.RESHAPE, Kind.TAKE, Kind.WINDOW):
        return odd.get(node.inputs[0])
    sources = [graph.by_name[name] for name in node.inputs]
    if node.kind is Kind.BIAS and node.constant is not None:
        finer = node.constant.fraction > sources[0].fixed.fraction
        return node.constant.fraction if finer and bool(np.all(node.constant.integers % 2)) else None
    if node.kind is Kind.ADD:
        for one, other in (sources, sources[::-1]):
            if odd.get(one.name, other.fixed.fraction) > other.fixed.fraction and _never_zero(graph, one):
                return odd[one.name]
    return None


def _never_zero(graph: Graph, node: Node) -> bool:
    """Say whether a node's odd multiples are not mixed with the zeros of a ReLU, or of a window's edges."""
    while node.kind in (Kind.RESHAPE, Kind.TAKE):
        node = graph.by_name[node.inputs[0]]
    return node.kind not in (Kind.RELU, Kind.WINDOW)


def tighten(graph: Graph) -> Graph:
    """Give every exact node the narrowest format that holds its proven range."""
    ranges = derive(graph)
    return graph.with_nodes(
        tuple(
            node
            if node.kind in (Kind.INPUT, Kind.REQUANTISE)
            else replace(node, fixed=format_of(ranges[node.name], node.fixed.fraction))
            for node in graph.nodes
        )
    )


PASSES = (drop_dead, trim_constants, drop_identity, round_half_up, tighten)


def lowered(graph: Graph) -> Graph:
    """Return the graph after all passes, checked before and after each."""
    check(graph)
    for step in PASSES:
        graph = check(step(graph))
    return graph
