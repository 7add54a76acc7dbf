"""Turn blocks into logic: run the golden model on alkaid's symbols, cut the result in stages, one module a layer.

Only this module imports alkaid (LGPL). The operator sources in a project are copies from the installed package, under
its licence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.graph.partition import Block, blocks
from edgephys.graph.round_first import round_first
from edgephys.targets.rtl import netlist
from edgephys.targets.rtl.exact_tracing import exact_tracing
from edgephys.targets.rtl.netlist import Element, Module
from edgephys.targets.rtl.rules import RULES
from edgephys.targets.rtl.schedule import Schedule

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
        elements_of = {name: _over_rows(edges[name], block.copies) for name in block.graph.inputs}
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


def _over_rows(elements: list[Element], copies: int) -> list[Element]:
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


# Stages -----------------------------------------------------------------------------------------


def cut(program: Any, stage_of: Sequence[int], first: int, last: int) -> list[Any]:
    """Return the program of each stage; values for later stages are passed on, constants are repeated where needed.

    ``stage_of`` is the stage of each operation, at or after the stages of its operands.
    """
    needed_after = set(program.out_idxs)
    programs = []
    for stage in range(last, first - 1, -1):
        inside = [i for i, s in enumerate(stage_of) if s == stage and program.ops[i].opcode != CONSTANT]
        operands = needed_after | {source for i in inside for source in program.ops[i].addr}
        constants = sorted(i for i in operands if program.ops[i].opcode == CONSTANT)
        handed_on = program.out_idxs if stage == last else sorted(needed_after)
        needed_after = operands - set(inside) - set(constants)
        inputs = None if stage == first else sorted(needed_after)
        programs.append(_stage(program, inputs, constants + inside, handed_on, stage == last))
    return programs[::-1]


def _stage(program: Any, inputs: list[int] | None, inside: list[int], handed_on: list[int], ends: bool) -> Any:
    ops: list[Any] = []
    place: dict[int, int] = {}
    for number, i in enumerate(inputs or []):
        place[i] = len(ops)
        ops.append(program.ops[i]._replace(addr=(), opcode=INPUT, data=(number,), cost=0.0))
    for i in inside:
        place[i] = len(ops)
        ops.append(program.ops[i]._replace(addr=tuple(place[source] for source in program.ops[i].addr)))
    count = len(handed_on)
    return program._replace(
        shape=(program.shape[0] if inputs is None else len(inputs), count),
        inp_shifts=program.inp_shifts if inputs is None else [0] * len(inputs),
        out_idxs=[place[i] for i in handed_on],
        out_shifts=program.out_shifts if ends else [0] * count,
        out_negs=program.out_negs if ends else [False] * count,
        ops=ops,
    )


# Text -------------------------------------------------------------------------------------------


def text(logic: Logic, schedule: Schedule, language: str, enable: str = "") -> str:
    """Return the source of a block: combinational in one stage, else its stages with registers between them.

    ``enable`` names the clock enable of the registers, if there is one.
    """
    from alkaid.codegen.rtl import verilog_comb_logic_gen, vhdl_comb_logic_gen

    slot = schedule.slots[logic.block.name]
    stage_of = [schedule.stage_of(logic.block.name, op.latency) for op in logic.program.ops]
    programs = cut(logic.program, stage_of, slot.first, slot.last)
    write = verilog_comb_logic_gen if language == "verilog" else vhdl_comb_logic_gen
    title = netlist.remark(f"layer {', '.join(logic.block.layers)}")
    head = f"// {title}\n`timescale 1ns / 1ps\n\n" if language == "verilog" else f"-- {title}\n"
    if len(programs) == 1:
        return head + _with_tables(logic, str(write(programs[0], logic.module)), language)
    texts = [write(program, f"{logic.module}_stage_{slot.first + i}") for i, program in enumerate(programs)]
    texts.append(netlist.text(_pipeline(logic, programs, slot.first, title, enable), language))
    return head + _with_tables(logic, "\n".join(texts), language)


def _with_tables(logic: Logic, text: str, language: str) -> str:
    """Return the text of a block behind the modules of the tables that it reads, which get names of the block's own.

    alkaid's own text of a table leaves the results undefined that nothing reads. Here they are the nearest ones that
    are read, so that no tool finds an undefined bit.
    """
    from alkaid.codegen.rtl.verilog.lookup import lookup_name, lookup_ops

    tables: dict[str, str] = {}
    for op in lookup_ops(logic.program):
        name = lookup_name(logic.program, op)
        if name not in tables:
            own = f"{logic.module}_table_{len(tables)}"
            operand = logic.program.ops[op.addr[0]].qint
            entries = logic.program.lookup_tables[op.data[0]].padded_table(operand)
            tables[name] = netlist.lookup(own, _defined(entries, operand.min < 0), sum(op.qint.kif), language)
            text = text.replace(name, own)
    return "\n".join([*tables.values(), text])


def _defined(entries: Any, signed: bool) -> list[int]:
    """Return entries by address, with those that are not a number replaced by the nearest one in the operand's order.

    Addresses of negative integers are the higher half.
    """
    half = len(entries) // 2 if signed else 0
    ordered = np.roll(entries, half)
    read = np.flatnonzero(np.isfinite(ordered))
    nearest = np.abs(np.arange(len(ordered))[:, None] - [read[0], read[-1]]).argmin(1)
    filled = np.where(np.isfinite(ordered), ordered, ordered[read[[0, -1]]][nearest])
    return [int(number) for number in np.roll(filled, half)]


def _pipeline(logic: Logic, programs: list[Any], first: int, title: str, enable: str) -> Module:
    widths = [int(program.inp_kifs.sum()) for program in programs]
    wide = int(programs[-1].out_kifs.sum())
    inputs = {**({enable: 0} if enable else {}), "model_inp": widths[0]}
    module = Module(logic.module, True, inputs, {"model_out": wide}, f"{title}: its stages", enable=enable)
    source = "model_inp"
    for i, stage in enumerate(range(first, first + len(programs))):
        last = i == len(programs) - 1
        target = "model_out" if last else f"stage_{stage}_out"
        module.instances.append(
            (f"stage_{stage}", f"{logic.module}_stage_{stage}", {"model_inp": source, "model_out": target})
        )
        if not last:
            module.wires[target] = widths[i + 1]
            source = f"stage_{stage + 1}_in"
            module.register(source, target)
    return module


def operators(language: str, texts: Iterable[str]) -> dict[str, str]:
    """Return alkaid's operator sources that the texts use, by file name."""
    everything = "\n".join(texts)
    sources = every_operator(language)
    return {name: text for name, text in sources.items() if re.search(rf"\b{Path(name).stem}\b", everything)}


def every_operator(language: str) -> dict[str, str]:
    """Return all of alkaid's operator sources, by file name."""
    import alkaid

    home = Path(alkaid.__file__).parent / "codegen" / "rtl" / language / "source"
    return {path.name: path.read_text() for path in sorted(home.iterdir())}
