"""Read the uniform models of a network from a scaling table: the models that a front is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgephys.core.errors import ProjectError
from edgephys.core.reading import UNREADABLE, fault, read_json
from edgephys.workflow.candidates import Candidate

KEYS = ("model", "bits", "lut", "lut_stage", "lut_estimate", "latency_cycles")


def uniform(path: Path, model: Candidate) -> list[dict[str, Any]]:
    """Return the rows of a model's own network in a scaling table, the widest first; LUTs only if synthesised.

    Raises: ProjectError where there is no such table.
    """
    facts = model.facts
    network = (facts.family, facts.size, facts.features, model.card.parameters)
    try:
        table = read_json(path)["rows"]
        same = [row for row in table if tuple(row[key] for key in ("family", "n", "features", "parameters")) == network]
        keys = (*KEYS, model.score.key, model.score.error)
        rows = [{key: row[key] for key in keys} for row in same]
        rows = [row if row["lut_stage"].startswith("synthesised") else {**row, "lut": None} for row in rows]
    except UNREADABLE as error:
        raise ProjectError(
            f"{path}: expected a table of `edgephys scaling` in JSON, found {fault(error)}; "
            "make it or leave --beside out"
        ) from error
    return sorted(rows, key=lambda row: -int(row["bits"]))
