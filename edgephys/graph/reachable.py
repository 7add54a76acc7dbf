"""Which bits, ties, overflows and entries of tables proven ranges allow, and which integers have them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import WIDEST, Fixed, Integers
from edgephys.graph.graph import Node
from edgephys.graph.interval import Range
from edgephys.graph.ops import Lookup

CASES = 4
"""Cases of a bit: 1 or 0, in integers of 0 and over and in negative ones."""
Flags = NDArray[Any]
"""An array of truth values."""


def reachable_bits(low: Integers, high: Integers, zeros: Integers, fixed: Fixed) -> Integers:
    """Return the cases of each bit that integers in [low, high] can have, as masks: (4, *shape).

    The low ``zeros`` bits are always 0, and count in no case.
    """
    zeros = np.minimum(zeros, WIDEST)
    low, high = -(-low >> zeros) << zeros, high >> zeros << zeros  # the first and the last multiple in the range
    cases = np.zeros((CASES, *low.shape), np.int64)
    for half, (first, last) in enumerate(((np.maximum(low, 0), high), (low, np.minimum(high, -(1 << zeros))))):
        for bit in range(fixed.bits - fixed.signed):
            counts = (first <= last) & (bit >= zeros)
            both, odd = first >> bit != last >> bit, (first >> bit) & 1 == 1
            cases[2 * half] |= np.where(counts & (both | odd), 1 << bit, 0)
            cases[2 * half + 1] |= np.where(counts & (both | ~odd), 1 << bit, 0)
    return cases


def bits_in_case(case: int, x: Integers) -> Integers:
    """Return the bits of integers that are in a case: 1 or 0 in those of 0 and over, 1 or 0 in negative ones."""
    bits = x if case % 2 == 0 else ~x
    sign = ~(x >> 63) if case < 2 else x >> 63  # all ones where the integer is of this half
    return bits & sign


def reached_bits(case: int, x: Integers) -> Integers:
    """Return the bits that are in a case in any vector, as ``bits_in_case`` has them: (vector, *shape) -> shape."""
    if case >= 2:
        bits: Integers = np.bitwise_or.reduce(bits_in_case(case, x), axis=0)
        return bits
    if x.min() < 0:  # the others as if they were all zeros, or all ones
        x = np.maximum(x, 0) if case == 0 else x | x >> 63
    bits = np.bitwise_or.reduce(x, axis=0) if case == 0 else ~np.bitwise_and.reduce(x, axis=0)
    return bits


def possible_events(node: Node, source: Node, range_: Range, zeros: Integers) -> dict[str, Flags]:
    """Return where a rounding of the source's range can be a tie, or an overflow below or above, by the event."""
    fixed, drop = node.fixed, source.fixed.fraction - node.fixed.fraction
    low, high = fixed.in_steps(range_.low, source.fixed.fraction), fixed.in_steps(range_.high, source.fixed.fraction)
    events = {"below": low < fixed.low, "above": high > fixed.high}
    if drop > 0 and fixed.rounding.nearest:
        half = 1 << (drop - 1)
        # the first number with that remainder from the range's lowest on
        first = range_.low + (half - range_.low) % (1 << drop)
        events["tie"] = (zeros < drop) & (first <= range_.high)
    return {name: np.broadcast_to(flags, range_.low.shape) for name, flags in events.items()}


def has_event(event: str, node: Node, source: Node, x: Integers) -> Flags:
    """Tell for each integer of the operand of a rounding whether an event occurs."""
    fixed, drop = node.fixed, source.fixed.fraction - node.fixed.fraction
    if event == "tie":
        occurs: Flags = (x & ((1 << drop) - 1)) == 1 << (drop - 1)
    elif event == "below":
        occurs = x < _least(fixed, source.fixed, fixed.low)
    else:
        occurs = x >= _least(fixed, source.fixed, fixed.high + 1)
    return occurs


@cache
def _least(fixed: Fixed, source: Fixed, steps: int) -> int:
    """Return the least integer of the format ``source`` that ``fixed`` rounds to ``steps`` or more.

    One more than the highest integer where there is none: a rounding never decreases.
    """
    low, high = source.low, source.high + 1
    while low < high:
        middle = (low + high) // 2
        if int(fixed.in_steps(middle, source.fraction)) >= steps:
            high = middle
        else:
            low = middle + 1
    return low


def possible_entries(op: Lookup, operand: Node, range_: Range, zeros: Integers) -> Flags:
    """Return the entries that integers of the operand's range read, the low ``zeros`` bits of which are always 0."""
    entries = np.zeros(op.tables.shape, bool)
    elements = np.stack([range_.low, range_.high, zeros], -1).reshape(-1, len(op.tables), 3)
    for channel, row in enumerate(entries):
        for low, high, zero_bits in np.unique(elements[:, channel], axis=0).tolist():
            step = 1 << min(zero_bits, WIDEST)
            multiples = np.arange(-(-low // step), high // step + 1) * step
            row[(multiples << op.shift(operand)) - op.first] = True
    return entries
