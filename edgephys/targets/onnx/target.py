"""ONNX: standard operators, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.figure import Figure
from edgephys.targets.onnx.options import OnnxOptions
from edgephys.targets.processor import Emitter, ProcessorTarget
from edgephys.targets.target import EmittedProject, Facts, OtherRun, Ran, Say, TimedRun, ToolRuns

if TYPE_CHECKING:
    from edgephys.targets.rules import RuleTable

ELEMENTS = 1 << 21
"""Most elements of the widest edge in all vectors of a further level: bounds the time."""
FEWEST = 16


class OnnxTarget(ProcessorTarget):
    """An ONNX model."""

    name = "onnx"
    options = OnnxOptions
    checked = "onnxruntime"
    doing = "onnxruntime"
    probes_cheaply = True
    packages = ("onnx",)

    def rules(self) -> RuleTable[Any]:
        """Return the rules of ``rules.py``."""
        from edgephys.targets.onnx import rules

        return rules.RULES

    def emitter(self) -> Emitter:
        """Return ``emit.py``."""
        from edgephys.targets.onnx import emit

        return emit

    def other_runs(self, project: EmittedProject, netlist: bool) -> Sequence[OtherRun]:
        """Return a run at every other level: onnxruntime's full optimisation drops operands that it takes as known."""
        from edgephys.targets.onnx import emit

        tool, version = emit.tool()
        most = max(FEWEST, ELEMENTS // project.facts["widest"])

        def at(level: str) -> OtherRun:
            facts = {"tool": tool, "version": version, "level": level}
            return OtherRun(
                f"{self.checked}_{level.lower()}",
                f"onnxruntime, {level}",
                lambda x: Ran(emit.run(project.firmware, project.facts, x, level), facts),
                most,
                lambda x: emit.probe(project.firmware, project.facts, x, level),
            )

        return *super().other_runs(project, netlist), *map(at, emit.LEVELS[:-1])

    def scan(self, folder: Path, facts: Facts) -> None:
        """Refuse operators of other packages, and data in other files."""
        from edgephys.targets.onnx import model_file

        model_file.scan(folder, facts)

    def figures(self, project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
        """Return the model's size and the measured latency."""
        from edgephys.targets import latency
        from edgephys.targets.onnx import figures

        return [*figures.operators(project), *latency.figures(project, self.name)]

    def timing(self, project: EmittedProject) -> TimedRun:
        """Time onnxruntime on the model."""
        return TimedRun("onnx", project.firmware / str(project.facts["file"]))
