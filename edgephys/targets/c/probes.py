"""Probes of layers that only move elements, whose integers are in no array; a normal compilation has none."""

from __future__ import annotations

from collections.abc import Mapping

from edgephys.graph.graph import Node
from edgephys.targets.c.access import Tables, access, element, position
from edgephys.targets.c.chain import SourceWriter
from edgephys.targets.c.layout import flat
from edgephys.targets.c.loops import At, loop, over_elements
from edgephys.targets.c.plan import Program, carrier
from edgephys.targets.c.roles import InputRule, JoinRule, ViewRule


def not_stored(program: Program, notes: Mapping[str, int]) -> list[Node]:
    """Return the ends of layers whose elements are in the arrays of other nodes."""
    return [
        node
        for node in program.graph.nodes
        if node.name in notes
        and node.name not in program.buffers
        and isinstance(program.roles[node.name], ViewRule | JoinRule)
    ]


def probe(writer: SourceWriter, node: Node, tables: Tables) -> list[str]:
    """Return the lines that record every element of a view, by the positions that its readers use."""
    program, start = writer.program, writer.notes[node.name]
    operand, role = program.graph.by_name[node.inputs[0]], program.roles[node.name]
    available = operand.name in program.buffers or isinstance(program.roles[operand.name], InputRule)
    if isinstance(role, ViewRule) and role.convolves and node.op.neighbours is not None and available:
        return _window(writer, node, operand, node.op.neighbours, start)
    lines: list[str] = []
    for part in program.graph.operands(node) if isinstance(role, JoinRule) else (node,):
        lines += _part(writer, node, part, start, tables)
        start += flat(part.shape)[1]
    return lines


def _part(writer: SourceWriter, node: Node, part: Node, start: int, tables: Tables) -> list[str]:
    """Record the elements of a part of a view, binary points aligned."""
    (buffer, positions), range_ = writer.program.located(part.name), writer.program.ranges[part.name]
    rows, channels = flat(part.shape)
    shift = node.fixed.fraction - part.fixed.fraction if range_.low.any() | range_.high.any() else 0
    ctype = carrier(max(abs(range_.lowest), abs(range_.highest), 1) << shift)
    where = access(positions.reshape(rows, channels))

    def record(at: At) -> list[str]:
        text = element(buffer.name, ctype, where, at, tables)
        place = f"{start} + {flat(node.shape)[1]} * {at[0]} + {at[1]}"
        return [f"{writer.note}({place}, {text} * {1 << shift});"]

    return over_elements(rows, channels, record)


def _window(writer: SourceWriter, node: Node, operand: Node, window: tuple[int, int], start: int) -> list[str]:
    """Record the neighbours of every pixel; tests for the edges are shorter than a table of positions."""
    buffer, positions = writer.program.located(operand.name)
    height, width, channels = operand.shape
    where = position(access(positions), ("y", "x", "c"), writer.tables)
    top, left = ((length - 1) // 2 for length in window)
    place = f"{start} + {node.shape[-1]} * ({width} * row + i) + ({window[1]} * dy + dx) * {channels} + c"
    inside = f"y >= 0 && y < {height} && x >= 0 && x < {width}"
    lines = [
        f"const int y = row + dy - {top}, x = i + dx - {left};",
        f"{writer.note}({place}, {inside} ? (int64_t){buffer.name}[{where}] : 0);",
    ]
    for variable, count in (("c", channels), ("dx", window[1]), ("dy", window[0]), ("i", width), ("row", height)):
        lines = loop(variable, count, lines)
    return lines
