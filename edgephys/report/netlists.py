"""Simulation and proofs of netlists, gathered from the verifications of RTL projects: a row a netlist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.core import machine
from edgephys.core.errors import ProjectError
from edgephys.project import VERIFICATION, read, read_result
from edgephys.report.table import Column, Row, Table, number


def tabulate(folders: Sequence[Path], command: str) -> dict[str, Any]:
    """Return the record of projects that were verified with their netlists, a row for each netlist.

    Raises: ProjectError for a project whose verification is missing, has no netlists, or is of other sources.
    """
    rows = [row for folder in folders for row in _rows(folder)]
    return {"command": command, "machine": machine.name(), "rows": rows}


def _rows(folder: Path) -> list[dict[str, Any]]:
    project = read(folder)
    verified = read_result(project, VERIFICATION) or {}
    netlists = {name: run for name, run in verified.get("targets", {}).items() if name.startswith("netlist_")}
    if not netlists:
        raise ProjectError(
            f"{folder}: expected a verification of its netlists; run `edgephys verify {folder} --netlist`"
        )
    proofs = verified["proofs"]
    return [
        {
            "model": project.graph.name,
            "netlist": name.removeprefix("netlist_"),
            "outputs": verified["outputs"] // verified["vectors"] * (run["vectors"] + run["generated"]),
            **{key: run[key] for key in ("vectors", "generated", "mismatches", "latency_cycles", "version")},
            "proofs": [proof for proof in proofs if proof["netlist"] == name],
        }
        for name, run in netlists.items()
    ]


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table."""
    return Table(
        title="Netlists after synthesis, and after place and route",
        columns=(
            Column("model", "model", left=True),
            Column("netlist", "netlist", left=True),
            Column("vectors", "held-out vectors", text=number),
            Column("generated", "generated vectors", text=number),
            Column("outputs", "outputs", text=number),
            Column("mismatches", "mismatches", text=number),
            Column("latency_cycles", "latency", "cycles"),
            Column("proven", "modules proven", value=_proven),
            Column("undecided", "not proven", left=True, value=_undecided),
        ),
        rows=record["rows"],
        record=record,
        lead=(
            "Each netlist is simulated with the models of its cells and compared with the golden model: xcup has "
            "Yosys' cells of AMD UltraScale+, ecp5 those of Lattice ECP5, ecp5_routed is what nextpnr placed and "
            "routed. A module is proven where ABC shows, for every input, that its netlist computes what its RTL "
            "does. A routed design has no modules any more, and is simulated only.",
        ),
    )


def _proven(row: Row) -> str:
    proofs = row["proofs"]
    return f"{sum(proof['holds'] is True for proof in proofs)} of {len(proofs)}" if proofs else ""


def _undecided(row: Row) -> str:
    return "; ".join(f"{proof['module']}: {proof['why']}" for proof in row["proofs"] if not proof["holds"])
