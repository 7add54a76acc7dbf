"""Connect the blocks: the top module of an RTL project, with all registers between layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from edgephys.graph.graph import Graph, Node
from edgephys.targets.rtl.logic import NOTHING, ZERO, Logic, uniform
from edgephys.targets.rtl.netlist import Element, Module, Piece
from edgephys.targets.rtl.schedule import Schedule, StageSpan


@dataclass(frozen=True)
class SignalSource:
    """State which signal holds an element of an edge, and in which stage it is ready."""

    signal: str
    element: Element
    stage: int

    def shifted(self, by: int) -> SignalSource:
        """Return the same bits with their value times 2**by."""
        return replace(self, element=self.element.shifted(by))


Delayed = Callable[[Module, SignalSource, int], str]
"""Return the signal that holds a source in a later stage."""
CLOCK = {"clk": "clk"}


def top(name: str, graph: Graph, logics: Sequence[Logic], schedule: Schedule, exposed: Sequence[str]) -> Module:
    """Return the top module, with input ``in_bits`` and the ``exposed`` edges as output ``out_bits``.

    Both are registered. The elements of an edge lie side by side, each in the format of the edge.
    """
    size, bits = prod(graph.input.shape), graph.input.fixed.bits
    nodes = [graph.by_name[edge] for edge in exposed]
    wide = sum(node.fixed.bits * prod(node.shape) for node in nodes)
    module = Module(name, True, {"in_bits": bits * size}, {"out_bits": wide}, f"{graph.name}: all layers")
    module.register("input_q", "in_bits")
    edges = {graph.input.name: [SignalSource("input_q", e, 1) for e in uniform(graph.input.fixed, size)]}
    for logic in logics:
        edges |= connected(module, logic, schedule.slots[logic.block.name], edges)
    module.wires["output_d"] = wide
    offset = 0
    for node in nodes:
        offset = beside(module, "output_d", offset, node, edges[node.name], schedule.stages)
    module.register("output_q", "output_d")
    module.assigns.append(("out_bits", 0, Piece(wide, "output_q")))
    return module


def beside(
    module: Module,
    target: str,
    offset: int,
    node: Node,
    sources: Sequence[SignalSource],
    stage: int,
    delayed: Delayed | None = None,
) -> int:
    """Connect the elements of an edge, each in the edge's format, to a vector at ``offset``; return where they end."""
    wait = delayed or registered
    for wanted, source in zip(uniform(node.fixed, prod(node.shape)), sources, strict=True):
        placed = replace(wanted, offset=offset + wanted.offset)
        module.connect(target, placed, wait(module, source, stage), source.element)
    return offset + node.fixed.bits * prod(node.shape)


def connected(
    module: Module,
    logic: Logic,
    slot: StageSpan,
    edges: Mapping[str, list[SignalSource]],
    delayed: Delayed | None = None,
    clock: Mapping[str, str] = CLOCK,
) -> dict[str, list[SignalSource]]:
    """Add a block to the module and return its outputs; ``slot`` counts in stages of the module.

    ``clock`` connects the clock ports of a block of several stages. ``delayed`` delays a signal to a later stage, with
    registers by default.
    """
    if logic.wires is not None:
        return _wired(logic, edges)
    return _instantiated(module, logic, slot, edges, delayed or registered, clock)


def _wired(logic: Logic, edges: Mapping[str, list[SignalSource]]) -> dict[str, list[SignalSource]]:
    """Return the outputs of a block of wires: its sources themselves, each in the stage in which it is ready."""
    copies = logic.block.copies
    per_row = {name: len(edges[name]) // copies for name in logic.block.graph.inputs} | {ZERO.edge: 0}
    sources = {**edges, ZERO.edge: [SignalSource("", NOTHING, 0)]}
    return {
        name: [
            sources[wire.edge][copy * per_row[wire.edge] + wire.index].shifted(wire.shift)
            for copy in range(copies)
            for wire in wires
        ]
        for name, wires in (logic.wires or {}).items()
    }


def _instantiated(
    module: Module,
    logic: Logic,
    slot: StageSpan,
    edges: Mapping[str, list[SignalSource]],
    delayed: Delayed,
    clock: Mapping[str, str],
) -> dict[str, list[SignalSource]]:
    block = logic.block
    results: dict[str, list[SignalSource]] = {name: [] for name in logic.outputs}
    for copy in range(block.copies):
        suffix = f"_{copy}" if block.copies > 1 else ""
        port_in, port_out = f"{block.name}_in{suffix}", f"{block.name}_out{suffix}"
        for name, elements in logic.outputs.items():
            results[name] += [SignalSource(port_out, element, slot.last) for element in elements]
        if logic.program is None:
            continue
        module.wires[port_in] = sum(e.width for elements in logic.inputs.values() for e in elements)
        module.wires[port_out] = sum(e.width for elements in logic.outputs.values() for e in elements)
        for name, elements in logic.inputs.items():
            row = edges[name][copy * len(elements) : (copy + 1) * len(elements)]
            for wanted, source in zip(elements, row, strict=True):
                if wanted.width:
                    module.connect(port_in, wanted, delayed(module, source, slot.first), source.element)
        ports = {**(clock if slot.last > slot.first else {}), "model_inp": port_in, "model_out": port_out}
        module.instances.append((_instance(module, f"u_{block.name}{suffix}"), logic.module, ports))
    return results


def _instance(module: Module, name: str) -> str:
    """Return a name that no instance has: copy 1 of block 'dense' and block 'dense_1' would have one."""
    names = {other for other, _, _ in module.instances}
    return f"{name}_block" if name in names else name


def registered(module: Module, source: SignalSource, stage: int) -> str:
    """Return the signal that holds a source in a later stage; registers are shared."""
    signal = source.signal
    if source.element.width == 0:
        return signal
    for clocks in range(1, stage - source.stage + 1):
        later = f"{source.signal}_d{clocks}"
        if later not in module.wires:
            module.register(later, signal)
        signal = later
    return signal
