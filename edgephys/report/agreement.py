"""Emit and verify every model on every target and count the integers that differ; a stopped run continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgephys.core import machine
from edgephys.core.errors import UsageError
from edgephys.core.files import check_free
from edgephys.core.remaining import Remaining
from edgephys.models.frameworks import load
from edgephys.project import MANIFEST
from edgephys.report.table import Column, Table
from edgephys.targets.registry import named
from edgephys.workflow.steps import Say, attempt, require_whole, run_steps


@dataclass(frozen=True)
class AgreementPlan:
    """State the targets of every model and the folder of the projects."""

    to: tuple[str, ...]
    projects: Path = Path("hls_projects")
    force: bool = False

    def __post_init__(self) -> None:
        if not self.to or len(set(self.to)) < len(self.to):
            raise UsageError(f"--to must name targets, each once at most, not '{','.join(self.to)}'")
        for kind in self.to:
            named(kind)

    def folder(self, model: str, kind: str) -> Path:
        """Return the folder of a model's project of one kind."""
        return self.projects / f"{model}_{kind}"


def tabulate(
    models: Sequence[Path],
    plan: AgreementPlan,
    command: str,
    say: Say,
    write: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return the table, a row a model; call ``write`` with it after each row.

    A row with failures does not end the run: ``require`` raises for it.
    Raises: UsageError where a project's folder is not ours or a model is named twice.
    """
    record: dict[str, Any] = {
        "command": command,
        "machine": machine.name(),
        "to": list(plan.to),
        "rows": [],
    }
    names: dict[str, Path] = {}
    for model in models:
        if model.name in names:
            raise UsageError(f"{model}: {model.name} is there twice, also as {names[model.name]}; name each once")
        names[model.name] = model
        for kind in plan.to:
            check_free(plan.folder(model.name, kind), MANIFEST, plan.force, "a project")
    remaining = Remaining()
    for number, (name, model) in enumerate(names.items(), 1):
        say(f"{name}: {number} of {len(names)}{remaining.left(number - 1, len(names))}")
        record["rows"].append(_row(name, model, plan, say))
        write(record)
    return record


def _row(name: str, folder: Path, plan: AgreementPlan, say: Say) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "vectors": None, "outputs": None, "mismatches": {}, "tools": {}}
    row["failures"] = []
    model = attempt(row["failures"], "lower", partial(load, folder))
    if model is None:
        return row
    row["graph"] = model.graph.digest
    for kind in plan.to:
        run = run_steps(model, named(kind).options(), kind, plan.folder(name, kind), plan.force, say)
        row["failures"] += run.failures
        if run.verification is not None:
            _add(row, kind, run.verification)
    return row


def _add(row: dict[str, Any], kind: str, verification: Mapping[str, Any]) -> None:
    checked = named(kind).checked
    for target, result in verification["targets"].items():
        row["mismatches"][target] = max(row["mismatches"].get(target, 0), result["mismatches"])
    row["tools"][checked] = " ".join(str(verification["targets"][checked][name]) for name in ("tool", "version"))
    for name in ("vectors", "outputs"):
        row[name] = min(row[name] or verification[name], verification[name])


def require(record: Mapping[str, Any]) -> None:
    """Raise for rows with failures: MismatchError where integers differ, else ToolError."""
    require_whole("agree", record["rows"], lambda row: any(row["mismatches"].values()))


# The table ----------------------------------------------------------------------------------------


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of integers that differ: a column for every program that computed them."""
    rows = record["rows"]
    first = {"golden": 0, "plain": 1, "keras": 2}
    checked = sorted({name for row in rows for name in row["mismatches"]}, key=lambda name: (first.get(name, 3), name))
    tools = dict.fromkeys(tool for row in rows for tool in row["tools"].values())
    return Table(
        title="Every model on every target",
        caption="output integers that differ from the golden model's",
        columns=(
            Column("model", "model", left=True),
            Column("vectors", "vectors"),
            Column("outputs", "outputs"),
            *(Column(f"mismatches.{name}", name) for name in checked),
        ),
        rows=rows,
        record=record,
        lead=(
            "Output integers that differ from the golden model's, on held-out vectors that no training used; *golden* "
            "is the golden model itself, compared with the vectors stored when the project was emitted.",
        ),
        notes=(
            *(f"{row['model']}: {failure}" for row in rows for failure in row["failures"]),
            *([f"Programs: {'; '.join(tools)}."] if tools else []),
        ),
        style=lambda row: "bold red" if row["failures"] else None,
    )
