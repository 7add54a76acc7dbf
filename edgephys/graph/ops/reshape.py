"""RESHAPE: the same integers in another shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from edgephys.graph.interval import Range
from edgephys.graph.ops.op import Move, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Reshape(Move):
    """Give the elements the node's shape."""

    word = "reshape"

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        if prod(node.shape) != prod(operands[0].shape):
            raise node.wrong(f"shape must hold {prod(operands[0].shape)} elements, not {node.shape}")
        return node.shape

    def moved(self, x: Any, shape: tuple[int, ...], batch: int = 0, outside: int = 0) -> Any:
        return x.reshape((*x.shape[:batch], *shape))

    def same_for_rows(self, node: Node, axes: int) -> bool:
        """Tell that rows stay apart where operand and result have the same leading axes."""
        return True

    def is_identity(self, node: Node, source: Node, range_: Range) -> bool:
        return node.shape == source.shape
