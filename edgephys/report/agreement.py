"""Emit and verify every model on every target and count the integers that differ; a stopped run continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from edgephys.core import machine
from edgephys.core.errors import UsageError
from edgephys.core.files import check_free, write_file, write_json
from edgephys.models.frameworks import load
from edgephys.project import MANIFEST
from edgephys.report.show import titled
from edgephys.targets.registry import named
from edgephys.workflow.steps import Say, attempt, require_whole, run_steps

HEADINGS = ("model", "vectors", "outputs")


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
    table: dict[str, Any] = {
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
    for number, (name, model) in enumerate(names.items(), 1):
        say(f"{name}: {number} of {len(names)}")
        table["rows"].append(_row(name, model, plan, say))
        write(table)
    return table


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


def require(table: Mapping[str, Any]) -> None:
    """Raise for rows with failures: MismatchError where integers differ, else ToolError."""
    require_whole("agree", table["rows"], lambda row: any(row["mismatches"].values()))


# The page -----------------------------------------------------------------------------------------


def _checked(table: Mapping[str, Any]) -> list[str]:
    return ["golden", "keras", *(named(kind).checked for kind in table["to"])]


def _cells(table: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    counts = [row["vectors"], row["outputs"], *(row["mismatches"].get(name) for name in _checked(table))]
    return [str(row["model"]), *("–" if count is None else f"{count:,}" for count in counts)]


def shown(table: Mapping[str, Any]) -> Group:
    """Return the table for a terminal."""
    view = Table("model")
    for heading in (*HEADINGS[1:], *_checked(table)):
        view.add_column(heading, justify="right")
    for row in table["rows"]:
        view.add_row(*_cells(table, row), style="bold red" if row["failures"] else None)
    return titled("integers that differ from the golden model's", view)


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json and OUT.md, each whole or not at all."""
    headings = [*HEADINGS, *_checked(table)]
    tools = dict.fromkeys(tool for row in table["rows"] for tool in row["tools"].values())
    lines = [
        "# Every model on every target",
        "",
        f"Made by `{table['command']}` on {table['machine']}.",
        "",
        "Output integers that differ from the golden model's, on held-out vectors that no training saw; *golden* is "
        "the golden model itself against what was stored when the project was emitted.",
        "",
        "| " + " | ".join(headings) + " |",
        "|" + "|".join([" --- ", *[" ---: "] * (len(headings) - 1)]) + "|",
        *("| " + " | ".join(_cells(table, row)) + " |" for row in table["rows"]),
        "",
        *(f"- {row['model']}: {failure}" for row in table["rows"] for failure in row["failures"]),
        f"Run by {'; '.join(tools)}." if tools else "",
    ]
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), ("\n".join(lines).rstrip() + "\n").encode())
