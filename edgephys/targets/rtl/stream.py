"""Plan a network on fields as a stream of pixels: one pixel a beat, in raster order, through one copy of the logic.

A beat is a clock edge with a pixel; without one, all registers hold their values. Windows divide the network into
levels. Within a level every pixel is computed by itself, in pipeline stages as in any other network (``schedule``).
Between levels a line buffer provides the neighbours of each pixel, once the last of them has arrived. An edge that
bypasses a window is delayed by as many beats. Stages are counted over the whole network, from 1, in which the input's
register is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from edgephys.core.errors import ModelError
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Input, Window, WithConstant
from edgephys.graph.partition import as_input, blocks, identifier, one_row
from edgephys.targets.rtl.line_buffer import WindowBuffer, lag
from edgephys.targets.rtl.logic import NOTHING, Logic, of_constant, traced, uniform
from edgephys.targets.rtl.netlist import Element
from edgephys.targets.rtl.schedule import Schedule, StageSpan, plan

FIELD = 3
"""Axes of a field: row, column, channel."""
MOST_LAID_OUT = 256
"""Most pixels of a field that io 'auto' lays out as a whole."""
AXES = 2
"""Leading axes of a field that a stream takes one after the other."""


@dataclass(frozen=True, eq=False)
class Level:
    """Hold one level: the windows at its start, and the graph of one pixel, which contains no window.

    ``graph.inputs`` and ``graph.outputs`` have the names of these edges in the whole graph.
    """

    windows: tuple[Node, ...]
    graph: Graph


@dataclass(frozen=True, eq=False)
class BufferedWindow:
    """State a window of the network: the edge that it buffers, from which stage on, and how its pixels are packed.

    ``inputs`` are the elements of the source in the buffer's input, ``outputs`` those of the window in its output.
    """

    node: Node
    buffer: WindowBuffer
    stage: int
    inputs: list[Element]
    outputs: list[Element]

    @property
    def name(self) -> str:
        """Name of its instance."""
        return self.buffer.name.removeprefix("layer_")


@dataclass(frozen=True, eq=False)
class StreamSegment:
    """Hold the logic of a level, whose first stage is ``first``; its own schedule counts stages from 1."""

    first: int
    windows: tuple[BufferedWindow, ...]
    logics: tuple[Logic, ...]
    schedule: Schedule

    def slot(self, logic: Logic) -> StageSpan:
        """Return the stages of a block, counted over the whole network."""
        slot = self.schedule.slots[logic.block.name]
        return replace(slot, first=slot.first + self.first - 1, last=slot.last + self.first - 1)


@dataclass(frozen=True, eq=False)
class Stream:
    """Hold the whole plan: the output is ready in stage ``last``; ``lag`` of the stages only wait for pixels."""

    field: tuple[int, int]
    segments: tuple[StreamSegment, ...]
    last: int
    lag: int

    @property
    def logics(self) -> list[Logic]:
        """Every block's logic, in order."""
        return [logic for segment in self.segments for logic in segment.logics]

    @property
    def stages(self) -> int:
        """Stages from the input's register to the output's, without those that only wait for pixels."""
        return self.last - self.lag

    @property
    def windows(self) -> list[BufferedWindow]:
        """Every window with at least one bit, in order."""
        return [window for segment in self.segments for window in segment.windows if window.buffer.width]


def is_field(graph: Graph) -> bool:
    """Return whether io 'auto' streams a network: its input is a field, and a layer reads neighbouring pixels.

    A small field with a layer that joins its pixels is laid out as a whole.
    """
    if len(graph.input.shape) != FIELD or not any(isinstance(node.op, Window) for node in graph.nodes):
        return False
    small = prod(graph.input.shape[:AXES]) <= MOST_LAID_OUT
    return not small or all(_obstacle(graph, node) is None for node in graph.alive())


def is_large_field(graph: Graph) -> bool:
    """Return whether the input of a network is a field of many pixels, which a layer joins."""
    if len(graph.input.shape) != FIELD or prod(graph.input.shape[:AXES]) <= MOST_LAID_OUT:
        return False
    return any(_obstacle(graph, node) is not None for node in graph.alive())


# Levels -----------------------------------------------------------------------------------------


def levels(graph: Graph) -> tuple[Level, ...]:
    """Divide a graph into levels, each of which reads only earlier ones.

    Raises: ModelError, naming the layer, where one cannot be computed pixel by pixel.
    """
    if len(graph.input.shape) != FIELD:
        raise ModelError(
            f"graph '{graph.name}': a stream needs a field (row, column, channel) as its input, not "
            f"{graph.input.shape}; leave io out"
        )
    nodes = graph.alive()
    number: dict[str, int] = {}
    for node in nodes:
        _require_pixelwise(graph, node)
        number[node.name] = max((number[name] for name in node.inputs), default=0) + (isinstance(node.op, Window))
    members_of: list[list[Node]] = [[] for _ in range(max(number.values()) + 1)]
    for node in nodes:
        members_of[number[node.name]].append(node)
    return tuple(_level(graph, members) for members in members_of)


def _obstacle(graph: Graph, node: Node) -> str | None:
    """Return why a node cannot be computed pixel by pixel; None where it can."""
    field = graph.input.shape[:AXES]
    shapes = [of.shape for of in (node, *graph.operands(node))]
    if isinstance(node.op, Window):
        return None
    keeps_pixels = all(len(shape) >= FIELD and shape[:AXES] == field for shape in shapes)
    if keeps_pixels and node.op.same_for_rows(node, AXES):
        return None
    is_constant = keeps_pixels and isinstance(node.op, WithConstant)
    return "differs from pixel to pixel" if is_constant else "does not keep the pixels apart"


def _require_pixelwise(graph: Graph, node: Node) -> None:
    what = _obstacle(graph, node)
    if what is None:
        return
    field = graph.input.shape[:AXES]
    raise ModelError(
        f"layer '{node.layer}': {node.op.word} '{node.name}' {what}, so it has no stream of one pixel a clock; use "
        f"io 'parallel', which lays out all {prod(field):,} pixels, or leave the layer out"
    )


def _level(graph: Graph, members: Sequence[Node]) -> Level:
    windows = tuple(node for node in members if isinstance(node.op, Window))
    inside = {node.name for node in members if not isinstance(node.op, (Window, Input))}
    computed = tuple(one_row(node, AXES) for node in members if node.name in inside)
    read = tuple(dict.fromkeys(name for node in computed for name in node.inputs if name not in inside))
    inputs = tuple(one_row(as_input(graph.by_name[name]), AXES) for name in read)
    outputs = tuple(
        node.name
        for node in computed
        if node.name in graph.outputs or any(reader.name not in inside for reader in graph.readers[node.name])
    )
    return Level(windows, Graph(graph.name, inputs + computed, read, outputs))


# Time -------------------------------------------------------------------------------------------


@dataclass
class _State:
    """Collect, while levels are planned: the elements of each edge, the stage in which it is ready, and used names."""

    source: str
    edges: dict[str, list[Element]]
    ready: dict[str, int]
    lag: dict[str, int]
    names: set[str]


def planned(graph: Graph, three_at_once: bool, stage_ns: float) -> Stream:
    """Return the plan of a graph of one input and one output, in stages of at most ``stage_ns``.

    ``three_at_once`` as in ``logic.trace``.  Raises: ModelError as ``levels`` and as ``logic.trace``.
    """
    name = graph.input.name
    state = _State(name, {name: uniform(graph.input.fixed, graph.input.shape[-1])}, {name: 1}, {name: 0}, set())
    height, width = graph.input.shape[:AXES]
    segments = tuple(_segment(level, (height, width), state, three_at_once, stage_ns) for level in levels(graph))
    return Stream((height, width), segments, state.ready[graph.output.name], state.lag[graph.output.name])


def _segment(
    level: Level, field: tuple[int, int], state: _State, three_at_once: bool, stage_ns: float
) -> StreamSegment:
    earliest = [state.ready[node.inputs[0]] + lag(_size(node), field) for node in level.windows]
    computed = [name for name in level.graph.inputs if name in state.ready and name != state.source]
    past = [state.ready[name] + 1 for name in computed]
    first = max([*earliest, *past], default=1)
    windows = tuple(_window(node, field, first, state) for node in level.windows)
    parts = blocks(level.graph, state.names)
    logics = tuple(traced(parts, {name: state.edges[name] for name in level.graph.inputs}, three_at_once))
    makers = {name: logic.block.name for logic in logics for name in logic.outputs}
    reads = {m.block.name: [makers[name] for name in m.block.graph.inputs if name in makers] for m in logics}
    schedule = plan({logic.block.name: logic.delay_ns for logic in logics}, reads, stage_ns)
    segment = StreamSegment(first, windows, logics, schedule)
    for logic in logics:
        waited = max((state.lag[name] for name in logic.block.graph.inputs), default=0)
        for name, elements in logic.outputs.items():
            state.edges[name], state.ready[name], state.lag[name] = elements, segment.slot(logic).last, waited
    return segment


def _window(node: Node, field: tuple[int, int], first: int, state: _State) -> BufferedWindow:
    """Buffer an edge so that its windows are ready in the first stage of the level: not earlier, as they are wide."""
    (source,) = node.inputs
    size = _size(node)
    inputs = _packed(state.edges[source])
    wide = sum(element.width for element in inputs)
    outputs = [
        replace(element, offset=tap * wide + element.offset) if element.width else element
        for tap in range(prod(size))
        for element in inputs
    ]
    name = f"layer_{identifier(node.layer, state.names)}"
    buffer = WindowBuffer(name, wide, size, field, first - 1, f"layer {node.layer}")
    state.edges[node.name], state.ready[node.name] = outputs, first
    state.lag[node.name] = state.lag[source] + buffer.lag - 1
    return BufferedWindow(node, buffer, first - buffer.lag, inputs, outputs)


def _size(node: Node) -> tuple[int, int]:
    return node.op.neighbours or (1, 1)


def _packed(elements: Iterable[Element]) -> list[Element]:
    """Return the elements of a pixel side by side; a constant needs bits too, because it is 0 beyond the edges."""
    placed, offset = [], 0
    for element in elements:
        if not element.width:
            element = of_constant(element.constant) if element.constant else NOTHING
        if element.width:
            element = replace(element, offset=offset, constant=0)
        placed.append(element)
        offset += element.width
    return placed
