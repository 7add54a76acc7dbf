"""INPUT: the caller's integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgephys.graph.interval import Range, whole
from edgephys.graph.ops.op import Arithmetic, Nodes, Op

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Input(Op):
    """Take the caller's integers; shape and format are the node's own."""

    word = "input"
    operand_count = 0
    states_format = True

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        return node.shape

    def fraction(self, node: Node, operands: Nodes) -> int:
        return node.fixed.fraction

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        return whole(node.fixed, node.shape)

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return xs[0]

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return True

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        return f"given: what the standardisation hands over, {span}"
