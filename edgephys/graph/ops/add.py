"""ADD: x + y, binary points aligned."""

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
class Add(Elementwise):
    """Add two operands of one shape."""

    word = "add"
    operand_count = 2
    aligns = True

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        (low, high), (other_low, other_high) = aligned(node, operands, ranges)
        return exact(low + other_low, high + other_high)

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        one, other = aligned_to(node, operands, xs)
        return one + other

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        return np.minimum(*sources)

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        """Return that of one operand, where it is finer than the other operand and never zero."""
        for one, other in (operands, operands[::-1]):
            if odd.get(one.name, other.fixed.fraction) > other.fixed.fraction and never_zero(one):
                return odd[one.name]
        return None
