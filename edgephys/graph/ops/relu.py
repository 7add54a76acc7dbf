"""RELU: max(x, 0)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.interval import Range, exact
from edgephys.graph.ops.op import Arithmetic, Elementwise, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Relu(Elementwise):
    """Replace negative integers by 0."""

    word = "relu"
    adds_zeros = True

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        return exact(np.maximum(ranges[0].low, 0), np.maximum(ranges[0].high, 0))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return np.maximum(xs[0], 0)

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        return sources[0]

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        return odd.get(node.inputs[0])

    def is_identity(self, node: Node, source: Node, range_: Range) -> bool:
        return range_.lowest >= 0
