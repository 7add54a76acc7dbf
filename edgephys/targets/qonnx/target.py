"""QONNX: a model for other tools of quantised networks, run node by node by the qonnx package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.figure import Figure
from edgephys.targets.processor import Emitter, ProcessorTarget
from edgephys.targets.qonnx.options import QonnxOptions
from edgephys.targets.target import EmittedProject, Facts, NotTimed, Say, ToolRuns

if TYPE_CHECKING:
    from edgephys.targets.rules import RuleTable


class QonnxTarget(ProcessorTarget):
    """A QONNX model."""

    name = "qonnx"
    options = QonnxOptions
    checked = "qonnx"
    doing = "qonnx, node by node"
    packages = ("onnx",)

    def rules(self) -> RuleTable[Any]:
        """Return the rules of ``rules.py``."""
        from edgephys.targets.qonnx import rules

        return rules.RULES

    def emitter(self) -> Emitter:
        """Return ``emit.py``."""
        from edgephys.targets.qonnx import emit

        return emit

    def scan(self, folder: Path, facts: Facts) -> None:
        """Refuse operators of other packages, and data in other files."""
        from edgephys.targets.onnx import model_file

        model_file.scan(folder, facts)

    def figures(self, project: EmittedProject, runs: ToolRuns, say: Say) -> list[Figure]:
        """Return the model's size."""
        from edgephys.targets.onnx import figures

        return figures.operators(project)

    def timing(self, project: EmittedProject) -> NotTimed:
        """Return why nothing is timed."""
        return NotTimed("not timed: QONNX is a form for other tools; what executes it here is for checks, node by node")
