"""MUL: x * y, the product of two computed values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import WIDEST, Integers
from edgephys.graph.interval import Range, exact, magnitude, too_wide
from edgephys.graph.ops.op import Arithmetic, Elementwise, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Mul(Elementwise):
    """Multiply two operands of one shape, element by element."""

    word = "mul"
    operand_count = 2
    adds_zeros = True

    def fraction(self, node: Node, operands: Nodes) -> int:
        one, other = operands
        return one.fixed.fraction + other.fixed.fraction

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        """Return the least and the largest product of the ends; a square is never negative."""
        one, other = ranges
        if (magnitude(one.low, one.high) * magnitude(other.low, other.high)).max() >= 2.0**WIDEST:
            return too_wide(one.low, one.high)
        ends = np.stack([x * y for x in (one.low, one.high) for y in (other.low, other.high)])
        low, high = ends.min(0), ends.max(0)
        if node.inputs[0] == node.inputs[1]:
            low = np.where((one.low <= 0) & (one.high >= 0), 0, np.minimum(one.low**2, one.high**2))
        return exact(low, high)

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return xs[0] * xs[1]

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        bits: Integers = sources[0] + sources[1]
        return bits

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        """Return the sum of both: a product of odd numbers is odd, and one of which a factor is zero is zero."""
        one, other = (odd.get(name) for name in node.inputs)
        return None if one is None or other is None else one + other

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        one, other = (operand.fixed.bits for operand in operands)
        return f"exact product of values of {one} and {other} bits: {span}"
