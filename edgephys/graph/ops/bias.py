"""BIAS: x + b, binary points aligned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import WIDEST, Integers
from edgephys.graph.interval import Range, aligned, exact, magnitude, too_wide
from edgephys.graph.ops.constant import Broadcast, low_zeros
from edgephys.graph.ops.op import Arithmetic, Nodes, aligned_to, shifted

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Bias(Broadcast):
    """Add a constant that broadcasts to the operand."""

    word = "bias"
    aligns = True

    def fraction(self, node: Node, operands: Nodes) -> int:
        return max(operands[0].fixed.fraction, self.constant.fraction)

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        ((low, high),) = aligned(node, operands, ranges)
        integers, shift = self.constant.integers, node.fixed.fraction - self.constant.fraction
        if shift > WIDEST:
            return too_wide(low, high)
        if (magnitude(low, high) + np.abs(integers.astype(float)) * 2.0**shift).max() >= 2.0**WIDEST:
            return too_wide(low, high)
        return exact(low + (integers << shift), high + (integers << shift))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        (x,) = aligned_to(node, operands, xs)
        constant = arithmetic.constant(self.constant.integers, x)
        return x + shifted(constant, node.fixed.fraction - self.constant.fraction)

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        own = low_zeros(self.constant.integers) + (node.fixed.fraction - self.constant.fraction)
        return np.minimum(sources[0], own)

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        """Return the constant's, where it is odd everywhere and finer than the operand."""
        finer = self.constant.fraction > operands[0].fixed.fraction
        return self.constant.fraction if finer and bool(np.all(self.constant.integers % 2)) else None
