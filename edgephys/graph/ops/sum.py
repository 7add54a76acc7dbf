"""SUM: the sum over one axis, which disappears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import WIDEST, Integers
from edgephys.graph.interval import Range, magnitude, too_wide
from edgephys.graph.ops.op import AlongAxis, Arithmetic, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Sum(AlongAxis):
    """Sum over an axis."""

    word = "sum"

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shape = operands[0].shape
        self.check_axis(node, shape)
        return shape[: self.axis] + shape[self.axis + 1 :]

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        """Return the sum of the ranges, and the bound of the partial sums."""
        low, high = ranges[0].low, ranges[0].high
        largest = magnitude(low, high).sum(self.axis)
        if largest.max() >= 2.0**WIDEST:
            return too_wide(low, high)
        return Range(low.sum(self.axis), high.sum(self.axis), int(largest.max()))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return np.sum(xs[0][..., None], axis=self.axis + arithmetic.BATCH)[..., 0]  # an array, also of one symbol

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        bits: Integers = sources[0].min(self.axis)
        return bits

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        return f"exact sum of {operands[0].shape[self.axis]} elements: {span}"
