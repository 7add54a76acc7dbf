"""Connect a multiplexed network: its top module, with selections, accumulators and collections between its blocks.

The ports, besides ``clk`` and the whole input and output, ``in_bits`` and ``out_bits``:

- ``reset``, synchronous: needed once before the first input; nothing is taken until the pipeline is empty.
- ``valid_in`` and ``ready_in``: an input is taken at a clock edge at which both are 1, every ``ii`` clocks at most.
- ``valid_out`` and ``ready_out``: an output is handed over at a clock edge at which both are 1. While ``valid_out`` is
  1 and ``ready_out`` is 0 the whole pipeline waits, and ``ready_in`` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from edgephys.graph.graph import Node
from edgephys.targets.rtl.line_buffer import Delay
from edgephys.targets.rtl.logic import NOTHING, uniform
from edgephys.targets.rtl.multiplex import Accumulation, Copies, EdgeElement, Form, Multiplexed, Rows, column, united
from edgephys.targets.rtl.multiplex_text import (
    CONTROL,
    Accumulator,
    Collection,
    ConstantTable,
    Selection,
    keep_name,
    phase_bits,
    phase_literal,
)
from edgephys.targets.rtl.netlist import Element, Module, Piece
from edgephys.targets.rtl.schedule import Schedule, StageSpan, plan
from edgephys.targets.rtl.stream_wiring import Waits
from edgephys.targets.rtl.wiring import SignalSource, beside, connected

BEAT = {"clk": "clk", "advance": "advance"}
PHASE = "phase"
Part = Selection | ConstantTable | Collection | Accumulator


@dataclass(frozen=True, eq=False)
class PlacedBlock:
    """Hold a block with its stages, counted over the whole network, and the schedule of its level."""

    copies: Copies
    schedule: Schedule
    slot: StageSpan


@dataclass(frozen=True, eq=False)
class ConnectedRows:
    """Hold a top module, the stages of its blocks and of its output edges, and the modules that it needs besides."""

    module: Module
    placed: tuple[PlacedBlock, ...]
    stages: Mapping[str, int]
    delays: tuple[Delay, ...]
    parts: tuple[Part, ...]
    keep_widths: tuple[int, ...]

    @property
    def last(self) -> int:
        """The last stage."""
        return max(self.stages.values())


def top(name: str, network: Multiplexed, stage_ns: float) -> ConnectedRows:
    """Return the top module, with ``in_bits`` as input and ``out_bits`` as output, both registered."""
    wiring = _Wiring(name, network, stage_ns)
    node = network.graph.output
    wide = node.fixed.bits * prod(node.shape)
    module = wiring.module
    module.outputs |= {"ready_in": 0, "valid_out": 0, "out_bits": wide}
    module.wires["output_d"] = wide
    stage = wiring.beside("output_d", 0, node)
    module.wires["output_q"] = wide
    wiring.control(stage)
    enable = f"advance && {wiring.phase(stage)} == {phase_literal(0, network.ii)}"
    wiring.keep("output_q", "output_d", enable)
    module.assigns.append(("out_bits", 0, Piece(wide, "output_q")))
    return wiring.wired({node.name: stage})


def probe(
    name: str, network: Multiplexed, stage_ns: float, exposed: Sequence[str], whole: ConnectedRows
) -> ConnectedRows:
    """Return the module with every exposed edge as output, unregistered, each held from its own stage on.

    What it has in common with the whole network are instances of the same modules.
    """
    wiring = _Wiring(name, network, stage_ns, "probe_", {replace(part, name=""): part.name for part in whole.parts})
    nodes = [network.graph.by_name[edge] for edge in exposed]
    module, offset, stages = wiring.module, 0, {}
    module.outputs |= {"ready_in": 0, "valid_out": 0, "out_bits": sum(_bits(node) for node in nodes)}
    for node in nodes:
        stages[node.name] = wiring.beside("out_bits", offset, node)
        offset += _bits(node)
    wiring.control(max(stages.values()))
    return wiring.wired(stages)


def exposed(network: Multiplexed) -> list[str]:
    """Return the edges that a probe can output: the last of every layer, unless it lies inside other logic."""
    return [node.name for _, node in network.graph.layers() if node.name in network.references]


def _bits(node: Node) -> int:
    return node.fixed.bits * prod(node.shape)


@dataclass
class _Wiring:
    """Connect one level after the other."""

    name: str
    network: Multiplexed
    stage_ns: float
    prefix: str = ""
    """Before the names of the modules between blocks, other than those of ``modules``."""
    modules: dict[Part, str] = field(default_factory=dict)
    """The module of each part, whose own name is left out."""
    instances: int = 0
    module: Module = field(init=False)
    waits: Waits = field(init=False)
    signals: dict[str, list[SignalSource]] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)
    """The first stage at the start of which an edge is in a register."""
    collected: dict[str, list[SignalSource]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    """Signals that are held, with the stage from which on they are."""
    later: dict[tuple[str, int], str] = field(default_factory=dict)
    selected: dict[tuple[Any, ...], list[SignalSource]] = field(default_factory=dict)
    """Elements that are chosen by the phase: by numbers, elements to choose from, form and stage."""
    placed: list[PlacedBlock] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    keep_widths: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        graph, ii = self.network.graph, self.network.ii
        bits, size = graph.input.fixed.bits, prod(graph.input.shape)
        inputs = {"reset": 0, "valid_in": 0, "ready_out": 0, "in_bits": bits * size}
        self.module = Module(self.name, True, inputs, {}, f"{graph.name}: an input every {ii} clocks", enable="advance")
        self.module.wires |= {"advance": 0, "taken": 0, PHASE: phase_bits(ii), "input_q": bits * size}
        self.waits = Waits({"clk": "clk", "advance": "advance", "start": "reset"})
        self.keep("input_q", "in_bits", "taken")
        makers = {name for level in self.network.levels for copies in level.blocks for name in copies.logic.outputs}
        for name in self.network.forms.keys() - makers:  # constants; sums are entered anew below
            self._enter(name, [SignalSource("", element, 1) for element in self.network.elements[name]], 1)
        self._enter(graph.input.name, [SignalSource("input_q", e, 1) for e in uniform(graph.input.fixed, size)], 1)
        for level in self.network.levels:
            self._place(level.blocks)
            for adding in level.sums:
                self._add(adding)

    # Blocks and sums ----------------------------------------------------------------------------

    def _place(self, blocks: Sequence[Copies]) -> None:
        """Schedule the blocks of a level, and connect them."""
        if not blocks:
            return
        makers = {name: copies.name for copies in blocks for name in copies.logic.outputs}
        needed, reads = [1], {}
        for copies in blocks:
            edges = {name: self._edges(name) for name in copies.logic.block.graph.inputs}
            reads[copies.name] = list({makers[e]: None for of in edges.values() for e in of if e in makers})
            earlier = ((name, edge) for name, of in edges.items() for edge in of if edge not in makers)
            needed += [self._earliest(name, edge, copies.read) for name, edge in earlier]
        first = max(needed)
        schedule = plan({copies.name: copies.logic.delay_ns for copies in blocks}, reads, self.stage_ns)
        for copies in blocks:
            slot = schedule.slots[copies.name]
            slot = replace(slot, first=slot.first + first - 1, last=slot.last + first - 1)
            self.placed.append(PlacedBlock(copies, schedule, slot))
            inputs = {name: self.read(name, copies.read, slot.first) for name in copies.logic.block.graph.inputs}
            outputs = connected(self.module, copies.logic, slot, inputs, self.delayed, BEAT)
            for name, sources in outputs.items():
                self._enter(name, sources, slot.last + 1)

    def _earliest(self, name: str, edge: str, form: Form) -> int:
        """Return the first stage in which what is read of an edge of an earlier level is there."""
        own, references = self.network.forms[edge], self.network.references[name]
        if form is not None and own == form and self._all_in_place(references, edge, form):
            return self.begins[edge]
        held = self.begins[edge] if own is None else self._stage(edge) + own.last + 1
        return held + int(form is not None)

    def _all_in_place(self, references: Sequence[EdgeElement], edge: str, form: Rows) -> bool:
        per_row, elements = len(references) // form.count, len(self.network.elements[edge])
        places = {place % per_row for place, of in enumerate(references) if of.edge == edge}
        return all(column(references, form, place, elements) is not None for place in places)

    def _add(self, adding: Accumulation) -> None:
        """Add up rows that come in turn, a stage behind what gives them."""
        ii = self.network.ii
        edges = self._edges(adding.source)
        stage = max((self._earliest(adding.source, edge, adding.read) for edge in edges), default=1)
        sources = self.read(adding.source, adding.read, stage)
        inputs, outputs = _side_by_side(adding.inputs), _side_by_side(adding.outputs)
        part = Accumulator("sum", adding.read, adding.turns, adding.form is None, inputs, outputs, ii)
        ready = stage + (adding.turns - 1) * adding.read.spacing + 1
        signal = self._part(part, [*zip(inputs, sources, strict=True)], sum(e.width for e in outputs), stage)
        self._enter(adding.edge, [SignalSource(signal, element, ready) for element in outputs], ready)

    def _enter(self, edge: str, sources: list[SignalSource], begins: int) -> None:
        self.signals[edge], self.begins[edge] = sources, begins
        if self.network.forms[edge] is None:
            self.held |= {source.signal: source.stage for source in sources if source.element.width}

    # Reading ------------------------------------------------------------------------------------

    def read(self, name: str, form: Form, stage: int) -> list[SignalSource]:
        """Return the elements of an edge in a form: all of them, or those of the rows that are due; by a stage."""
        references = self.network.references[name]
        if form is None:
            return [self._whole(of) for of in references]
        per_row = len(references) // form.count
        results: list[SignalSource | None] = [None] * (form.slots * per_row)
        chosen: dict[tuple[int, ...], list[tuple[int, tuple[EdgeElement, ...]]]] = {}
        for place in range(per_row):
            for slot in range(form.slots):
                at = slot * per_row + place
                results[at] = self._direct(references, form, place, slot)
                if results[at] is None:
                    turns = tuple(references[form.row(t, slot) * per_row + place] for t in range(form.turns))
                    distinct = list(dict.fromkeys(turns))
                    codes = tuple(distinct.index(of) for of in turns)
                    chosen.setdefault(codes, []).append((at, tuple(distinct)))
        for codes, members in chosen.items():
            alike = list(dict.fromkeys(among for _, among in members))
            sources = dict(zip(alike, self._selected(codes, alike, form, stage), strict=True))
            for at, among in members:
                results[at] = sources[among]
        return [source for source in results if source is not None]

    def _direct(self, references: Sequence[EdgeElement], form: Rows, place: int, slot: int) -> SignalSource | None:
        """Return the signal of an element that comes in the same rows as it is read."""
        edge = references[place].edge
        if not edge or self.network.forms[edge] != form:
            return None
        elements = len(self.network.elements[edge])
        of = column(references, form, place, elements)
        if of is None:
            return None
        return self.signals[edge][slot * (elements // form.count) + of.index].shifted(of.shift)

    def _selected(
        self, codes: tuple[int, ...], members: Sequence[tuple[EdgeElement, ...]], form: Rows, stage: int
    ) -> list[SignalSource]:
        """Return elements that are chosen by the phase in the stage before; held ones where there is no choice."""
        choices = len(members[0])
        if choices == 1:
            return [self._whole(distinct[0]) for distinct in members]
        key = codes, tuple(members), form, stage
        if key not in self.selected:
            sources = [[self._whole(of) for of in distinct] for distinct in members]
            elements = _side_by_side([united([source.element for source in of]) for of in sources])
            width = sum(element.width for element in elements)
            if not width:  # the same number in every phase
                self.selected[key] = [SignalSource("", element, stage) for element in elements]
                return self.selected[key]
            if all(source.element.width == 0 for of in sources for source in of):
                signal = self._table(codes, sources, elements, form, stage)
                self.selected[key] = [SignalSource(signal, element, stage) for element in elements]
                return self.selected[key]
            part = Selection("select", width, choices, codes, form, self.network.ii)
            connections = [
                (replace(element, offset=element.offset + number * width), source)
                for number in range(choices)
                for element, of in zip(elements, sources, strict=True)
                for source in (of[number],)
            ]
            signal = self._part(part, connections, width, stage - 1)
            self.selected[key] = [SignalSource(signal, element, stage) for element in elements]
        return self.selected[key]

    def _table(
        self,
        codes: tuple[int, ...],
        sources: Sequence[Sequence[SignalSource]],
        elements: Sequence[Element],
        form: Rows,
        stage: int,
    ) -> str:
        """Return the signal of numbers that are read from a table in the stage before."""
        words = tuple(
            sum(_bits_of(of[code].element, wanted) for of, wanted in zip(sources, elements, strict=True))
            for code in codes
        )
        width = sum(element.width for element in elements)
        return self._part(ConstantTable("table", width, words, form, self.network.ii), [], width, stage - 1)

    def _whole(self, of: EdgeElement) -> SignalSource:
        """Return a held element, gathered where its rows come in turn."""
        if not of.edge:
            return SignalSource("", NOTHING, 0)
        rows = self.network.forms[of.edge]
        if rows is None:
            return self.signals[of.edge][of.index].shifted(of.shift)
        if of.edge not in self.collected:
            self.collected[of.edge] = self._gathered(of.edge, rows)
        return self.collected[of.edge][of.index].shifted(of.shift)

    def _gathered(self, edge: str, rows: Rows) -> list[SignalSource]:
        sources, stage = self.signals[edge], self._stage(edge)
        elements = _side_by_side([source.element for source in sources])
        width, ready = sum(element.width for element in elements), stage + rows.last + 1
        if not width:
            return [SignalSource("", element, ready) for element in elements] * rows.turns
        part = Collection("gather", width, rows, self.network.ii)
        signal = self._part(part, [*zip(elements, sources, strict=True)], rows.turns * width, stage)
        self.held[signal] = ready
        return [
            SignalSource(signal, replace(element, offset=element.offset + turn * width), ready)
            for turn in range(rows.turns)
            for element in elements
        ]

    def _stage(self, edge: str) -> int:
        """Return the stage in which all of an edge is ready."""
        return max((source.stage for source in self.signals[edge] if source.element.width), default=1)

    def _edges(self, name: str) -> list[str]:
        return [edge for edge in dict.fromkeys(of.edge for of in self.network.references[name]) if edge]

    # Signals ------------------------------------------------------------------------------------

    def _part(self, part: Part, connections: Sequence[tuple[Element, SignalSource]], width: int, stage: int) -> str:
        """Add an instance of a part, named by its kind, that reads signals in a stage; return its output's signal.

        Parts that are alike, here and in the module that this one probes, are instances of one module.
        """
        instance, like = f"{part.name}_{self.instances}", replace(part, name="")
        self.instances += 1
        if like not in self.modules:
            self.modules[like] = self.prefix + instance
            self.parts.append(replace(part, name=self.modules[like]))
        port_in, port_out = f"{instance}_d", f"{instance}_q"
        self.module.wires[port_out] = width
        ports = {**BEAT, PHASE: self.phase(stage), "q": port_out}
        if connections:
            self.module.wires[port_in] = sum(element.width for element, _ in connections)
            ports["d"] = port_in
        for element, source in connections:
            self.module.connect(port_in, element, self.delayed(self.module, source, stage), source.element)
        self.module.instances.append((f"u_{instance}", self.modules[like], ports))
        return port_out

    def delayed(self, module: Module, source: SignalSource, stage: int) -> str:
        """Return the signal that holds a source in a later stage: what is held is kept anew, rows are delayed."""
        begins, ii = self.held.get(source.signal), self.network.ii
        if begins is None or source.element.width == 0 or stage - begins <= 1 or ii == 1:
            return self.waits(module, source, stage)
        signal = source.signal
        while begins < stage:
            begins = min(stage, begins + ii)
            later = self.later.get((source.signal, begins))
            if later is None:
                later = self.later[source.signal, begins] = f"{source.signal}_kept_{begins}"
                module.wires[later] = module.width(signal)
                self.keep(later, signal, f"advance && {self.phase(begins - 1)} == {phase_literal(0, ii)}")
            signal = later
        return signal

    def phase(self, stage: int) -> str:
        """Return the signal of the phase in a stage."""
        return self.waits(self.module, SignalSource(PHASE, Element(0, phase_bits(self.network.ii), False, 0), 1), stage)

    def keep(self, target: str, source: str, enable: str) -> None:
        """Register a signal at the clock edges at which a condition holds."""
        width = self.module.width(source)
        self.keep_widths.add(width)
        ports = {"clk": "clk", "enable": enable, "d": source, "q": target}
        self.module.instances.append((f"u_{target}", keep_name(width), ports))

    def beside(self, target: str, offset: int, node: Node) -> int:
        """Connect a whole edge to a vector; return the stage in which it is ready."""
        sources = self.read(node.name, None, 0)
        stage = max((source.stage for source in sources if source.element.width), default=1)
        beside(self.module, target, offset, node, sources, stage, self.delayed)
        return stage

    def control(self, stage: int) -> None:
        """Add the module that takes inputs and marks outputs, which leave in a stage."""
        ports = {name: name for name in ("clk", "reset", "valid_in", "ready_in", "taken", "advance", PHASE)}
        ports |= {"last_phase": self.phase(stage), "valid_out": "valid_out", "ready_out": "ready_out"}
        self.module.instances.append((f"u_{CONTROL}", self.prefix + CONTROL, ports))

    def wired(self, stages: Mapping[str, int]) -> ConnectedRows:
        """Return what was connected."""
        widths = tuple(sorted(self.keep_widths))
        return ConnectedRows(
            self.module, tuple(self.placed), stages, tuple(self.waits.delays), tuple(self.parts), widths
        )


def _bits_of(number: Element, wanted: Element) -> int:
    """Return a constant in the bits of an element."""
    return ((number.constant >> wanted.shift) & ((1 << wanted.width) - 1)) << wanted.offset


def _side_by_side(elements: Sequence[Element]) -> tuple[Element, ...]:
    """Return elements one after the other."""
    placed, offset = [], 0
    for element in elements:
        placed.append(replace(element, offset=offset))
        offset += element.width
    return tuple(placed)
