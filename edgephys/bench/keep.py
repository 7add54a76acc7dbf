"""Leave what the benchmark measured of a project in the project, where its report finds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.bench.targets import grouped, names_of
from edgephys.project import write_result

RESULT = "bench"
"""Name of the result."""


def keep(table: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Write each project's own rows of a table into it, with the machine that they were measured on."""
    for projects in grouped(folders):
        for project, name in zip(projects, names_of(projects), strict=True):
            rows = [row for row in table["rows"] if row["model"] == project.graph.name and row["target"] == name]
            write_result(project, RESULT, {"command": table["command"], "machine": table["machine"], "rows": rows})
