"""Plan a network that takes an input every ``ii`` beats: a block that treats all rows alike gets them in turn.

A beat is a clock edge at which the pipeline advances. Stages are counted in beats over the whole network, from 1, in
which the input's register is read; in each of them the ``ii`` phases of an input follow each other. An edge is either
*held*, all its elements for all phases, or its *rows* come in turn (``Rows``). Between the two:

- a selection reads, at each phase, the rows that are due from a held edge;
- a sum over rows that come in turn adds them in an accumulator;
- a collection gathers rows that come in turn, for what reads them all at once.

Blocks that read no such result follow each other in pipeline stages as in any other network (``schedule``); they form a
level.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from edgephys.core.errors import UselessIntervalError
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Input, Sum
from edgephys.graph.partition import Block, as_input, blocks, identifier
from edgephys.targets.rtl.logic import ZERO, Logic, over_rows, traced, uniform
from edgephys.targets.rtl.multiplex_dense import Rewritten, chain, in_turn
from edgephys.targets.rtl.netlist import Element

NEAR = 1.05
"""LUTs of a plan relative to the smallest one, up to which the fastest one is preferred."""


@dataclass(frozen=True)
class Rows:
    """State when the rows of an edge are present: ``slots`` of them side by side, every ``spacing`` phases."""

    count: int
    slots: int
    spacing: int

    @property
    def turns(self) -> int:
        """Phases at which rows are present."""
        return self.count // self.slots

    @property
    def phases(self) -> list[int]:
        """The phases at which rows are present, from 0 on."""
        return [turn * self.spacing for turn in range(self.turns)]

    @property
    def last(self) -> int:
        """The last of these phases."""
        return (self.turns - 1) * self.spacing

    def row(self, turn: int, slot: int) -> int:
        """Return the row in a slot at a turn."""
        return turn * self.slots + slot


Form = Rows | None
"""How an edge is present: its rows in turn, or None: held."""


@dataclass(frozen=True)
class EdgeElement:
    """Name the element of an edge that another element equals, times 2**shift; no edge: the number 0."""

    edge: str
    index: int
    shift: int = 0

    def shifted(self, by: int) -> EdgeElement:
        """Return the same element with its value times 2**by."""
        return replace(self, shift=self.shift + by)


@dataclass(frozen=True, eq=False)
class Copies:
    """Hold a block with as many copies as work side by side, and the forms of what it reads and gives."""

    logic: Logic
    read: Form
    form: Form

    @property
    def name(self) -> str:
        """Name of the block."""
        return self.logic.block.name


@dataclass(frozen=True, eq=False)
class Accumulation:
    """State a sum of rows that come in turn as ``read``, ``turns`` of them a result; ``form`` is that of the results.

    ``edge`` holds the sums, ``source`` what is added: of each slot the elements ``inputs``, of which the sums are
    ``outputs``.
    """

    edge: str
    source: str
    read: Rows
    turns: int
    form: Form
    inputs: tuple[Element, ...]
    outputs: tuple[Element, ...]


@dataclass
class RowLevel:
    """Collect the blocks of a level, and the sums behind them; its first stage is known once earlier levels are."""

    blocks: list[Copies] = field(default_factory=list)
    sums: list[Accumulation] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Multiplexed:
    """Hold the plan: the levels in order; of each edge its form, its level, its elements, and what they equal."""

    graph: Graph
    ii: int
    levels: tuple[RowLevel, ...]
    forms: Mapping[str, Form]
    level_of: Mapping[str, int]
    elements: Mapping[str, list[Element]]
    references: Mapping[str, list[EdgeElement]]

    @property
    def logics(self) -> list[Logic]:
        """Every block's logic, in order, with as many copies as there are."""
        return [copies.logic for level in self.levels for copies in level.blocks]


def slots_of(shape: Sequence[int], ii: int) -> int:
    """Return how many rows of the leading axes come side by side: the fewest that take ``ii`` turns at most.

    They are whole groups of the last axis, or equal parts of one, so that a sum over it ends with a turn.
    """
    count, inner = prod(shape), shape[-1]
    fitting = [n for n in range(1, count + 1) if count % n == 0 and (n % inner == 0 or inner % n == 0)]
    return next(slots for slots in fitting if count // slots <= ii)


def shortest_of(shape: Sequence[int]) -> int | None:
    """Return the fewest turns, above 1, in which rows of the leading axes can come; None for a single row."""
    count = prod(shape)
    return next((ii for ii in range(2, count + 1) if slots_of(shape, ii) < count), None)


def planned(graph: Graph, ii: int, three_at_once: bool, stage_ns: float) -> Multiplexed:
    """Return the plan of a graph of one input and one output, for stages of ``stage_ns``; with ``ii`` 1 nothing waits.

    ``three_at_once`` as in ``logic.trace``.
    Raises: UsageError where no rows come in turn; ModelError as ``logic.trace``.
    """
    planner = _Planner(_sums_apart(graph), ii, three_at_once, stage_ns)
    for block in blocks(planner.graph, planner.names):
        planner = planner.preferred(block)
    return planner.plan_of(graph)


def _sums_apart(graph: Graph) -> Graph:
    """Return the graph with each sum as a layer of its own."""
    names = {node.layer for node in graph.nodes}
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Sum):
            layer = node.name
            while layer in names:
                layer += "_sum"
            names.add(layer)
            node = replace(node, layer=layer)
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


class _Planner:
    """Place blocks one after the other."""

    def __init__(self, graph: Graph, ii: int, three_at_once: bool, stage_ns: float) -> None:
        source = graph.input
        self.graph, self.ii, self.three_at_once, self.stage_ns = graph, ii, three_at_once, stage_ns
        self.nodes = dict(graph.by_name)
        self.names: set[str] = set()
        self.levels: list[RowLevel] = []
        self.forms: dict[str, Form] = {source.name: None}
        self.level_of = {source.name: 0}
        self.elements = {source.name: uniform(source.fixed, prod(source.shape))}
        self.references = {source.name: _own(source.name, prod(source.shape))}
        self.stage = {source.name: 1.0}

    def plan_of(self, graph: Graph) -> Multiplexed:
        """Return the plan; raise UsageError where nothing comes in turn."""
        if self.ii > 1 and not any(isinstance(form, Rows) for form in self.forms.values()):
            raise self._useless()
        return Multiplexed(
            graph, self.ii, tuple(self.levels), self.forms, self.level_of, self.elements, self.references
        )

    def _useless(self) -> UselessIntervalError:
        """Return the error of an interval in which nothing comes in turn, with the shortest one that works."""
        parts = blocks(self.graph)
        sizes = [length for block in parts if (dense := chain(block)) for length in dense[1].constant.integers.shape]
        shapes = {*(self._rows_shape(block) for block in parts), *((length,) for length in sizes)}
        shortest = min((ii for shape in shapes if (ii := shortest_of(shape)) is not None), default=None)
        if shortest is None:
            why = "no layer treats several rows alike, and none is dense; leave ii out"
        elif shortest > self.ii:
            why = f"its rows, inputs and outputs come in {shortest} turns or more; use ii {shortest} or more"
        else:
            why = "what comes in turn would cost more LUTs than it saves; use a longer one, or leave ii out"
        return UselessIntervalError(f"ii {self.ii} changes nothing in '{self.graph.name}': {why}")

    def preferred(self, block: Block) -> _Planner:
        """Return a planner that has placed a block as it is, or in turn where it is a dense layer of a whole input."""
        if self.ii == 1 or chain(block) is None:
            self._place(block)
            return self
        tried = [planner for of in in_turn(block, set(self.nodes)) if (planner := self._tried(of)) is not None]
        as_it_is = self._copied()
        as_it_is._place(block)
        return _fastest([as_it_is, *tried], block.graph.outputs)

    def _place(self, block: Block) -> None:
        nodes = [node for node in block.graph.nodes if not isinstance(node.op, Input)]
        node = self.nodes[nodes[-1].name]
        if isinstance(node.op, Sum) and self._accumulated(node, node.op):
            return
        (logic,) = traced([block], self.elements, self.three_at_once)
        for name, elements in logic.outputs.items():
            self.elements[name] = elements * block.copies
        if logic.program is None:
            self._pass_on(logic)
            return
        form = self._form(block.graph.inputs, self._rows_shape(block))
        slots = block.copies if form is None else form.slots
        level = max((self._level_for(name, form) for name in block.graph.inputs), default=0)
        self._at(level).blocks.append(Copies(replace(logic, block=replace(block, copies=slots)), form, form))
        begins = max((self._readable(name, form) for name in block.graph.inputs), default=1.0)
        for name in logic.outputs:
            self._made(name, form, level, begins + logic.delay_ns / self.stage_ns)

    def _tried(self, of: Rewritten) -> _Planner | None:
        """Return a planner that has placed the blocks of a rewritten layer; None where nothing comes in turn in it."""
        trial = self._copied()
        graph = of.whole_graph()
        trial.nodes |= graph.by_name
        for name, integers in of.constants.items():
            trial.elements[name] = [Element(0, 0, False, 0, int(value)) for value in integers.flat]
            trial._made(name, None, 0, 1.0)
        before = {name for name, form in self.forms.items() if form is not None}
        for block in blocks(graph, trial.names):
            trial._place(block)
        return trial if any(form is not None for name, form in trial.forms.items() if name not in before) else None

    def _copied(self) -> _Planner:
        """Return a planner that goes on from here by itself."""
        copied = copy.copy(self)
        copied.levels = [RowLevel(list(level.blocks), list(level.sums)) for level in self.levels]
        copied.names = set(self.names)
        for name in ("nodes", "forms", "level_of", "elements", "references", "stage"):
            setattr(copied, name, dict(getattr(self, name)))
        return copied

    @property
    def lut(self) -> float:
        """Estimate of the LUTs of all blocks, sums and tables."""
        return sum(
            copies.logic.lut * copies.logic.block.copies for level in self.levels for copies in level.blocks
        ) + sum(element.width for level in self.levels for adding in level.sums for element in adding.outputs)

    def _pass_on(self, logic: Logic) -> None:
        """Enter the outputs of a block of wires or constants, each of which equals an element of an earlier edge."""
        copies = logic.block.copies
        for name in logic.outputs:
            if logic.wires is None:  # constants, which the elements state
                self._made(name, None, 0, 1.0)
                continue
            self.references[name] = []
            for row in range(copies):
                for wire in logic.wires[name]:
                    if wire.edge == ZERO.edge:
                        self.references[name].append(EdgeElement(ZERO.edge, 0))
                        continue
                    per_copy = len(self.references[wire.edge]) // copies
                    of = self.references[wire.edge][row * per_copy + wire.index]
                    self.references[name].append(of.shifted(wire.shift))

    def _accumulated(self, node: Node, op: Sum) -> bool:
        """Plan a sum over rows that come in turn; return False where its rows do not."""
        (source,) = node.inputs
        shape = self.nodes[source].shape
        leading = shape[: op.axis + 1]
        forms = [form for edge in self._edges(source) if (form := self.forms[edge]) is not None]
        if not forms or any(form.count == prod(shape[: op.axis]) for form in forms):  # the second is a sum within a row
            return False
        read, inner = self._form((source,), leading), shape[op.axis]
        if read is None or (read.slots % inner and inner % read.slots):
            return False
        wide = prod(shape) // read.count
        together = min(read.slots, inner)
        groups = read.slots // together
        union = [united(self.elements[source][i::wide]) for i in range(wide)]
        if together > 1:
            part = identifier(f"{node.name}_of_{together}", self.names)
            self._partial(node, source, part, (groups, together, *shape[op.axis + 1 :]), union, read)
            source, union, read = part, self.elements[part][:wide], Rows(read.count // together, groups, read.spacing)
        turns = inner // together
        if turns == 1:
            self.elements[node.name] = self.elements[source]
            self.references[node.name] = _own(source, len(self.elements[source]))
            return True
        level = self._level_for(source, read)
        results = Rows(prod(leading[:-1]), 1, turns * read.spacing)
        form = results if results.count > 1 else None
        outputs = tuple(_summed(element, turns) for element in union)
        adding = Accumulation(node.name, source, read, turns, form, tuple(union), outputs)
        self._at(level).sums.append(adding)
        self.elements[node.name] = list(outputs) * results.count
        self._made(node.name, form, level + 1, self._readable(source, read) + (turns - 1) * read.spacing + 1)
        return True

    def _partial(
        self, node: Node, source: str, part: str, shape: tuple[int, ...], union: list[Element], read: Rows
    ) -> None:
        """Add a block that sums the rows of a group that come side by side."""
        groups, together, *rest = shape
        operand = replace(as_input(self.nodes[source]), shape=(together, *rest))
        total = replace(node, name=part, inputs=(source,), shape=tuple(rest), op=Sum(0))
        graph = Graph(part, (operand, total), (source,), (part,))
        block = Block(part, (node.layer,), graph, 1)
        (logic,) = traced([block], {source: union * together}, self.three_at_once)
        self.elements[part] = logic.outputs[part] * (read.count // together)
        level = self._level_for(source, read)
        form = Rows(read.count // together, groups, read.spacing)
        self._at(level).blocks.append(Copies(replace(logic, block=replace(block, copies=groups)), read, form))
        self._made(part, form, level, self._readable(source, read) + logic.delay_ns / self.stage_ns)

    def _form(self, inputs: Iterable[str], shape: tuple[int, ...]) -> Form:
        """Return the form in which rows of this shape come: as those that are read, or as many as fit."""
        count = prod(shape)
        if count == 1:
            return None
        for edge in dict.fromkeys(edge for name in inputs for edge in self._edges(name)):
            form = self.forms[edge]
            if isinstance(form, Rows) and form.count == count:
                return form
        slots = slots_of(shape, self.ii)
        return Rows(count, slots, 1) if slots < count else None

    def _rows_shape(self, block: Block) -> tuple[int, ...]:
        """Return the leading axes along which a block has copies."""
        if block.copies == 1:
            return (1,)
        shape = self.nodes[block.graph.outputs[0]].shape
        return shape[: len(shape) - len(block.graph.by_name[block.graph.outputs[0]].shape)]

    def _edges(self, name: str) -> list[str]:
        """Return the edges whose elements an edge consists of."""
        return [edge for edge in dict.fromkeys(of.edge for of in self.references[name]) if edge]

    def _level_for(self, name: str, form: Form) -> int:
        """Return the lowest level in which an edge can be read in a form."""
        levels = [0]
        references = self.references[name]
        for edge in self._edges(name):
            converted = self.forms[edge] != form or not self._in_place(references, edge, form)
            levels.append(self.level_of[edge] + int(converted))
        return max(levels)

    def _in_place(self, references: Sequence[EdgeElement], edge: str, form: Form) -> bool:
        """Return whether all that is read of an edge is read in the row in which it comes."""
        if form is None:
            return True
        per_row, elements = len(references) // form.count, len(self.references[edge])
        places = {place % per_row for place, of in enumerate(references) if of.edge == edge}
        return all(column(references, form, place, elements) is not None for place in places)

    def _readable(self, name: str, form: Form) -> float:
        """Return about the stage from which on an edge can be read in a form."""
        stages = [1.0]
        for edge in self._edges(name):
            own, stage = self.forms[edge], self.stage[edge]
            if own is None:
                stages.append(stage + int(form is not None))
            elif own == form and self._in_place(self.references[name], edge, form):
                stages.append(stage)
            else:
                stages.append(stage + own.last + 1 + int(form is not None))
        return max(stages)

    def complete(self, name: str) -> float:
        """Return about the stage in which all of an edge is there."""
        return self._readable(name, None)

    def _at(self, level: int) -> RowLevel:
        while len(self.levels) <= level:
            self.levels.append(RowLevel())
        return self.levels[level]

    def _made(self, name: str, form: Form, level: int, stage: float) -> None:
        self.forms[name], self.level_of[name], self.stage[name] = form, level, stage
        self.references[name] = _own(name, len(self.elements[name]))


def _fastest(planners: Sequence[_Planner], edges: Sequence[str]) -> _Planner:
    """Return the planner of which the edges are complete first, among those within NEAR of the fewest LUTs."""
    least = min(planner.lut for planner in planners)
    near = [planner for planner in planners if planner.lut <= NEAR * least]
    return min(near, key=lambda planner: max(planner.complete(edge) for edge in edges))


def column(references: Sequence[EdgeElement], form: Rows, place: int, elements: int) -> EdgeElement | None:
    """Return where an element of each row is, as a reference into row 0, if it is at the same row of another edge.

    ``references`` are those of all rows, ``place`` that of the element in a row, ``elements`` those of the other edge.
    """
    per_row, per_source = len(references) // form.count, elements // form.count
    first = references[place]
    wanted = (replace(first, index=first.index + row * per_source) for row in range(form.count))
    alike = all(of == references[row * per_row + place] for row, of in enumerate(wanted))
    return first if alike and 0 <= first.index < per_source else None


def _own(name: str, count: int) -> list[EdgeElement]:
    return [EdgeElement(name, index) for index in range(count)]


def united(elements: Sequence[Element]) -> Element:
    """Return the precision that all elements fit into."""
    (united,) = over_rows(list(elements), len(elements))
    return united


def _summed(element: Element, turns: int) -> Element:
    """Return the precision of a sum of as many elements."""
    if element.width == 0:
        return replace(element, constant=element.constant * turns)
    return replace(element, offset=0, width=element.width + (turns - 1).bit_length())
