"""Round before the ReLU: the same integers from narrower logic, for hardware.

A layer computes relu(x + b) and rounds it to its high bits. Rounding is monotone and keeps 0, so that the ReLU may come
after it, on fewer bits. Where rounding is a floor after the addition of a half, half and bias are one constant. Only
the multiples of the data's step g in a constant c can change a floor, where x and s are multiples of g:
floor((x + c) / s) = floor((x + floor(c / g) g) / s). The addition over all bits of the sum becomes a short one.
Source: our own derivation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgephys.core.fixed import Integers, narrowest
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.graph import Constant, Graph, Node, check
from edgephys.graph.interval import distinct
from edgephys.graph.ops import Bias, Relu, Requantise
from edgephys.graph.ops.constant import low_zeros
from edgephys.graph.ops.op import ALL_ZERO
from edgephys.graph.passes import tighten
from edgephys.graph.ranges import Range, derive, is_large, with_few_rows


@dataclass(frozen=True)
class _Chain:
    """Hold a bias, a ReLU or none, and a requantise, between which nothing else reads."""

    bias: Node
    constant: Constant
    relu: Node | None
    last: Node


def round_first(graph: Graph, zeros: Mapping[str, Integers] | None = None) -> Graph:
    """Return a graph with the same outputs, its ReLUs after the roundings and its biases in steps of the data.

    ``zeros`` gives the number of low bits of each element of an input that are always 0, where it is known.
    """
    chains = {chain.last.name: chain for node in graph.nodes if (chain := _chain(graph, node)) is not None}
    if not chains:
        return graph
    ranges, grids = derive(graph), low_zero_bits(graph, zeros or {})
    inside = {node.name for chain in chains.values() for node in (chain.bias, chain.relu) if node is not None}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in chains:
            nodes += _rounded_first(graph, chains[node.name], ranges, grids)
        elif node.name not in inside:
            nodes.append(node)
    return check(tighten(check(graph.with_nodes(tuple(nodes)))))


def _chain(graph: Graph, last: Node) -> _Chain | None:
    """Return the chain that ends in a requantise which drops bits; None where there is none."""
    if not isinstance(last.op, Requantise):
        return None
    before = graph.by_name[last.inputs[0]]
    relu = before if isinstance(before.op, Relu) else None
    bias = graph.by_name[relu.inputs[0]] if relu else before
    between = [node for node in (bias, relu) if node is not None]
    alone = all(len(graph.readers[node.name]) == 1 and node.name not in graph.outputs for node in between)
    if not isinstance(bias.op, Bias) or not alone or bias.fixed.fraction <= last.fixed.fraction:
        return None
    return _Chain(bias, bias.op.constant, relu, last) if relu or last.fixed.rounding.adds_constant else None


def _rounded_first(
    graph: Graph, chain: _Chain, ranges: Mapping[str, Range], grids: Mapping[str, Integers]
) -> list[Node]:
    """Return the bias, the rounding, the ReLU and the rest of the requantise, which only overflows."""
    bias, relu, last = chain.bias, chain.relu, chain.last
    rounding = last.fixed.rounding.of_positive if relu else last.fixed.rounding
    if rounding.adds_constant:
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
    """Return a bias that includes the half of the rounding and has no bit below those of the data."""
    bias, constant = chain.bias, chain.constant
    data = graph.by_name[bias.inputs[0]]
    drop = bias.fixed.fraction - chain.last.fixed.fraction
    exact = (constant.integers << (bias.fixed.fraction - constant.fraction)) + rounding.addend(drop).constant
    grid = np.minimum(zeros + (bias.fixed.fraction - data.fixed.fraction), drop)
    integers = np.broadcast_to(exact, bias.shape) >> grid << grid
    low = min(int(low_zeros(integers).min()), drop)
    shorter = replace(bias, op=Bias(Constant(integers >> low, bias.fixed.fraction - low)))
    fraction = shorter.op.fraction(shorter, (data,))
    return replace(shorter, fixed=replace(bias.fixed, integer=bias.fixed.bits - fraction))


# Grids -------------------------------------------------------------------------------------------


def low_zero_bits(graph: Graph, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
    """Return, by node, a lower bound of the number of low bits of each element that are always 0.

    In large edges it is that of all rows, as their ranges are.
    """
    bits: dict[str, Integers] = {}
    for node in graph.nodes:
        if node.name in inputs:
            bits[node.name] = np.minimum(inputs[node.name].reshape(node.shape), ALL_ZERO)
            continue
        operands = graph.operands(node)
        sources = [bits[operand.name] for operand in operands]
        few = with_few_rows(node, operands) if any(is_large(of) for of in (node, *operands)) else None
        if few is None:
            own = _zero_bits(node, operands, sources)
        else:
            row, rows = few
            own = _zero_bits(row, rows, [_of_rows(of, to.shape) for of, to in zip(sources, rows, strict=True)])
        bits[node.name] = _of_rows(own, node.shape) if few is not None or is_large(node) else own
    return bits


def _zero_bits(node: Node, operands: Sequence[Node], sources: Sequence[Integers]) -> Integers:
    """Return the number of low bits of each element of a node that are always 0."""
    finer = [node.fixed.fraction - operand.fixed.fraction if node.op.aligns else 0 for operand in operands]
    steps = [np.minimum(bits + shift, ALL_ZERO) for bits, shift in zip(sources, finer, strict=True)]
    result: Integers = np.minimum(node.op.zero_bits(node, steps), ALL_ZERO)
    return result


def _of_rows(bits: Integers, shape: tuple[int, ...]) -> Integers:
    """Return the least numbers of all rows in each row of a shape of the same channels."""
    apart = distinct(bits)
    return np.broadcast_to(apart.min(tuple(range(apart.ndim - 1))), shape)
