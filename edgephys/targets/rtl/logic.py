"""Turn blocks into logic: run the golden model on the symbols of alkaid (LGPL), and keep what the outputs need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.graph.partition import Block, blocks
from edgephys.graph.round_first import round_first
from edgephys.targets.rtl.exact_tracing import exact_tracing
from edgephys.targets.rtl.netlist import Element
from edgephys.targets.rtl.rules import RULES

HARDWARE = (1, 1, -1)
"""Size of an adder, size of a carry and no cutoff: the settings of alkaid's own converter."""
SOLVER = {"hard_dc": 2, "binary_lut": False}
"""At most two adders more than the shallowest tree. An 8-bit Deep Sets then has 15 stages at 5 ns instead of 17 with
the five of alkaid's converter, for 0.2 % more LUTs. No lookup tables."""
CONSTANT = 5
INPUT = -1
"""Operation codes of alkaid's programs."""


@dataclass(frozen=True)
class Wire:
    """Name the element of an edge (flat) that another element equals, times 2**shift in steps."""

    edge: str
    index: int
    shift: int = 0

    def __mul__(self, factor: int) -> Wire:
        """Return the wire with its binary point moved; ``factor`` is a power of two."""
        return replace(self, shift=self.shift + int(factor).bit_length() - 1)


ZERO = Wire("", 0)
NOTHING = Element(0, 0, False, 0)
"""The number 0 beyond the edges of a field: its wire, of no edge of the graph, and its element."""


@dataclass(frozen=True, eq=False)
class Logic:
    """Hold a block as alkaid's program, and the place of every integer in its two ports.

    Elements are flat, by edge of the block's graph. ``program`` is None where all outputs are constants, and in a block
    of wires, whose ``wires`` name the source of each output; such a block has no ports.
    """

    block: Block
    program: Any
    inputs: dict[str, list[Element]]
    outputs: dict[str, list[Element]]
    wires: dict[str, list[Wire]] | None = None

    @property
    def module(self) -> str:
        """Return the name of the block's module."""
        return f"layer_{self.block.name}"

    @property
    def delay_ns(self) -> float:
        """Return alkaid's estimate of the slowest path."""
        return float(max(self.program.out_latency)) if self.program else 0.0

    @property
    def lut(self) -> float:
        """Return alkaid's estimate of the LUTs of one copy, without registers."""
        return float(self.program.cost) if self.program else 0.0


def version() -> str:
    """Return the version of alkaid."""
    return metadata.version("alkaid")


def trace(graph: Graph, three_at_once: bool) -> list[Logic]:
    """Return the logic of every block, with the exact width of each of its inputs.

    ``three_at_once`` says that the part adds three numbers in one row of LUTs.
    Raises: ModelError, naming the layer, for an operation that has no RTL.
    """
    return traced(blocks(graph), {graph.input.name: uniform(graph.input.fixed, prod(graph.input.shape))}, three_at_once)


def traced(parts: Iterable[Block], inputs: Mapping[str, list[Element]], three_at_once: bool) -> list[Logic]:
    """Return the logic of blocks, in an order in which each reads earlier ones; ``inputs`` are the edges from outside.

    Raises: as ``trace``.
    """
    edges, logics = dict(inputs), []
    for block in parts:
        elements_of = {name: over_rows(edges[name], block.copies) for name in block.graph.inputs}
        try:
            logic = _trace(block, elements_of, three_at_once)
        except ModelError as error:
            raise ModelError(f"layer '{', '.join(block.layers)}': {error}") from error
        for name, elements in logic.outputs.items():
            edges[name] = elements * block.copies
        logics.append(logic)
    return logics


def uniform(fixed: Fixed, count: int) -> list[Element]:
    """Return elements side by side, each as wide as the format."""
    return [Element(i * fixed.bits, fixed.bits, fixed.signed, 0) for i in range(count)]


def over_rows(elements: list[Element], copies: int) -> list[Element]:
    """Return the precision of each element of a row that all rows fit into, without offsets."""
    per_row = len(elements) // copies
    return [_union(elements[i::per_row]) for i in range(per_row)]


def _union(rows: list[Element]) -> Element:
    first = replace(rows[0], offset=0)
    if all(replace(element, offset=0) == first for element in rows):
        return first
    rows = [of_constant(e.constant) if e.width == 0 else e for e in rows]
    signed = any(e.signed for e in rows)
    shift = min(e.shift for e in rows)
    top = max(e.shift + e.width + (signed and not e.signed) for e in rows)
    return Element(0, top - shift, signed, shift)


def of_constant(value: int) -> Element:
    """Return the narrowest element that holds a number and 0."""
    signed = value < 0
    return Element(0, max(1, (-value - 1 if signed else value).bit_length() + signed), signed, 0)


def _wired(block: Block, inputs: Mapping[str, list[Element]]) -> Logic:
    """Return a block of wires: the golden model, run on the names of its inputs, names the source of each output."""
    names = {}
    for name in block.graph.inputs:
        wires = np.empty(len(inputs[name]), object)
        wires[:] = [Wire(name, i) for i in range(len(wires))]
        names[name] = wires.reshape(block.graph.by_name[name].shape)
    edges = evaluate.trace(block.graph, names)
    wires_of = {name: [wire or ZERO for wire in edges[name].flat] for name in block.graph.outputs}
    sources = {**inputs, ZERO.edge: [NOTHING]}
    outputs = {name: [sources[w.edge][w.index].shifted(w.shift) for w in wires] for name, wires in wires_of.items()}
    return Logic(block, None, {}, outputs, wires_of)


def _trace(block: Block, inputs: Mapping[str, list[Element]], three_at_once: bool) -> Logic:
    if all(RULES.lookup(node.op, node.layer).wires for node in block.graph.nodes):
        return _wired(block, inputs)
    from alkaid.trace import trace as gather  # heavy imports, not needed to read a project
    from alkaid.trace.passes import add_surrogate, dead_code_elimin, fuse_ternary_adders

    with exact_tracing():
        symbols, variables = _symbols(block, inputs)
        zeros = {name: np.array([element.shift for element in elements]) for name, elements in inputs.items()}
        edges = evaluate.trace(round_first(block.graph, zeros), symbols)
        outputs = [v for name in block.graph.outputs for v in np.ravel(np.asarray(edges[name]))]
        if not variables or all(v.low == v.high for v in outputs):
            constants = iter([Element(0, 0, False, 0, int(v.low)) for v in outputs])
            unused = {name: [replace(e, offset=0, width=0) for e in elements] for name, elements in inputs.items()}
            return Logic(block, None, unused, _by_edge(block, constants))
        program = gather(variables, outputs)
        if three_at_once:
            program = add_surrogate(dead_code_elimin(fuse_ternary_adders(program)))
    return _placed(block, inputs, program)


def _symbols(block: Block, inputs: Mapping[str, list[Element]]) -> tuple[dict[str, Any], list[Any]]:
    """Return alkaid's symbols by edge, and the symbols that are not constants."""
    from alkaid.trace import FVArray, HWConfig

    hardware = HWConfig(*HARDWARE)
    flat = [element for name in block.graph.inputs for element in inputs[name]]
    signed, integer, fraction = np.array([(e.signed, e.width - e.signed + e.shift, -e.shift) for e in flat]).T
    values = np.asarray(FVArray.from_kif(signed, integer, fraction, hardware)).copy()
    variables = [v for v, element in zip(values, flat, strict=True) if element.width]
    for i, element in enumerate(flat):
        if not element.width:
            values[i] = float(element.constant)
    symbols, start = {}, 0
    for name in block.graph.inputs:
        part = values[start : start + len(inputs[name])].reshape(block.graph.by_name[name].shape)
        symbols[name] = FVArray(part, dict(SOLVER), hwconf=hardware)
        start += len(inputs[name])
    return symbols, variables


def _placed(block: Block, inputs: Mapping[str, list[Element]], program: Any) -> Logic:
    """Lay out the two ports; outputs that are constants are removed from the program."""
    kifs = iter(program.inp_kifs.T.tolist())
    live = [tuple(next(kifs)) if e.width else (0, 0, 0) for elements in inputs.values() for e in elements]
    ports = iter(_side_by_side(live, [0] * len(live)))
    placed_inputs = {name: [next(ports) for _ in elements] for name, elements in inputs.items()}
    values = [int(q.min) if q.min == q.max else None for q in program.out_qint]
    widths = [(0, 0, 0) if v is not None else tuple(q.kif) for v, q in zip(values, program.out_qint, strict=True)]
    outputs = _by_edge(block, iter(_side_by_side(widths, [value or 0 for value in values])))
    varying = [i for i, value in enumerate(values) if value is None]
    return Logic(block, _only(program, varying) if varying else None, placed_inputs, outputs)


def _by_edge(block: Block, elements: Iterable[Element]) -> dict[str, list[Element]]:
    remaining = iter(elements)
    return {
        name: [next(remaining) for _ in range(prod(block.graph.by_name[name].shape))] for name in block.graph.outputs
    }


def _side_by_side(kifs: Sequence[tuple[int, ...]], constants: list[int]) -> list[Element]:
    placed, offset = [], 0
    for (signed, integer, fraction), constant in zip(kifs, constants, strict=True):
        width = int(signed) + integer + fraction
        placed.append(Element(offset, width, bool(signed), -fraction if width else 0, constant))
        offset += width
    return placed


def _only(program: Any, outputs: list[int]) -> Any:
    """Return the program of some of the outputs; inputs keep their places even if they are not read."""
    from alkaid.trace.passes import dead_code_elimin

    chosen = program._replace(
        shape=(program.shape[0], len(outputs)),
        out_idxs=[program.out_idxs[i] for i in outputs],
        out_shifts=[program.out_shifts[i] for i in outputs],
        out_negs=[program.out_negs[i] for i in outputs],
    )
    return dead_code_elimin(chosen, keep_dead_inputs=True)
