"""CONCAT: the operands joined along one axis, binary points aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.interval import Range, aligned, exact
from edgephys.graph.ops.op import AlongAxis, Arithmetic, Nodes, aligned_to

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Concat(AlongAxis):
    """Join operands along an axis."""

    word = "concat"
    operand_count = None
    aligns = True

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shapes = [operand.shape for operand in operands]
        self.check_axis(node, shapes[0])
        before, after = shapes[0][: self.axis], shapes[0][self.axis + 1 :]
        rank = len(shapes[0])
        if any((len(s), s[: self.axis], s[self.axis + 1 :]) != (rank, before, after) for s in shapes):
            raise node.wrong(f"inputs must agree off axis {self.axis}, not {shapes}")
        return (*before, sum(shape[self.axis] for shape in shapes), *after)

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        low, high = zip(*aligned(node, operands, ranges), strict=True)
        return exact(np.concatenate(low, self.axis), np.concatenate(high, self.axis))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return np.concatenate(aligned_to(node, operands, xs), self.axis + arithmetic.BATCH)

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        return np.concatenate(sources, self.axis)
