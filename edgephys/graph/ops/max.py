"""MAX: the larger of x and y, binary points aligned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.interval import Range, aligned, exact
from edgephys.graph.ops.op import Arithmetic, Elementwise, Nodes, aligned_to

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Max(Elementwise):
    """Take the larger of two operands of one shape, element by element.

    x + max(y - x, 0) is the same, but its range and so its format is as wide as a sum's, and its logic has two adders.
    """

    word = "max"
    operand_count = 2
    aligns = True
    adds_zeros = True

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        (low, high), (other_low, other_high) = aligned(node, operands, ranges)
        return exact(np.maximum(low, other_low), np.maximum(high, other_high))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return arithmetic.larger(*aligned_to(node, operands, xs))

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        return np.minimum(*sources)

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        one, other = (odd.get(name) for name in node.inputs)
        return one if one == other else None

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        one, other = (operand.fixed.bits for operand in operands)
        return f"the larger of values of {one} and {other} bits: {span}"
