"""DENSE: x @ w over the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import WIDEST, Integers
from edgephys.graph.interval import Range, magnitude, too_wide
from edgephys.graph.ops.constant import WithConstant, low_zeros
from edgephys.graph.ops.op import Arithmetic, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node

DOUBLE = 53
"""Bits of the integers that float64 holds."""
PIECE = 1 << 20
"""Products whose low zero bits are computed at a time."""


@dataclass(frozen=True, eq=False)
class Dense(WithConstant):
    """Multiply the last axis by a matrix.  Shape: constant (in, out), x (..., in) -> (..., out)."""

    word = "dense"

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shape, weight = operands[0].shape, self.constant.integers.shape
        if len(weight) != 2 or not shape or weight[0] != shape[-1]:
            raise node.wrong(f"weight must be ({shape[-1] if shape else 1}, outputs), not {weight}")
        return (*shape[:-1], weight[1])

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        """Return the range of the exact sum, and of its partial sums in any order."""
        low, high, weight = ranges[0].low, ranges[0].high, self.constant.integers
        partial = magnitude(low, high) @ np.abs(weight.astype(float))
        if partial.max() >= 2.0**WIDEST:
            return too_wide(low, high)
        if partial.max() < 2.0**DOUBLE:  # then float64 is exact, and its matrix product much faster
            low, high, weight = low.astype(float), high.astype(float), weight.astype(float)
        up, down = np.maximum(weight, 0), np.minimum(weight, 0)
        ends = low @ up + high @ down, high @ up + low @ down
        return Range(ends[0].astype(np.int64), ends[1].astype(np.int64), int(partial.max()))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return arithmetic.product(xs[0], self.constant.integers)

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return True

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        """Return the fewest of all products of each sum, of equal rows once, in pieces of bounded memory."""
        rows = sources[0].reshape(-1, sources[0].shape[-1]).astype(np.int8)
        apart, place = np.unique(rows, axis=0, return_inverse=True)
        own, size = low_zeros(self.constant.integers), max(1, PIECE // self.constant.integers.size)
        parts = [(apart[at : at + size, :, None] + own).min(1) for at in range(0, len(apart), size)]
        return np.concatenate(parts)[place.reshape(-1)].reshape(node.shape)

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        return f"exact sum of {self.constant.integers.shape[0]} products with {self.constant.bits}-bit weights: {span}"
