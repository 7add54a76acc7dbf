"""Constants of the Graph, and what operations with a constant share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.ops.op import ALL_ZERO, Elementwise, Nodes, Op, frozen, integers_of

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Constant:
    """Hold integers with a power-of-two scale: value = integer * 2**-fraction."""

    integers: Integers
    fraction: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "integers", frozen(self.integers))

    @property
    def bits(self) -> int:
        """Width of the widest integer, its sign included where one is negative."""
        low, high = int(self.integers.min(initial=0)), int(self.integers.max(initial=0))
        return max(1, max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (low < 0))

    @property
    def largest(self) -> int:
        """Largest magnitude."""
        return int(np.abs(self.integers).max(initial=0))

    def trimmed(self) -> Constant:
        """Return the same values with trailing zero bits moved into the scale."""
        together = int(np.bitwise_or.reduce(np.abs(self.integers), axis=None))
        zeros = (together & -together).bit_length() - 1 if together else 0
        return Constant(self.integers >> zeros, self.fraction - zeros) if zeros else self


def low_zeros(integers: Integers) -> Integers:
    """Return the number of low zero bits of each integer; ``ALL_ZERO`` for 0."""
    lowest = integers & -integers
    counts: Integers = np.where(integers == 0, ALL_ZERO, np.bitwise_count(np.maximum(lowest, 1) - 1)).astype(np.int64)
    return counts


@dataclass(frozen=True, eq=False)
class WithConstant(Op):
    """An operation with a constant."""

    constant: Constant

    def trimmed(self) -> Self:
        return replace(self, constant=self.constant.trimmed())

    @property
    def largest_constant(self) -> int:
        return self.constant.largest

    @property
    def constant_bits(self) -> int:
        return self.constant.bits

    @property
    def parameter_count(self) -> int:
        return int(self.constant.integers.size)

    def fraction(self, node: Node, operands: Nodes) -> int:
        return operands[0].fixed.fraction + self.constant.fraction

    def to_record(self) -> dict[str, Any]:
        return {"constant": {"integers": self.constant.integers.tolist(), "fraction": self.constant.fraction}}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        constant = record["constant"]
        return cls(Constant(integers_of(constant["integers"]), constant["fraction"]))


@dataclass(frozen=True, eq=False)
class Broadcast(WithConstant, Elementwise):
    """An element-wise operation with a constant that broadcasts to its operand."""

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shape = operands[0].shape
        try:
            together = np.broadcast_shapes(shape, self.constant.integers.shape)
        except ValueError:
            together = ()
        if together != shape:
            raise node.wrong(f"constant must broadcast to {shape}, not {self.constant.integers.shape}")
        return shape

    def same_for_rows(self, node: Node, axes: int) -> bool:
        rows = np.broadcast_to(self.constant.integers, node.shape).reshape(-1, *node.shape[axes:])
        return bool((rows == rows[:1]).all())

    def one_row(self, node: Node, axes: int) -> Self:
        integers = self.constant.integers
        extra = integers.ndim - (len(node.shape) - axes)  # axes of the constant that go
        if extra <= 0:
            return self
        return replace(
            self, constant=Constant(integers.reshape(-1, *integers.shape[extra:])[0], self.constant.fraction)
        )


def constant_of(node: Node) -> Constant:
    """Return the constant of a node; raise ModelError where its operation has none."""
    if not isinstance(node.op, WithConstant):
        raise node.wrong("a constant must be there")
    return node.op.constant
