"""Which nodes of a graph are stored: the output, the ends of chains, and what index arithmetic cannot reach."""

from __future__ import annotations

from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import AlongAxis
from edgephys.targets.c.access import access
from edgephys.targets.c.layout import channel_major, flat, moved, row_major
from edgephys.targets.c.roles import ElementRule, InputRule, JoinRule, Roles, SumRule, ViewRule, reads_rows


def stored_nodes(graph: Graph, roles: Roles, lanes: int) -> frozenset[str]:
    """Return the stored nodes: the output, the ends of chains, and what index arithmetic cannot reach.

    With ``lanes`` events together the caller's input lies row after row, as all arrays.
    """
    stored = {graph.output.name}
    stored.update(node.name for node in graph.nodes if _is_stored(graph, roles, node))
    for node in graph.nodes:
        if isinstance(roles[node.name], ElementRule):  # a chain has one sum
            fused = [name for name in node.inputs if name not in stored and _has_sum(graph, roles, name, stored)]
            stored.update(fused[:-1])
    while more := set().union(*(_out_of_reach(graph, roles, node, stored, lanes) for node in graph.nodes)) - stored:
        stored |= more  # a stored view changes the positions of its readers: check them again
    return frozenset(stored)


def _is_stored(graph: Graph, roles: Roles, node: Node) -> bool:
    role, readers = roles[node.name], [roles[reader.name] for reader in graph.readers[node.name]]
    if isinstance(role, JoinRule):
        last = isinstance(node.op, AlongAxis) and node.op.axis == len(node.shape) - 1
        return not (last and all(map(reads_rows, readers)))
    if isinstance(role, SumRule | ElementRule):
        return len(readers) != 1 or not isinstance(readers[0], ElementRule)
    return False


def _has_sum(graph: Graph, roles: Roles, name: str, stored: set[str]) -> bool:
    """Say whether the chain that ends in a node contains a sum."""
    role = roles[name]
    if not isinstance(role, ElementRule):
        return isinstance(role, SumRule)
    inputs = graph.by_name[name].inputs
    return any(operand not in stored and _has_sum(graph, roles, operand, stored) for operand in inputs)


def _out_of_reach(graph: Graph, roles: Roles, node: Node, stored: set[str], lanes: int) -> set[str]:
    """Return the nodes that must be stored so that a product can read them by row and channel."""
    if not reads_rows(roles[node.name]):
        return set()
    operand = graph.by_name[node.inputs[0]]
    role = roles[operand.name]
    if operand.name in stored or isinstance(role, InputRule):
        return set()
    if isinstance(role, ViewRule) and role.convolves:
        field = operand.inputs[0]
        return set() if field in stored or isinstance(roles[field], InputRule) else {field}
    parts = operand.inputs if isinstance(role, JoinRule) else (operand.name,)
    return {name for name in parts if not _reached(graph, roles, name, stored, lanes)}


def _reached(graph: Graph, roles: Roles, name: str, stored: set[str], lanes: int) -> bool:
    """Say whether the positions of a node are a sum of a term for the row and one for the channel.

    This must hold for both layouts of the caller's input; where events are lanes, there is one layout.
    """
    node = graph.by_name[name]
    views: list[Node] = []
    while isinstance(roles[node.name], ViewRule) and node.name not in stored:
        views.append(node)
        node = graph.by_name[node.inputs[0]]
    if isinstance(roles[node.name], JoinRule) and node.name not in stored:
        return False
    layouts = [row_major(node.shape)] if lanes > 1 else [channel_major(node.shape)]
    if lanes == 1 and isinstance(roles[node.name], InputRule):
        layouts.append(row_major(node.shape))
    for positions in layouts:
        for view in reversed(views):
            positions = moved(view, positions)
        if not access(positions.reshape(flat(positions.shape))).separable:
            return False
    return True


def stored_sources(graph: Graph, roles: Roles, name: str, stored: frozenset[str]) -> set[str]:
    """Return the stored nodes that a node is computed from; none behind a window, which a convolution reads itself."""
    role = roles[name]
    if name in stored or isinstance(role, InputRule):
        return {name}
    if isinstance(role, ViewRule) and role.convolves:
        return set()
    return set().union(*(stored_sources(graph, roles, operand, stored) for operand in graph.by_name[name].inputs))
