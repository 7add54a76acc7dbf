"""Ranges of edges: the lowest and highest integer of every element.

Source: R. E. Moore, Interval Analysis (1966), natural interval extension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, Integers

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Range:
    """Hold the lowest and highest integer of every element of an edge, in the edge's steps.

    ``partial`` bounds the magnitude of every partial sum, in any order of summation.
    """

    low: Integers
    high: Integers
    partial: int

    @property
    def lowest(self) -> int:
        """Lowest integer over all elements."""
        return int(distinct(self.low).min())

    @property
    def highest(self) -> int:
        """Highest integer over all elements."""
        return int(distinct(self.high).max())

    @property
    def largest(self) -> int:
        """Largest magnitude over all elements."""
        return max(-self.lowest, self.highest)


def distinct(integers: Integers) -> Integers:
    """Return integers with one of each axis along which an array repeats them without storage."""
    return integers[tuple(slice(None, 1 if stride == 0 else None) for stride in integers.strides)]


def exact(low: Integers, high: Integers) -> Range:
    """Return the range of an edge that is computed without a sum."""
    return Range(low, high, int(max(np.abs(low).max(initial=0), np.abs(high).max(initial=0))))


def whole(fixed: Fixed, shape: tuple[int, ...]) -> Range:
    """Return the range of an edge that takes every integer of a format."""
    low, high = np.array(fixed.low, np.int64), np.array(fixed.high, np.int64)
    return Range(np.broadcast_to(low, shape), np.broadcast_to(high, shape), max(abs(fixed.low), abs(fixed.high)))


def too_wide(low: Integers, high: Integers) -> Range:
    """Return a range that ``derive`` refuses, for an edge whose integers may leave 64 bits."""
    return Range(low, high, 1 << WIDEST)


def magnitude(low: Integers, high: Integers) -> NDArray[np.float64]:
    """Return the largest magnitude of each element as a float, which cannot overflow."""
    largest: NDArray[np.float64] = np.maximum(np.abs(low.astype(float)), np.abs(high.astype(float)))
    return largest


def aligned(node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> list[tuple[Integers, Integers]]:
    """Return the (low, high) of each operand in steps of the node.

    Raises: ModelError where they may leave 62 bits.
    """
    ends = []
    for range_, operand in zip(ranges, operands, strict=True):
        shift = node.fixed.fraction - operand.fixed.fraction
        if shift > WIDEST or magnitude(range_.low, range_.high).max() * 2.0**shift >= 2.0**WIDEST:
            raise too_many_bits(node)
        ends.append((range_.low << shift, range_.high << shift))
    return ends


def too_many_bits(node: Node) -> ModelError:
    """Return the error for an edge that may leave 62 bits."""
    return ModelError(
        f"layer '{node.layer}': {node.op.word} '{node.name}' may need over {WIDEST} bits; "
        f"use fewer bits in its weights or inputs"
    )
