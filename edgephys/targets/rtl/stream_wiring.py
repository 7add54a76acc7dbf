"""Connect a stream: the top module of a network on fields, its windows, and delays of the edges that bypass them.

The ports, besides ``clk`` and the pixels ``in_bits`` and ``out_bits``:

- ``valid_in``: this clock edge samples a pixel, and the stream advances by one. Without it nothing advances, whatever
  the other inputs are.
- ``start``, with ``valid_in``: the pixel is the first of a frame, and earlier frames are discarded. The first frame of
  all needs it; frames that follow without other pixels between them are counted.
- ``valid_out``, registered: at the last edge a pixel of a frame was output, in raster order. This happens only at edges
  that sample a pixel. The last pixels of a frame are therefore output with the first pixels of the next frame, or with
  as many pixels of any value as the latency has clocks. After such a flush the next frame needs ``start``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from edgephys.graph.graph import Graph, Node
from edgephys.graph.partition import one_row
from edgephys.targets.rtl.line_buffer import SHALLOW, Delay, Marker
from edgephys.targets.rtl.logic import uniform
from edgephys.targets.rtl.netlist import Module, Piece
from edgephys.targets.rtl.stream import AXES, BufferedWindow, Stream
from edgephys.targets.rtl.wiring import SignalSource, beside, connected

ADVANCE = "advance"
"""Port of a module: the clock enable."""
BEAT = {"clk": "clk", ADVANCE: "valid_in"}
FRAME = {**BEAT, "start": "start"}
MARKER = "edgephys_marker"


@dataclass
class Waits:
    """Delay signals, each once: by registers for a few beats, by memory for more; ``ports`` are those of a memory."""

    ports: Mapping[str, str] = field(default_factory=lambda: FRAME)
    delays: list[Delay] = field(default_factory=list)
    signals: dict[str, dict[int, str]] = field(default_factory=dict)

    def __call__(self, module: Module, source: SignalSource, stage: int) -> str:
        """Return the signal that holds a source in a later stage."""
        if source.element.width == 0:
            return source.signal
        beats, signals = stage - source.stage, self.signals.setdefault(source.signal, {0: source.signal})
        nearest = max(number for number in signals if number <= beats)
        if beats - nearest > SHALLOW:
            signals[beats] = self._kept(module, source.signal, beats, signals[nearest], beats - nearest)
            nearest = beats
        for number in range(nearest, beats):
            signals[number + 1] = f"{source.signal}_d{number + 1}"
            module.register(signals[number + 1], signals[number])
        return signals[beats]

    def _kept(self, module: Module, name: str, beats: int, signal: str, more: int) -> str:
        later, delay = f"{name}_d{beats}", Delay(f"delay_{name}_{beats}", module.width(signal), more)
        self.delays.append(delay)
        module.wires[later] = delay.width
        module.instances.append((f"u_{delay.name}", delay.name, {**self.ports, "d": signal, "q": later}))
        return later


@dataclass(frozen=True, eq=False)
class Wired:
    """Hold a top module, its delays, and the stage of each of its output edges."""

    module: Module
    delays: tuple[Delay, ...]
    stages: Mapping[str, int]


def top(name: str, graph: Graph, stream: Stream, marker: Marker) -> Wired:
    """Return the top module, with a pixel as input ``in_bits`` and a pixel as output ``out_bits``, both registered.

    Its other ports are described above; ``marker`` is the module that drives ``valid_out``.
    """
    module, waits, edges = _network(name, graph, stream)
    output = pixel(graph.output)
    wide = output.fixed.bits * prod(output.shape)
    _taken_out(module, wide, "valid_out")
    module.wires["output_d"] = wide
    beside(module, "output_d", 0, output, edges[output.name], stream.last, waits)
    module.register("output_q", "output_d")
    module.assigns.append(("out_bits", 0, Piece(wide, "output_q")))
    module.instances.append((f"u_{marker.name}", marker.name, {**FRAME, "valid": "valid_out"}))
    return Wired(module, tuple(waits.delays), {output.name: stream.last})


def probe(name: str, graph: Graph, stream: Stream, exposed: Sequence[str]) -> Wired:
    """Return the module with every exposed edge as output, unregistered, each in its own stage."""
    module, waits, edges = _network(name, graph, stream)
    nodes = [pixel(graph.by_name[edge]) for edge in exposed]
    _taken_out(module, sum(node.fixed.bits * prod(node.shape) for node in nodes))
    offset, stages = 0, {}
    for node in nodes:
        sources = edges[node.name]
        stages[node.name] = max((source.stage for source in sources if source.element.width), default=1)
        offset = beside(module, "out_bits", offset, node, sources, stages[node.name], waits)
    return Wired(module, tuple(waits.delays), stages)


def exposed(graph: Graph, stream: Stream) -> list[str]:
    """Return the edges that a probe can output: the last of every layer, unless it lies inside other logic."""
    edges = {name for logic in stream.logics for name in logic.outputs}
    edges |= {window.node.name for segment in stream.segments for window in segment.windows} | {graph.input.name}
    return [node.name for _, node in graph.layers() if node.name in edges]


def bench(name: str, of: Module) -> Module:
    """Return a module around a top: ``in_bits`` are pixel, valid_in and start, ``out_bits`` all outputs of the top."""
    input_bits, output_bits = of.inputs["in_bits"], sum(max(1, width) for width in of.outputs.values())
    module = Module(
        name, True, {"in_bits": input_bits + 2}, {"out_bits": output_bits}, f"{of.name}, as it is simulated"
    )
    ports = {"clk": "clk", "in_bits": f"in_bits[{input_bits - 1}:0]"}
    ports |= {"valid_in": f"in_bits[{input_bits}]", "start": f"in_bits[{input_bits + 1}]"}
    ports["out_bits"] = f"out_bits[{of.outputs['out_bits'] - 1}:0]"
    if "valid_out" in of.outputs:
        ports["valid_out"] = f"out_bits[{output_bits - 1}]"
    module.instances.append(("dut", of.name, ports))
    return module


def pixel(node: Node) -> Node:
    """Return a node of one pixel."""
    return one_row(node, AXES)


def _taken_out(module: Module, wide: int, *marks: str) -> None:
    module.outputs |= {"out_bits": wide} | dict.fromkeys(marks, 0)


def _network(name: str, graph: Graph, stream: Stream) -> tuple[Module, Waits, dict[str, list[SignalSource]]]:
    """Return a module with all logic, its delays, and the signals of every edge."""
    source, waits = graph.input, Waits()
    bits = source.fixed.bits * source.shape[-1]
    height, width = stream.field
    title = f"{graph.name}: a pixel of {height}x{width} a clock"
    module = Module(name, True, {"valid_in": 0, "start": 0, "in_bits": bits}, {}, title, enable="valid_in")
    module.register("input_q", "in_bits")
    edges = {source.name: [SignalSource("input_q", e, 1) for e in uniform(source.fixed, source.shape[-1])]}
    for segment in stream.segments:
        for window in segment.windows:
            edges[window.node.name] = _neighbours(module, window, edges[window.node.inputs[0]], waits)
        for logic in segment.logics:
            edges |= connected(module, logic, segment.slot(logic), edges, waits, BEAT)
    return module, waits, edges


def _neighbours(
    module: Module, window: BufferedWindow, sources: Sequence[SignalSource], waits: Waits
) -> list[SignalSource]:
    buffer, port_in, port_out = window.buffer, f"{window.name}_in", f"{window.name}_out"
    if buffer.width:
        module.wires[port_in] = buffer.width
        module.wires[port_out] = buffer.width * prod(buffer.size)
        for wanted, source in zip(window.inputs, sources, strict=True):
            if wanted.width:
                module.connect(port_in, wanted, waits(module, source, window.stage), source.element)
        module.instances.append((f"u_{window.name}", buffer.name, {**FRAME, "d": port_in, "w": port_out}))
    return [SignalSource(port_out, element, window.stage + buffer.lag) for element in window.outputs]
