"""Latency on a processor, as the benchmark measured it and kept it in the project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.core.figure import Figure, FigureStage, missing
from edgephys.targets.target import EmittedProject

RESULT = "bench"
"""Name of the benchmark's result in a project."""
NAMES = ("p50_us", "p90_us", "p99_us")


def figures(project: EmittedProject, target: str) -> list[Figure]:
    """Return the latencies that the benchmark last measured of the project as it is now, or why there are none."""
    record = project.result(RESULT)
    if record is None:
        why = f"not timed as it stands; run `edgephys bench {project.folder}`"
        provenance = (FigureStage.MEASURED, "edgephys bench", "none", f"one core, {target}", why)
        return [missing(name, "us", *provenance) for name in NAMES]
    return [_figure(name, row, record["machine"]) for row in record["rows"] for name in NAMES]


def _figure(percentile: str, row: Mapping[str, Any], machine: str) -> Figure:
    batch = row["batch"]
    name = percentile if batch == 1 else f"{percentile}_batch_{batch}"
    where = f"{machine}, one core, batch {batch}"
    provenance = (FigureStage.MEASURED, str(row["tool"] or "edgephys bench"), str(row["version"] or "none"), where)
    if row["why"] is not None:
        return missing(name, "us", *provenance, str(row["why"]))
    return Figure(name, row[percentile], "us", *provenance)
