"""HLS: a project of hls4ml, run by C simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.figure import Figure
from edgephys.targets.fpga import FpgaTarget
from edgephys.targets.hls.options import HlsOptions
from edgephys.targets.target import EmittedProject, Facts, Lint, OtherRun, Ran, Say, TimedRun, ToolRuns

if TYPE_CHECKING:
    from edgephys.core.fixed import Integers
    from edgephys.graph.graph import Graph
    from edgephys.targets.rules import RuleTable


class HlsTarget(FpgaTarget):
    """An HLS project for a vendor's synthesis."""

    name = "hls"
    revision = 3
    options = HlsOptions
    checked = "csim"
    doing = "C simulation: compile and run"
    probes_cheaply = True
    packages = ("hls4ml",)

    def rules(self) -> RuleTable[Any]:
        """Return the rules of ``rules.py``."""
        from edgephys.targets.hls import rules

        return rules.RULES

    def emit(self, graph: Graph, folder: Path, options: HlsOptions) -> dict[str, Any]:
        """Write the hls4ml project, and a README."""
        from edgephys.targets.hls import emit, readme

        facts = emit.emit(graph, folder, options)
        (folder / "README.md").write_text(readme.text(graph, facts))
        return facts

    def run(self, folder: Path, facts: Facts, x: Integers) -> Ran:
        """Compile the sources with g++ and run them."""
        from edgephys.core import processes
        from edgephys.targets.hls import csim

        compiler = processes.find("g++")
        return Ran(csim.simulate(folder, facts, x), {"tool": compiler.name, "version": compiler.version})

    def lint(self, project: EmittedProject) -> tuple[Lint, ...]:
        """Return what breaks the published rules of the vendors' synthesis."""
        from edgephys.targets.hls import lint

        return (lint.of_project(project.firmware, project.facts),)

    def probe(self, folder: Path, facts: Facts, x: Integers) -> Mapping[str, Integers]:
        """Return each layer's integers in the C simulation."""
        from edgephys.targets.hls import csim

        return csim.probe(folder, facts, x)

    def other_runs(self, project: EmittedProject, netlist: bool) -> Sequence[OtherRun]:
        """Return a simulation that checks every memory access."""
        from edgephys.core import processes
        from edgephys.targets import sanitiser
        from edgephys.targets.hls import csim

        def run(x: Integers) -> Ran:
            compiler = processes.find("g++")
            outputs = csim.simulate_sanitised(project.firmware, project.facts, x)
            return Ran(outputs, {"tool": compiler.name, "version": compiler.version, "flags": list(csim.SANITISED)})

        most = sanitiser.most(prod(project.graph.input.shape))
        doing = "C simulation: compile and run with checks of memory and arithmetic"
        runs = [OtherRun("csim_sanitised", doing, run, most, beside=True)]
        if "rollout" in project.facts:
            runs += [_rollout(project, ()), _rollout(project, csim.SANITISED, most)]
        return *super().other_runs(project, netlist), *runs

    def scan(self, folder: Path, facts: Facts) -> None:
        """Refuse sources other than hls4ml's and ours, and words in ours that we do not emit."""
        from edgephys.targets.hls import scan

        scan.scan(folder, facts)

    def write_testbench(self, graph: Graph, folder: Path, facts: Facts, x: Integers) -> int:
        """Write vectors for hls4ml's test bench."""
        from edgephys.targets.hls import emit

        emit.write_testbench(graph, folder, x)
        return len(x)

    def figures(self, project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
        """Return the estimated times of a stream, the figures of the vendor's reports, and the estimated LUTs."""
        from edgephys.targets.hls import estimate, figures

        return [*figures.stream_times(project), *figures.vendor_figures(project), *estimate.figures(project)]

    def timing(self, project: EmittedProject) -> TimedRun:
        """Time the C simulation."""
        return TimedRun("csim", project.firmware)


def _rollout(project: EmittedProject, flags: tuple[str, ...], most: int | None = None) -> OtherRun:
    """Return the C simulation of a roll-out, with checks of memory where ``flags`` ask for them."""
    from edgephys.core import processes
    from edgephys.targets.hls import csim
    from edgephys.targets.rollout import other_run

    def run(x: Integers) -> Ran:
        compiler = processes.find("g++")
        states = csim.simulate_rollout(project.firmware, project.facts, x, flags)
        return Ran(states, {"tool": compiler.name, "version": compiler.version, "flags": list(flags)})

    name, how = ("csim_rollout_sanitised", " with checks of memory and arithmetic") if flags else ("csim_rollout", "")
    return other_run(project, name, f"C simulation: compile and run{how}", run, most, beside=bool(flags))
