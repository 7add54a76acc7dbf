"""Interval analysis: the exact range of every element of every edge, and the reason for each width.

Each element has its own interval, so a format derived from it cannot overflow and wastes no bit that
the analysis can see. In edges of more than ``MOST_ELEMENTS``, all rows (pixels) share the union of their intervals:
only those at the border of a field, beyond which zeros lie, have others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, narrowest
from edgephys.core.remedies import import_again
from edgephys.graph.graph import Graph, Node
from edgephys.graph.interval import Range, distinct, too_many_bits

__all__ = ["Range", "derive", "format_of", "range_of", "reason", "require_proven"]

MOST_ELEMENTS = 1 << 20
"""Elements up to which an edge has an interval for each, above an interval for each channel."""


def derive(graph: Graph) -> dict[str, Range]:
    """Return the range of every node by interval analysis from the formats of the inputs.

    Raises: ModelError where an edge may exceed 62 bits.
    """
    ranges: dict[str, Range] = {}
    for node in graph.nodes:
        ranges[node.name] = range_of(node, graph.operands(node), [ranges[name] for name in node.inputs])
    return ranges


def is_large(node: Node) -> bool:
    """Tell whether all rows of an edge share one range."""
    return prod(node.shape) > MOST_ELEMENTS


def range_of(node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> Range:
    """Return the range of a node from those of its operands; raise ModelError where it may exceed 62 bits."""
    wide = any(is_large(of) for of in (node, *operands))
    range_ = (_of_rows if wide else node.op.range)(node, operands, ranges)
    if max(abs(range_.lowest), abs(range_.highest), range_.partial) >= 1 << WIDEST:
        raise too_many_bits(node)
    return range_


def _of_rows(node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> Range:
    """Return the range of a node with that of all its rows in each of them, from such ranges where that is enough."""
    few = with_few_rows(node, operands)
    if few is not None:
        row, rows = few
        small = [_in_rows(range_, of.shape) for range_, of in zip(ranges, rows, strict=True)]
        return _in_rows(row.op.range(row, rows, small), node.shape)
    range_ = node.op.range(node, operands, ranges)
    return _in_rows(range_, node.shape) if is_large(node) else range_


def with_few_rows(node: Node, operands: Sequence[Node]) -> tuple[Node, list[Node]] | None:
    """Return a node and its operands with as few rows as show what becomes of all; None where that takes all of them.

    That is one row where all are treated alike, and a field as large as the window where neighbours are read: in it,
    too, every neighbour of a pixel is within the field at one pixel and beyond its border at another one.
    """
    axes, op = len(node.shape) - 1, node.op
    leading = {shape[:-1] for shape in (node.shape, *(operand.shape for operand in operands))}
    if op.neighbours is not None:
        pixels = tuple(min(size, length) for size, length in zip(op.neighbours, node.shape, strict=False))
        few = replace(node, shape=(*pixels, node.shape[-1]))
        return few, [replace(of, shape=(*pixels, of.shape[-1])) for of in operands]
    if len(leading) == 1 and op.same_for_rows(node, axes):
        row = replace(node, op=op.one_row(node, axes), shape=node.shape[axes:])
        return row, [replace(of, shape=of.shape[axes:]) for of in operands]
    return None


def _in_rows(range_: Range, shape: tuple[int, ...]) -> Range:
    """Return a range for a shape of the same channels, with the union of all rows in each row."""
    low, high = distinct(range_.low), distinct(range_.high)
    rows = tuple(range(low.ndim - 1))
    return replace(range_, low=np.broadcast_to(low.min(rows), shape), high=np.broadcast_to(high.max(rows), shape))


def require_proven(graph: Graph) -> Graph:
    """Return the graph if every exact edge's format holds its derived range; raise ModelError where one does not.

    Raises it too where an operand can leave what its operation is defined for.
    """
    ranges = derive(graph)
    for name, range_ in ranges.items():
        node = graph.by_name[name]
        node.op.require_inside(node, graph.operands(node), [ranges[operand] for operand in node.inputs])
        if not node.op.states_format and not node.fixed.holds(range_.lowest, range_.highest):
            raise ModelError(
                f"layer '{node.layer}': {node.op.word} '{name}' reaches {range_.lowest}..{range_.highest} steps, "
                f"which {node.fixed} does not hold; {import_again()}"
            )
    return graph


def format_of(range_: Range, fraction: int) -> Fixed:
    """Return the narrowest format that holds a range."""
    return narrowest(range_.lowest, range_.highest, fraction)


def reason(graph: Graph, node: Node, ranges: dict[str, Range]) -> str:
    """Say in one line why an edge is as wide as it is."""
    range_ = ranges[node.name]
    span = f"{range_.lowest}..{range_.highest} steps of 2^{-node.fixed.fraction}"
    return node.op.reason(node, graph.operands(node), span)
