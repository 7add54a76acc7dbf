"""SCALE: x * c."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import WIDEST, Integers
from edgephys.graph.interval import Range, exact, magnitude, too_wide
from edgephys.graph.ops.constant import Broadcast, low_zeros
from edgephys.graph.ops.op import Arithmetic, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Scale(Broadcast):
    """Multiply by a constant that broadcasts to the operand."""

    word = "scale"

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        low, high, integers = ranges[0].low, ranges[0].high, self.constant.integers
        if (magnitude(low, high) * np.abs(integers.astype(float))).max() >= 2.0**WIDEST:
            return too_wide(low, high)
        ends = np.stack([low * integers, high * integers])
        return exact(ends.min(0), ends.max(0))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return xs[0] * arithmetic.constant(self.constant.integers, xs[0])

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        bits: Integers = sources[0] + low_zeros(self.constant.integers)
        return bits

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        return f"exact product with a {self.constant.bits}-bit constant: {span}"
