"""REQUANTISE: x in the node's format, by its rounding and overflow modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import WIDEST
from edgephys.graph.interval import Range, exact, too_wide
from edgephys.graph.ops.op import Arithmetic, Elementwise, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Requantise(Elementwise):
    """Round and overflow into the node's format."""

    word = "requantise"
    states_format = True

    def fraction(self, node: Node, operands: Nodes) -> int:
        return node.fixed.fraction

    def range(self, node: Node, operands: Nodes, ranges: Sequence[Range]) -> Range:
        """Return the rounded ends: rounding is monotone, so they bound the result unless it wraps or falls to 0."""
        fixed, fraction = node.fixed, operands[0].fixed.fraction
        if ranges[0].largest << max(0, fixed.fraction - fraction) >= 1 << WIDEST:
            return too_wide(ranges[0].low, ranges[0].high)
        low, high = fixed.in_steps(ranges[0].low, fraction), fixed.in_steps(ranges[0].high, fraction)
        if fixed.overflow.saturates:
            return exact(np.clip(low, fixed.low, fixed.high), np.clip(high, fixed.low, fixed.high))
        outside = (low < fixed.low) | (high > fixed.high)
        return exact(np.where(outside, fixed.low, low), np.where(outside, fixed.high, high))

    def evaluate(self, node: Node, operands: Nodes, xs: Sequence[Any], arithmetic: Arithmetic) -> Any:
        return arithmetic.requantised(xs[0], operands[0].fixed.fraction, node.fixed)

    def is_identity(self, node: Node, source: Node, range_: Range) -> bool:
        """Tell whether the operand has the same format already; SAT_SYM holds one integer less."""
        if not source.op.states_format:
            return False
        old, new = source.fixed, node.fixed
        alike = (old.signed, old.bits, old.integer) == (new.signed, new.bits, new.integer)
        return alike and new.holds(range_.lowest, range_.highest)

    def largest_integer(self, node: Node, operands: Nodes, ranges: Mapping[str, Range]) -> int:
        """Bound the shifted operand, the half that a rounding adds, and the ends of the format."""
        drop = operands[0].fixed.fraction - node.fixed.fraction
        return (ranges[node.inputs[0]].largest << max(0, -drop)) + (1 << max(0, drop)) + (1 << node.fixed.bits)

    def reason(self, node: Node, operands: Nodes, span: str) -> str:
        dropped = operands[0].fixed.fraction - node.fixed.fraction
        drop = f"{dropped} bits rounded away" if dropped > 0 else "no bit rounded away"
        return f"chosen by the model's quantiser: {drop}; reaches {span}"
