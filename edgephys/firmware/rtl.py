"""Emit a fully pipelined RTL project: the golden program, run on alkaid's symbols, one module a layer.

Inputs and outputs are registered, a vector is taken every clock, and there is no reset: after
``stages`` clocks nothing of what was there before is left. The only module that knows alkaid (LGPL; the
static operator sources that a project carries are copies from the installed package, with its licence).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.errors import ModelError, UsageError
from edgephys.firmware import netlist
from edgephys.firmware.netlist import Element, Module, Piece
from edgephys.firmware.schedule import Schedule, plan
from edgephys.fixed import Fixed
from edgephys.lower import evaluate
from edgephys.lower.graph import Graph, Kind, check
from edgephys.lower.partition import Block, blocks
from edgephys.lower.ranges import derive

TOP = "edgephys_top"
PROBE = "edgephys_probe"
SLOWEST_NS = 1000.0
HARDWARE = (1, 1, -1)
"""Bits an adder and a carry count as one, and no cutoff: what alkaid's own converter uses."""
SOLVER = {"hard_dc": 5, "binary_lut": False}
"""At most five adders more than the shallowest tree, as alkaid's converter; no lookup tables."""
DOUBLE = 53
SINGLE = 24
"""Bits of a float64 (alkaid's intervals) and of a float32 (its matrices) that hold every integer."""

PARTS = {
    "AMD 7 series (xc7a100tcsg324-1)": r"xc7[aksvz]\d{2,4}[a-z0-9]*(-[a-z0-9-]+)?",
    "AMD UltraScale (xcku115-flvb2104-2-e)": r"xc[kv]u\d{3}(-[a-z0-9-]+)?",
    "AMD UltraScale+ (xcvu13p-flga2577-2-e)": r"xc([akv]u\d{1,2}p|zu\d{1,2}(cg|eg|ev|dr)|u\d{2,3}[a-z]?)(-[a-z0-9-]+)?",
    "Lattice ECP5 (LFE5U-85F-6BG381C)": r"lfe5u(m5g|m)?-(12|25|45|85)f(-[6-8][a-z]{2}\d{3}[a-z]?)?",
}


@dataclass(frozen=True)
class RtlOptions:
    """State the language, the clock and the part of an RTL project. Units: clock_ns in nanoseconds."""

    language: str = "verilog"
    clock_ns: float = 5.0
    part: str = "xcvu13p-flga2577-2-e"

    def __post_init__(self) -> None:
        if self.language not in netlist.SUFFIX:
            raise UsageError(f"language must be verilog or vhdl, not {self.language!r}")
        if not 0 < self.clock_ns <= SLOWEST_NS:
            raise UsageError(f"clock_ns must be over 0 and up to {SLOWEST_NS:.0f}, not {self.clock_ns}; 5 is 200 MHz")
        if not any(re.fullmatch(pattern, self.part, re.IGNORECASE) for pattern in PARTS.values()):
            raise UsageError(f"part must be one of {', '.join(PARTS)}, not {self.part!r}")

    @property
    def fuses_three(self) -> bool:
        """Whether the part adds three numbers in one row of its LUTs."""
        return self.part.lower().startswith("xc")


@dataclass(frozen=True, eq=False)
class Traced:
    """Hold a block as alkaid's program, and where every integer lies in its two ports.

    Elements are flat, an edge of the block's graph each; ``program`` is None where all outputs are known.
    """

    block: Block
    program: Any
    inputs: dict[str, list[Element]]
    outputs: dict[str, list[Element]]

    @property
    def latency_ns(self) -> float:
        """Return alkaid's estimate of the slowest path."""
        return float(max(self.program.out_latency)) if self.program else 0.0

    @property
    def module(self) -> str:
        """Return the name of the block's module."""
        return f"layer_{self.block.name}"


def emit(graph: Graph, folder: Path, options: RtlOptions) -> dict[str, Any]:
    """Write the sources of a graph below ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError where the graph has no exact RTL, before anything is written.
    """
    _refuse(graph)
    traced = _traced(graph, options)
    producers = {name: t.block.name for t in traced for name in t.block.graph.outputs}
    reads = {t.block.name: [producers[n] for n in t.block.graph.inputs if n in producers] for t in traced}
    schedule = plan({t.block.name: t.latency_ns for t in traced}, reads, options.clock_ns)
    sources: dict[str, str] = {}
    for t in traced:
        if t.program is not None:
            sources[t.module] = _layer_text(t, schedule, options.language)
    last_nodes = [node.name for _, node in graph.layers() if node.kind is Kind.INPUT or node.name in producers]
    top = _top(TOP, graph, traced, schedule, [graph.output.name])
    probe = _top(PROBE, graph, traced, schedule, last_nodes)
    sources[TOP] = netlist.text(top, options.language)
    probe_text = netlist.text(probe, options.language)
    paths = _write(folder, options.language, sources, probe_text)
    return _facts(graph, options, traced, schedule, paths, last_nodes)


def _refuse(graph: Graph) -> None:
    check(graph)
    _ = graph.input, graph.output
    for name, range_ in derive(graph).items():
        node = graph.by_name[name]
        widest = max(range_.partial, -range_.lowest, range_.highest).bit_length()
        if widest > DOUBLE:
            raise ModelError(
                f"layer '{node.layer}': {node.kind.value} '{name}' needs {widest} bits; RTL is exact up to {DOUBLE}; "
                f"use fewer bits in its weights or inputs"
            )
        limit = SINGLE if node.kind is Kind.DENSE else 31
        if node.constant is not None and node.constant.bits > limit:
            raise ModelError(
                f"layer '{node.layer}': {node.kind.value} '{name}' has a constant of {node.constant.bits} bits; "
                f"RTL takes up to {limit}; use fewer bits"
            )


# Blocks as alkaid's programs --------------------------------------------------------------------


def _traced(graph: Graph, options: RtlOptions) -> list[Traced]:
    fixed = graph.input.fixed
    edges = {graph.input.name: _uniform(fixed, prod(graph.input.shape))}
    found = []
    for block in blocks(graph):
        wanted = {name: _over_rows(edges[name], block.copies) for name in block.graph.inputs}
        try:
            traced = _trace(block, wanted, options)
        except ModelError as error:
            raise ModelError(f"layer '{', '.join(block.layers)}': {error}") from error
        for name, elements in traced.outputs.items():
            edges[name] = elements * block.copies
        found.append(traced)
    return found


def _uniform(fixed: Fixed, count: int) -> list[Element]:
    return [Element(i * fixed.bits, fixed.bits, fixed.signed, 0) for i in range(count)]


def _over_rows(elements: list[Element], copies: int) -> list[Element]:
    """Return the precision of each element of a row that holds it in all rows (offsets are not kept)."""
    per_row = len(elements) // copies
    return [_union(elements[i::per_row]) for i in range(per_row)]


def _union(rows: list[Element]) -> Element:
    first = rows[0]
    if all((e.width, e.signed, e.shift, e.constant) == (first.width, first.signed, first.shift, first.constant) for e in rows):
        return first
    rows = [_of_constant(e.constant) if e.width == 0 else e for e in rows]
    signed = any(e.signed for e in rows)
    shift = min(e.shift for e in rows)
    top = max(e.shift + e.width + (signed and not e.signed) for e in rows)
    return Element(0, top - shift, signed, shift)


def _of_constant(value: int) -> Element:
    signed = value < 0
    return Element(0, max(1, (-value - 1 if signed else value).bit_length() + signed), signed, 0)


def _trace(block: Block, wanted: Mapping[str, list[Element]], options: RtlOptions) -> Traced:
    from alkaid.trace import FVArray, HWConfig, trace  # a heavy import, not needed to read a project
    from alkaid.trace.passes import add_surrogate, dead_code_elimin, fuse_ternary_adders

    hardware = HWConfig(*HARDWARE)
    flat = [element for name in block.graph.inputs for element in wanted[name]]
    kif = np.array([(e.signed, e.width - e.signed + e.shift, -e.shift) for e in flat]).T
    given = np.asarray(FVArray.from_kif(*kif, hardware)).copy()
    variables = [v for v, element in zip(given, flat, strict=True) if element.width]
    for i, element in enumerate(flat):
        if not element.width:
            given[i] = float(element.constant)
    symbols = {}
    for name in block.graph.inputs:
        size = len(wanted[name])
        part, given = given[:size], given[size:]
        symbols[name] = FVArray(part.reshape(block.graph.by_name[name].shape), dict(SOLVER), hwconf=hardware)
    edges = evaluate.trace(block.graph, symbols)
    outputs = [v for name in block.graph.outputs for v in np.ravel(np.asarray(edges[name]))]
    program = None
    if variables and not all(_known(v) for v in outputs):
        program = trace(variables, outputs, keep_dead_inputs=True)
        if options.fuses_three:
            program = add_surrogate(dead_code_elimin(fuse_ternary_adders(program), keep_dead_inputs=True))
    return _placed(block, wanted, program, outputs)


def _known(variable: Any) -> bool:
    return bool(variable.low == variable.high)


def _placed(block: Block, wanted: Mapping[str, list[Element]], program: Any, outputs: list[Any]) -> Traced:
    """Lay out the two ports; known outputs leave the program."""
    if program is None:
        found = iter([Element(0, 0, False, 0, int(v.low)) for v in outputs])
        inputs = {name: [replace(e, width=0) for e in elements] for name, elements in wanted.items()}
    else:
        kifs = iter(program.inp_kifs.T.tolist())
        live = [next(kifs) if e.width else (0, 0, 0) for elements in wanted.values() for e in elements]
        ports = iter(_side_by_side([tuple(kif) for kif in live], [0] * len(live)))
        inputs = {name: [next(ports) for _ in elements] for name, elements in wanted.items()}
        intervals = program.out_qint
        values = [int(q.min) if q.min == q.max else None for q in intervals]
        kept = [i for i, value in enumerate(values) if value is None]
        program = _only(program, kept) if kept else None
        widths = [(0, 0, 0) if value is not None else tuple(q.kif) for value, q in zip(values, intervals, strict=True)]
        found = iter(_side_by_side(widths, [value or 0 for value in values]))
    sizes = {name: prod(block.graph.by_name[name].shape) for name in block.graph.outputs}
    return Traced(block, program, inputs, {name: [next(found) for _ in range(n)] for name, n in sizes.items()})


def _side_by_side(kifs: list[tuple[int, ...]], constants: list[int]) -> list[Element]:
    placed, offset = [], 0
    for (signed, integer, fraction), constant in zip(kifs, constants, strict=True):
        width = int(signed) + integer + fraction
        placed.append(Element(offset, width, bool(signed), -fraction if width else 0, constant))
        offset += width
    return placed


def _only(program: Any, kept: list[int]) -> Any:
    from alkaid.trace.passes import dead_code_elimin

    chosen = program._replace(
        shape=(program.shape[0], len(kept)),
        out_idxs=[program.out_idxs[i] for i in kept],
        out_shifts=[program.out_shifts[i] for i in kept],
        out_negs=[program.out_negs[i] for i in kept],
    )
    return dead_code_elimin(chosen, keep_dead_inputs=True)


# A block's modules ------------------------------------------------------------------------------


def _stage_programs(program: Any, stage_of: list[int], first: int, last: int) -> list[Any]:
    """Cut a program in stages; what a later stage needs is handed on, constants are made where they are used."""
    needed_after = {i for i in program.out_idxs if i >= 0}
    cut = []
    for stage in range(last, first - 1, -1):
        inside = [i for i, s in enumerate(stage_of) if s == stage and program.ops[i].opcode != 5]
        used = needed_after | {a for i in inside for a in program.ops[i].addr}
        constants = sorted(i for i in used if program.ops[i].opcode == 5)
        live_in = sorted(used - set(inside) - set(constants)) if stage > first else []
        outputs = None if stage == last else sorted(i for i in needed_after if program.ops[i].opcode != 5)
        cut.append(_stage_program(program, live_in, constants, inside, outputs))
        needed_after = set(live_in)
    return cut[::-1]


def _stage_program(
    program: Any, live_in: list[int], constants: list[int], inside: list[int], outputs: list[int] | None
) -> Any:
    ops, place = [], {}
    for number, i in enumerate(live_in):
        place[i] = len(ops)
        ops.append(program.ops[i]._replace(addr=(), opcode=-1, data=(number,), cost=0.0))
    for i in constants + inside:
        place[i] = len(ops)
        ops.append(program.ops[i]._replace(addr=tuple(place[a] for a in program.ops[i].addr)))
    first = not live_in
    chosen = program.out_idxs if outputs is None else outputs
    return program._replace(
        shape=(program.shape[0] if first else len(live_in), len(chosen)),
        inp_shifts=program.inp_shifts if first else [0] * len(live_in),
        out_idxs=[place[i] for i in chosen],
        out_shifts=program.out_shifts if outputs is None else [0] * len(chosen),
        out_negs=program.out_negs if outputs is None else [False] * len(chosen),
        ops=ops,
    )


def _layer_text(traced: Traced, schedule: Schedule, language: str) -> str:
    from alkaid.codegen.rtl import verilog_comb_logic_gen, vhdl_comb_logic_gen

    slot = schedule.slots[traced.block.name]
    stage_of = [schedule.stage_of(traced.block.name, op.latency) for op in traced.program.ops]
    programs = _stage_programs(traced.program, stage_of, slot.first, slot.last)
    write = verilog_comb_logic_gen if language == "verilog" else vhdl_comb_logic_gen
    if len(programs) == 1:
        return _titled(traced, write(programs[0], traced.module), language)
    texts = [write(p, f"{traced.module}_stage_{slot.first + i}") for i, p in enumerate(programs)]
    widths = [int(p.inp_kifs.sum()) for p in programs] + [int(programs[-1].out_kifs.sum())]
    module = Module(traced.module, True, {"model_inp": widths[0]}, {"model_out": widths[-1]}, _title(traced))
    signal = "model_inp"
    for i in range(len(programs)):
        stage = slot.first + i
        ready = f"stage_{stage}_out" if i < len(programs) - 1 else "model_out"
        if ready != "model_out":
            module.wires[ready] = widths[i + 1]
        module.instances.append((f"stage_{stage}", f"{traced.module}_stage_{stage}", {"model_inp": signal, "model_out": ready}))
        if ready != "model_out":
            signal = f"stage_{stage + 1}_in"
            module.register(signal, ready)
    return _titled(traced, "\n".join([*texts, netlist.text(module, language)]), language)


def _title(traced: Traced) -> str:
    return f"layer {', '.join(traced.block.layers)}"


def _titled(traced: Traced, body: str, language: str) -> str:
    if language == "verilog":
        return f"// {_title(traced)}\n`timescale 1ns / 1ps\n\n{body}"
    return f"-- {_title(traced)}\n{body}"


# The top ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Say which signal holds an element of an edge, and in which stage it is ready."""

    signal: str
    element: Element
    stage: int


def _top(name: str, graph: Graph, traced: list[Traced], schedule: Schedule, exposed: list[str]) -> Module:
    """Return the module that connects the blocks and gives the ``exposed`` edges, all in the last stage."""
    fixed, size = graph.input.fixed, prod(graph.input.shape)
    wide = sum(graph.by_name[edge].fixed.bits * prod(graph.by_name[edge].shape) for edge in exposed)
    module = Module(name, True, {"in_bits": fixed.bits * size}, {"out_bits": wide}, f"{graph.name}: all layers")
    module.register("input_q", "in_bits")
    edges = {graph.input.name: [Source("input_q", e, 1) for e in _uniform(fixed, size)]}
    for t in traced:
        _instantiate(module, t, schedule, edges)
    module.wires["output_d"] = wide
    offset = 0
    for edge in exposed:
        node = graph.by_name[edge]
        for wanted, source in zip(_uniform(node.fixed, prod(node.shape)), edges[edge], strict=True):
            placed = replace(wanted, offset=offset + wanted.offset)
            module.connect("output_d", placed, _delayed(module, source, schedule.stages), source.element)
        offset += node.fixed.bits * prod(node.shape)
    module.register("output_q", "output_d")
    module.assigns.append(("out_bits", 0, Piece(wide, "output_q")))
    return module


def _instantiate(module: Module, traced: Traced, schedule: Schedule, edges: dict[str, list[Source]]) -> None:
    block, slot = traced.block, schedule.slots[traced.block.name]
    made: dict[str, list[Source]] = {name: [] for name in traced.outputs}
    for copy in range(block.copies):
        suffix = f"_{copy}" if block.copies > 1 else ""
        taken, given = f"{block.name}_in{suffix}", f"{block.name}_out{suffix}"
        for name, elements in traced.outputs.items():
            made[name] += [Source(given, element, slot.last) for element in elements]
        if traced.program is None:
            continue
        module.wires[taken] = sum(e.width for elements in traced.inputs.values() for e in elements)
        module.wires[given] = sum(e.width for elements in traced.outputs.values() for e in elements)
        for name, elements in traced.inputs.items():
            row = edges[name][copy * len(elements) : (copy + 1) * len(elements)]
            for wanted, source in zip(elements, row, strict=True):
                module.connect(taken, wanted, _delayed(module, source, slot.first), source.element)
        clock = {"clk": "clk"} if slot.last > slot.first else {}
        module.instances.append((f"u_{block.name}{suffix}", traced.module, {**clock, "model_inp": taken, "model_out": given}))
    edges.update(made)


def _delayed(module: Module, source: Source, stage: int) -> str:
    """Return the signal that holds a source in a later stage; its registers are made once."""
    if source.element.width == 0:
        return source.signal
    signal = source.signal
    for clocks in range(1, stage - source.stage + 1):
        later = f"{source.signal}_d{clocks}"
        if later not in module.wires:
            module.register(later, signal)
        signal = later
    return signal


# The project ------------------------------------------------------------------------------------


def _write(folder: Path, language: str, sources: Mapping[str, str], probe_text: str) -> list[str]:
    """Write the sources, alkaid's operators that they use, and the probe; return the sources' paths."""
    suffix = netlist.SUFFIX[language]
    texts = {f"src/static/{name}{suffix}": text for name, text in _operators(language, sources.values())}
    texts |= {f"src/{name}{suffix}": text for name, text in sources.items()}
    for path, text in {**texts, f"sim/{PROBE}{suffix}": probe_text}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return list(texts)


def _operators(language: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    import alkaid

    home = Path(alkaid.__file__).parent / "codegen" / "rtl" / language / "source"
    everything = "\n".join(texts)
    found = [path for path in sorted(home.iterdir()) if re.search(rf"\b{path.stem}\b", everything)]
    return [(path.stem, path.read_text()) for path in found]


def _facts(
    graph: Graph, options: RtlOptions, traced: list[Traced], schedule: Schedule, paths: list[str], exposed: list[str]
) -> dict[str, Any]:
    suffix = netlist.SUFFIX[options.language]
    return {
        "backend": "rtl",
        "language": options.language,
        "clock_ns": options.clock_ns,
        "part": options.part,
        "top": TOP,
        "probe": PROBE,
        "sources": paths,
        "probe_source": f"sim/{PROBE}{suffix}",
        "stages": schedule.stages,
        "delay_estimate_ns": schedule.delay_ns,
        "lut_estimate": sum(_cost(t) * t.block.copies for t in traced),
        "input": _port(graph, [graph.input.name]),
        "output": _port(graph, [graph.output.name]),
        "probed": _port(graph, exposed),
        "blocks": [_block_facts(t, schedule) for t in traced],
        "alkaid": metadata.version("alkaid"),
    }


def _cost(traced: Traced) -> float:
    return float(traced.program.cost) if traced.program else 0.0


def _port(graph: Graph, names: list[str]) -> list[dict[str, Any]]:
    """Say how a port is laid out: edge after edge, each element in its edge's whole format."""
    return [
        {
            "node": name,
            "layer": graph.by_name[name].layer,
            "shape": list(graph.by_name[name].shape),
            "signed": graph.by_name[name].fixed.signed,
            "bits": graph.by_name[name].fixed.bits,
            "fraction": graph.by_name[name].fixed.fraction,
        }
        for name in names
    ]


def _block_facts(traced: Traced, schedule: Schedule) -> dict[str, Any]:
    slot = schedule.slots[traced.block.name]
    return {
        "name": traced.block.name,
        "layers": list(traced.block.layers),
        "module": traced.module if traced.program is not None else None,
        "copies": traced.block.copies,
        "first_stage": slot.first,
        "last_stage": slot.last,
        "delay_estimate_ns": traced.latency_ns,
        "lut_estimate": _cost(traced),
        "inputs": netlist.layout(traced.inputs),
        "outputs": netlist.layout(traced.outputs),
    }
