"""Figures of the targets that run on a processor: memory as it was planned, flash and RAM of a microcontroller, size.

Latency is the benchmark's, which keeps its rows in the project; without one a report says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.bench.measure import RESULT
from edgephys.core.errors import EdgephysError
from edgephys.core.figure import Figure, Stage, missing
from edgephys.graph import evaluate
from edgephys.project import Project, read_result, read_vectors
from edgephys.targets.c import cortex_m

CPU = "cortex-m4"
OPTIMISE = "-Os"
ON_CHIP = 4
"""Vectors that are run on the microcontroller: a few, for qemu is slow."""
LATENCIES = ("p50_us", "p90_us", "p99_us")


def memory(project: Project) -> list[Figure]:
    """Return what the C source states of its memory: the arena, the least that any plan could reach, constants."""
    facts = project.facts
    source = (Stage.ESTIMATED, "edgephys", str(project.manifest["versions"]["edgephys"]))
    planned = f"as emitted: {facts['strategy']}, {len(facts['tensors'])} tensors"
    return [
        Figure("arena_bytes", facts["arena_bytes"], "bytes", *source, planned),
        Figure("arena_bound_bytes", facts["bound_bytes"], "bytes", *source, "no plan of these tensors has fewer"),
        Figure(
            "arena_no_sharing_bytes", facts["no_sharing_bytes"], "bytes", *source, "every tensor a place of its own"
        ),
        Figure("constant_bytes", facts["const_bytes"], "bytes", *source, "tables of weights; others stand in the code"),
    ]


def microcontroller(project: Project) -> list[Figure]:
    """Return flash, RAM and instructions on a Cortex-M, whose integers are the golden model's on a few vectors.

    Raises: MismatchError where they are not.
    """
    try:
        x = read_vectors(project).inputs[:ON_CHIP]
        golden = evaluate.run(project.graph, x)
        ran = cortex_m.verify(project.firmware, project.facts, x, golden, CPU, OPTIMISE)
        weight = cortex_m.footprint(project.firmware, project.facts, CPU, OPTIMISE)
    except EdgephysError as error:
        where = f"{CPU}, {OPTIMISE}"
        return [
            missing(name, "bytes", Stage.SIMULATED, cortex_m.QEMU, "none", where, str(error))
            for name in ("flash_bytes", "ram_bytes")
        ]
    return list(cortex_m.figures(weight, ran))


def operators(project: Project) -> list[Figure]:
    """Return the size of an ONNX model."""
    facts = project.facts
    version = str(project.manifest["versions"]["onnx"])
    told = ", ".join(f"{count} {name}" for name, count in facts["ops"].items())
    figures = [Figure("operators", facts["nodes"], "", Stage.MEASURED, "onnx", version, told)]
    path = project.firmware / str(facts["file"])
    if path.is_file():
        size = path.stat().st_size
        figures.append(Figure("file_bytes", size, "bytes", Stage.MEASURED, "onnx", version, str(facts["file"])))
    return figures


def latency(project: Project) -> list[Figure]:
    """Return the latencies that the benchmark last measured of the project as it is now."""
    found = read_result(project, RESULT)
    where = f"one core, {project.kind}"
    if found is None:
        why = f"not timed as it stands; run `edgephys bench {project.folder}`"
        return [missing(name, "us", Stage.MEASURED, "edgephys bench", "none", where, why) for name in LATENCIES]
    return [_timed(name, row, found) for row in found["rows"] for name in LATENCIES]


def _timed(name: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> Figure:
    batch = row["batch"]
    name = name if batch == 1 else f"{name}_batch_{batch}"
    where = f"{found['machine']}, one core, batch {batch}"
    source = (Stage.MEASURED, str(row["tool"] or "edgephys bench"), str(row["version"] or "none"), where)
    if row["why"] is not None:
        return missing(name, "us", *source, str(row["why"]))
    return Figure(name, row[name.split("_batch")[0]], "us", *source)
