"""Which bits, ties, overflows and entries of tables of a Graph a set of vectors reaches.

A bit of an element counts as up to four cases: 0 and 1, in negative numbers and in the others. (In two's complement the
high bits of a small number repeat its sign, and nothing is lost without them.) A case that is excluded by the proven
range of the element, or by its low bits that are always 0, is not counted. A tie is a rounding exactly between two
steps, an overflow a value that does not fit the format that it is rounded to; both are counted for every element of a
requantised edge. An entry of a table counts where the proven range of an element of its channel includes its integer.

Edges of more than ``ranges.MOST_ELEMENTS`` are counted for each channel, over all rows (pixels), as their ranges are:
a bit of a channel is reached where it is in any row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Input, Lookup, Requantise
from edgephys.graph.ranges import derive, is_large
from edgephys.graph.reachable import (
    Flags,
    bits_in_case,
    has_event,
    possible_entries,
    possible_events,
    reachable_bits,
    reached_bits,
)
from edgephys.graph.round_first import low_zero_bits

PIECE = 1 << 18
"""Elements of a large edge whose bits are counted at a time."""
ELEMENTS = 1 << 19
"""Elements of all edges that are computed at a time: bounds the memory."""


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
    of a table that were read, and (0,) for other operations. The shape is the edge's, or (channels,) of a large one.
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
            possible = self.possible[node.name]
            events = {name: np.zeros(flags.shape, bool) for name, flags in possible.events.items()}
            self.reached[node.name] = Reached(
                node, np.zeros_like(possible.bits), events, np.zeros_like(possible.entries)
            )

    @cached_property
    def possible(self) -> dict[str, Reached]:
        """What the proven ranges allow, by edge."""
        ranges, grids = derive(self.graph), low_zero_bits(self.graph, {})
        for node in self.graph.nodes:
            if is_large(node):  # all rows are alike
                range_ = ranges[node.name]
                ranges[node.name] = replace(range_, low=_first_row(range_.low), high=_first_row(range_.high))
                grids[node.name] = _first_row(grids[node.name])
        allowed = {}
        for node in self.graph.nodes:
            low, high, zeros = ranges[node.name].low, ranges[node.name].high, grids[node.name]
            events: dict[str, Flags] = {}
            if isinstance(node.op, Requantise):
                (source,) = self.graph.operands(node)
                events = possible_events(node, source, ranges[source.name], grids[source.name])
            entries = np.zeros(0, bool)
            if isinstance(node.op, Lookup):
                (operand,) = self.graph.operands(node)
                entries = possible_entries(node.op, operand, ranges[operand.name], grids[operand.name])
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
                    new |= _count_bits(reached.node, case, before, missing, edge)
            for event, before in reached.events.items():
                (source,) = self.graph.operands(reached.node)
                missing = possible.events[event] & ~before
                if missing.any():
                    for piece in _pieces(edges[source.name], reached.node):
                        occurs = has_event(event, reached.node, source, piece) & missing
                        before |= occurs.reshape(-1, *before.shape).any(axis=0)
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


def _first_row(integers: Integers) -> Integers:
    row: Integers = integers[(0,) * (integers.ndim - 1)]
    return row


def _count_bits(node: Node, case: int, before: Integers, missing: Integers, x: Integers) -> Flags:
    """Add missing bits that integers of an edge have in a case, and tell which vectors have one."""
    pieces = [reached_bits(case, piece.reshape(-1, *before.shape)) for piece in _pieces(x, node)]
    fresh = missing & np.bitwise_or.reduce(pieces)
    new = np.zeros(len(x), bool)
    if fresh.any():
        before |= fresh
        for piece in _pieces(x, node):
            new |= _vectors(bits_in_case(case, piece) & fresh)
    return new


def _pieces(x: Integers, node: Node) -> Iterator[Integers]:
    """Yield the integers of an edge; of a large one, rows in pieces of bounded memory: (vector, row, channel)."""
    if not is_large(node):
        yield x
        return
    rows = x.reshape(len(x), -1, x.shape[-1])
    size = max(1, PIECE // (len(x) * x.shape[-1]))
    for at in range(0, rows.shape[1], size):
        yield rows[:, at : at + size]


def _vectors(reached: Any) -> Flags:
    """Tell which vectors have anything reached in any element: (vector, *shape) -> (vector,)."""
    flags: Flags = (reached != 0).reshape(len(reached), -1).any(axis=1)
    return flags


def _count(bits: Integers) -> int:
    return int(np.bitwise_count(bits).sum())


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
