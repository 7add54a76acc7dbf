"""RTL: Verilog or VHDL, run by simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.figure import Figure
from edgephys.targets.fpga import STREAM, FpgaTarget
from edgephys.targets.rtl.options import ROLLED_OUT, RtlOptions
from edgephys.targets.target import (
    CountedCycles,
    EmittedProject,
    Facts,
    Lint,
    MemoryPart,
    NotTimed,
    OtherRun,
    Proof,
    Ran,
    Say,
    ToolRuns,
    WorkingSpan,
)

if TYPE_CHECKING:
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.targets.rtl.rollout_simulate import RolledOut
    from edgephys.targets.rtl.testbench import Simulated
    from edgephys.targets.rules import RuleTable


class RtlTarget(FpgaTarget):
    """A fully pipelined RTL project."""

    name = "rtl"
    options = RtlOptions
    checked = "rtl"
    doing = "RTL simulation: compile and run"
    packages = ("alkaid",)
    revision = 3

    def rules(self) -> RuleTable[Any]:
        """Return the rules of ``rules.py``."""
        from edgephys.targets.rtl import rules

        return rules.RULES

    def emit(self, graph: Graph, folder: Path, options: RtlOptions) -> dict[str, Any]:
        """Write the modules, a README and scripts for synthesis."""
        from edgephys.targets.rtl import emit, integration

        facts = emit.emit(graph, folder, options)
        integration.write(graph, folder, facts, options)
        return facts

    def write_testbench(self, graph: Graph, folder: Path, facts: Facts, x: Integers) -> int:
        """Write a test bench in Verilog with vectors, which `make` runs."""
        if facts["language"] != "verilog":
            return 0
        from edgephys.targets.rtl import integration

        integration.write_testbench(graph, folder, facts, x)
        return len(x)

    def run(self, folder: Path, facts: Facts, x: Integers) -> Ran:
        """Simulate the modules with Verilator or GHDL, and measure latency and initiation interval."""
        from edgephys.targets.rtl import simulate

        return _ran(facts, simulate.simulate(folder, facts, x))

    def other_runs(self, project: EmittedProject, netlist: bool) -> Sequence[OtherRun]:
        """Return simulations in which the sides wait at random clocks, of a roll-out, and of netlists if asked for."""
        others = _with_gaps(project)
        if "rollout" in project.facts:
            from edgephys.targets.rtl import rollout_simulate

            roll_out = partial(rollout_simulate.simulate, project.firmware, project.facts)
            others.append(_rollout(project, roll_out, "RTL simulation"))
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

    def pipeline(self, facts: Facts) -> Sequence[WorkingSpan]:
        """Return the stages of each block, and those in which the line buffers of a stream wait for pixels."""
        spans = [
            WorkingSpan(part["name"], part["first_stage"], part["last_stage"], part["delay_estimate_ns"])
            for part in facts["blocks"]
        ]
        spans += [
            WorkingSpan(part["module"], part["first_stage"], part["last_stage"]) for part in facts.get("windows", ())
        ]
        return sorted(spans, key=lambda span: (span.first, span.last))

    def memory(self, facts: Facts) -> Sequence[MemoryPart]:
        """Return the line buffers of a stream, and the delays of what waits for them."""
        windows, delays = facts.get("windows", ()), facts.get("delays", ())
        return [
            *(MemoryPart(of["module"], f"lines for {_by(of['size'])} pixels", of["memory_bits"]) for of in windows),
            *(MemoryPart(of["module"], f"{of['beats']} values that wait", of["memory_bits"]) for of in delays),
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


def _by(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _with_gaps(project: EmittedProject) -> list[OtherRun]:
    """Return the simulation of a stream, or of inputs with a handshake, in which nothing comes at random clocks."""
    from edgephys.targets.rtl import multiplex_simulate, stream_simulate

    folder, facts = project.firmware, project.facts
    if facts.get("io") == STREAM:
        simulated, doing = stream_simulate.simulate_with_gaps, "RTL simulation with gaps at random clocks"
    elif "ii" in facts:
        simulated, doing = multiplex_simulate.simulate_with_gaps, "RTL simulation, both sides wait at random clocks"
    else:
        return []
    return [OtherRun("rtl_gaps", doing, lambda x: Ran(simulated(folder, facts, x), {}))]


def _rollout(
    project: EmittedProject, simulate: Callable[[Integers], RolledOut], doing: str, name: str = ROLLED_OUT
) -> OtherRun:
    """Return a simulation of a roll-out in hardware: the states after several numbers of steps."""
    from edgephys.targets.rollout import STEPS, other_run
    from edgephys.targets.rtl.rollout_simulate import most

    def run(x: Integers) -> Ran:
        simulated = simulate(x)
        times = {"step_cycles": simulated.step_cycles, "run_cycles": simulated.run_cycles, "steps": list(STEPS)}
        return Ran(simulated.states, times | _simulator(project.facts))

    return other_run(project, name, doing, run, most(project.facts))


def _netlists(project: EmittedProject) -> list[OtherRun]:
    """Return the simulations of the netlists that Yosys makes, and of the routed one where a report placed it."""
    from edgephys.targets.rtl import figures, gate_level

    facts, most, folder = project.facts, gate_level.most(project.facts), project.firmware
    gate_level.require_verilog(facts)

    def run(family: str, x: Integers) -> Ran:
        return _ran(facts, gate_level.simulated(folder, facts, family, x))

    def run_routed(x: Integers) -> Ran:
        return _ran(facts, gate_level.simulated_as_routed(folder, facts, figures.placed(project).netlist, x))

    def roll_out_routed(x: Integers) -> RolledOut:
        return gate_level.rolled_out_as_routed(folder, facts, figures.placed(project).netlist, x)

    runs = [
        OtherRun(gate_level.name(family), gate_level.doing(family), partial(run, family), most)
        for family in gate_level.FAMILIES
    ]
    if "rollout" in facts:
        for family in gate_level.FAMILIES:
            roll_out = partial(gate_level.rolled_out, folder, facts, family)
            runs.append(_rollout(project, roll_out, gate_level.doing(family), f"rollout_{gate_level.name(family)}"))
    if figures.was_placed(project):
        doing, name = "netlist of Lattice ECP5 after place and route: simulation", gate_level.name("ecp5_routed")
        if "rollout" in facts:  # the network has no ports of its own any more
            runs.append(_rollout(project, roll_out_routed, doing, f"rollout_{name}"))
        else:
            runs.append(OtherRun(name, doing, run_routed, most))
    return runs


def _ran(facts: Facts, simulated: Simulated) -> Ran:
    """Return a run with its times and its simulator."""
    first = {} if simulated.first_cycles is None else {"latency_first_cycles": simulated.first_cycles}
    times = {"latency_cycles": simulated.latency_cycles, **first, "ii": simulated.ii}
    return Ran(simulated.outputs, times | _simulator(facts))


def _simulator(facts: Facts) -> dict[str, str]:
    from edgephys.core import processes

    simulator = processes.find({"verilog": "verilator", "vhdl": "ghdl"}[facts["language"]])
    return {"tool": simulator.name, "version": simulator.version}
