"""The contract of an operation: one class states everything that an operation of the Graph means.

A subclass registers itself under its ``word``, so that an operation can be added from any package. What has a default
here is right for every operation that does not say otherwise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.graph.interval import Range, exact

if TYPE_CHECKING:
    from edgephys.graph.graph import Node

Nodes = Sequence["Node"]
ALL_ZERO = 62
"""Number of low zero bits of an integer that is always 0."""


class Arithmetic(Protocol):
    """State what differs between evaluation on numbers and on symbols; ``BATCH`` is the number of leading axes."""

    BATCH: int

    def product(self, x: Any, weight: Integers) -> Any:
        """Multiply the last axis by a matrix (in, out)."""

    def requantised(self, x: Any, fraction: int, fixed: Fixed) -> Any:
        """Return integers at ``2**-fraction`` in a format."""

    def constant(self, integers: Integers, x: Any) -> Any:
        """Return constant integers as ``x`` carries its own."""

    def larger(self, x: Any, y: Any) -> Any:
        """Return the larger of two integers, element by element."""

    def looked_up(self, x: Any, tables: Integers, channels: Integers, first: int) -> Any:
        """Return the entry for each integer in the table of its channel, whose first entry is that of ``first``.

        Shape: tables (channels, entries); channels broadcasts to x.
        """


class Op(ABC):
    """State one operation.  Subclasses are frozen dataclasses whose fields are its parameters.

    ``word`` names it in records and messages.  ``operand_count`` is None for one operand or more.  ``states_format``
    says that the node's format is chosen, not derived.  ``aligns`` says that operands are shifted to the binary point
    of the result first.  ``adds_zeros`` says that the result may be 0 where the operand is not.
    """

    word: ClassVar[str]
    operand_count: ClassVar[int | None] = 1
    states_format: ClassVar[bool] = False
    aligns: ClassVar[bool] = False
    adds_zeros: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Register an operation that has a word of its own."""
        super().__init_subclass__(**keywords)
        if "word" in cls.__dict__:
            other = OPS.get(cls.word)
            if other is not None and (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ModelError(f"operation '{cls.word}': the word must be new, {other.__name__} has it")
            OPS[cls.word] = cls

    # The specification ----------------------------------------------------------------------------

    @abstractmethod
    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        """Return the shape of the result, without the batch.  Raises: ModelError where the operands do not fit."""

    def fraction(self, node: Node, operands: Nodes) -> int:
        """Return the number of fraction bits of the exact result."""
        return max(operand.fixed.fraction for operand in operands)

    @abstractmethod
    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        """Return the range of the result from the ranges of the operands, each in its operand's steps."""

    def require_inside(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> None:
        """Raise ModelError where the proven range of an operand includes integers that have no result."""
        return None

    @abstractmethod
    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        """Return the integers of the result, from numbers with a leading vector axis or from symbols without one."""

    @abstractmethod
    def same_for_rows(self, node: Node, axes: int) -> bool:
        """Tell whether every row of the leading axes is treated alike and apart from the other rows."""

    def one_row(self, node: Node, axes: int) -> Self:
        """Return the operation on one row of the leading axes, where it is the same for all rows."""
        return self

    @property
    def neighbours(self) -> tuple[int, int] | None:
        """(rows, columns) of pixels that the result at a pixel depends on; None: on the pixel itself alone."""
        return None

    # What passes and targets ask ------------------------------------------------------------------

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        """Return how many low bits of each element are always 0.

        ``sources`` are those of the operands, in steps of the node where the operation ``aligns``.
        """
        return np.zeros(node.shape, np.int64)

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        """Return f where every value is proven to be an odd multiple of 2**-f, or zero; None where that is open."""
        return None

    def is_identity(self, node: Node, source: Node, range_: Range) -> bool:
        """Tell whether the result provably equals the operand, whose range is given."""
        return False

    def trimmed(self) -> Self:
        """Return the operation with trailing zero bits of its constants moved into their scale."""
        return self

    @property
    def largest_constant(self) -> int:
        """Largest magnitude of a constant integer; 0 without one."""
        return 0

    @property
    def constant_bits(self) -> int:
        """Width of the widest constant; 0 without one."""
        return 0

    @property
    def parameter_count(self) -> int:
        """Number of constants."""
        return 0

    def largest_integer(self, node: Node, operands: Nodes, ranges: Mapping[str, Range]) -> int:
        """Bound the magnitude of every integer that occurs in the evaluation, apart from factors of two."""
        return max(ranges[node.name].partial, self.largest_constant, *(ranges[name].largest for name in node.inputs))

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        """Say in one line why the result has its width; ``span`` states its range."""
        return f"exact {self.word}: {span}"

    # The record on disk ---------------------------------------------------------------------------

    def to_record(self) -> dict[str, Any]:
        """Return the parameters as plain JSON types."""
        return {}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the operation with the parameters of a record.  Raises: KeyError, TypeError or ValueError."""
        return cls()


OPS: dict[str, type[Op]] = {}
"""Every operation by its word."""


def shifted(x: Any, shift: int) -> Any:
    """Return integers in steps that are ``shift`` bits finer."""
    return x * 2**shift if shift else x


def aligned_to(node: Node, operands: Nodes, xs: Sequence[Any]) -> list[Any]:
    """Return the operands' integers in steps of the node, which are not coarser than theirs."""
    return [shifted(x, node.fixed.fraction - of.fixed.fraction) for x, of in zip(xs, operands, strict=True)]


def integers_of(numbers: Any) -> Integers:
    """Return the 64-bit integers of a record; raise ValueError for fractions and wider numbers."""
    array = np.array(numbers)
    if array.dtype != np.int64 and array.size:
        raise ValueError(f"expected integers of 64 bits, found {array.dtype}")
    return array.astype(np.int64)


def frozen(integers: Any) -> Integers:
    """Return integers in an array that cannot be written to."""
    array = np.array(integers, np.int64)
    array.setflags(write=False)
    return array


# Roles that several operations share ----------------------------------------------------------------


class Elementwise(Op):
    """An operation that makes each element from the elements at the same place in its operands."""

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shapes = [operand.shape for operand in operands]
        if len(set(shapes)) > 1:
            raise node.wrong(f"inputs must have one shape, not {shapes}")
        return shapes[0]

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return True


class Move(Op):
    """An operation that moves elements of its one operand and computes nothing."""

    @abstractmethod
    def moved(self, x: Any, shape: tuple[int, ...], batch: int = 0, outside: int = 0) -> Any:
        """Return an array with its elements moved.

        Shape: x (*batch axes, *operand's shape) -> (*batch axes, *shape); ``outside`` fills what no element reaches.
        """

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        return exact(self.moved(ranges[0].low, node.shape), self.moved(ranges[0].high, node.shape))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return self.moved(xs[0], node.shape, arithmetic.BATCH)

    def zero_bits(self, node: Node, sources: Sequence[Integers]) -> Integers:
        bits: Integers = self.moved(sources[0], node.shape, outside=ALL_ZERO)
        return bits

    def odd_fraction(
        self, node: Node, operands: Nodes, odd: Mapping[str, int], never_zero: Callable[[Node], bool]
    ) -> int | None:
        return odd.get(node.inputs[0])


@dataclass(frozen=True, eq=False)
class AlongAxis(Op):
    """An operation along one axis; 0 is the first axis after the batch."""

    axis: int

    def check_axis(self, node: Node, shape: tuple[int, ...]) -> None:
        """Raise ModelError where the operand has no such axis."""
        if not 0 <= self.axis < len(shape):
            raise node.wrong(f"axis must be 0..{len(shape) - 1}, not {self.axis}")

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return self.axis >= axes

    def one_row(self, node: Node, axes: int) -> Self:
        return replace(self, axis=self.axis - axes)

    def to_record(self) -> dict[str, Any]:
        return {"axis": self.axis}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(index(record["axis"]))
