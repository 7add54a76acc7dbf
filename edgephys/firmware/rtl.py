"""Emit a fully pipelined RTL project: one module a layer, a layer that works on rows made once.

Inputs and outputs are registered, a vector is taken every clock, and there is no reset: after
``stages`` clocks nothing of what was there before is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from math import inf
from pathlib import Path
from typing import Any

from edgephys.errors import ModelError, UsageError
from edgephys.firmware import logic, netlist
from edgephys.firmware.logic import Logic
from edgephys.firmware.parts import check_part
from edgephys.firmware.schedule import Schedule, plan
from edgephys.firmware.wiring import top
from edgephys.lower.graph import Graph, Kind, check
from edgephys.lower.ranges import derive

REVISION = 2
"""Raised when the same Graph and options give other sources: a table is then measured again."""
TOP = "edgephys_top"
PROBE = "edgephys_probe"
SLOWEST_NS = 1000.0
DOUBLE = 53
"""Bits of a float64 that hold every integer: the symbols' intervals are such."""
WIDEST_CONSTANT = {Kind.DENSE: 24, Kind.BIAS: 31, Kind.SCALE: 31}
"""Bits of a constant that the symbols hold exactly (matrices are float32)."""


@dataclass(frozen=True)
class RtlOptions:
    """State the language, the clock, the part and the pipelining of an RTL project; refuse what cannot be.

    Units: clock_ns in nanoseconds; cutoff_ns, in alkaid's estimate of ns, is the longest path of one stage
    (None: the clock). A cutoff as long as the whole delay leaves one stage between the two registers.
    """

    language: str = "verilog"
    clock_ns: float = 5.0
    part: str = "xcvu13p-flga2577-2-e"
    cutoff_ns: float | None = None

    def __post_init__(self) -> None:
        if self.language not in netlist.SUFFIX:
            raise UsageError(f"language must be {' or '.join(netlist.SUFFIX)}, not '{self.language}'")
        if not 0 < self.clock_ns <= SLOWEST_NS:
            raise UsageError(f"clock_ns must be over 0 and up to {SLOWEST_NS:.0f}, not {self.clock_ns}; 5 is 200 MHz")
        if self.cutoff_ns is not None and not 0 < self.cutoff_ns < inf:
            raise UsageError(f"cutoff_ns must be over 0 and finite, not {self.cutoff_ns}; without one it is the clock")
        check_part(self.part)

    @property
    def stage_ns(self) -> float:
        """The longest estimated path of one stage."""
        return self.clock_ns if self.cutoff_ns is None else self.cutoff_ns

    @property
    def adds_three(self) -> bool:
        """Whether the part adds three numbers in one row of its LUTs (AMD's)."""
        return self.part.lower().startswith("xc")


def emit(graph: Graph, folder: Path, options: RtlOptions) -> dict[str, Any]:
    """Write the sources of a graph below ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError where the graph has no exact RTL, before anything is written.
    """
    logics, schedule = _planned(graph, options)
    makers = {name for made in logics for name in made.outputs}
    exposed = [node.name for _, node in graph.layers() if node.kind is Kind.INPUT or node.name in makers]
    sources = {made.module: logic.text(made, schedule, options.language) for made in logics if made.program}
    sources[TOP] = netlist.text(top(TOP, graph, logics, schedule, [graph.output.name]), options.language)
    probe = netlist.text(top(PROBE, graph, logics, schedule, exposed), options.language)
    paths = _write(folder, options.language, sources, probe)
    return {
        "backend": "rtl",
        "language": options.language,
        "clock_ns": options.clock_ns,
        "cutoff_ns": options.stage_ns,
        "part": options.part,
        "top": TOP,
        "probe": PROBE,
        "sources": paths,
        "probe_source": f"sim/{PROBE}{netlist.SUFFIX[options.language]}",
        "stages": schedule.stages,
        "delay_estimate_ns": schedule.delay_ns,
        "lut_estimate": _luts(logics),
        "input": _port(graph, [graph.input.name]),
        "output": _port(graph, [graph.output.name]),
        "probed": _port(graph, exposed),
        "blocks": [_block(made, schedule) for made in logics],
        "alkaid": logic.version(),
    }


@dataclass(frozen=True)
class Estimate:
    """What alkaid says of a design before it is written: LUTs without registers, and pipeline stages."""

    lut: float
    stages: int


def estimate(graph: Graph, options: RtlOptions) -> Estimate:
    """Return what a project of a graph would state, without writing it.  Raises: as ``emit``."""
    logics, schedule = _planned(graph, options)
    return Estimate(_luts(logics), schedule.stages)


def _planned(graph: Graph, options: RtlOptions) -> tuple[list[Logic], Schedule]:
    _refuse(graph)
    logics = logic.trace(graph, options.adds_three)
    makers = {name: made.block.name for made in logics for name in made.outputs}
    reads = {m.block.name: [makers[name] for name in m.block.graph.inputs if name in makers] for m in logics}
    return logics, plan({made.block.name: made.delay_ns for made in logics}, reads, options.stage_ns)


def _luts(logics: Sequence[Logic]) -> float:
    return sum(made.lut * made.block.copies for made in logics)


def _refuse(graph: Graph) -> None:
    check(graph)
    _ = graph.input, graph.output
    if graph.output.kind is Kind.INPUT:
        raise ModelError(f"graph '{graph.name}': its output is its input; there is nothing to build")
    for name, range_ in derive(graph).items():
        node = graph.by_name[name]
        widest = max(range_.partial, -range_.lowest, range_.highest).bit_length()
        if widest > DOUBLE:
            raise ModelError(
                f"layer '{node.layer}': {node.kind.value} '{name}' needs {widest} bits, RTL is exact up to {DOUBLE}; "
                f"use fewer bits in its weights or inputs"
            )
        limit = WIDEST_CONSTANT.get(node.kind, 0)
        if node.constant is not None and node.constant.bits > limit:
            raise ModelError(
                f"layer '{node.layer}': {node.kind.value} '{name}' has a constant of {node.constant.bits} bits, "
                f"RTL takes up to {limit}; use fewer bits"
            )


def _write(folder: Path, language: str, sources: Mapping[str, str], probe: str) -> list[str]:
    """Write the sources, alkaid's operators that they use, and the probe; return the sources' paths."""
    suffix = netlist.SUFFIX[language]
    found = logic.operators(language, sources.values())
    texts = {f"src/static/{name}": text for name, text in found.items()}
    texts |= {f"src/{name}{suffix}": text for name, text in sources.items()}
    for path, text in {**texts, f"sim/{PROBE}{suffix}": probe}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return list(texts)


def _port(graph: Graph, names: Sequence[str]) -> list[dict[str, Any]]:
    """Say how a port is laid out: edge after edge, element after element, each in its edge's whole format."""
    nodes = [graph.by_name[name] for name in names]
    return [
        {
            "node": node.name,
            "layer": node.layer,
            "shape": list(node.shape),
            "signed": node.fixed.signed,
            "bits": node.fixed.bits,
            "fraction": node.fixed.fraction,
        }
        for node in nodes
    ]


def _block(made: Logic, schedule: Schedule) -> dict[str, Any]:
    """Say what a block is made of; a block of wires has no ports: [edge, element, shift] of each output's source.

    A source of no edge is the number 0.
    """
    slot = schedule.slots[made.block.name]
    return {
        "name": made.block.name,
        "layers": list(made.block.layers),
        "module": made.module if made.program is not None else None,
        "copies": made.block.copies,
        "first_stage": slot.first,
        "last_stage": slot.last,
        "delay_estimate_ns": made.delay_ns,
        "lut_estimate": made.lut,
        "inputs": netlist.layout(made.inputs),
        "outputs": {} if made.wires is not None else netlist.layout(made.outputs),
        "wires": {name: [list(astuple(wire)) for wire in wires] for name, wires in (made.wires or {}).items()},
    }
