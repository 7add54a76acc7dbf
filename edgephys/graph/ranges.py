"""Interval analysis: the exact range of every element of every edge, and the reason for each width.

Each element has its own interval, so a format derived from it cannot overflow and wastes no bit that
the analysis can see.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, narrowest
from edgephys.graph.graph import Graph, Node
from edgephys.graph.interval import Range, too_many_bits

__all__ = ["Range", "derive", "format_of", "range_of", "reason", "require_proven"]


def derive(graph: Graph) -> dict[str, Range]:
    """Return the range of every node by interval analysis from the formats of the inputs.

    Raises: ModelError where an edge may exceed 62 bits.
    """
    ranges: dict[str, Range] = {}
    for node in graph.nodes:
        ranges[node.name] = range_of(node, graph.operands(node), [ranges[name] for name in node.inputs])
    return ranges


def range_of(node: Node, operands: Sequence[Node], ranges: Sequence[Range]) -> Range:
    """Return the range of a node from those of its operands; raise ModelError where it may exceed 62 bits."""
    range_ = node.op.range(node, operands, ranges)
    if max(abs(range_.lowest), abs(range_.highest), range_.partial) >= 1 << WIDEST:
        raise too_many_bits(node)
    return range_


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
                f"which {node.fixed} does not hold; lower the model again"
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
