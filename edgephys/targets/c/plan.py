"""Graph -> steps: what is stored, what is fused into the loop that stores it, and which bytes all that takes.

A tensor of shape (..., channel) is stored channel by channel: the rows, constituents or pixels, of a channel lie side
by side, so that they are the lanes of a vector unit. Stored are the results of chains: bias, scale, ReLU, addition and
requantise follow the sum that they belong to in one loop, and only what leaves it, mostly narrow, goes to memory.
What only moves elements (take, reshape, window; concat before a dense layer) is never stored, but for the few moves
that a reader cannot say in index arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Add, Concat, Dense, Elementwise, Input, Move, Sum, Window
from edgephys.graph.ranges import Range, derive
from edgephys.targets.c import memory
from edgephys.targets.c.access import access, size_of, type_of

VIEWS = Move
SUMS = (Dense, Sum)
CHAIN = Elementwise
"""Kinds that compute element by element."""
OFTEN = 4
"""Outputs of a dense layer from which on it pays to lay the caller's input out channel by channel for it."""


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
class Step:
    """State one function: it computes ``node`` from ``reads`` into ``writes``; a ``turned`` one only copies."""

    node: Node
    reads: tuple[Buffer, ...]
    writes: Buffer
    turned: bool = False


@dataclass(frozen=True, eq=False)
class Program:
    """Hold a graph with its stored nodes, their buffers and the steps in order."""

    graph: Graph
    ranges: Mapping[str, Range]
    kept: frozenset[str]
    buffers: Mapping[str, Buffer]
    turned: Buffer | None
    steps: tuple[Step, ...]

    def located(self, name: str, reader: Node | None = None) -> tuple[Buffer, Integers]:
        """Return the buffer in which a node's elements lie, stored or seen through others, and their positions."""
        node = self.graph.by_name[name]
        if name in self.buffers:
            buffer = self.buffers[name]
            if isinstance(node.op, Input) and self.turned is not None and reader is not None and _turns(reader):
                buffer = self.turned
            return buffer, buffer.positions
        buffer, positions = self.located(node.inputs[0], reader)
        return buffer, moved(node, positions)

    @cached_property
    def tensors(self) -> tuple[memory.Tensor, ...]:
        """Sizes and lifetimes of what lies in the arena: neither the caller's input nor the output."""
        found: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            for buffer in (*step.reads, step.writes):
                found.setdefault(buffer.name, []).append(number)
        sizes = {step.writes.name: step.writes.size for step in self.steps if step.writes.name != "output"}
        return tuple(memory.Tensor(name, size, min(found[name]), max(found[name])) for name, size in sizes.items())

    @property
    def alignment(self) -> int:
        """Bytes of the widest element in the arena, at least 4."""
        return max([4, *(size_of(step.writes.ctype) for step in self.steps)])


def moved(node: Node, positions: Integers) -> Integers:
    """Return the positions of a view's elements, from those of its operand."""
    if not isinstance(node.op, Move):
        raise node.wrong("it must move elements to be a view")
    moved: Integers = node.op.moved(positions, node.shape, outside=-1)
    return moved


def flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a shape's (rows, channels)."""
    return prod(shape[:-1]), shape[-1] if shape else 1


def plan(graph: Graph) -> Program:
    """Return the program of a graph with one input and one output.

    Raises: ModelError where an edge may need over 62 bits, naming its layer.
    """
    source, output = graph.input, graph.output
    if source is output:
        raise ModelError(f"graph '{graph.name}': its output is its input; expected a model that computes something")
    ranges = derive(graph)
    kept = _kept(graph)
    buffers = {source.name: Buffer("input", type_of(source.fixed.low, source.fixed.high), _row_major(source.shape))}
    for number, node in enumerate(graph.nodes):
        if node.name == output.name:
            ctype = type_of(node.fixed.low, node.fixed.high)
            buffers[node.name] = Buffer("output", ctype, _row_major(node.shape))
        elif node.name in kept:
            ctype = type_of(ranges[node.name].lowest, ranges[node.name].highest)
            buffers[node.name] = Buffer(f"t{number}_{name_of(node)}", ctype, _channel_major(node.shape))
    turned = None
    if any(_turns(node) and source.name in _seen_from(graph, node.inputs[0], kept) for node in graph.nodes):
        turned = Buffer("turned", buffers[source.name].ctype, _channel_major(source.shape))
    program = Program(graph, ranges, kept, buffers, turned, ())
    steps = [Step(source, (buffers[source.name],), turned, True)] if turned is not None else []
    steps += [_step(program, node) for node in graph.nodes if node.name in kept]
    return Program(graph, ranges, kept, buffers, turned, tuple(steps))


def name_of(node: Node) -> str:
    """Return a node's layer as part of a C name."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in node.layer)


def _row_major(shape: tuple[int, ...]) -> Integers:
    return np.arange(prod(shape)).reshape(shape)


def _channel_major(shape: tuple[int, ...]) -> Integers:
    rows, channels = flat(shape)
    return np.arange(rows * channels).reshape(channels, rows).T.reshape(shape)


def _turns(reader: Node) -> bool:
    """Say whether a node reads each element of its input so often, for so many rows, that it should lie in lanes."""
    return isinstance(reader.op, Dense) and reader.shape[-1] >= OFTEN and prod(reader.shape[:-1]) > 1


def _seen_from(graph: Graph, name: str, kept: frozenset[str]) -> set[str]:
    """Return the stored nodes that a node is seen from, where it is no window onto them."""
    node = graph.by_name[name]
    if name in kept or isinstance(node.op, Input):
        return {name}
    if isinstance(node.op, Window):
        return set()
    return set().union(*(_seen_from(graph, operand, kept) for operand in node.inputs))


def _step(program: Program, node: Node) -> Step:
    buffers: dict[str, Buffer] = {}

    def collect(reader: Node) -> None:
        for name in reader.inputs:
            operand = program.graph.by_name[name]
            if name in program.buffers or isinstance(operand.op, VIEWS):
                buffer, _ = program.located(name, reader if isinstance(reader.op, Dense) else None)
                buffers[buffer.name] = buffer
            elif isinstance(operand.op, Concat):
                for part in operand.inputs:
                    buffer, _ = program.located(part, reader)
                    buffers[buffer.name] = buffer
            else:
                collect(operand)

    collect(node)
    return Step(node, tuple(buffers.values()), program.buffers[node.name])


# What is stored ----------------------------------------------------------------------------------


def _kept(graph: Graph) -> frozenset[str]:
    """Return the nodes that are stored: the output, what a chain ends in, and what no index arithmetic reaches."""
    kept = {graph.output.name}
    for node in graph.nodes:
        readers = graph.readers[node.name]
        if isinstance(node.op, Concat):
            joined = node.op.axis == len(node.shape) - 1 and all(isinstance(reader.op, Dense) for reader in readers)
            keep = not joined
        elif isinstance(node.op, (*SUMS, CHAIN)):
            keep = len(readers) != 1 or not isinstance(readers[0].op, CHAIN)
        else:
            keep = False
        if keep:
            kept.add(node.name)
    for node in graph.nodes:
        if isinstance(node.op, Add):  # one chain holds one sum
            fused = [name for name in node.inputs if name not in kept and _sums(graph, name, kept)]
            kept.update(fused[:-1])
    while more := set().union(*(_out_of_reach(graph, node, kept) for node in graph.nodes)) - kept:
        kept |= more  # storing a view moves what is seen through it: look again
    return frozenset(kept)


def _sums(graph: Graph, name: str, kept: set[str]) -> bool:
    """Say whether a sum is fused into the chain that ends in a node."""
    node = graph.by_name[name]
    if isinstance(node.op, SUMS):
        return True
    return isinstance(node.op, CHAIN) and any(
        operand not in kept and _sums(graph, operand, kept) for operand in node.inputs
    )


def _out_of_reach(graph: Graph, node: Node, kept: set[str]) -> set[str]:
    """Return what must be stored for a dense layer to read it by rows and by channels."""
    if not isinstance(node.op, Dense):
        return set()
    operand = graph.by_name[node.inputs[0]]
    if operand.name in kept or isinstance(operand.op, Input):
        return set()
    if isinstance(operand.op, Window):
        field = graph.by_name[operand.inputs[0]]
        return set() if field.name in kept or isinstance(field.op, Input) else {field.name}
    parts = operand.inputs if isinstance(operand.op, Concat) else (operand.name,)
    return {name for name in parts if not _reached(graph, name, kept)}


def _reached(graph: Graph, name: str, kept: set[str]) -> bool:
    """Say whether rows and channels have each a part in the positions of a node, in either layout of the input."""
    node = graph.by_name[name]
    chain: list[Node] = []
    while isinstance(node.op, VIEWS) and node.name not in kept:
        chain.append(node)
        node = graph.by_name[node.inputs[0]]
    if isinstance(node.op, Concat) and node.name not in kept:
        return False
    layouts = [_channel_major(node.shape)] + [_row_major(node.shape)] * (isinstance(node.op, Input))
    for positions in layouts:
        for view in reversed(chain):
            positions = moved(view, positions)
        if not access(positions.reshape(flat(positions.shape))).separable:
            return False
    return True
