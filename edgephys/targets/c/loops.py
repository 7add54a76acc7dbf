"""The loops of a stored node: over its elements, with a sum in them or none; joins, and sums over an axis.

The element-wise operations behind a sum are written into its loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgephys.graph.graph import Node
from edgephys.graph.ops import Concat, Sum
from edgephys.targets.c.access import Access, Index, access, element, laned, position, size_of
from edgephys.targets.c.chain import Chain, SourceWriter, Value
from edgephys.targets.c.layout import flat
from edgephys.targets.c.plan import NARROW
from edgephys.targets.c.roles import JoinRule, SumRule

At = tuple[Index, Index]
"""(row, channel)."""


@dataclass(frozen=True, eq=False)
class SumLoop:
    """Hold what is known of a loop: the node that sums, the stored node at the end of its chain, and the style."""

    writer: SourceWriter
    node: Node
    root: Node
    style: str

    def finish(self, at: At, value: Value) -> list[str]:
        """Return the lines that follow a sum: the chain behind it, and the store."""
        return Chain(self.writer, at, value).stored(self.root)

    @property
    def accumulator(self) -> Value:
        """The variable of the sum; its type holds every partial sum."""
        range_ = self.writer.program.ranges[self.node.name]
        magnitude = max(range_.partial, self.node.op.largest_constant)
        return Value("sum", self.writer.carrier(magnitude), range_.lowest, range_.highest)


def increased(target: str, text: str, ctype: str) -> str:
    """Return the line that adds to a variable of a type; C adds in int, which a narrow type does not hold."""
    return f"{target} = ({ctype})({target} + {text});" if ctype == NARROW else f"{target} += {text};"


def loop(variable: str, count: int, body: list[str]) -> list[str]:
    """Return a loop over a variable."""
    head = f"for (int {variable} = 0; {variable} < {count}; {variable}++)"
    return [f"{head} {{", *indented(body), "}"]


def indented(lines: list[str]) -> list[str]:
    """Return lines with one more level of indentation."""
    return [f"    {line}" for line in lines]


def body(writer: SourceWriter, root: Node, style: str) -> tuple[list[str], int]:
    """Return the lines that compute a stored node, and the bytes of the arrays in them."""
    roles = writer.program.roles
    role = roles[root.name]
    if isinstance(role, JoinRule):
        return role.write(writer, root, root.op), 0
    node = _fused_sum(writer, root)
    if node is None:
        return over_elements(*flat(root.shape), lambda at: Chain(writer, at).stored(root), writer.lanes), 0
    summing = roles[node.name]
    if not isinstance(summing, SumRule):
        raise node.wrong(f"expected a SumRule, not a {type(summing).__name__}")
    return summing.write(SumLoop(writer, node, root, style), node.op)


def _fused_sum(writer: SourceWriter, root: Node) -> Node | None:
    """Return the sum that is written in the loop of a stored node."""
    program = writer.program
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(program.roles[node.name], SumRule):
            return node
        if node is root or node.name not in program.buffers:
            waiting += [operand for operand in program.graph.operands(node) if operand.name not in program.buffers]
    return None


def over_elements(rows: int, channels: int, lines: Callable[[At], list[str]], lanes: int = 1) -> list[str]:
    """Return lines in loops over channels, rows and lanes; an axis of length one needs no loop."""
    text = over_lanes(lines(("r" if rows > 1 else 0, "n" if channels > 1 else 0)), lanes)
    text = loop("r", rows, text) if rows > 1 else text
    return loop("n", channels, text) if channels > 1 else text


def over_lanes(lines: list[str], lanes: int) -> list[str]:
    """Return lines in the loop over the events that are computed together; without several, as they are."""
    return loop("l", lanes, lines) if lanes > 1 else lines


def join(writer: SourceWriter, root: Node, op: Concat) -> list[str]:
    """Write the copies of the operands of a concatenation, binary points aligned."""
    program, lines, start = writer.program, [], 0
    for operand in program.graph.operands(root):
        end = start + operand.shape[op.axis]
        part = (*(slice(None),) * op.axis, slice(start, end))
        start = end
        shape = flat(operand.shape)
        target = access(program.buffers[root.name].positions[part].reshape(shape))
        logical = access(np.arange(np.prod(root.shape)).reshape(root.shape)[part].reshape(shape))
        copy = partial(_copy, writer, root, operand, target, logical)
        lines += ["{", *indented(over_elements(*shape, copy, writer.lanes)), "}"]
    return lines


def _copy(writer: SourceWriter, root: Node, operand: Node, target: Access, logical: Access, at: At) -> list[str]:
    chain = Chain(writer, at)
    x = chain.value(operand, reader=root)
    shift = root.fixed.fraction - operand.fixed.fraction
    ctype = writer.carrier(x.magnitude << shift)
    text = x.as_(ctype) if not shift or not x.magnitude else f"{x.as_(ctype)} * {1 << shift}"
    text = f"({ctype})({text})" if ctype == NARROW else text
    buffer = writer.program.buffers[root.name]
    lines = [*chain.lines, f"const {ctype} joined = {text};"]
    if root.name in writer.notes:
        place = position(logical, at, writer.tables)
        lines.append(f"{writer.note}({writer.notes[root.name]} + {place}, joined);")
    place = laned(position(target, at, writer.tables), writer.lanes)
    return [*lines, f"{buffer.name}[{place}] = ({buffer.ctype})joined;"]


def sum_over_axis(loops: SumLoop, op: Sum) -> tuple[list[str], int]:
    """Write a sum over an axis."""
    writer, node, value = loops.writer, loops.node, loops.accumulator
    lanes, array_bytes = writer.lanes, size_of(value.ctype) * writer.lanes if writer.lanes > 1 else 0
    buffer, positions = writer.program.located(node.inputs[0])
    length = positions.shape[op.axis]
    summands = np.moveaxis(positions, op.axis, -1).reshape(*flat(node.shape), length)
    where = writer.accesses.setdefault((node.name, "axis"), access(summands))

    def lines(at: At) -> list[str]:
        summand = element(buffer.name, value.ctype, where, (*at, "i"), writer.tables, lanes)
        sums = value.name if lanes == 1 else "sums[l]"
        adding = loop("i", length, over_lanes([increased(sums, summand, value.ctype)], lanes))
        if lanes == 1:
            return [f"{value.ctype} {value.name} = 0;", *adding, *loops.finish(at, value)]
        ends = [f"const {value.ctype} {value.name} = sums[l];", *loops.finish(at, value)]
        starts = [f"{value.ctype} sums[{lanes}];", *over_lanes(["sums[l] = 0;"], lanes)]
        return [*starts, *adding, *over_lanes(ends, lanes)]

    return over_elements(*flat(node.shape), lines), array_bytes
