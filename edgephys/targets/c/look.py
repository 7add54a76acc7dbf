"""Looks at layers that only move elements, for who asks for every layer's integers; a normal compilation has none."""

from __future__ import annotations

from collections.abc import Mapping

from edgephys.graph.graph import Node
from edgephys.graph.ops import Concat, Input, Window
from edgephys.targets.c.access import Index, Tables, access, element, position
from edgephys.targets.c.chain import Writer, carrier
from edgephys.targets.c.plan import VIEWS, Program, flat
from edgephys.targets.c.sums import loop


def seen(program: Program, notes: Mapping[str, int]) -> list[Node]:
    """Return the ends of layers that are seen in others' arrays, not stored."""
    return [
        node
        for node in program.graph.nodes
        if node.name in notes and isinstance(node.op, (VIEWS, Concat)) and node.name not in program.buffers
    ]


def look(writer: Writer, node: Node, tables: Tables) -> list[str]:
    """Return the lines that look at every element of a view, through the same positions as its readers."""
    program, start = writer.program, writer.notes[node.name]
    operand = program.graph.by_name[node.inputs[0]]
    if isinstance(node.op, Window) and (operand.name in program.buffers or isinstance(operand.op, Input)):
        return _window(writer, node, operand, node.op.size, start)
    lines: list[str] = []
    for part in program.graph.operands(node) if isinstance(node.op, Concat) else (node,):
        buffer, positions = program.located(part.name)
        rows, channels = flat(part.shape)
        at: tuple[Index, Index] = ("r" if rows > 1 else 0, "n" if channels > 1 else 0)
        range_ = program.ranges[part.name]
        shift = node.fixed.fraction - part.fixed.fraction if range_.low.any() | range_.high.any() else 0
        ctype = carrier(max(abs(range_.lowest), abs(range_.highest), 1) << shift)
        text = element(buffer.name, ctype, access(positions.reshape(rows, channels)), at, tables)
        place = f"{start} + {flat(node.shape)[1]} * {at[0]} + {at[1]}"
        looked = [f"{writer.note}({place}, {text} * {1 << shift});"]
        looked = loop("r", rows, looked) if rows > 1 else looked
        lines += loop("n", channels, looked) if channels > 1 else looked
        start += channels
    return lines


def _window(writer: Writer, node: Node, operand: Node, window: tuple[int, int], start: int) -> list[str]:
    """Look at every pixel's neighbours by asking which lie beyond the edges, for a table of them would be long."""
    buffer, positions = writer.program.located(operand.name)
    height, width, channels = operand.shape
    where = position(access(positions), ("y", "x", "c"), writer.tables)
    top, left = ((length - 1) // 2 for length in window)
    place = f"{start} + {node.shape[-1]} * ({width} * row + i) + ({window[1]} * dy + dx) * {channels} + c"
    inside = f"y >= 0 && y < {height} && x >= 0 && x < {width}"
    body = [
        f"const int y = row + dy - {top}, x = i + dx - {left};",
        f"{writer.note}({place}, {inside} ? (int64_t){buffer.name}[{where}] : 0);",
    ]
    for variable, count in (("c", channels), ("dx", window[1]), ("dy", window[0]), ("i", width), ("row", height)):
        body = loop(variable, count, body)
    return body
