"""What the rule of an operation says to the C target: which part the operation has in the loops that are written.

``rules`` has the rule of each operation; ``plan`` reads the roles, and the functions in them write the lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgephys.targets.c.chain import Value


@dataclass(frozen=True)
class InputRule:
    """The operation is the caller's input, which lies in an array of the caller."""


@dataclass(frozen=True)
class ViewRule:
    """The operation, a ``Move``, only moves elements: a reader finds them in the operand's array by index arithmetic.

    ``convolves``: a product that reads it becomes a convolution over the operand.
    """

    convolves: bool = False


@dataclass(frozen=True)
class JoinRule:
    """The operation puts its operands side by side along its ``axis``.

    ``write(writer, node, op)`` returns the lines that copy them. Products read the operands without a copy.
    ``laned``: it writes a loop over the events of a block, too (``over_lanes``); else a batch runs event after event.
    """

    write: Callable[..., list[str]]
    laned: bool = False


@dataclass(frozen=True)
class SumRule:
    """The operation sums: ``write(loop, op)`` returns its lines and the bytes of the arrays in them.

    The lines call ``loop.finish`` for each sum, which writes the chain of element-wise operations behind it.
    ``reads_rows``: the operation is a product with a matrix, which reads whole rows of its operand.
    ``laned``: as of a JoinRule.
    """

    write: Callable[..., tuple[list[str], int]]
    reads_rows: bool = False
    laned: bool = False


@dataclass(frozen=True)
class ElementRule:
    """The operation makes each element from the elements at the same place in its operands.

    ``write(chain, node, op, operands)`` adds lines to a chain and returns the value that they define.
    """

    write: Callable[..., Value]


Role = InputRule | ViewRule | JoinRule | SumRule | ElementRule
Roles = Mapping[str, Role]
"""The role of each node, by its name."""


def reads_rows(role: Role) -> bool:
    """Say whether a role is that of a product with a matrix."""
    return isinstance(role, SumRule) and role.reads_rows
