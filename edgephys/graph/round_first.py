"""Rounding comes first: the same integers from narrower logic, for hardware in which every bit costs.

A layer adds biases, takes the ReLU and rounds: relu(x + b), of which only the high bits are kept. Rounding is monotone
and keeps 0, so that the ReLU may follow it and need only mask what is left. Where rounding is the floor after a half is
added, half and bias are one constant; and of a constant only what lies on the grid of the data can change a floor:
floor((x + c) / s) = floor((x + floor(c / g) g) / s) where x and s are multiples of g. What was an addition over all
bits of the sum becomes a short one. Ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgephys.core.fixed import Integers, Overflow, Rounding, narrowest
from edgephys.graph.graph import Constant, Graph, Kind, Node, check, exact_fraction
from edgephys.graph.passes import tighten
from edgephys.graph.ranges import Range, derive
from edgephys.graph.windows import windows

ALL = 62
"""Zero bits of a number that is always 0."""
OF_POSITIVE = {
    Rounding.TRN_ZERO: Rounding.TRN,
    Rounding.RND_ZERO: Rounding.RND_MIN_INF,
    Rounding.RND_INF: Rounding.RND,
}
"""What a rounding does to numbers that are not negative."""
FLOORS = (Rounding.TRN, Rounding.RND, Rounding.RND_MIN_INF)
"""Roundings that are a floor after a constant."""


@dataclass(frozen=True)
class _Chain:
    """Hold bias, ReLU (where there is one) and requantise that nothing else reads between."""

    bias: Node
    constant: Constant
    relu: Node | None
    last: Node


def round_first(graph: Graph, zeros: Mapping[str, Integers] | None = None) -> Graph:
    """Return a graph with the same outputs whose biases are added on the data's grid and whose ReLUs follow roundings.

    ``zeros`` says how many low bits of each element of an input are always 0, where that is known.
    """
    chains = {chain.last.name: chain for node in graph.nodes if (chain := _chain(graph, node)) is not None}
    if not chains:
        return graph
    ranges, grids = derive(graph), low_zeros(graph, zeros or {})
    inside = {node.name for chain in chains.values() for node in (chain.bias, chain.relu) if node is not None}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in chains:
            nodes += _rounded_first(graph, chains[node.name], ranges, grids)
        elif node.name not in inside:
            nodes.append(node)
    return check(tighten(check(graph.with_nodes(tuple(nodes)))))


def _chain(graph: Graph, last: Node) -> _Chain | None:
    """Return the chain that a requantise ends, if it is one that drops bits."""
    if last.kind is not Kind.REQUANTISE:
        return None
    before = graph.by_name[last.inputs[0]]
    relu = before if before.kind is Kind.RELU else None
    bias = graph.by_name[relu.inputs[0]] if relu else before
    between = [node for node in (bias, relu) if node is not None]
    alone = all(len(graph.readers[node.name]) == 1 and node.name not in graph.outputs for node in between)
    if bias.constant is None or bias.kind is not Kind.BIAS or not alone or bias.fixed.fraction <= last.fixed.fraction:
        return None
    return _Chain(bias, bias.constant, relu, last) if relu or last.fixed.rounding in FLOORS else None


def _rounded_first(
    graph: Graph, chain: _Chain, ranges: Mapping[str, Range], grids: Mapping[str, Integers]
) -> list[Node]:
    """Return bias, rounding, ReLU and what is left of the requantise, which then only overflows."""
    bias, relu, last = chain.bias, chain.relu, chain.last
    rounding = OF_POSITIVE.get(last.fixed.rounding, last.fixed.rounding) if relu else last.fixed.rounding
    if rounding in FLOORS:
        bias = _on_the_grid(graph, chain, rounding, grids[bias.inputs[0]])
        rounding = Rounding.TRN
    if relu is None:
        return [bias, replace(last, fixed=replace(last.fixed, rounding=rounding))]
    drop = chain.bias.fixed.fraction - last.fixed.fraction
    range_ = ranges[chain.bias.name]  # a rounding leads no further than one step
    whole = narrowest((range_.lowest >> drop) - 1, (range_.highest >> drop) + 1, last.fixed.fraction)
    name = f"{last.name}_rounded"
    rounded = replace(
        last, name=name, inputs=(bias.name,), fixed=replace(whole, rounding=rounding, overflow=Overflow.WRAP)
    )
    relu = replace(relu, inputs=(name,), fixed=replace(whole, signed=True))
    return [bias, rounded, relu, replace(last, fixed=replace(last.fixed, rounding=Rounding.TRN))]


def _on_the_grid(graph: Graph, chain: _Chain, rounding: Rounding, zeros: Integers) -> Node:
    """Return a bias that holds the half of the rounding, too, and no bit below the data's."""
    bias, constant = chain.bias, chain.constant
    data = graph.by_name[bias.inputs[0]]
    drop = bias.fixed.fraction - chain.last.fixed.fraction
    half = {Rounding.TRN: 0, Rounding.RND: 1 << (drop - 1), Rounding.RND_MIN_INF: (1 << (drop - 1)) - 1}[rounding]
    exact = (constant.integers << (bias.fixed.fraction - constant.fraction)) + half
    grid = np.minimum(zeros + (bias.fixed.fraction - data.fixed.fraction), drop)
    kept = np.broadcast_to(exact, bias.shape) >> grid << grid
    low = min(int(low_zeros_of(kept).min()), drop)
    found = replace(bias, constant=Constant(kept >> low, bias.fixed.fraction - low))
    fraction = exact_fraction(found, (data,))
    return replace(found, fixed=replace(bias.fixed, integer=bias.fixed.bits - fraction))


# Grids -------------------------------------------------------------------------------------------


def low_zeros(graph: Graph, given: Mapping[str, Integers]) -> dict[str, Integers]:
    """Return how many low bits of every element of every node are always 0, at least."""
    found: dict[str, Integers] = {}
    for node in graph.nodes:
        sources = [
            np.minimum(found[operand.name] + (node.fixed.fraction - operand.fixed.fraction), ALL)
            if node.kind in (Kind.BIAS, Kind.ADD, Kind.CONCAT)
            else found[operand.name]
            for operand in graph.operands(node)
        ]
        found[node.name] = _zeros(node, sources, given)
    return found


def low_zeros_of(integers: Integers) -> Integers:
    """Return the number of low zero bits of each integer; ``ALL`` of 0."""
    lowest = integers & -integers
    counts: Integers = np.where(integers == 0, ALL, np.bitwise_count(np.maximum(lowest, 1) - 1)).astype(np.int64)
    return counts


def _zeros(node: Node, sources: list[Integers], given: Mapping[str, Integers]) -> Integers:
    found: Integers = np.zeros(node.shape, np.int64)
    constant = None if node.constant is None else low_zeros_of(node.constant.integers)
    if node.kind is Kind.INPUT:
        found = given.get(node.name, found).reshape(node.shape)
    elif node.kind is Kind.DENSE and constant is not None:
        found = (sources[0][..., :, None] + constant).min(-2)
    elif node.kind is Kind.SCALE and constant is not None:
        found = sources[0] + constant
    elif node.kind is Kind.BIAS and node.constant is not None and constant is not None:
        found = np.minimum(sources[0], constant + (node.fixed.fraction - node.constant.fraction))
    elif node.kind is Kind.ADD:
        found = np.minimum(*sources)
    elif node.kind is Kind.CONCAT and node.axis is not None:
        found = np.concatenate(sources, node.axis)
    elif node.kind is Kind.SUM and node.axis is not None:
        found = sources[0].min(node.axis)
    elif node.kind is Kind.TAKE and node.axis is not None and node.rows is not None:
        found = np.take(sources[0], node.rows, node.axis)
    elif node.window is not None:
        found = windows(sources[0], node.window, outside=ALL)
    elif node.kind in (Kind.RELU, Kind.RESHAPE):
        found = sources[0].reshape(node.shape)
    return np.minimum(found, ALL)
