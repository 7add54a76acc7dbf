"""The RTL of a multiplexed network: its texts, and its facts in the manifest."""

from __future__ import annotations

from typing import Any

from edgephys.graph.graph import Graph
from edgephys.targets.fpga import PARALLEL
from edgephys.targets.rtl import block_text, multiplex_text, netlist
from edgephys.targets.rtl.design import PROBE, TOP, Design, block, luts, port
from edgephys.targets.rtl.multiplex import Multiplexed
from edgephys.targets.rtl.multiplex_wiring import ConnectedRows, exposed, probe, top

BENCH = "edgephys_bench"
AXIS = "edgephys_axis"
LANGUAGE = "verilog"


def design(graph: Graph, network: Multiplexed, stage_ns: float, axi_stream: bool = False) -> Design:
    """Return the texts of a planned network and its facts; with AXI-Stream ports every simulation goes through them.

    Units: ``latency`` in clocks from the edge that takes an input to the one after which its output is valid.
    """
    whole = top(TOP, network, stage_ns)
    probed = probe(f"{PROBE}_core", network, stage_ns, exposed(network), whole)
    sources = {
        placed.copies.logic.module: block_text.text(placed.copies.logic, placed.schedule, LANGUAGE, "advance")
        for placed in whole.placed
    }
    around = _around(whole, network)
    sources |= around | {TOP: netlist.text(whole.module, LANGUAGE)}
    own = [text for name, text in _around(probed, network, "probe_").items() if name not in around]
    own += [netlist.text(probed.module, LANGUAGE), _bench(PROBE, probed)]
    facts, bench = _facts(graph, network, whole, probed), _bench(BENCH, whole)
    if axi_stream:
        widths = whole.module.inputs["in_bits"], whole.module.outputs["out_bits"]
        sources[AXIS] = multiplex_text.axis(AXIS, TOP, *widths)
        bench = multiplex_text.bench(BENCH, AXIS, *widths, axi_stream=True)
        of_bytes = dict(zip(("input_bytes", "output_bytes"), map(multiplex_text.bytes_of, widths), strict=True))
        facts["axi_stream"] = {"top": AXIS, **of_bytes}
    return Design(sources, {BENCH: bench, PROBE: "\n".join(own)}, facts)


def _bench(name: str, of: ConnectedRows) -> str:
    module = of.module
    return multiplex_text.bench(name, module.name, module.inputs["in_bits"], module.outputs["out_bits"])


def stages(network: Multiplexed, stage_ns: float) -> int:
    """Return the stages from the input's register to the output's."""
    return top(TOP, network, stage_ns).last


def _around(wired: ConnectedRows, network: Multiplexed, prefix: str = "") -> dict[str, str]:
    """Return the modules between the blocks, by name."""
    texts = {part.name: part.text() for part in wired.parts}
    texts |= {multiplex_text.keep_name(width): multiplex_text.keep(width) for width in wired.keep_widths}
    texts |= {delay.name: delay.text() for delay in wired.delays}
    name = prefix + multiplex_text.CONTROL
    return texts | {name: multiplex_text.control(name, network.ii, wired.last)}


def _facts(graph: Graph, network: Multiplexed, whole: ConnectedRows, probed: ConnectedRows) -> dict[str, Any]:
    return {
        "io": PARALLEL,
        "ii": network.ii,
        "bench": BENCH,
        "bench_source": f"sim/{BENCH}.v",
        "latency": whole.last,
        "stages": whole.last,
        "delay_estimate_ns": sum({id(p.schedule): p.schedule.delay_ns for p in whole.placed}.values()),
        "lut_estimate": luts(network.logics),
        "memory_bits": sum(delay.memory_bits for delay in whole.delays),
        "input": port(graph, [graph.input.name]),
        "output": port(graph, [graph.output.name]),
        "probed": port(graph, list(probed.stages), {name: {"stage": of} for name, of in probed.stages.items()}),
        "blocks": [block(placed.copies.logic, placed.slot) for placed in whole.placed],
    }
