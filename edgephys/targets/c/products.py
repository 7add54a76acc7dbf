"""Products with a matrix, and convolutions.

The rows of a product (constituents, pairs, pixels) are the lanes of a vector unit. A product with at most ``STRAIGHT``
nonzero weights becomes straight-line code: a loop over the rows for every output, with the weights as numbers in it. A
zero weight emits nothing; inputs with the same weight but for the sign are summed first and multiplied once. Other
products, and those of a single row, become loops over tables of weights; a table lists only the nonzero weights where
this takes fewer bytes. A convolution is always loops: a line of the field is copied once, with the zeros beyond its
edges, and is multiplied by the nonzero lines of all kernels; its windows are never gathered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Node
from edgephys.graph.ops import Dense
from edgephys.targets.c.access import Index, access, laned, position, size_of, summed, type_of, widened
from edgephys.targets.c.block import Inputs, Lanes, mostly_narrow, output_loops
from edgephys.targets.c.chain import Chain, SourceWriter, Value
from edgephys.targets.c.convolution import convolution
from edgephys.targets.c.layout import flat
from edgephys.targets.c.loops import At, SumLoop, increased, indented, loop, over_elements, over_lanes
from edgephys.targets.c.pairs import Ends
from edgephys.targets.c.plan import NARROW
from edgephys.targets.c.roles import JoinRule, ViewRule
from edgephys.targets.c.word_products import in_a_block

STRAIGHT = 2048
"""Nonzero weights up to which a product becomes straight-line code."""
STRAIGHT_IN_LANES = 16384
"""The same where events are lanes: each line computes a whole vector."""
LANES = 64
"""Rows whose sums a loop over tables computes at once, at most."""
WIDE = 16
"""Rows that straight-line code computes at once, where they fill vectors."""
NARROW_ROWS = 32
"""The same in 16 bits, of which a vector holds more."""


@dataclass(frozen=True, eq=False)
class Segment:
    """State the inputs of a product that lie in one array, with their weights.

    ``columns`` are their positions in row 0, ``row`` is the stride of rows or the offset of each row. ``low`` and
    ``high`` are the proven ends of each input.
    """

    array: str
    ctype: str
    columns: Integers
    row: int | Integers
    weights: Integers
    low: Integers
    high: Integers

    def at(self, column: str | int, row: Index, writer: SourceWriter) -> str:
        """Return the C expression of the position of an input in a row."""
        terms: list[tuple[int, Index]] = [(1, column)]
        if isinstance(self.row, int):
            terms.append((self.row, row))
        else:
            terms.append((1, int(self.row[row]) if isinstance(row, int) else writer.tables.entry(self.row, row)))
        return summed(0, terms)


def product(loops: SumLoop, op: Dense) -> tuple[list[str], int]:
    """Write a product with a matrix, or a convolution where it reads a window."""
    program = loops.writer.program
    operand = program.graph.by_name[loops.node.inputs[0]]
    role, weights = program.roles[operand.name], int(np.count_nonzero(op.constant.integers))
    convolves = isinstance(role, ViewRule) and role.convolves and operand.name not in program.buffers
    if convolves and operand.op.neighbours is not None and weights:
        return convolution(loops, op, operand.op.neighbours)
    segments = _segments(loops.writer, loops.node, op)
    if loops.writer.lanes > 1 and (loops.style != "loops" or not weights):
        return in_a_block(loops, segments, weights <= STRAIGHT_IN_LANES, _looped)
    fits = loops.style == "unrolled" or (loops.style == "auto" and flat(loops.root.shape)[0] > 1)
    if not weights or (fits and weights <= STRAIGHT):
        return _straight(loops, segments)
    return _looped(loops, segments)


def _segments(writer: SourceWriter, node: Node, op: Dense) -> list[Segment]:
    """Return the inputs of a product, a segment for each array; weights include the alignment of a concatenation."""
    program = writer.program
    operand = program.graph.by_name[node.inputs[0]]
    joined = isinstance(program.roles[operand.name], JoinRule) and operand.name not in program.buffers
    parts = program.graph.operands(operand) if joined else (operand,)
    segments, start = [], 0
    for part in parts:
        buffer, positions = program.located(part.name, node)
        if not op.constant.integers.any():  # nothing matters, and neighbours beyond the edges have no position
            positions = np.zeros_like(positions)
        where = access(positions.reshape(flat(positions.shape)))
        row, column = where.parts
        count = positions.shape[-1]
        columns = where.base + (column * np.arange(count) if isinstance(column, int) else column)
        range_ = program.ranges[part.name]
        shift = operand.fixed.fraction - part.fixed.fraction if joined and range_.low.any() | range_.high.any() else 0
        weights = op.constant.integers[start : start + count] << shift
        ends = range_.low.reshape(-1, count).min(0), range_.high.reshape(-1, count).max(0)
        segments.append(Segment(buffer.name, buffer.ctype, columns, row, weights, *ends))
        start += count
    return segments


def _straight(loops: SumLoop, segments: list[Segment]) -> tuple[list[str], int]:
    """Return, for every output, a loop over lanes of rows, with the weights as numbers in it.

    Inputs are widened before the loop and outputs narrowed after it: compilers derive the number of lanes from the
    narrowest type in a loop.
    """
    writer, root = loops.writer, loops.root
    rows, channels = flat(loops.node.shape)
    written = _in_16_bits(loops, segments)
    if written is not None:
        return written
    value = loops.accumulator
    lanes = _lanes(rows)
    row: Index = 0 if rows == 1 else "r" if lanes == rows else "(first + r)"
    lines, wide = _widening(writer, segments, lanes, row, value.ctype) if rows > 1 else ([], segments)
    lane: Index = "r" if rows > 1 else 0
    out = writer.carrier_of(writer.program.ranges[root.name])
    for n in range(channels):
        chain = Chain(writer, (row, n), value)
        result = chain.value(root, stored=False)
        target = f"y[{summed(lanes * n, [(1, lane)])}] = {result.as_(out)};" if rows > 1 else chain.store(root, result)
        head = [f"const {value.ctype} sum =", *indented(_terms(writer, wide, n, lane, value.ctype))]
        block = [*head, *chain.lines, target]
        lines += loop("r", lanes, block) if rows > 1 else ["{", *indented(block), "}"]
    if rows == 1:
        return lines, 0
    inputs = sum(segment.columns.size for segment in wide)
    array_bytes = lanes * (inputs * size_of(value.ctype) + channels * size_of(out))
    return _stored_rows(loops, lines, out, row, lanes), array_bytes


def _stored_rows(loops: SumLoop, lines: list[str], out: str, row: Index, lanes: int) -> list[str]:
    """Return the lines that compute lanes of all outputs into an array, with those that store it, for all rows."""
    rows, channels = flat(loops.node.shape)
    value = Value(f"y[{summed(0, [(lanes, 'n'), (1, 'r')])}]", out, 0, 0)
    last = Chain(loops.writer, (row, "n")).store(loops.root, value)
    lines = [f"{out} y[{channels * lanes}];", *lines, *loop("n", channels, loop("r", lanes, [last]))]
    if lanes == rows:
        return lines
    return [f"for (int first = 0; first < {rows}; first += {lanes}) {{", *indented(lines), "}"]


def _in_16_bits(loops: SumLoop, segments: list[Segment]) -> tuple[list[str], int] | None:
    """Return the same with rows as lanes of 16 bits, as in a block of events; None where rows or numbers do not fit."""
    rows, channels = flat(loops.node.shape)
    lanes = max((width for width in range(8, NARROW_ROWS + 1, 8) if rows % width == 0), default=0)
    if not lanes:
        return None
    loops = replace(loops, writer=replace(loops.writer, rows_in_16_bits=True))
    row: Index = "r" if lanes == rows else "(first + r)"
    lines, narrow = _widening(loops.writer, segments, lanes, row, NARROW)
    if not narrow:  # all weights are 0
        return None
    along = Lanes("r", lanes)
    texts = [f"{part.array}[{along.place(k)}]" for part in narrow for k in range(part.columns.size)]
    weights, low, high = (
        np.concatenate([getattr(part, name) for part in narrow]) for name in ("weights", "low", "high")
    )
    inputs = Inputs(tuple(texts), weights, Ends(low, high))
    if not mostly_narrow(inputs, loops.accumulator.ctype):
        return None
    out = loops.writer.carrier_of(loops.writer.program.ranges[loops.root.name])
    blocks, pairs = output_loops(loops, inputs, row, along, out)
    lines += [f"{NARROW} pair[{pairs * lanes}];"] if pairs else []
    lines += [line for block in blocks for line in block.lines]
    array_bytes = lanes * ((len(texts) + pairs) * size_of(NARROW) + channels * size_of(out))
    return _stored_rows(loops, lines, out, row, lanes), array_bytes


def _lanes(rows: int) -> int:
    """Return how many rows are computed together: a divisor of all, at most 16 if it fills vectors, else at most 64."""
    divisors = [width for width in range(1, LANES + 1) if rows % width == 0]
    filling = [width for width in divisors if width % 4 == 0 and width <= WIDE]
    return max(filling, key=lambda width: (width % 8 == 0, width), default=max(divisors))


def _widening(
    writer: SourceWriter, segments: list[Segment], lanes: int, row: Index, ctype: str
) -> tuple[list[str], list[Segment]]:
    """Return the lines that copy inputs with nonzero weights into lanes of the sum's type, and the new segments."""
    lines: list[str] = []
    wide: list[Segment] = []
    for number, segment in enumerate(segments):
        used = np.flatnonzero(segment.weights.any(1))
        if not used.size:
            continue
        name = f"x{number}"
        columns = segment.columns[used]
        column = position(access(columns), ("k",), writer.tables)
        copied = f"({ctype}){segment.array}[{segment.at(column, row, writer)}]"
        place = summed(0, [(lanes, "k"), (1, "r")])
        lines.append(f"{ctype} {name}[{used.size * lanes}];")
        lines += loop("k", used.size, loop("r", lanes, [f"{name}[{place}] = {copied};"]))
        ends = segment.low[used], segment.high[used]
        wide.append(Segment(name, ctype, lanes * np.arange(used.size), 1, segment.weights[used], *ends))
    return lines, wide


def _terms(writer: SourceWriter, segments: list[Segment], n: int, row: Index, ctype: str) -> list[str]:
    """Return a weighted sum, with one line and one multiplication for each magnitude of weights."""
    groups: dict[int, list[tuple[int, str]]] = {}
    for segment in segments:
        for k in np.flatnonzero(segment.weights[:, n]):
            weight = int(segment.weights[k, n])
            where = segment.at(int(segment.columns[k]), row, writer)
            text = widened(f"{segment.array}[{where}]", segment.ctype, ctype)
            groups.setdefault(abs(weight), []).append((1 if weight > 0 else -1, text))
    lines = []
    for magnitude, members in groups.items():
        first = members[0][0]
        inner = members[0][1] + "".join(f" {'+' if s == first else '-'} {text}" for s, text in members[1:])
        inner = f"({inner})" if len(members) > 1 else inner
        factor = f"{magnitude if ctype == 'int32_t' else f'INT64_C({magnitude})'} * " if magnitude > 1 else ""
        lines.append(f"{'+' if first > 0 else '-'} {factor}{inner}")
    lines = lines or ["0"]
    lines[0] = lines[0].removeprefix("+ ")
    return [*lines[:-1], f"{lines[-1]};"]


def _looped(loops: SumLoop, segments: list[Segment]) -> tuple[list[str], int]:
    """Return loops over tables of weights, which compute the sums of up to LANES rows at once."""
    writer, finish, value = loops.writer, loops.finish, loops.accumulator
    rows, channels = flat(loops.node.shape)
    output: Index = "n" if channels > 1 else 0
    if writer.lanes > 1:
        array_bytes = writer.lanes * size_of(value.ctype)
        return over_elements(rows, channels, lambda at: _in_lanes(loops, segments, at)), array_bytes
    if rows == 1:
        lines = [f"{value.ctype} sum = 0;"]
        for segment in segments:
            lines += _products(writer, segment, output, value.ctype, "sum", 0)
        lines += finish((0, output), value)
        return (loop("n", channels, lines) if channels > 1 else lines), 0
    lanes = max(width for width in range(1, LANES + 1) if rows % width == 0)
    row = "(first + t)" if lanes < rows else "t"
    lines = [f"{value.ctype} sums[{lanes}];", *loop("t", lanes, ["sums[t] = 0;"])]
    for segment in segments:
        lines += _products(writer, segment, output, value.ctype, "sums[t]", row, lanes)
    lines += loop(
        "t",
        lanes,
        [f"const int r = {row};", "(void)r;", f"const {value.ctype} sum = sums[t];", *finish(("r", output), value)],
    )
    if lanes < rows:
        lines = [f"for (int first = 0; first < {rows}; first += {lanes}) {{", *indented(lines), "}"]
    return (loop("n", channels, lines) if channels > 1 else lines), lanes * size_of(value.ctype)


def _in_lanes(loops: SumLoop, segments: list[Segment], at: At) -> list[str]:
    """Return the loops over tables of weights that compute one output of all lanes."""
    writer, value = loops.writer, loops.accumulator
    lines = [f"{value.ctype} sums[{writer.lanes}];", *over_lanes(["sums[l] = 0;"], writer.lanes)]
    for segment in segments:
        lines += _products(writer, segment, at[1], value.ctype, "sums[l]", at[0], writer.lanes)
    ends = [f"const {value.ctype} sum = sums[l];", *loops.finish(at, value)]
    return [*lines, *over_lanes(ends, writer.lanes)]


def _products(
    writer: SourceWriter, segment: Segment, output: Index, ctype: str, target: str, row: Index, lanes: int = 0
) -> list[str]:
    """Return the loop that adds a segment's products; only nonzero weights are in a table where it is then smaller."""
    weights = segment.weights.T  # (output, input)
    tables = writer.tables
    listed = np.flatnonzero(weights)
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(weights, 1))])
    width = size_of(type_of(int(weights.min()), int(weights.max())))
    columns = segment.columns[listed % weights.shape[1]]
    list_bytes = _bytes(columns) + _bytes(starts) + listed.size * width
    if not listed.size:
        return []
    if list_bytes < weights.size * width:
        name = tables.name(starts)
        span = (f"{name}[{output}]", f"{name}[{output} + 1]")
        head = f"for (int k = {span[0]}; k < {span[1]}; k++) {{"
        weight, column = tables.entry(weights.reshape(-1)[listed], "k", ctype), tables.entry(columns, "k")
    else:
        head = f"for (int k = 0; k < {weights.shape[1]}; k++) {{"
        place = summed(0, [(weights.shape[1], output), (1, "k")])
        weight = tables.entry(weights, place, ctype)
        column = position(access(segment.columns), ("k",), tables)
    where = segment.at(column, row if lanes else 0, writer)
    if not lanes:
        added = f"{weight} * {widened(f'{segment.array}[{where}]', segment.ctype, ctype)}"
        return [head, f"    {target} += {added};", "}"]
    added = f"weight * {widened(f'{segment.array}[{laned(where, writer.lanes)}]', segment.ctype, ctype)}"
    lane = "l" if writer.lanes > 1 else "t"
    inner = [f"const {ctype} weight = {weight};", *loop(lane, lanes, [increased(target, added, ctype)])]
    return [head, *indented(inner), "}"]


def _bytes(numbers: Integers) -> int:
    return int(numbers.size) * size_of(type_of(int(numbers.min(initial=0)), int(numbers.max(initial=0))))
