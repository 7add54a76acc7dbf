"""Divide every edge of a graph into beats, so that the graph is a chain of processes that pass on a beat at a time.

The input has a pixel a beat, or a row where it is no field. An operation that does the same to every beat keeps them.
Operations that only move numbers between beats (patches of a convolution, a reshape, zeros around a field) are followed
back to what was computed: together they are patches of a field, which need a line buffer, or the same numbers in the
same order, which need nothing, or any other order, which needs a whole frame in memory. Sums and products over numbers
of several beats add them up as they come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.ops import Broadcast, Concat, Dense, Elementwise, Input, Lookup, Move, Reshape, Sum, constant_of
from edgephys.graph.partition import one_row
from edgephys.graph.ranges import derive
from edgephys.targets.hls.patches import OUTSIDE, fitted, whole_beats
from edgephys.targets.hls.stream_rules import BeatDenseRule, BeatSumRule, PatchesRule, RearrangeRule, StreamRule
from edgephys.targets.rtl.stream import AXES


@dataclass(frozen=True, eq=False)
class Streamed:
    """State an edge of a stream: its node, the edges that it reads, and what happens to one beat.

    ``rule`` is the rule of its step where that of the operation is not meant: numbers that are moved between beats.
    """

    name: str
    node: Node
    inputs: tuple[str, ...]
    one: Node
    ones: tuple[Node, ...]
    beats: int
    rule: StreamRule | None = None


@dataclass(frozen=True, eq=False)
class _Moved:
    """Hold where the numbers of a node come from: indices into the numbers of ``base``, in order, and their beats.

    Without a rule they are those of the base in the same order.
    """

    base: str
    indices: Integers
    beats: int
    rule: PatchesRule | RearrangeRule | None

    @property
    def rearranged(self) -> int:
        """Number of groups that a whole frame is held for; 0 where none is."""
        return len(self.rule.groups) if isinstance(self.rule, RearrangeRule) else 0


def divided(graph: Graph) -> tuple[Streamed, ...]:
    """Return the edges of a graph that are computed in a stream, in order; the last one is the output.

    Raises: ModelError where the input has one axis.
    """
    if len(graph.input.shape) < AXES:
        raise ModelError(
            f"graph '{graph.name}': a stream needs an input of rows (row, channel) or a field (row, column, channel), "
            f"not {graph.input.shape}; leave io out"
        )
    division = _Division(graph)
    for node in graph.alive():
        division.place(node)
    return division.result()


class _Division:
    """Collect the edges of a stream, node by node."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._order = {node.name: number for number, node in enumerate(graph.nodes)}
        self._edges: dict[str, Streamed] = {}
        self._moved: dict[str, _Moved] = {}

    def place(self, node: Node) -> None:
        """Add a node, all operands of which have been added."""
        if isinstance(node.op, Input):
            beats = prod(node.shape[:-1])
            self._edges[node.name] = Streamed(node.name, node, (), _one(node, beats), (), beats)
            return
        moved = self._followed(node)
        if moved is not None:
            self._moved[node.name] = moved
            return
        self._edges[node.name] = self._computed(node)

    def result(self) -> tuple[Streamed, ...]:
        """Return the edges that the output needs, in the order of their nodes."""
        needed = {self._edge(self._graph.output.name).name}
        for edge in sorted(self._edges.values(), key=self._place, reverse=True):
            if edge.name in needed:
                needed.update(edge.inputs)
        return tuple(edge for edge in sorted(self._edges.values(), key=self._place) if edge.name in needed)

    def _place(self, edge: Streamed) -> tuple[int, bool]:
        return self._order[edge.node.name], edge.name != edge.node.name

    # Numbers that only move -----------------------------------------------------------------------

    def _followed(self, node: Node) -> _Moved | None:
        """Return where the numbers of a node come from that only moves them between beats; None for another node."""
        sources = [name for name in node.inputs if not (isinstance(node.op, Concat) and name in self._zeros)]
        if len(sources) != 1 or not (isinstance(node.op, Move) or len(node.inputs) > 1):
            return None
        (source,) = sources
        earlier = self._moved.get(source)
        follows = earlier is not None and isinstance(node.op, Reshape)
        if not follows and self._axes(node) is not None:
            return None
        directly = self._laid(node, source, self._indices(node, source, None))
        if earlier is None:
            return directly
        at_once = self._laid(node, earlier.base, self._indices(node, source, earlier))
        return at_once if at_once.rearranged <= earlier.rearranged + directly.rearranged else directly

    @cached_property
    def _zeros(self) -> frozenset[str]:
        """Names of the nodes that are 0 for every input."""
        ranges = derive(self._graph)
        return frozenset(name for name, range_ in ranges.items() if range_.lowest == range_.highest == 0)

    def _indices(self, node: Node, source: str, earlier: _Moved | None) -> Integers:
        """Return for each number of a node its index in the base of its source, or in the source itself."""
        operands = self._graph.operands(node)

        def of(operand: Node) -> Integers:
            if operand.name != source:
                return np.full(operand.shape, OUTSIDE)
            own = np.arange(prod(operand.shape)) if earlier is None else earlier.indices
            return own.reshape(operand.shape)

        if isinstance(node.op, Move):
            return np.asarray(node.op.moved(of(operands[0]), node.shape, outside=OUTSIDE)).reshape(-1)
        axis = node.op.axis if isinstance(node.op, Concat) else 0
        return np.concatenate([of(operand) for operand in operands], axis).reshape(-1)

    def _laid(self, node: Node, base: str, indices: Integers) -> _Moved:
        """Return how the numbers of a node are read from the beats of its base."""
        source = self._edge(base)
        chunk = prod(source.one.shape)
        rows = whole_beats(indices, chunk)
        if rows is not None and np.array_equal(rows, np.arange(source.beats)):
            return _Moved(base, indices, source.beats, None)
        if rows is not None:
            for axes in range(len(node.shape) - 1, 0, -1):  # as narrow as can be
                count = (prod(node.shape[: axes - 1]), node.shape[axes - 1])
                fields = (_field(source), (1, source.beats)) if len(rows) % prod(count) == 0 else ()
                for patches in (fitted(rows.reshape(*count, -1), field) for field in dict.fromkeys(fields)):
                    if patches is not None:
                        return _Moved(base, indices, prod(count), PatchesRule(patches))
        beats = prod(node.shape[: min(AXES, len(node.shape) - 1)])
        if len(node.shape) == 1 and indices.size % chunk == 0:  # as wide as they come
            beats = indices.size // chunk
        return _Moved(base, indices, beats, _rearranged(source, indices, beats, node.shape[-1]))

    def _edge(self, name: str, beats: int | None = None) -> Streamed:
        """Return the edge of a node, in so many beats if stated."""
        moved = self._moved.get(name)
        if moved is not None and moved.rule is None and name not in self._edges:
            edge = self._edge(moved.base)
        else:
            if moved is not None and moved.rule is not None and name not in self._edges:
                node, base = self._graph.by_name[name], self._edge(moved.base)
                one = _one(node, moved.beats)
                self._edges[name] = Streamed(name, node, (base.name,), one, (base.one,), moved.beats, moved.rule)
            edge = self._edges[name]
        if beats is None or beats == edge.beats:
            return edge
        again = f"{name} in {beats}"
        if again not in self._edges:
            node = self._graph.by_name[name]
            rule = _rearranged(edge, np.arange(prod(node.shape)), beats, node.shape[-1] if node.shape else 1)
            self._edges[again] = Streamed(again, node, (edge.name,), _one(node, beats), (edge.one,), beats, rule)
        return self._edges[again]

    # Numbers that are computed --------------------------------------------------------------------

    def _axes(self, node: Node) -> int | None:
        """Return the leading axes that are the beats of a node and its operands alike, if it treats all rows alike."""
        beats = {self._edge(name).beats for name in node.inputs}
        if len(beats) != 1:
            return None
        return self._common(node, beats.pop())

    def _common(self, node: Node, beats: int) -> int | None:
        shapes = [node.shape, *(operand.shape for operand in self._graph.operands(node))]
        axes = _leading(node.shape, beats)
        if axes is None or len({shape[:axes] for shape in shapes}) > 1 or not node.op.same_for_rows(node, axes):
            return None
        return axes

    def _computed(self, node: Node) -> Streamed:
        axes = self._axes(node)
        edges = [self._edge(name) for name in node.inputs]
        if axes is not None:
            return self._in_rows(node, axes)
        chunk = prod(edges[0].one.shape)
        if isinstance(node.op, Sum):
            shape, axis = self._graph.operands(node)[0].shape, node.op.axis
            inner = prod(shape[axis + 1 :])
            if inner % chunk == 0:
                beats = edges[0].beats // shape[axis]
                return self._over_beats(node, beats, BeatSumRule(shape[axis], inner // chunk))
        if isinstance(node.op, Dense):
            inputs = node.op.constant.integers.shape[0]
            if inputs % chunk == 0:
                terms = inputs // chunk
                return self._over_beats(node, edges[0].beats // terms, BeatDenseRule(terms))
        beats = max(edge.beats for edge in edges)
        if (
            isinstance(node.op, Elementwise)
            and (edge_chunk := prod(node.shape) // beats)
            and (not isinstance(node.op, Lookup) or edge_chunk % len(node.op.tables) == 0)
        ):
            return self._element_by_element(node, beats)
        for prefix in range(len(node.shape), -1, -1):  # as many beats as can be
            axes = self._common(node, prod(node.shape[:prefix]))
            if axes is not None:
                return self._in_rows(node, axes)
        raise ModelError(
            f"layer '{node.layer}': {node.op.word} '{node.name}' has no stream; use io 'parallel', or emit it to rtl"
        )

    def _in_rows(self, node: Node, axes: int) -> Streamed:
        """Return a node that does the same to each row of its leading axes, a row a beat."""
        beats = prod(node.shape[:axes])
        inputs = tuple(self._edge(name, beats).name for name in node.inputs)
        ones = tuple(one_row(operand, axes) for operand in self._graph.operands(node))
        return Streamed(node.name, node, inputs, one_row(node, axes), ones, beats)

    def _over_beats(self, node: Node, beats: int, rule: StreamRule) -> Streamed:
        (name,) = node.inputs
        edge = self._edge(name)
        return Streamed(node.name, node, (edge.name,), _one(node, beats), (edge.one,), beats, rule)

    def _element_by_element(self, node: Node, beats: int) -> Streamed:
        """Return a node that computes each number from those at the same place, whatever numbers a beat has."""
        edges = [self._edge(name, beats) for name in node.inputs]
        chunk = (prod(node.shape) // beats,)
        one = replace(node, shape=chunk)
        if isinstance(node.op, Broadcast):
            constant = constant_of(node)
            rows = np.broadcast_to(constant.integers, node.shape).reshape(beats, -1)
            rows = rows[0] if (rows == rows[:1]).all() else rows
            one = replace(one, op=replace(node.op, constant=Constant(rows, constant.fraction)))
        ones = tuple(replace(operand, shape=chunk) for operand in self._graph.operands(node))
        return Streamed(node.name, node, tuple(edge.name for edge in edges), one, ones, beats)


def _leading(shape: tuple[int, ...], beats: int) -> int | None:
    """Return the fewest leading axes of a shape that have so many rows; None where no axes have."""
    return next((axes for axes in range(len(shape) + 1) if prod(shape[:axes]) == beats), None)


def _one(node: Node, beats: int) -> Node:
    """Return a node with the shape of one beat, of which nothing but the shape is meant."""
    axes = _leading(node.shape, beats)
    shape = (prod(node.shape) // beats,) if axes is None else node.shape[axes:]
    return replace(node, shape=shape)


def _field(edge: Streamed) -> tuple[int, int]:
    """Return the rows and columns of the beats of an edge; one row where it has no two axes of them."""
    shape = edge.node.shape[:AXES]
    is_field = len(edge.node.shape) > AXES and prod(shape) == edge.beats
    return (shape[0], shape[1]) if is_field else (1, edge.beats)


def _rearranged(source: Streamed, indices: Integers, beats: int, channels: int) -> RearrangeRule:
    """Return the rule that writes numbers in any order, in groups as large as the order allows."""
    chunk, width = prod(source.one.shape), len(indices) // beats
    for size in (chunk, channels, 1):
        groups = whole_beats(indices, size) if chunk % size == 0 and width % size == 0 else None
        if groups is not None:
            return RearrangeRule(source.beats, groups, size)
    raise AssertionError("numbers one by one are always in an order")
