"""The C lines that lead from a sum, or from stored elements, to one element of a stored node.

Every line is computed in int32_t where the proven ranges, and what a rounding adds on the way, fit in it, else in
int64_t; where events are lanes, also in int16_t, of which a vector holds more. The rules of the element-wise operations
(``elements``) add the lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgephys.graph.graph import Node
from edgephys.graph.ops import Constant
from edgephys.graph.ranges import Range
from edgephys.targets.c.access import Access, Index, Tables, access, element, laned, literal, position, summed
from edgephys.targets.c.layout import flat, moved
from edgephys.targets.c.plan import NARROW, Program, carrier
from edgephys.targets.c.roles import ElementRule, SumRule, ViewRule
from edgephys.targets.c.words import WordTables


@dataclass(frozen=True)
class Value:
    """State a local variable: its name, type and proven range."""

    name: str
    ctype: str
    low: int
    high: int

    @property
    def magnitude(self) -> int:
        """Largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def as_(self, ctype: str) -> str:
        """Return the value in a type that holds it."""
        return self.name if ctype == self.ctype else f"({ctype}){self.name}"


@dataclass(frozen=True, eq=False)
class SourceWriter:
    """Hold what the functions of all steps share: the program, its tables, and the accesses that were derived.

    ``notes`` gives the place of each layer's integers for a probe, ``note`` the macro that records them. ``parts`` are
    the lines of functions that a step calls, ``recorded`` the nodes whose elements some line records.
    ``rows_in_16_bits``: the rows of one event are lanes of 16 bits. ``words`` are tables for products of words, and
    ``packings`` says in which words each such product reads its inputs.
    """

    program: Program
    tables: Tables
    notes: Mapping[str, int]
    note: str
    accesses: dict[tuple[str, str], Access] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    recorded: set[str] = field(default_factory=set)
    rows_in_16_bits: bool = False
    words: WordTables = field(default_factory=lambda: WordTables(""))
    packings: dict[str, str] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """Events that are computed together, innermost in every loop; 1 where there is no such loop."""
        return self.program.lanes

    def carrier(self, magnitude: int) -> str:
        """Return the type in which integers of at most this magnitude are computed."""
        return carrier(magnitude, self.lanes > 1 or self.rows_in_16_bits)

    def carrier_of(self, range_: Range) -> str:
        """Return the type in which integers of a range are computed."""
        return self.carrier(max(abs(range_.lowest), abs(range_.highest)))

    def located(self, name: str, reader: Node) -> tuple[str, Access]:
        """Return the array that holds a node's elements, and the access to them by (row, channel)."""
        buffer, positions = self.program.located(name, self.program.product(reader))
        key = (name, buffer.name)
        if key not in self.accesses:
            self.accesses[key] = access(positions.reshape(flat(positions.shape)))
        return buffer.name, self.accesses[key]

    def noted(self, node: Node, at: tuple[Index, Index], value: str) -> list[str]:
        """Return the line that records an element at the end of a layer; it compiles to nothing without a probe."""
        if node.name not in self.notes:
            return []
        self.recorded.add(node.name)
        place = summed(self.notes[node.name], [(flat(node.shape)[1], at[0]), (1, at[1])])
        return [f"{self.note}({place}, {value});"]


@dataclass(eq=False)
class Chain:
    """Collect the lines that compute the element of a stored node at ``at``; ``sum`` is the sum in front of them.

    ``known`` are the variables of nodes that the lines compute already.
    """

    writer: SourceWriter
    at: tuple[Index, Index]
    sum: Value | None = None
    lines: list[str] = field(default_factory=list)
    known: dict[str, Value] = field(default_factory=dict)

    def stored(self, node: Node) -> list[str]:
        """Return the lines that compute an element of a stored node and write it."""
        value = self.value(node, stored=False)
        return [*self.lines, self.store(node, value)]

    def store(self, node: Node, value: Value) -> str:
        """Return the line that writes an element of a stored node."""
        buffer = self.writer.program.buffers[node.name]
        where = self.writer.accesses.setdefault(
            (node.name, "written"), access(buffer.positions.reshape(flat(buffer.positions.shape)))
        )
        place = laned(position(where, self.at, self.writer.tables), self.writer.lanes)
        return f"{buffer.name}[{place}] = ({buffer.ctype}){value.name};"

    def value(self, node: Node, stored: bool = True, reader: Node | None = None) -> Value:
        """Return the variable that holds a node's element: loaded from an array where one holds it, else computed."""
        program, role = self.writer.program, self.writer.program.roles[node.name]
        if reader is not None and ((stored and node.name in program.buffers) or isinstance(role, ViewRule)):
            return self._loaded(node, *self.writer.located(node.name, reader))
        if node.name in self.known:
            value = self.known[node.name]
        elif isinstance(role, ViewRule):  # a view that is itself stored
            buffer, positions = program.located(node.inputs[0])
            where = self.writer.accesses.setdefault(
                (node.name, "seen"), access(moved(node, positions).reshape(flat(node.shape)))
            )
            value = self._loaded(node, buffer.name, where)
        elif isinstance(role, SumRule) and self.sum is not None:
            value = self.sum
        elif isinstance(role, ElementRule):
            operands = [self.value(program.graph.by_name[name], reader=node) for name in node.inputs]
            value = role.write(self, node, node.op, operands)
        else:
            raise node.wrong(f"a {type(role).__name__} must be stored to be read in a chain")
        self.lines += self.writer.noted(node, self.at, value.name)
        return value

    def range(self, node: Node) -> tuple[int, int]:
        """Return the lowest and highest integer that are proven for a node."""
        range_ = self.writer.program.ranges[node.name]
        return range_.lowest, range_.highest

    def define(self, low: int, high: int, text: str, computed: str) -> Value:
        """Add a line that defines a variable of a range; ``computed`` is the type in which ``text`` is computed."""
        ctype = self.writer.carrier(max(abs(low), abs(high)))
        name = f"v{sum(line.startswith('const int') for line in self.lines)}"
        text = text if ctype == computed != NARROW else f"({ctype})({text})"
        self.lines.append(f"const {ctype} {name} = {text};")
        return Value(name, ctype, low, high)

    def constant(self, node: Node, constant: Constant, shift: int, ctype: str) -> str:
        """Return the element of a constant, shifted left: a number where it is the same in the whole loop."""
        numbers = constant.integers << shift
        if numbers.size == 1:
            return literal(int(numbers.reshape(-1)[0]), ctype)
        places = np.broadcast_to(np.arange(numbers.size).reshape(numbers.shape), node.shape).reshape(flat(node.shape))
        where = self.writer.accesses.setdefault((node.name, "constant"), access(places))
        place = position(where, self.at, self.writer.tables) if where.separable else None
        if place is not None and place.isdigit():
            return literal(int(numbers.reshape(-1)[int(place)]), ctype)
        if place is None:
            where, numbers = access(np.arange(places.size).reshape(places.shape)), numbers.reshape(-1)[places]
        return element(self.writer.tables.name(numbers), ctype, where, self.at, self.writer.tables)

    def _loaded(self, node: Node, array: str, where: Access) -> Value:
        """Define a variable with an element of an array."""
        writer = self.writer
        ctype = writer.carrier_of(writer.program.ranges[node.name])
        text = element(array, ctype, where, self.at, writer.tables, writer.lanes)
        return self.define(*self.range(node), text, ctype)
