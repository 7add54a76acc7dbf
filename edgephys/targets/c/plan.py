"""Graph -> steps: which results are stored, which are fused into the loop of another, and the memory that this takes.

A tensor of shape (..., channel) is stored channel by channel: the rows (constituents or pixels) of a channel are
contiguous, so that they are the lanes of a vector unit. Element-wise operations (bias, scale, ReLU, addition,
requantise) follow the sum that they read in the same loop, and only the result of such a chain, mostly narrow, is
stored. Operations that only move elements (take, reshape, window; concat before a dense layer) are not stored, except
where a reader cannot find the elements by index arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import AlongAxis, Move
from edgephys.graph.ranges import Range, derive
from edgephys.targets.c import memory
from edgephys.targets.c.access import OUTSIDE, access, size_of, type_of
from edgephys.targets.c.roles import ElementRule, InputRule, JoinRule, Role, Roles, SumRule, ViewRule

OFTEN = 4
"""Outputs of a product from which on a copy of the caller's input, channel by channel, makes it faster."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """State an array: the type of its elements, and the position of each element of the node that it holds."""

    name: str
    ctype: str
    positions: Integers

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return int(self.positions.size) * size_of(self.ctype)


@dataclass(frozen=True, eq=False)
class StepFunction:
    """State one function: it computes ``node`` from ``reads`` into ``writes``, or copies it with axes transposed."""

    node: Node
    reads: tuple[Buffer, ...]
    writes: Buffer
    transposes: bool = False


@dataclass(frozen=True, eq=False)
class Program:
    """Hold a graph, the role and range of each node, the buffers of stored nodes, and the steps in order.

    ``transposed`` is the copy of the caller's input, channel by channel, where products read it often.
    """

    graph: Graph
    roles: Roles
    ranges: Mapping[str, Range]
    buffers: Mapping[str, Buffer]
    transposed: Buffer | None = None
    steps: tuple[StepFunction, ...] = ()

    def located(self, name: str, reader: Node | None = None) -> tuple[Buffer, Integers]:
        """Return the buffer that holds a node's elements, and their positions in it."""
        node = self.graph.by_name[name]
        if name in self.buffers:
            buffer = self.buffers[name]
            if self.transposed is not None and reader is not None and isinstance(self.roles[name], InputRule):
                buffer = self.transposed if _reads_often(reader, self.roles) else buffer
            return buffer, buffer.positions
        buffer, positions = self.located(node.inputs[0], reader)
        return buffer, moved(node, positions)

    def product(self, reader: Node) -> Node | None:
        """Return a reader that is a product, else None: only products read the transposed input."""
        return reader if reads_rows(self.roles[reader.name]) else None

    @cached_property
    def tensors(self) -> tuple[memory.Tensor, ...]:
        """Sizes and lifetimes of the buffers in the arena: all but the caller's input and output."""
        uses: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            for buffer in (*step.reads, step.writes):
                uses.setdefault(buffer.name, []).append(number)
        sizes = {step.writes.name: step.writes.size for step in self.steps if step.writes.name != "output"}
        return tuple(memory.Tensor(name, size, min(uses[name]), max(uses[name])) for name, size in sizes.items())

    @property
    def alignment(self) -> int:
        """Bytes of the widest element in the arena, at least 4."""
        return max([4, *(size_of(step.writes.ctype) for step in self.steps)])


def moved(node: Node, positions: Integers) -> Integers:
    """Return the positions of a view's elements, from those of its operand."""
    if not isinstance(node.op, Move):
        raise node.wrong("an operation with a ViewRule must be a Move; give it another rule")
    places: Integers = node.op.moved(positions, node.shape, outside=OUTSIDE)
    return places


def flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a shape's (rows, channels)."""
    return prod(shape[:-1]), shape[-1] if shape else 1


def reads_rows(role: Role) -> bool:
    """Say whether a role is that of a product with a matrix."""
    return isinstance(role, SumRule) and role.reads_rows


def plan(graph: Graph, roles: Roles) -> Program:
    """Return the program of a graph with one input and one output.

    Raises: ModelError, naming the layer, where an edge may need over 62 bits.
    """
    source, output = graph.input, graph.output
    if source is output:
        raise ModelError(f"graph '{graph.name}': its output is its input; expected a model that computes something")
    ranges = derive(graph)
    stored = _stored(graph, roles)
    buffers = {source.name: Buffer("input", type_of(source.fixed.low, source.fixed.high), _row_major(source.shape))}
    for number, node in enumerate(graph.nodes):
        if node.name == output.name:
            ctype = type_of(node.fixed.low, node.fixed.high)
            buffers[node.name] = Buffer("output", ctype, _row_major(node.shape))
        elif node.name in stored:
            ctype = type_of(ranges[node.name].lowest, ranges[node.name].highest)
            buffers[node.name] = Buffer(f"t{number}_{name_of(node)}", ctype, _channel_major(node.shape))
    program, steps = Program(graph, roles, ranges, buffers), []
    often = [node for node in graph.nodes if _reads_often(node, roles)]
    if any(source.name in _stored_sources(graph, roles, node.inputs[0], stored) for node in often):
        transposed = Buffer("turned", buffers[source.name].ctype, _channel_major(source.shape))
        program = replace(program, transposed=transposed)
        steps = [StepFunction(source, (buffers[source.name],), transposed, True)]
    steps += [_step(program, node) for node in graph.nodes if node.name in stored]
    return replace(program, steps=tuple(steps))


def name_of(node: Node) -> str:
    """Return a node's layer as part of a C name."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in node.layer)


def _row_major(shape: tuple[int, ...]) -> Integers:
    return np.arange(prod(shape)).reshape(shape)


def _channel_major(shape: tuple[int, ...]) -> Integers:
    rows, channels = flat(shape)
    return np.arange(rows * channels).reshape(channels, rows).T.reshape(shape)


def _reads_often(reader: Node, roles: Roles) -> bool:
    """Say whether a product has so many outputs and rows that its input should lie channel by channel."""
    return reads_rows(roles[reader.name]) and reader.shape[-1] >= OFTEN and prod(reader.shape[:-1]) > 1


def _stored_sources(graph: Graph, roles: Roles, name: str, stored: frozenset[str]) -> set[str]:
    """Return the stored nodes that a node is computed from; none behind a window, which a convolution reads itself."""
    role = roles[name]
    if name in stored or isinstance(role, InputRule):
        return {name}
    if isinstance(role, ViewRule) and role.convolves:
        return set()
    return set().union(*(_stored_sources(graph, roles, operand, stored) for operand in graph.by_name[name].inputs))


def _step(program: Program, node: Node) -> StepFunction:
    buffers: dict[str, Buffer] = {}

    def collect(reader: Node) -> None:
        for name in reader.inputs:
            operand, role = program.graph.by_name[name], program.roles[name]
            if name in program.buffers or isinstance(role, ViewRule):
                buffer, _ = program.located(name, program.product(reader))
                buffers[buffer.name] = buffer
            elif isinstance(role, JoinRule):
                for part in operand.inputs:
                    buffer, _ = program.located(part, reader)
                    buffers[buffer.name] = buffer
            else:
                collect(operand)

    collect(node)
    return StepFunction(node, tuple(buffers.values()), program.buffers[node.name])


# What is stored ----------------------------------------------------------------------------------


def _stored(graph: Graph, roles: Roles) -> frozenset[str]:
    """Return the stored nodes: the output, the ends of chains, and what index arithmetic cannot reach."""
    stored = {graph.output.name}
    stored.update(node.name for node in graph.nodes if _is_stored(graph, roles, node))
    for node in graph.nodes:
        if isinstance(roles[node.name], ElementRule):  # a chain has one sum
            fused = [name for name in node.inputs if name not in stored and _has_sum(graph, roles, name, stored)]
            stored.update(fused[:-1])
    while more := set().union(*(_out_of_reach(graph, roles, node, stored) for node in graph.nodes)) - stored:
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


def _out_of_reach(graph: Graph, roles: Roles, node: Node, stored: set[str]) -> set[str]:
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
    return {name for name in parts if not _reached(graph, roles, name, stored)}


def _reached(graph: Graph, roles: Roles, name: str, stored: set[str]) -> bool:
    """Say whether the positions of a node are a sum of a term for the row and one for the channel.

    This must hold for both layouts of the caller's input.
    """
    node = graph.by_name[name]
    views: list[Node] = []
    while isinstance(roles[node.name], ViewRule) and node.name not in stored:
        views.append(node)
        node = graph.by_name[node.inputs[0]]
    if isinstance(roles[node.name], JoinRule) and node.name not in stored:
        return False
    layouts = [_channel_major(node.shape)] + [_row_major(node.shape)] * isinstance(roles[node.name], InputRule)
    for positions in layouts:
        for view in reversed(views):
            positions = moved(view, positions)
        if not access(positions.reshape(flat(positions.shape))).separable:
            return False
    return True
