"""Emit a fully pipelined RTL project: one module for each layer, instantiated for each row that the layer works on.

Inputs and outputs are registered, and a vector is accepted at every clock. There is no reset: after ``stages`` clocks
no earlier value is left. A network that reads neighbouring pixels accepts one pixel a clock instead (``stream``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core.errors import ModelError, UsageError
from edgephys.graph.feedback import feedback
from edgephys.graph.graph import Graph, check
from edgephys.graph.ops import Input
from edgephys.graph.ranges import derive
from edgephys.targets.fpga import AUTO, PARALLEL
from edgephys.targets.rollout import not_streamed
from edgephys.targets.rtl import block_text, logic, multiplex, multiplex_rtl, netlist, rollout, rollout_plan, stream_rtl
from edgephys.targets.rtl.design import PROBE, TOP, Design, block, luts, port
from edgephys.targets.rtl.fitting import fitted
from edgephys.targets.rtl.logic import Logic
from edgephys.targets.rtl.multiplex import Multiplexed
from edgephys.targets.rtl.options import SUFFIX, RtlOptions
from edgephys.targets.rtl.prefix import renaming
from edgephys.targets.rtl.rules import RULES
from edgephys.targets.rtl.schedule import Schedule, plan
from edgephys.targets.rtl.stream import Stream, is_field, planned
from edgephys.targets.rtl.wiring import top

DOUBLE = 53
"""Bits of the integers that a float64 holds exactly: alkaid computes the symbols' ranges in float64."""


def emit(graph: Graph, folder: Path, options: RtlOptions) -> dict[str, Any]:
    """Write the sources of a graph below ``folder`` and return the facts for the manifest.

    The same graph and options give the same bytes.
    Raises: ModelError where the graph has no exact RTL, UsageError where its stream has none in the language.
    """
    options = fitted(graph.name, options, lambda tried: luts(_planned(graph, tried).logics))
    network = _planned(graph, options)
    if isinstance(network, Multiplexed):
        design = multiplex_rtl.design(graph, network, options.stage_ns, options.axi_stream)
    elif isinstance(network, Stream):
        design = _streamed(graph, network, options)
    else:
        design = _parallel(graph, network, options)
    texts, sources = _texts(options.language, design)
    renamed = renaming(options.prefix, texts.values())
    for path, text in texts.items():
        file = folder / renamed.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(renamed.text(text))
    facts = {
        "backend": "rtl",
        "language": options.language,
        "clock_ns": options.clock_ns,
        "cutoff_ns": options.stage_ns,
        "part": options.part,
        "top": TOP,
        "probe": PROBE,
        "sources": sources,
        "probe_source": f"sim/{PROBE}{SUFFIX[options.language]}",
        **design.facts,
        "alkaid": logic.version(),
    }
    return {**renamed.facts(facts), "prefix": options.prefix} if options.prefix else facts


@dataclass(frozen=True)
class Estimate:
    """State alkaid's estimate of a design before it is written: LUTs without registers, and pipeline stages.

    The stages of a stream are those of its logic, without the clocks in which it waits for pixels; ``ii`` is the
    interval, chosen where the options leave it open.
    """

    lut: float
    stages: int
    ii: int


def estimate(graph: Graph, options: RtlOptions) -> Estimate:
    """Return the estimate of a graph without writing its project.  Raises: as ``emit``."""
    options = fitted(graph.name, options, lambda tried: luts(_planned(graph, tried).logics))
    network = _planned(graph, options)
    stages = multiplex_rtl.stages(network, options.stage_ns) if isinstance(network, Multiplexed) else network.stages
    return Estimate(luts(network.logics), stages, options.ii)


@dataclass(frozen=True, eq=False)
class Parallel:
    """Hold the logic of every block, whose copies all work in parallel, and its schedule."""

    logics: list[Logic]
    schedule: Schedule

    @property
    def stages(self) -> int:
        """Pipeline stages of the whole network."""
        return self.schedule.stages


def _planned(graph: Graph, options: RtlOptions) -> Parallel | Stream | Multiplexed:
    _refuse(graph)
    if options.io == PARALLEL or (options.io == AUTO and not is_field(graph)):
        if options.rollout:
            raise not_streamed(graph.name)
        if options.has_handshake:
            return _in_turn(graph, options)
        return _side_by_side(graph, options)
    if options.has_handshake:
        raise UsageError(
            "ii must be 1, and handshake and axi_stream off, for a field that is streamed, a pixel a clock; io "
            "'parallel' has them"
        )
    if options.language != stream_rtl.LANGUAGE:
        raise UsageError(
            f"language must be {stream_rtl.LANGUAGE} for a field that is streamed, not {options.language}; io "
            f"'{PARALLEL}' has both"
        )
    return planned(graph, options.adds_three, options.stage_ns)


def _streamed(graph: Graph, stream: Stream, options: RtlOptions) -> Design:
    core = stream_rtl.design(graph, stream)
    if not options.rollout:
        return core
    return rollout.around(core, graph, rollout_plan.rollout(graph, feedback(graph, options.rollout), stream.last))


def _in_turn(graph: Graph, options: RtlOptions) -> Multiplexed:
    if options.language != multiplex_rtl.LANGUAGE:
        raise UsageError(
            f"language must be {multiplex_rtl.LANGUAGE} with an ii above 1 or a handshake, not {options.language}"
        )
    return multiplex.planned(graph, options.ii, options.adds_three, options.stage_ns)


def _side_by_side(graph: Graph, options: RtlOptions) -> Parallel:
    logics = logic.trace(graph, options.adds_three)
    makers = {name: block_logic.block.name for block_logic in logics for name in block_logic.outputs}
    reads = {m.block.name: [makers[name] for name in m.block.graph.inputs if name in makers] for m in logics}
    return Parallel(
        logics, plan({block_logic.block.name: block_logic.delay_ns for block_logic in logics}, reads, options.stage_ns)
    )


def _parallel(graph: Graph, parallel: Parallel, options: RtlOptions) -> Design:
    logics, schedule, language = parallel.logics, parallel.schedule, options.language
    makers = {name for block_logic in logics for name in block_logic.outputs}
    exposed = [node.name for _, node in graph.layers() if isinstance(node.op, Input) or node.name in makers]
    sources = {
        block_logic.module: block_text.text(block_logic, schedule, language)
        for block_logic in logics
        if block_logic.program
    }
    sources[TOP] = netlist.text(top(TOP, graph, logics, schedule, [graph.output.name]), language)
    facts = {
        "io": PARALLEL,
        "stages": schedule.stages,
        "delay_estimate_ns": schedule.delay_ns,
        "lut_estimate": luts(logics),
        "input": port(graph, [graph.input.name]),
        "output": port(graph, [graph.output.name]),
        "probed": port(graph, exposed),
        "blocks": [block(block_logic, schedule.slots[block_logic.block.name]) for block_logic in logics],
    }
    return Design(sources, {PROBE: netlist.text(top(PROBE, graph, logics, schedule, exposed), language)}, facts)


def _refuse(graph: Graph) -> None:
    check(graph)
    _ = graph.input, graph.output
    if isinstance(graph.output.op, Input):
        raise ModelError(f"graph '{graph.name}': its output is its input; there is nothing to build")
    for name, range_ in derive(graph).items():
        node = graph.by_name[name]
        widest = max(range_.partial, -range_.lowest, range_.highest).bit_length()
        if widest > DOUBLE:
            raise ModelError(
                f"layer '{node.layer}': {node.op.word} '{name}' needs {widest} bits, RTL is exact up to {DOUBLE}; "
                f"use fewer bits in its weights or inputs"
            )
        limit = RULES.lookup(node.op, node.layer).constant_bits
        if node.op.constant_bits > limit:
            raise ModelError(
                f"layer '{node.layer}': {node.op.word} '{name}' has a constant of {node.op.constant_bits} bits, "
                f"RTL takes up to {limit}; use fewer bits"
            )


def _texts(language: str, design: Design) -> tuple[dict[str, str], list[str]]:
    """Return all texts by path, alkaid's operators that they use among them, and the paths of the sources."""
    suffix = SUFFIX[language]
    operators = block_text.operators(language, design.sources.values())
    texts = {f"src/static/{name}": text for name, text in operators.items()}
    texts |= {f"src/{name}{suffix}": text for name, text in design.sources.items()}
    return {**texts, **{f"sim/{name}{suffix}": text for name, text in design.simulated.items()}}, list(texts)
