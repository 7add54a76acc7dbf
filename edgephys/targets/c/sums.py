"""Sums as C: a dense layer, a convolution, a sum over an axis; each with the chain behind it in the same loop.

Of a dense layer over several rows (constituents, pairs, pixels) the rows are the lanes of a vector unit. It becomes
straight-line code, a loop over the rows for every output with the weights as numbers in it, where its weights other
than zero are at most ``STRAIGHT``; zeros emit nothing, and inputs of the same weight but for the sign are summed first
and multiplied once. Else, and for a single row, it becomes loops over tables of weights, which list what is not zero
where that takes fewer bytes. A convolution is always loops: a line of the field is copied once, with the zeros beyond
its edges, and meets the kernels' lines that are not zero; its windows are never gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Node
from edgephys.graph.ops import Concat, Dense, Sum, Window, constant_of
from edgephys.targets.c.access import Access, Index, access, element, position, size_of, summed, type_of, widened
from edgephys.targets.c.chain import Chain, Value, Writer, carrier
from edgephys.targets.c.plan import flat

STRAIGHT = 2048
"""Statements, one a weight, up to which a dense layer becomes straight-line code."""
LANES = 64
"""Rows whose sums a loop over tables holds at once."""
WIDE = 16
"""Rows that straight-line code holds at once, where they fill vectors."""

Finish = Callable[[tuple[Index, Index], Value | None], list[str]]
"""Writes the chain behind a sum, and the store, for a (row, channel)."""


@dataclass(frozen=True, eq=False)
class Segment:
    """State inputs of a dense layer that lie in one array: where each lies for row 0, what a row adds, the weights."""

    array: str
    ctype: str
    columns: Integers
    row: int | Integers
    weights: Integers

    def at(self, column: str | int, row: Index, writer: Writer) -> str:
        """Return the position of a column's input in a row."""
        terms: list[tuple[int, Index]] = [(1, column)]
        if isinstance(self.row, int):
            terms.append((self.row, row))
        else:
            terms.append((1, int(self.row[row]) if isinstance(row, int) else writer.tables.entry(self.row, row)))
        return summed(0, terms)


def loop(variable: str, count: int, body: list[str]) -> list[str]:
    """Return a loop over a variable."""
    head = f"for (int {variable} = 0; {variable} < {count}; {variable}++)"
    return [f"{head} {{", *indented(body), "}"]


def indented(lines: list[str]) -> list[str]:
    """Return lines one step further in."""
    return [f"    {line}" for line in lines]


def sum_of(writer: Writer, root: Node) -> Node | None:
    """Return the dense or sum node that is fused into the chain of a stored node."""
    graph, buffers = writer.program.graph, writer.program.buffers
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node.op, (Dense, Sum)):
            return node
        if node is root or node.name not in buffers:
            waiting += [operand for operand in graph.operands(node) if operand.name not in buffers]
    return None


def body(writer: Writer, root: Node, style: str) -> tuple[list[str], int]:
    """Return the lines that compute a stored node, and the bytes of the stack that they take."""
    inner = sum_of(writer, root)
    if isinstance(root.op, Concat):
        return _joined(writer, root), 0
    rows, channels = flat(root.shape)

    def finish(at: tuple[Index, Index], value: Value | None) -> list[str]:
        return Chain(writer, at, value).stored(root)

    if inner is None:
        return _everywhere(rows, channels, lambda at: finish(at, None)), 0
    if isinstance(inner.op, Sum):
        return _everywhere(rows, channels, lambda at: _summed_axis(writer, inner, at, finish)), 0
    operand = writer.program.graph.by_name[inner.inputs[0]]
    weights = int(np.count_nonzero(constant_of(inner).integers))
    if isinstance(operand.op, Window) and operand.name not in writer.program.buffers and weights:
        return _convolution(writer, inner, operand.op.size, finish)
    segments = _segments(writer, inner)
    fits = style == "unrolled" or (style == "auto" and rows > 1)
    if not weights or (fits and weights <= STRAIGHT):
        return _straight(writer, inner, root, segments)
    return _looped(writer, inner, segments, finish)


def _everywhere(rows: int, channels: int, lines: Callable[[tuple[Index, Index]], list[str]]) -> list[str]:
    """Return loops over channels and rows; an axis of one is none."""
    found = lines(("r" if rows > 1 else 0, "n" if channels > 1 else 0))
    found = loop("r", rows, found) if rows > 1 else found
    return loop("n", channels, found) if channels > 1 else found


def _joined(writer: Writer, root: Node) -> list[str]:
    """Copy the parts of a concatenation, aligned, to their places."""
    program, lines, start = writer.program, [], 0
    for operand in program.graph.operands(root):
        axis = root.op.axis if isinstance(root.op, Concat) else 0
        taken = tuple(
            slice(start, start + operand.shape[axis]) if a == axis else slice(None) for a in range(len(root.shape))
        )
        start += operand.shape[axis]
        rows, channels = flat(operand.shape)
        target = access(program.buffers[root.name].positions[taken].reshape(rows, channels))
        logical = access(np.arange(np.prod(root.shape)).reshape(root.shape)[taken].reshape(rows, channels))
        part = partial(_part, writer, root, operand, target, logical)
        lines += ["{", *indented(_everywhere(rows, channels, part)), "}"]
    return lines


def _part(
    writer: Writer, root: Node, operand: Node, target: Access, logical: Access, at: tuple[Index, Index]
) -> list[str]:
    chain = Chain(writer, at)
    x = chain.value(operand, reader=root)
    shift = root.fixed.fraction - operand.fixed.fraction
    ctype = carrier(x.magnitude << shift)
    text = x.as_(ctype) if not shift or not x.magnitude else f"{x.as_(ctype)} * {1 << shift}"
    buffer = writer.program.buffers[root.name]
    lines = [*chain.lines, f"const {ctype} joined = {text};"]
    if root.name in writer.notes:
        place = position(logical, at, writer.tables)
        lines.append(f"{writer.note}({writer.notes[root.name]} + {place}, joined);")
    return [*lines, f"{buffer.name}[{position(target, at, writer.tables)}] = ({buffer.ctype})joined;"]


def _summed_axis(writer: Writer, node: Node, at: tuple[Index, Index], finish: Finish) -> list[str]:
    """Sum over an axis."""
    program, axis = writer.program, node.op.axis if isinstance(node.op, Sum) else 0
    buffer, positions = program.located(node.inputs[0])
    turned = np.moveaxis(positions, axis, -1)
    found = writer.accesses.setdefault(
        (node.name, "axis"), access(turned.reshape(*flat(node.shape), positions.shape[axis]))
    )
    value = _accumulator(writer, node)
    added = element(buffer.name, value.ctype, found, (*at, "i"), writer.tables)
    lines = [f"{value.ctype} {value.name} = 0;"]
    return lines + loop("i", positions.shape[axis], [f"{value.name} += {added};"]) + finish(at, value)


def _accumulator(writer: Writer, node: Node) -> Value:
    range_ = writer.program.ranges[node.name]
    return Value("sum", carrier(max(range_.partial, node.op.largest_constant)), range_.lowest, range_.highest)


# Dense layers ------------------------------------------------------------------------------------


def _segments(writer: Writer, node: Node) -> list[Segment]:
    """Return the inputs of a dense layer by the arrays they lie in; weights carry the alignment of a concatenation."""
    program = writer.program
    operand = program.graph.by_name[node.inputs[0]]
    joined = isinstance(operand.op, Concat) and operand.name not in program.buffers
    parts = program.graph.operands(operand) if joined else (operand,)
    weights = constant_of(node).integers
    segments, start = [], 0
    for part in parts:
        buffer, positions = program.located(part.name, node)
        found = access(positions.reshape(flat(positions.shape)))
        row, column = found.parts
        count = positions.shape[-1]
        columns = found.base + (column * np.arange(count) if isinstance(column, int) else column)
        range_ = program.ranges[part.name]
        shift = operand.fixed.fraction - part.fixed.fraction if joined and range_.low.any() | range_.high.any() else 0
        used = weights[start : start + count] << shift
        segments.append(Segment(buffer.name, buffer.ctype, columns, row, used))
        start += count
    return segments


def _straight(writer: Writer, node: Node, root: Node, segments: list[Segment]) -> tuple[list[str], int]:
    """Return, for every output, a loop over lanes of rows whose body holds the weights as numbers.

    What goes in is widened before and what comes out is narrowed after it: compilers choose how many lanes a loop has
    by the narrowest type in it.
    """
    rows, channels = flat(node.shape)
    value = _accumulator(writer, node)
    lanes = _lanes(rows)
    row: Index = 0 if rows == 1 else "r" if lanes == rows else "(first + r)"
    lines, wide = _widening(writer, segments, lanes, row, value.ctype) if rows > 1 else ([], segments)
    lane: Index = "r" if rows > 1 else 0
    out = carrier(max(abs(writer.program.ranges[root.name].lowest), abs(writer.program.ranges[root.name].highest)))
    for n in range(channels):
        chain = Chain(writer, (row, n), value)
        made = chain.value(root, stored=False)
        target = f"y[{summed(lanes * n, [(1, lane)])}] = {made.name};" if rows > 1 else chain.store(root, made)
        head = [f"const {value.ctype} sum =", *indented(_terms(writer, wide, n, lane, value.ctype))]
        block = [*head, *chain.lines, target]
        lines += loop("r", lanes, block) if rows > 1 else ["{", *indented(block), "}"]
    if rows == 1:
        return lines, 0
    lines = [f"{out} y[{channels * lanes}];", *lines]
    last = Chain(writer, (row, "n")).store(root, Value(f"y[{summed(0, [(lanes, 'n'), (1, 'r')])}]", out, 0, 0))
    lines += loop("n", channels, loop("r", lanes, [last]))
    if lanes < rows:
        lines = [f"for (int first = 0; first < {rows}; first += {lanes}) {{", *indented(lines), "}"]
    inputs = sum(segment.columns.size for segment in wide)
    return lines, lanes * (inputs * size_of(value.ctype) + channels * size_of(out))


def _lanes(rows: int) -> int:
    """Return how many rows go together: a divisor of all, of 16 at most if there is one that fills vectors, else 64."""
    divisors = [width for width in range(1, LANES + 1) if rows % width == 0]
    filling = [width for width in divisors if width % 4 == 0 and width <= WIDE]
    return max(filling, key=lambda width: (width % 8 == 0, width), default=max(divisors))


def _widening(
    writer: Writer, segments: list[Segment], lanes: int, row: Index, ctype: str
) -> tuple[list[str], list[Segment]]:
    """Return the lines that copy the inputs that have weights into lanes of the sum's type, and where they lie then."""
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
        wide.append(Segment(name, ctype, lanes * np.arange(used.size), 1, segment.weights[used]))
    return lines, wide


def _terms(writer: Writer, segments: list[Segment], n: int, row: Index, ctype: str) -> list[str]:
    """Return a weighted sum, a line for each different magnitude of a weight: what shares one is multiplied once."""
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


def _looped(writer: Writer, node: Node, segments: list[Segment], finish: Finish) -> tuple[list[str], int]:
    """Return loops over tables of weights: for one row a sum for each output, else sums of some rows at once."""
    rows, channels = flat(node.shape)
    value = _accumulator(writer, node)
    output: Index = "n" if channels > 1 else 0
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


def _products(
    writer: Writer, segment: Segment, output: Index, ctype: str, target: str, row: Index, lanes: int = 0
) -> list[str]:
    """Return the loop that adds a segment's products; weights are listed where the list is smaller than the table."""
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
        made = f"{weight} * {widened(f'{segment.array}[{where}]', segment.ctype, ctype)}"
        return [head, f"    {target} += {made};", "}"]
    made = f"weight * {widened(f'{segment.array}[{where}]', segment.ctype, ctype)}"
    inner = [f"const {ctype} weight = {weight};", *loop("t", lanes, [f"{target} += {made};"])]
    return [head, *indented(inner), "}"]


def _bytes(numbers: Integers) -> int:
    return int(numbers.size) * size_of(type_of(int(numbers.min(initial=0)), int(numbers.max(initial=0))))


# Convolutions ------------------------------------------------------------------------------------


def _convolution(writer: Writer, node: Node, window: tuple[int, int], finish: Finish) -> tuple[list[str], int]:
    """Return the loops of a convolution: a line of the field meets the lines of all kernels that see it."""
    program, tables = writer.program, writer.tables
    view = program.graph.by_name[node.inputs[0]]
    buffer, positions = program.located(view.inputs[0], node)
    height, width, channels = positions.shape
    high, wide = window
    outputs = node.shape[-1]
    weights = constant_of(node).integers
    kernels = weights.reshape(high, wide, channels, outputs).transpose(0, 2, 3, 1).reshape(-1, outputs, wide)
    seen = kernels.any(-1)  # (row of the kernel and channel, output)
    starts, which = np.concatenate([[0], np.cumsum(seen.sum(1))]), np.nonzero(seen)[1]
    value = _accumulator(writer, node)
    left, top = (wide - 1) // 2, (high - 1) // 2
    start, taps = tables.name(starts), kernels[seen]
    where = position(access(positions), ("y", "i", "c"), tables)
    weight = "j" if wide == 1 else f"{wide} * j"
    products = " + ".join(
        f"{tables.entry(taps, summed(dx, [(1, weight)]), value.ctype)} * line[{summed(dx, [(1, 'i')])}]"
        for dx in range(wide)
    )
    meeting = [
        f"{value.ctype} *const to = sums + {width} * {tables.entry(which, 'j')};",
        *loop("i", width, [f"to[i] += {products};"]),
    ]
    line = [f"line[{i}] = 0;" for i in (*range(left), *range(left + width, width + wide - 1))]
    channel = [
        f"const int group = {summed(0, [(channels, 'dy'), (1, 'c')])};",
        f"if ({start}[group] == {start}[group + 1])",
        "    continue;",
        *loop("i", width, [f"line[{summed(left, [(1, 'i')])}] = ({value.ctype}){buffer.name}[{where}];"]),
        f"for (int j = {start}[group]; j < {start}[group + 1]; j++) {{",
        *indented(meeting),
        "}",
    ]
    rows = [
        f"const int y = row + dy - {top};",
        f"if (y < 0 || y >= {height})",
        "    continue;",
        *loop("c", channels, channel),
    ]
    place = summed(0, [(width, "row"), (1, "i")])
    output: Index = "n" if outputs > 1 else 0
    ends = [
        f"const int r = {place};",
        "(void)r;",
        f"const {value.ctype} sum = sums[{summed(0, [(width, output), (1, 'i')])}];",
        *finish(("r", output), value),
    ]
    last = loop("i", width, ends)
    every = [
        f"{value.ctype} sums[{outputs * width}], line[{width + wide - 1}];",
        *line,
        *loop("i", outputs * width, ["sums[i] = 0;"]),
        *loop("dy", high, rows),
        *(loop("n", outputs, last) if outputs > 1 else last),
    ]
    return loop("row", height, every), (outputs * width + width + wide - 1) * size_of(value.ctype)
