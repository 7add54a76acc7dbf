"""What follows a sum, element by element, as C: bias, scale, addition, ReLU and requantise in signed integers.

Every line is computed in int32_t where the proven ranges, and what a rounding adds on the way, fit in it, else in
int64_t. A product with a power of two stands for the left shift (of a negative number it would be undefined), and
``>>`` is a floor: the emitted source refuses to compile where a compiler does not shift arithmetically.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, Overflow, Rounding
from edgephys.graph.graph import Node
from edgephys.graph.ops import Add, Bias, Dense, Relu, Requantise, Scale, Sum, constant_of
from edgephys.graph.ranges import Range
from edgephys.targets.c.access import Access, Index, Tables, access, element, literal, position, summed
from edgephys.targets.c.plan import VIEWS, Program, flat, moved


@dataclass(frozen=True)
class Value:
    """Name a local variable, its type and the range that is proven for it."""

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


def carrier(magnitude: int) -> str:
    """Return the type in which integers of at most this magnitude are computed."""
    return "int32_t" if magnitude < 1 << 31 else "int64_t"


@dataclass(frozen=True, eq=False)
class Writer:
    """Hold what the text of all steps shares: the program, its tables, where layers are looked at, found accesses."""

    program: Program
    tables: Tables
    notes: Mapping[str, int]
    note: str
    accesses: dict[tuple[str, str], Access] = field(default_factory=dict)

    def located(self, name: str, reader: Node) -> tuple[str, Access]:
        """Return the array in which a node's elements lie and how (row, channel) find them."""
        dense = reader if isinstance(reader.op, Dense) else None
        buffer, positions = self.program.located(name, dense)
        key = (name, buffer.name)
        if key not in self.accesses:
            self.accesses[key] = access(positions.reshape(flat(positions.shape)))
        return buffer.name, self.accesses[key]

    def noted(self, node: Node, at: tuple[Index, Index], value: str) -> list[str]:
        """Return the look at an element of a layer's end; a normal compilation drops it."""
        if node.name not in self.notes:
            return []
        place = summed(self.notes[node.name], [(flat(node.shape)[1], at[0]), (1, at[1])])
        return [f"{self.note}({place}, {value});"]


@dataclass(eq=False)
class Chain:
    """Write the lines that lead from a sum, if there is one, to the element of a stored node at ``at``."""

    writer: Writer
    at: tuple[Index, Index]
    sum: Value | None = None
    lines: list[str] = field(default_factory=list)

    def stored(self, node: Node) -> list[str]:
        """Return the lines that compute an element of a stored node and write it."""
        found = self.value(node, stored=False)
        return [*self.lines, self.store(node, found)]

    def store(self, node: Node, found: Value) -> str:
        """Return the line that writes an element of a stored node."""
        buffer = self.writer.program.buffers[node.name]
        where = self.writer.accesses.setdefault(
            (node.name, "written"), access(buffer.positions.reshape(flat(buffer.positions.shape)))
        )
        return f"{buffer.name}[{position(where, self.at, self.writer.tables)}] = ({buffer.ctype}){found.name};"

    def value(self, node: Node, stored: bool = True, reader: Node | None = None) -> Value:
        """Return the variable that holds a node's element: loaded where it is stored or seen, else computed."""
        program = self.writer.program
        range_ = program.ranges[node.name]
        if reader is not None and ((stored and node.name in program.buffers) or isinstance(node.op, VIEWS)):
            array, found = self.writer.located(node.name, reader)
            ctype = carrier(max(abs(range_.lowest), abs(range_.highest)))
            return self._define(range_, element(array, ctype, found, self.at, self.writer.tables), ctype)
        if isinstance(node.op, VIEWS):
            made = self._seen(node, range_)
        elif self.sum is not None and isinstance(node.op, (Dense, Sum)):
            made = self.sum
        else:
            operands = [self.value(program.graph.by_name[name], reader=node) for name in node.inputs]
            made = self._apply(node, operands, range_)
        self.lines += self.writer.noted(node, self.at, made.name)
        return made

    def _seen(self, node: Node, range_: Range) -> Value:
        """Load an element of a view that is itself stored."""
        buffer, positions = self.writer.program.located(node.inputs[0])
        found = self.writer.accesses.setdefault(
            (node.name, "seen"), access(moved(node, positions).reshape(flat(node.shape)))
        )
        ctype = carrier(max(abs(range_.lowest), abs(range_.highest)))
        return self._define(range_, element(buffer.name, ctype, found, self.at, self.writer.tables), ctype)

    def _define(self, range_: Range, text: str, ctype: str) -> Value:
        return self._made(range_.lowest, range_.highest, text, ctype)

    def _made(self, low: int, high: int, text: str, computed: str) -> Value:
        """Add a line that defines a variable, in the narrowest type for its range."""
        ctype = carrier(max(abs(low), abs(high)))
        name = f"v{sum(line.startswith('const int') for line in self.lines)}"
        text = text if ctype == computed else f"({ctype})({text})"
        self.lines.append(f"const {ctype} {name} = {text};")
        return Value(name, ctype, low, high)

    def _apply(self, node: Node, operands: list[Value], range_: Range) -> Value:
        x, low, high = operands[0], range_.lowest, range_.highest
        if isinstance(node.op, Requantise):
            source = self.writer.program.graph.by_name[node.inputs[0]]
            return self._requantised(x, source.fixed.fraction, node.fixed)
        if isinstance(node.op, Relu):
            return self._made(low, high, f"{x.name} < 0 ? 0 : {x.name}", x.ctype) if x.low < 0 else x
        if isinstance(node.op, Scale):
            ctype = carrier(max(abs(low), abs(high), x.magnitude, node.op.largest_constant))
            return self._made(low, high, f"{x.as_(ctype)} * {self._constant(node, 0, ctype)}", ctype)
        if not isinstance(node.op, (Add, Bias)):
            raise ModelError(f"layer '{node.layer}': {node.op.word} '{node.name}' has no form in C; not expected here")
        fractions = [operand.fixed.fraction for operand in self.writer.program.graph.operands(node)]
        shifts = [min(node.fixed.fraction - fraction, WIDEST) for fraction in fractions]
        magnitude = max(x.magnitude << shift for x, shift in zip(operands, shifts, strict=True))
        if isinstance(node.op, Bias):
            magnitude = max(magnitude, node.op.largest_constant << (node.fixed.fraction - node.op.constant.fraction))
        ctype = carrier(max(abs(low), abs(high), magnitude))
        terms = [_raised(x, shift, ctype) for x, shift in zip(operands, shifts, strict=True)]
        if isinstance(node.op, Bias):
            terms.append(self._constant(node, node.fixed.fraction - node.op.constant.fraction, ctype))
        return self._made(low, high, " + ".join(terms), ctype)

    def _constant(self, node: Node, shift: int, ctype: str) -> str:
        """Return the constant at this element, aligned: a number where it is the same for all that the loop meets."""
        numbers = constant_of(node).integers << shift
        if numbers.size == 1:
            return literal(int(numbers.reshape(-1)[0]), ctype)
        places = np.broadcast_to(np.arange(numbers.size).reshape(numbers.shape), node.shape).reshape(flat(node.shape))
        found = self.writer.accesses.setdefault((node.name, "constant"), access(places))
        where = position(found, self.at, self.writer.tables) if found.separable else None
        if where is not None and where.isdigit():
            return literal(int(numbers.reshape(-1)[int(where)]), ctype)
        if where is None:
            found, numbers = access(np.arange(places.size).reshape(places.shape)), numbers.reshape(-1)[places]
        return element(self.writer.tables.name(numbers), ctype, found, self.at, self.writer.tables)

    # Requantise: edgephys.core.fixed, in C --------------------------------------------------------------

    def _requantised(self, x: Value, fraction: int, fixed: Fixed) -> Value:
        low, high = (int(fixed.in_steps(end, fraction)) for end in (x.low, x.high))
        drop = fraction - fixed.fraction
        inside = fixed.holds(low, high)
        ends = [x.low, x.high, low, high] if inside else [x.low, x.high, low, high, fixed.low, fixed.high + 1]
        ctype = carrier(max(map(abs, ends)) + (1 << drop if drop > 0 else 0))
        if drop > 0:
            shifted = self._made(low, high, _rounded(x, drop, fixed.rounding, ctype), ctype)
        elif drop < 0:
            shifted = self._made(low, high, _raised(x, min(-drop, WIDEST), ctype), ctype)
        else:
            shifted = x
        return shifted if inside else self._overflowed(shifted, fixed)

    def _overflowed(self, x: Value, fixed: Fixed) -> Value:
        ctype = carrier(max(x.magnitude, -fixed.low, fixed.high + 1))
        name, low, high = x.as_(ctype), literal(fixed.low, ctype), literal(fixed.high, ctype)
        below, above = x.low < fixed.low, x.high > fixed.high
        if fixed.overflow is Overflow.SAT_ZERO:
            tests = [f"{name} < {low}"] * below + [f"{name} > {high}"] * above
            return self._made(min(0, fixed.low), fixed.high, f"{' || '.join(tests)} ? 0 : {name}", ctype)
        if fixed.overflow is Overflow.WRAP:
            mask = literal((1 << fixed.bits) - 1, ctype)
            if not fixed.signed:
                return self._made(fixed.low, fixed.high, f"{name} & {mask}", ctype)
            sign = literal(1 << (fixed.bits - 1), ctype)
            return self._made(fixed.low, fixed.high, f"(({name} & {mask}) ^ {sign}) - {sign}", ctype)
        ends = (max(x.low, fixed.low) if x.high >= fixed.low else fixed.low, min(max(x.high, fixed.low), fixed.high))
        text = f"{name} > {high} ? {high} : {name}" if above else name
        text = f"{name} < {low} ? {low} : {text}" if below else text
        return self._made(min(ends[0], fixed.high), ends[1], text, ctype)


def _raised(x: Value, shift: int, ctype: str) -> str:
    if not shift or not x.magnitude:
        return x.as_(ctype)
    return f"{x.as_(ctype)} * {literal(1 << shift, 'int64_t' if ctype == 'int64_t' else ctype)}"


def _rounded(x: Value, drop: int, rounding: Rounding, ctype: str) -> str:
    """Return a value divided by 2**drop as a floor after an addition, which depends on the mode."""
    v, half, negative = x.as_(ctype), 1 << (drop - 1), x.low < 0
    below = {
        Rounding.TRN: "",
        Rounding.RND: f" + {literal(half, ctype)}",
        Rounding.RND_MIN_INF: f" + {literal(half - 1, ctype)}",
        Rounding.RND_CONV: f" + {literal(half - 1, ctype)} + (({v} >> {drop}) & 1)",
        Rounding.TRN_ZERO: f" + ({v} < 0 ? {literal((1 << drop) - 1, ctype)} : 0)" if negative else "",
        Rounding.RND_ZERO: f" + {literal(half - 1, ctype)}" + (f" + ({v} < 0)" if negative else ""),
        Rounding.RND_INF: f" + {literal(half, ctype)}" + (f" - ({v} < 0)" if negative else ""),
    }[rounding]
    return f"({v}{below}) >> {drop}" if below else f"{v} >> {drop}"
