"""LOOKUP: any function of one narrow integer, as a table of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.interval import Range, exact
from edgephys.graph.ops.constant import Constant, WithConstant, low_zeros
from edgephys.graph.ops.op import Arithmetic, Elementwise, Nodes, integers_of, shifted

if TYPE_CHECKING:
    from edgephys.graph.graph import Node

MOST_ENTRIES = 4096
"""Most entries of a table for one channel: a function of up to 12 bits."""


@dataclass(frozen=True, eq=False)
class Lookup(WithConstant, Elementwise):
    """Replace an integer by the entry of a table.

    Shape: constant (entries,), or (channels, entries) with a table for each channel of the last axis. The first entry
    is the result for the integer ``first`` at ``2**-operand_fraction``, the next for ``first + 1``, and so on. An
    operand in coarser steps reads every second entry, every fourth, and so on.
    """

    word = "lookup"
    adds_zeros = True
    first: int
    operand_fraction: int

    @property
    def entries(self) -> int:
        """Entries for one channel."""
        return int(self.constant.integers.shape[-1])

    @property
    def last(self) -> int:
        """The integer of the last entry."""
        return self.first + self.entries - 1

    @property
    def tables(self) -> Integers:
        """The entries.  Shape: (channels, entries), with one channel where all channels have one table."""
        return self.constant.integers.reshape(-1, self.entries)

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shape, own = operands[0].shape, self.constant.integers.shape
        if len(own) not in (1, 2) or (len(own) == 2 and own[0] != (shape[-1] if shape else 0)):
            channels = f" or ({shape[-1]}, entries)" if shape else ""
            raise node.wrong(f"results must be (entries,){channels}, not {own}")
        if not 1 <= self.entries <= MOST_ENTRIES:
            raise node.wrong(
                f"a table must have 1..{MOST_ENTRIES} entries, not {self.entries}; round its operand to fewer bits"
            )
        if self.shift(operands[0]) < 0:
            raise node.wrong(
                f"the table is for steps of 2^-{self.operand_fraction}, not the operand's finer "
                f"2^-{operands[0].fixed.fraction}; round the operand first"
            )
        return shape

    def fraction(self, node: Node, operands: Nodes) -> int:
        return self.constant.fraction

    def shift(self, operand: Node) -> int:
        """Return how many bits the operand's steps are coarser than those of the table."""
        return self.operand_fraction - operand.fixed.fraction

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        """Return the lowest and highest of the entries that an element can read.

        In a block of a graph the operand has the range of its format, which may be wider than the table.
        """
        low, high = self.places(operands[0], ranges[0])
        rows = np.stack([np.broadcast_to(self.channels(node.shape), node.shape), low, high], -1)
        different, which = np.unique(rows.reshape(-1, 3), axis=0, return_inverse=True)
        step = 1 << self.shift(operands[0])
        read = [self.tables[channel, low : high + 1 : step] for channel, low, high in different]
        ends = np.array([(part.min(), part.max()) for part in read], np.int64)[which.reshape(-1)]
        return exact(ends[:, 0].reshape(node.shape), ends[:, 1].reshape(node.shape))

    def places(self, operand: Node, range_: Range) -> tuple[Integers, Integers]:
        """Return the first and the last entry in a table that each element of an operand reads."""
        shift = self.shift(operand)
        first, last = -(-self.first >> shift), self.last >> shift  # in steps of the operand
        low, high = (np.clip(ends, first, last) for ends in (range_.low, range_.high))
        return (low << shift) - self.first, (high << shift) - self.first

    def require_inside(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> None:
        (operand,), shift = ranges, self.shift(operands[0])
        low, high = operand.lowest << shift, operand.highest << shift
        if low < self.first or high > self.last:
            raise node.wrong(
                f"its operand reaches {low}..{high}, which must lie in the table's {self.first}..{self.last}; "
                f"add entries, or round the operand to fewer bits"
            )

    def channels(self, shape: tuple[int, ...]) -> Integers:
        """Return the row of ``tables`` that each element of a shape reads, with axes that broadcast to the shape."""
        return np.arange(len(self.tables)) if len(self.tables) > 1 else np.zeros((1,) * bool(shape), np.int64)

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        x = shifted(xs[0], self.shift(operands[0]))
        return arithmetic.looked_up(x, self.tables, self.channels(node.shape), self.first)

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return len(self.tables) == 1 or axes < len(node.shape)

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        fewest = low_zeros(self.tables).min(-1)
        return np.broadcast_to(fewest[self.channels(node.shape)], node.shape)

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        each = " for each channel" if len(self.tables) > 1 else ""
        return f"looked up in a table of {self.entries} entries{each}: {span}"

    def to_record(self) -> dict[str, Any]:
        return {**super().to_record(), "first": self.first, "operand_fraction": self.operand_fraction}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        constant = record["constant"]
        results = Constant(integers_of(constant["integers"]), constant["fraction"])
        return cls(results, index(record["first"]), index(record["operand_fraction"]))
