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

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ranges import Range, derive
from edgephys.targets.c import memory
from edgephys.targets.c.access import size_of, type_of
from edgephys.targets.c.layout import channel_major, moved, row_major
from edgephys.targets.c.roles import InputRule, JoinRule, Roles, SumRule, ViewRule, reads_rows
from edgephys.targets.c.stored import stored_nodes, stored_sources

CACHE_LINE = 64
"""Bytes to which the arrays of a batch are aligned, so that no vector lies across two lines of a cache."""
OFTEN = 4
"""Outputs of a product from which on a copy of the caller's input, channel by channel, makes it faster."""


NARROW = "int16_t"
"""The narrowest type of a lane. C computes it in int: a result is narrowed by a cast."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """State an array: the type of its elements, and the position of each element of the node that it holds.

    With ``lanes`` each element is as many integers, side by side: one for each event of a block.
    """

    name: str
    ctype: str
    positions: Integers
    lanes: int = 1

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return int(self.positions.size) * size_of(self.ctype) * self.lanes


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

    ``transposed`` is the copy of the caller's input, channel by channel, where products read it often. With ``lanes``
    the steps compute as many events together; the buffers of input and output are then arrays of the arena, too.
    """

    graph: Graph
    roles: Roles
    ranges: Mapping[str, Range]
    buffers: Mapping[str, Buffer]
    transposed: Buffer | None = None
    steps: tuple[StepFunction, ...] = ()
    lanes: int = 1

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
        buffers = [step.writes for step in self.steps if step.writes.name != "output"]
        if self.lanes > 1:  # copied from the caller before the first step, and to the caller after the last one
            ends = self.buffers[self.graph.input.name], self.buffers[self.graph.output.name]
            buffers = [ends[0], *buffers, ends[1]]
            uses.setdefault(ends[0].name, []).append(0)
            uses[ends[1].name].append(len(self.steps) - 1)
        sizes = {buffer.name: buffer.size for buffer in buffers}
        return tuple(memory.Tensor(name, size, min(uses[name]), max(uses[name])) for name, size in sizes.items())

    @property
    def alignment(self) -> int:
        """Bytes of the widest element in the arena, at least 4."""
        if self.lanes > 1:
            return CACHE_LINE
        return max([4, *(size_of(step.writes.ctype) for step in self.steps)])


def carrier(magnitude: int, narrow: bool = False) -> str:
    """Return the type in which integers of at most this magnitude are computed; of 16 bits only where it is narrow."""
    if narrow and magnitude < 1 << 15:
        return NARROW
    return "int32_t" if magnitude < 1 << 31 else "int64_t"


def stored_type(low: int, high: int) -> str:
    """Return the type of an array; of 16 bits signed ones, whose products processors add up in pairs."""
    ctype = type_of(low, high)
    return NARROW if ctype == f"u{NARROW}" and high < 1 << 15 else ctype


def plan(graph: Graph, roles: Roles, lanes: int = 1) -> Program:
    """Return the program of a graph with one input and one output, for one event or for as many as there are lanes.

    Raises: ModelError, naming the layer, where an edge may need over 62 bits.
    """
    source, output = graph.input, graph.output
    if source is output:
        raise ModelError(f"graph '{graph.name}': its output is its input; expected a model that computes something")
    ranges = derive(graph)
    stored = stored_nodes(graph, roles, lanes)
    if lanes > 1:
        return _in_lanes(graph, roles, ranges, stored, lanes)
    buffers = {source.name: Buffer("input", type_of(source.fixed.low, source.fixed.high), row_major(source.shape))}
    for number, node in enumerate(graph.nodes):
        if node.name == output.name:
            ctype = type_of(node.fixed.low, node.fixed.high)
            buffers[node.name] = Buffer("output", ctype, row_major(node.shape))
        elif node.name in stored:
            ctype = stored_type(ranges[node.name].lowest, ranges[node.name].highest)
            buffers[node.name] = Buffer(f"t{number}_{name_of(node)}", ctype, channel_major(node.shape))
    program, steps = Program(graph, roles, ranges, buffers), []
    often = [node for node in graph.nodes if _reads_often(node, roles)]
    if any(source.name in stored_sources(graph, roles, node.inputs[0], stored) for node in often):
        transposed = Buffer("turned", buffers[source.name].ctype, channel_major(source.shape))
        program = replace(program, transposed=transposed)
        steps = [StepFunction(source, (buffers[source.name],), transposed, True)]
    steps += [_step(program, node) for node in graph.nodes if node.name in stored]
    return replace(program, steps=tuple(steps))


def _in_lanes(graph: Graph, roles: Roles, ranges: Mapping[str, Range], stored: frozenset[str], lanes: int) -> Program:
    """Return the program of a block of events: row after row, each element a vector with a lane for each event."""
    buffers = {}
    for number, node in enumerate(graph.nodes):
        if node is graph.input or node.name in stored:
            low, high = ranges[node.name].lowest, ranges[node.name].highest
            if node is graph.input or node is graph.output:
                low, high = min(low, node.fixed.low), max(high, node.fixed.high)
            ctype = carrier(max(abs(low), abs(high)), narrow=True)
            buffers[node.name] = Buffer(f"t{number}_{name_of(node)}", ctype, row_major(node.shape), lanes)
    program = Program(graph, roles, ranges, buffers, lanes=lanes)
    return replace(program, steps=tuple(_step(program, node) for node in graph.nodes if node.name in stored))


def not_laned(graph: Graph, roles: Roles) -> Node | None:
    """Return the first node whose rule writes no loop over lanes: a convolution, or a rule that does not say so."""
    for node in graph.nodes:
        role = roles[node.name]
        if isinstance(role, JoinRule | SumRule) and not role.laned:
            return node
        readers = [roles[reader.name] for reader in graph.readers[node.name]]
        if isinstance(role, ViewRule) and role.convolves and any(map(reads_rows, readers)):
            return node
    return None


def name_of(node: Node) -> str:
    """Return a node's layer as part of a C name."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in node.layer)


def _reads_often(reader: Node, roles: Roles) -> bool:
    """Say whether a product has so many outputs and rows that its input should lie channel by channel."""
    return reads_rows(roles[reader.name]) and reader.shape[-1] >= OFTEN and prod(reader.shape[:-1]) > 1


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
