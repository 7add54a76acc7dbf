"""The design of a stream with its roll-out around it: texts, and facts in the manifest."""

from __future__ import annotations

from edgephys.graph.graph import Graph
from edgephys.targets.rtl import netlist, rollout_text
from edgephys.targets.rtl.bits import width
from edgephys.targets.rtl.design import Design
from edgephys.targets.rtl.netlist import Module
from edgephys.targets.rtl.rollout_plan import MEMORY, ROLLOUT, Rollout

BENCH = f"{ROLLOUT}_bench"


def around(core: Design, graph: Graph, of: Rollout) -> Design:
    """Return the design of a stream, unchanged, with a roll-out around its top.

    Units: ``step_cycles`` and ``last_step_cycles`` in clocks: a run of n steps takes n - 1 of the former and one of the
    latter; ``memory_bits`` in bits of the memories of all channels.
    """
    sources = {**core.sources, MEMORY: rollout_text.memory(of), ROLLOUT: rollout_text.text(of, graph.name)}
    facts = {
        "top": ROLLOUT,
        "bench": BENCH,
        "bench_source": f"sim/{BENCH}.v",
        "memory": MEMORY,
        "state": of.feedback.state,
        "step_cycles": of.step_cycles,
        "last_step_cycles": of.last_step_cycles,
        "memory_bits": of.memory_bits,
        "input": of.inputs,
        "output": of.outputs,
    }
    return Design(sources, {**core.simulated, BENCH: bench(of)}, {**core.facts, "rollout": facts})


def bench(of: Rollout) -> str:
    """Return a module around the roll-out: all inputs side by side, the first one lowest, and all outputs."""
    ends = {"in_bits": of.inputs, "out_bits": of.outputs}
    widths = [{name: width(ports)} for name, ports in ends.items()]
    module = Module(BENCH, True, widths[0], widths[1], f"{ROLLOUT}, as it is simulated")
    connected = {"clk": "clk"}
    for vector, ports in ends.items():
        low = 0
        for port in ports:
            connected[port["node"]] = f"{vector}[{low + width([port]) - 1}:{low}]"
            low += width([port])
    module.instances.append(("dut", ROLLOUT, connected))
    return netlist.text(module, "verilog")
