"""C: C99 on integers, compiled and run on this machine, and on a simulated microcontroller."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.errors import MismatchError
from edgephys.core.figure import Figure
from edgephys.targets.c.options import COptions
from edgephys.targets.emit_again import emit_again
from edgephys.targets.processor import Emitter, ProcessorTarget
from edgephys.targets.target import (
    EmittedProject,
    Example,
    Facts,
    MemoryPart,
    OtherRun,
    Picture,
    Ran,
    Say,
    TimedRun,
    ToolRuns,
)

if TYPE_CHECKING:
    from edgephys.core.fixed import Integers
    from edgephys.targets.rules import RuleTable


class CTarget(ProcessorTarget):
    """C99 sources for a processor."""

    name = "c"
    options = COptions
    checked = "c"
    revision = 3
    doing = "C: compile and run"
    probes_cheaply = True

    def rules(self) -> RuleTable[Any]:
        """Return the rules of ``rules.py``."""
        from edgephys.targets.c import rules

        return rules.RULES

    def emitter(self) -> Emitter:
        """Return ``emit.py``."""
        from edgephys.targets.c import emit

        return emit

    def write_example(self, folder: Path, name: str, facts: Facts, example: Example) -> None:
        """Write a program that calls the model, a Makefile and a README."""
        from edgephys.targets.c import example as files

        files.write(folder, name, facts, example)

    def other_runs(self, project: EmittedProject, netlist: bool) -> Sequence[OtherRun]:
        """Return a run that checks every memory access, in an arena of exactly its size, and all runs of a batch."""
        from edgephys.graph import evaluate
        from edgephys.targets import sanitiser
        from edgephys.targets.c import emit

        def ran(outputs: Integers, flags: tuple[str, ...]) -> Ran:
            tool, version = emit.tool()
            return Ran(outputs, {"tool": tool, "version": version, "flags": list(flags)})

        def run(x: Integers) -> Ran:
            return ran(emit.run_sanitised(project.firmware, project.facts, x), emit.SANITISED)

        def run_batch(words: tuple[str, ...], x: Integers) -> Ran:
            flags = (*emit.FLAGS, *words)
            return ran(emit.run_batch(project.firmware, project.facts, x, flags), flags)

        def look_at_batch(words: tuple[str, ...], x: Integers) -> Ran:
            """Compare every layer, too: an output may round away what one of them has wrong."""
            flags = (*emit.SANITISED, *words)
            outputs, edges = emit.probe_batch(project.firmware, project.facts, x, flags)
            golden = evaluate.trace(project.graph, {project.graph.input.name: x})
            for layer, node in project.facts["layers"].items():
                differ = int((edges[node] != golden[node]).sum()) if node in edges else 0
                if differ:
                    raise MismatchError(
                        f"many events in a call: layer '{layer}': {differ} of {golden[node].size} integers differ from "
                        f"the golden model; report it, or {emit_again(project.folder, 'c')}"
                    )
            return ran(outputs, flags)

        most = sanitiser.most(prod(project.graph.input.shape))
        checks = "compile and run with checks of memory and arithmetic"
        runs = [OtherRun("c_sanitised", f"C: {checks}", run, most, beside=True)]
        if "batch" in project.facts:
            many = "C, many events in a call"
            for name, how, words in [("", "", ()), *emit.with_words(project.facts)]:
                run_it, look_at_it = partial(run_batch, words), partial(look_at_batch, words)
                runs.append(OtherRun(f"c_batch{name}", f"{many}{how}: compile and run", run_it))
                runs.append(
                    OtherRun(f"c_batch{name}_sanitised", f"{many}{how}: {checks}", look_at_it, most, beside=True)
                )
        if "rollout" in project.facts:
            from edgephys.targets.c import rollout_run
            from edgephys.targets.rollout import other_run

            def roll_out(flags: tuple[str, ...], x: Integers) -> Ran:
                return ran(rollout_run.run(project.firmware, project.facts, x, flags), flags)

            runs.append(other_run(project, "c_rollout", "C: compile and run", partial(roll_out, emit.FLAGS)))
            checked = partial(roll_out, emit.SANITISED)
            runs.append(other_run(project, "c_rollout_sanitised", f"C: {checks}", checked, most, beside=True))
        return *super().other_runs(project, netlist), *runs

    def scan(self, folder: Path, facts: Facts) -> None:
        """Refuse sources that call anything from outside, and facts that are no numbers or identifiers."""
        from edgephys.targets.c import scan

        scan.scan(folder, facts)

    def figures(self, project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
        """Return the planned memory, flash, RAM and instructions on a microcontroller, and the measured latency."""
        from edgephys.targets import latency
        from edgephys.targets.c import figures

        return [*figures.memory(project), *figures.microcontroller(project), *latency.figures(project, self.name)]

    def timing(self, project: EmittedProject) -> TimedRun:
        """Time the compiled source."""
        return TimedRun("c", project.firmware)

    def memory(self, facts: Facts) -> Sequence[MemoryPart]:
        """Return the tensors of the arena, with the steps in which they are alive; their places overlap."""
        layers = [step["layer"] for step in facts["steps"]]
        return [
            MemoryPart(of["name"], f"alive from {layers[of['first']]} to {layers[of['last']]}", 8 * of["bytes"])
            for of in facts["tensors"]
        ]

    def pictures(self, project: EmittedProject) -> tuple[Picture, ...]:
        """Draw the memory plan."""
        from edgephys.targets.c.memory_figure import picture

        return (Picture("memory.png", "the plan of its memory", picture(project.facts, project.name)),)
