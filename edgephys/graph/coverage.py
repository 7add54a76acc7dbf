"""Which bits, ties, overflows and entries of tables of a Graph a set of vectors reaches.

A bit of an element counts as up to four cases: 0 and 1, in negative numbers and in the others. (In two's complement the
high bits of a small number repeat its sign, and nothing is lost without them.) A case that is excluded by the proven
range of the element, or by its low bits that are always 0, is not counted. A tie is a rounding exactly between two
steps, an overflow a value that does not fit the format that it is rounded to; both are counted for every element of a
requantised edge. An entry of a table counts where the proven range of an element of its channel includes its integer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import WIDEST, Fixed, Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Input, Lookup, Requantise
from edgephys.graph.ranges import Range, derive
from edgephys.graph.round_first import low_zero_bits

CASES = 4
ELEMENTS = 1 << 19
"""Elements of all edges that are computed at a time: bounds the memory."""
Flags = NDArray[Any]
"""An array of truth values."""


@dataclass(frozen=True)
class Share:
    """State how many of what can be reached were reached."""

    reached: int
    possible: int

    def to_record(self) -> dict[str, int]:
        """Return the record of the JSON contract."""
        return {"reached": self.reached, "possible": self.possible}


@dataclass(eq=False)
class Reached:
    """Hold what was reached of one edge.

    Shape: bits, a mask for each case, (4, *shape); events, a flag for each element; entries (channels, entries), those
    of a table that were read, and (0,) for other operations.
    """

    node: Node
    bits: Integers
    events: dict[str, Flags]
    entries: Flags


@dataclass(eq=False)
class Coverage:
    """Count what vectors reach in a graph; ``add`` takes more of them."""

    graph: Graph
    vectors: int = 0
    reached: dict[str, Reached] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.graph.nodes:
            events = {name: np.zeros(node.shape, bool) for name in self.possible[node.name].events}
            entries = np.zeros_like(self.possible[node.name].entries)
            self.reached[node.name] = Reached(node, np.zeros((CASES, *node.shape), np.int64), events, entries)

    @cached_property
    def possible(self) -> dict[str, Reached]:
        """What the proven ranges allow, by edge."""
        ranges, grids = derive(self.graph), low_zero_bits(self.graph, {})
        allowed = {}
        for node in self.graph.nodes:
            low, high, zeros = ranges[node.name].low, ranges[node.name].high, grids[node.name]
            events: dict[str, Flags] = {}
            if isinstance(node.op, Requantise):
                (source,) = self.graph.operands(node)
                events = _possible_events(node, source, ranges[source.name], grids[source.name])
            entries = np.zeros(0, bool)
            if isinstance(node.op, Lookup):
                (operand,) = self.graph.operands(node)
                entries = _possible_entries(node.op, operand, ranges[operand.name], grids[operand.name])
            allowed[node.name] = Reached(node, reachable_bits(low, high, zeros, node.fixed), events, entries)
        return allowed

    def add(self, x: Integers) -> Flags:
        """Count vectors, and return for each whether its group of vectors reached something new.

        Shape: x (vector, *input shape) -> (vector,).
        """
        new = np.zeros(len(x), bool)
        for chunk in chunks(self.graph, len(x)):
            new[chunk] = self._add(x[chunk])
        self.vectors += len(x)
        return new

    def _add(self, x: Integers) -> Flags:
        edges = evaluate.trace(self.graph, {self.graph.input.name: x})
        new = np.zeros(len(x), bool)
        for name, reached in self.reached.items():
            edge, possible = edges[name], self.possible[name]
            for case, before in enumerate(reached.bits):
                missing = possible.bits[case] & ~before
                if missing.any():
                    fresh = missing & _reached_bits(case, edge)
                    if fresh.any():
                        before |= fresh
                        new |= _vectors(_case(case, edge) & fresh)
            for event, before in reached.events.items():
                (source,) = self.graph.operands(reached.node)
                missing = possible.events[event] & ~before
                if missing.any():
                    occurs = _event(event, reached.node, source, edges[source.name]) & missing
                    before |= occurs.any(axis=0)
                    new |= _vectors(occurs)
            unread = possible.entries & ~reached.entries
            if isinstance(reached.node.op, Lookup) and unread.any():
                (operand,) = self.graph.operands(reached.node)
                x = edges[operand.name] << reached.node.op.shift(operand)
                new |= _read(reached.node.op, reached.entries, unread, x)
        return new

    def bits(self, *kinds: str) -> Share:
        """Return the cases of bits that were reached of edges of some kinds, or of all."""
        reached = possible = 0
        for name, allowed in self.possible.items():
            if kinds and _kind(self.graph, allowed.node) not in kinds:
                continue
            reached += _count(self.reached[name].bits)
            possible += _count(allowed.bits)
        return Share(reached, possible)

    def events(self, event: str) -> Share:
        """Return how many elements had a tie, or an overflow ``below`` or ``above``."""
        pairs = [
            (self.reached[name].events[event], allowed.events[event])
            for name, allowed in self.possible.items()
            if event in allowed.events
        ]
        return Share(sum(int(a.sum()) for a, _ in pairs), sum(int(b.sum()) for _, b in pairs))

    def entries(self) -> Share:
        """Return how many entries of tables were read."""
        reached, possible = self.reached.values(), self.possible.values()
        return Share(sum(int(of.entries.sum()) for of in reached), sum(int(of.entries.sum()) for of in possible))

    def shares(self) -> dict[str, Share]:
        """Return every share, by what it counts."""
        return {
            "input bits": self.bits(INPUT),
            "accumulator bits": self.bits(ACCUMULATOR),
            "other bits": self.bits(OTHER),
            "output bits": self.bits(OUTPUT),
            "rounding ties": self.events("tie"),
            "overflows below": self.events("below"),
            "overflows above": self.events("above"),
            "table entries": self.entries(),
        }

    def least(self, most: int = 5) -> list[dict[str, Any]]:
        """Return the edges with the most unreached bits."""
        rows: list[dict[str, Any]] = []
        for name, allowed in self.possible.items():
            unreached = _count(allowed.bits & ~self.reached[name].bits)
            if unreached:
                rows.append({"layer": allowed.node.layer, "edge": name, "unreached": unreached})
        return sorted(rows, key=lambda row: -row["unreached"])[:most]

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        shares = {name.replace(" ", "_"): share.to_record() for name, share in self.shares().items()}
        return {"vectors": self.vectors, **shares, "least_covered": self.least()}


INPUT, ACCUMULATOR, OTHER, OUTPUT = "input", "accumulator", "other", "output"
"""Kinds of edges; an accumulator is an edge that an operation derives, not a format that the model chose."""


def _kind(graph: Graph, node: Node) -> str:
    if isinstance(node.op, Input):
        return INPUT
    if node.name in graph.outputs:
        return OUTPUT
    return OTHER if node.op.states_format else ACCUMULATOR


def chunks(graph: Graph, count: int) -> Iterator[slice]:
    """Yield slices of vectors that are traced at a time."""
    size = max(1, ELEMENTS // sum(prod(node.shape) for node in graph.nodes))
    for start in range(0, count, size):
        yield slice(start, start + size)


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


def _case(case: int, x: Integers) -> Integers:
    """Return the bits of integers that are in a case: 1 or 0 in those of 0 and over, 1 or 0 in negative ones."""
    bits = x if case % 2 == 0 else ~x
    sign = ~(x >> 63) if case < 2 else x >> 63  # all ones where the integer is of this half
    return bits & sign


def _reached_bits(case: int, x: Integers) -> Integers:
    """Return the bits that are in a case in any vector, as ``_case`` has them: (vector, *shape) -> shape."""
    if case >= 2:
        bits: Integers = np.bitwise_or.reduce(_case(case, x), axis=0)
        return bits
    if x.min() < 0:  # the others as if they were all zeros, or all ones
        x = np.maximum(x, 0) if case == 0 else x | x >> 63
    bits = np.bitwise_or.reduce(x, axis=0) if case == 0 else ~np.bitwise_and.reduce(x, axis=0)
    return bits


def _vectors(reached: Any) -> Flags:
    """Tell which vectors have anything reached in any element: (vector, *shape) -> (vector,)."""
    flags: Flags = (reached != 0).reshape(len(reached), -1).any(axis=1)
    return flags


def _count(bits: Integers) -> int:
    return int(np.bitwise_count(bits).sum())


def _possible_events(node: Node, source: Node, range_: Any, zeros: Integers) -> dict[str, Flags]:
    fixed, drop = node.fixed, source.fixed.fraction - node.fixed.fraction
    low, high = fixed.in_steps(range_.low, source.fixed.fraction), fixed.in_steps(range_.high, source.fixed.fraction)
    events = {"below": low < fixed.low, "above": high > fixed.high}
    if drop > 0 and fixed.rounding.nearest:
        half = 1 << (drop - 1)
        # the first number with that remainder from the range's lowest on
        first = range_.low + (half - range_.low) % (1 << drop)
        events["tie"] = (zeros < drop) & (first <= range_.high)
    return {name: np.broadcast_to(flags, node.shape) for name, flags in events.items()}


def _event(event: str, node: Node, source: Node, x: Integers) -> Flags:
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


def _possible_entries(op: Lookup, operand: Node, range_: Range, zeros: Integers) -> Flags:
    """Return the entries that integers of the operand's range read, the low ``zeros`` bits of which are always 0."""
    entries = np.zeros(op.tables.shape, bool)
    elements = np.stack([range_.low, range_.high, zeros], -1).reshape(-1, len(op.tables), 3)
    for channel, row in enumerate(entries):
        for low, high, zero_bits in np.unique(elements[:, channel], axis=0).tolist():
            step = 1 << min(zero_bits, WIDEST)
            multiples = np.arange(-(-low // step), high // step + 1) * step
            row[(multiples << op.shift(operand)) - op.first] = True
    return entries


def _read(op: Lookup, before: Flags, unread: Flags, x: Integers) -> Flags:
    """Mark the entries that integers read, and tell which vectors read one that was not read before."""
    channels, places = np.broadcast_arrays(op.channels(x.shape[1:]), x - op.first)
    fresh = unread[channels, places]
    before[channels[fresh], places[fresh]] = True
    flags: Flags = fresh.reshape(len(x), -1).any(axis=1)
    return flags


def coverage_of(graph: Graph, x: Integers) -> Coverage:
    """Return what vectors reach in a graph."""
    coverage = Coverage(graph)
    coverage.add(x)
    return coverage
