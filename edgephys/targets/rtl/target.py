"""RTL: Verilog or VHDL, run by simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.figure import Figure
from edgephys.targets.fpga import STREAM, FpgaTarget
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.target import (
    CountedCycles,
    EmittedProject,
    Facts,
    Lint,
    NotTimed,
    OtherRun,
    Proof,
    Ran,
    Say,
    ToolRuns,
)

if TYPE_CHECKING:
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.targets.rtl.testbench import Simulated
    from edgephys.targets.rules import RuleTable


class RtlTarget(FpgaTarget):
    """A fully pipelined RTL project."""

    name = "rtl"
    options = RtlOptions
    checked = "rtl"
    doing = "RTL simulation: compile and run"
    packages = ("alkaid",)
    revision = 2

    def rules(self) -> RuleTable[Any]:
        """Return the rules of ``rules.py``."""
        from edgephys.targets.rtl import rules

        return rules.RULES

    def emit(self, graph: Graph, folder: Path, options: RtlOptions) -> dict[str, Any]:
        """Write the modules."""
        from edgephys.targets.rtl import emit

        return emit.emit(graph, folder, options)

    def run(self, folder: Path, facts: Facts, x: Integers) -> Ran:
        """Simulate the modules with Verilator or GHDL, and measure latency and initiation interval."""
        from edgephys.targets.rtl import simulate

        return _ran(facts, simulate.simulate(folder, facts, x))

    def other_runs(self, project: EmittedProject, netlist: bool) -> Sequence[OtherRun]:
        """Return a simulation with gaps between the pixels of a stream, and those of two netlists if asked for."""
        others: list[OtherRun] = []
        if project.facts.get("io") == STREAM:
            from edgephys.targets.rtl import stream_simulate

            def run(x: Integers) -> Ran:
                return Ran(stream_simulate.simulate_with_gaps(project.firmware, project.facts, x), {})

            others = [OtherRun("rtl_gaps", "RTL simulation with gaps at random clocks", run)]
        return [*others, *_netlists(project)] if netlist else others

    def proofs(self, project: EmittedProject, say: Say) -> Sequence[Proof]:
        """Return what is proven of each module of these netlists."""
        from edgephys.targets.rtl import gate_level

        return list(gate_level.proofs(project.firmware, project.facts, gate_level.FAMILIES, say))

    def lint(self, project: EmittedProject) -> tuple[Lint, ...]:
        """Return what Verilator, Yosys and Icarus, or GHDL, object to."""
        from edgephys.targets.rtl import lint

        return lint.of_project(project.firmware, project.facts)

    def probe(self, folder: Path, facts: Facts, x: Integers) -> Mapping[str, Integers]:
        """Return each layer's integers in the simulation."""
        from edgephys.targets.rtl import simulate

        return simulate.probe(folder, facts, x)

    def scan(self, folder: Path, facts: Facts) -> None:
        """Refuse system tasks, directives, attributes and files in the sources, and names that are no identifiers."""
        from edgephys.targets.rtl import scan

        scan.scan(folder, facts)

    def simulated_times(self, facts: Facts) -> tuple[tuple[str, str], ...]:
        """Return latency and initiation interval; of a stream those of a frame, and the latency of its first pixel."""
        first = [("latency_first_cycles", "cycles")] if facts.get("io") == STREAM else []
        return (("latency_cycles", "cycles"), *first, ("ii", "cycles"))

    def figures(self, project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
        """Return alkaid's estimate, synthesis by Yosys, routing by nextpnr, and the vendor's reports."""
        from edgephys.targets import vendor
        from edgephys.targets.rtl import figures

        return [
            *figures.estimates(project),
            *figures.synthesis(project, runs, say),
            *figures.routing(project, runs, say),
            *vendor.read(project.folder),
        ]

    def timing(self, project: EmittedProject) -> CountedCycles | NotTimed:
        """Return the cycles that the verification of the project as it is now counted."""
        record = project.result("verify")
        simulated = (record or {}).get("targets", {}).get(self.checked)
        if record is None or simulated is None:
            return NotTimed(
                f"not simulated: `edgephys verify {project.folder}` has not run on the project as it is now"
            )
        if record["mismatches"]:
            return NotTimed(f"computes other numbers: {record['mismatches']} outputs in its verification")
        names = ("latency_cycles", "ii", "tool", "version", "vectors")
        return CountedCycles({name: simulated[name] for name in names} | {"clock_ns": project.clock_ns})


def _netlists(project: EmittedProject) -> list[OtherRun]:
    """Return the simulations of the netlists that Yosys makes, and of the routed one where a report placed it."""
    from edgephys.targets.rtl import figures, gate_level

    facts, most = project.facts, gate_level.most(project.facts)
    gate_level.require_verilog(facts)

    def run(family: str, x: Integers) -> Ran:
        return _ran(facts, gate_level.simulated(project.firmware, facts, family, x))

    def run_routed(x: Integers) -> Ran:
        netlist = figures.placed(project).netlist
        return _ran(facts, gate_level.simulated_as_routed(project.firmware, facts, netlist, x))

    runs = [
        OtherRun(gate_level.name(family), gate_level.doing(family), partial(run, family), most)
        for family in gate_level.FAMILIES
    ]
    if figures.was_placed(project):
        doing = "netlist of Lattice ECP5 after place and route: simulation"
        runs.append(OtherRun(gate_level.name("ecp5_routed"), doing, run_routed, most))
    return runs


def _ran(facts: Facts, simulated: Simulated) -> Ran:
    """Return a run with its times and its simulator."""
    from edgephys.core import processes

    simulator = processes.find({"verilog": "verilator", "vhdl": "ghdl"}[facts["language"]])
    first = {} if simulated.first_cycles is None else {"latency_first_cycles": simulated.first_cycles}
    times = {"latency_cycles": simulated.latency_cycles, **first, "ii": simulated.ii}
    return Ran(simulated.outputs, {**times, "tool": simulator.name, "version": simulator.version})
