"""Figures of an ONNX or QONNX model: its size."""

from __future__ import annotations

from edgephys.core.figure import Figure, FigureStage
from edgephys.targets.target import EmittedProject


def operators(project: EmittedProject) -> list[Figure]:
    """Return the number of operators and the size of the file, where the file is there."""
    facts, version = project.facts, project.versions["onnx"]
    counts = ", ".join(f"{count} {name}" for name, count in facts["ops"].items())
    figures = [Figure("operators", facts["nodes"], "", FigureStage.MEASURED, "onnx", version, counts)]
    path = project.firmware / str(facts["file"])
    if path.is_file():
        size = path.stat().st_size
        figures.append(Figure("file_bytes", size, "bytes", FigureStage.MEASURED, "onnx", version, str(facts["file"])))
    return figures
