"""Interval analysis: the exact range of every element of every edge, and the reason for each width.

Each element has its own interval, so a format derived from it cannot overflow and wastes no bit that
the analysis can see. Source: R. E. Moore, Interval Analysis (1966), natural interval extension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, Integers, narrowest
from edgephys.graph.graph import Graph, Kind, Node
from edgephys.graph.windows import windows


@dataclass(frozen=True, eq=False)
class Range:
    """Hold the lowest and highest integer of every element of an edge, in the edge's steps.

    ``partial`` bounds the magnitude of every partial sum on the way, in whatever order it is summed.
    """

    low: Integers
    high: Integers
    partial: int

    @property
    def lowest(self) -> int:
        """Lowest integer over all elements."""
        return int(self.low.min())

    @property
    def highest(self) -> int:
        """Highest integer over all elements."""
        return int(self.high.max())


def derive(graph: Graph) -> dict[str, Range]:
    """Return the range of every node by interval analysis from the formats of the inputs.

    Raises: ModelError where an edge may exceed 62 bits.
    """
    found: dict[str, Range] = {}
    for node in graph.nodes:
        range_ = _range(node, [found[name] for name in node.inputs], graph.operands(node))
        if max(abs(range_.lowest), abs(range_.highest), range_.partial) >= 1 << WIDEST:
            raise _over(node)
        found[node.name] = range_
    return found


def _over(node: Node) -> ModelError:
    return ModelError(
        f"layer '{node.layer}': {node.kind.value} '{node.name}' may need over {WIDEST} bits; "
        f"use fewer bits in its weights or inputs"
    )


def _range(node: Node, ranges: list[Range], operands: tuple[Node, ...]) -> Range:
    if node.kind is Kind.INPUT:
        return _whole(node.fixed, node.shape)
    low, high = _aligned(node, ranges, operands)
    if node.kind is Kind.CONCAT and node.axis is not None:
        return _plain(np.concatenate(low, node.axis), np.concatenate(high, node.axis))
    first_low, first_high = low[0], high[0]
    if node.kind is Kind.ADD:
        return _plain(first_low + low[1], first_high + high[1])
    if node.kind is Kind.TAKE and node.rows is not None:
        return _plain(np.take(first_low, node.rows, node.axis), np.take(first_high, node.rows, node.axis))
    if node.kind is Kind.REQUANTISE:
        return _requantised(node, first_low, first_high, operands[0].fixed.fraction)
    if node.kind is Kind.RELU:
        return _plain(np.maximum(first_low, 0), np.maximum(first_high, 0))
    if node.kind is Kind.RESHAPE:
        return _plain(first_low.reshape(node.shape), first_high.reshape(node.shape))
    if node.window is not None:
        return _plain(windows(first_low, node.window), windows(first_high, node.window))
    if node.kind is Kind.SUM:
        largest = _magnitude(first_low, first_high).sum(node.axis)
        if largest.max() >= 2.0**WIDEST:
            return _too_wide(first_low, first_high)
        return Range(first_low.sum(node.axis), first_high.sum(node.axis), int(largest.max()))
    return _with_constant(node, first_low, first_high)


def _with_constant(node: Node, low: Integers, high: Integers) -> Range:
    constant = node.constant
    if constant is None:
        raise ModelError(f"node '{node.name}' ({node.kind.value}): a constant must be there")
    weight = constant.integers
    largest, heaviest = _magnitude(low, high), np.abs(weight.astype(float))
    if node.kind is Kind.DENSE:
        partial = largest @ heaviest
        if partial.max() >= 2.0**WIDEST:
            return _too_wide(low, high)
        up, down = np.maximum(weight, 0), np.minimum(weight, 0)
        return Range(low @ up + high @ down, high @ up + low @ down, int(partial.max()))
    if node.kind is Kind.BIAS:
        shift = node.fixed.fraction - constant.fraction
        if shift > WIDEST or (largest + heaviest * 2.0**shift).max() >= 2.0**WIDEST:
            return _too_wide(low, high)
        return _plain(low + (weight << shift), high + (weight << shift))
    if (largest * heaviest).max() >= 2.0**WIDEST:
        return _too_wide(low, high)
    ends = np.stack([low * weight, high * weight])
    return _plain(ends.min(0), ends.max(0))


def _magnitude(low: Integers, high: Integers) -> NDArray[np.float64]:
    """Return each element's largest magnitude as a float, which cannot overflow."""
    largest: NDArray[np.float64] = np.maximum(np.abs(low.astype(float)), np.abs(high.astype(float)))
    return largest


def _too_wide(low: Integers, high: Integers) -> Range:
    return Range(low, high, 1 << WIDEST)


def _requantised(node: Node, low: Integers, high: Integers, fraction: int) -> Range:
    """Rounding is monotone, so the ends bound the result unless it wraps or falls to zero."""
    fixed = node.fixed
    low, high = fixed.in_steps(low, fraction), fixed.in_steps(high, fraction)
    if fixed.overflow.value.startswith("SAT") and fixed.overflow.value != "SAT_ZERO":
        return _plain(np.clip(low, fixed.low, fixed.high), np.clip(high, fixed.low, fixed.high))
    outside = (low < fixed.low) | (high > fixed.high)
    return _plain(np.where(outside, fixed.low, low), np.where(outside, fixed.high, high))


def _aligned(node: Node, ranges: list[Range], operands: tuple[Node, ...]) -> tuple[list[Integers], list[Integers]]:
    if node.kind not in (Kind.BIAS, Kind.CONCAT, Kind.ADD):
        return [r.low for r in ranges], [r.high for r in ranges]
    low, high = [], []
    for range_, operand in zip(ranges, operands, strict=True):
        shift = node.fixed.fraction - operand.fixed.fraction
        if shift > WIDEST or _magnitude(range_.low, range_.high).max() * 2.0**shift >= 2.0**WIDEST:
            raise _over(node)
        low.append(range_.low << shift)
        high.append(range_.high << shift)
    return low, high


def _whole(fixed: Fixed, shape: tuple[int, ...]) -> Range:
    return _plain(np.full(shape, fixed.low, np.int64), np.full(shape, fixed.high, np.int64))


def _plain(low: Integers, high: Integers) -> Range:
    return Range(low, high, int(max(np.abs(low).max(initial=0), np.abs(high).max(initial=0))))


def require_proven(graph: Graph) -> Graph:
    """Return the graph if every exact edge's format holds its derived range; raise ModelError where one does not."""
    for name, found in derive(graph).items():
        node = graph.by_name[name]
        if node.kind not in (Kind.INPUT, Kind.REQUANTISE) and not node.fixed.holds(found.lowest, found.highest):
            raise ModelError(
                f"layer '{node.layer}': {node.kind.value} '{name}' reaches {found.lowest}..{found.highest} steps, "
                f"which {node.fixed} does not hold; lower the model again"
            )
    return graph


def format_of(range_: Range, fraction: int) -> Fixed:
    """Return the narrowest format that holds a range."""
    return narrowest(range_.lowest, range_.highest, fraction)


def reason(graph: Graph, node: Node, ranges: dict[str, Range]) -> str:
    """Say in one line why an edge is as wide as it is."""
    range_ = ranges[node.name]
    span = f"{range_.lowest}..{range_.highest} steps of 2^{-node.fixed.fraction}"
    if node.kind is Kind.INPUT:
        return f"given: what the standardisation hands over, {span}"
    if node.kind is Kind.REQUANTISE:
        dropped = graph.operands(node)[0].fixed.fraction - node.fixed.fraction
        drop = f"{dropped} bits rounded away" if dropped > 0 else "no bit rounded away"
        return f"chosen by the model's quantiser: {drop}; reaches {span}"
    if node.kind is Kind.DENSE and node.constant is not None:
        fan_in = node.constant.integers.shape[0]
        return f"exact sum of {fan_in} products with {node.constant.bits}-bit weights: {span}"
    if node.kind is Kind.SUM:
        count = graph.operands(node)[0].shape[node.axis or 0]
        return f"exact sum of {count} elements: {span}"
    if node.kind is Kind.SCALE and node.constant is not None:
        return f"exact product with a {node.constant.bits}-bit constant: {span}"
    return f"exact {node.kind.value}: {span}"
