"""One model, every target, the same integers: a table of how many differ, each count from a verification of its own.

A run goes on where a former one was killed (``steps``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from edgephys.core import machine
from edgephys.core.errors import MismatchError, ToolError, UsageError
from edgephys.graph.graph import Graph
from edgephys.models.trained import check_free, write_file
from edgephys.project import MANIFEST
from edgephys.report.show import titled
from edgephys.targets.target import named
from edgephys.workflow import Say, attempt, emitted, verified

Lower = Callable[[Path], Graph]
HEADINGS = ("model", "vectors", "outputs")


@dataclass(frozen=True)
class Plan:
    """State to which targets every model goes, and where the projects stand."""

    to: tuple[str, ...]
    projects: Path = Path("hls_projects")
    force: bool = False

    def __post_init__(self) -> None:
        if not self.to or len(set(self.to)) < len(self.to):
            raise UsageError(f"--to must name targets, each once at most, not '{','.join(self.to)}'")
        for kind in self.to:
            named(kind)

    def folder(self, model: str, kind: str) -> Path:
        """Return where a model's project of one kind stands."""
        return self.projects / f"{model}_{kind}"


def tabulate(
    models: Sequence[Path], plan: Plan, lower: Lower, command: str, say: Say, write: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return {"command", "machine", "rows"}, a row a model; ``write`` is given it anew after each row.

    A row that fails says why and does not end the run: ``require`` raises for it.
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
        table["rows"].append(_row(name, model, plan, lower, say))
        write(table)
    return table


def _row(name: str, model: Path, plan: Plan, lower: Lower, say: Say) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "vectors": None, "outputs": None, "mismatches": {}, "tools": {}}
    row["failures"] = []
    graph = attempt(row, "lower", partial(lower, model))
    if graph is None:
        return row
    row["graph"] = graph.digest
    for kind in plan.to:
        options, folder = named(kind).options(), plan.folder(name, kind)
        made = attempt(row, f"{kind}: emit", partial(emitted, graph, model, options, folder, plan.force, say))
        found = attempt(row, f"{kind}: verify", partial(verified, made[0], say)) if made is not None else None
        if found is not None:
            _add(row, kind, found)
    return row


def _add(row: dict[str, Any], kind: str, found: Mapping[str, Any]) -> None:
    checked = named(kind).checked
    for target, fared in found["targets"].items():
        row["mismatches"][target] = max(row["mismatches"].get(target, 0), fared["mismatches"])
    row["tools"][checked] = " ".join(str(found["targets"][checked][name]) for name in ("tool", "version"))
    row["vectors"] = min(row["vectors"] or found["vectors"], found["vectors"])
    row["outputs"] = min(row["outputs"] or found["outputs"], found["outputs"])
    if found["mismatches"] or found["changed"]:
        row["failures"].append(f"{kind}: {found['mismatches']} integers differ, changed files: {found['changed']}")


def require(table: Mapping[str, Any]) -> None:
    """Raise for the rows that are not whole: MismatchError where integers differ, else ToolError."""
    failing = [row for row in table["rows"] if row["failures"]]
    if not failing:
        return
    told = "; ".join(f"{row['model']}: {row['failures'][0]}" for row in failing)
    kind = MismatchError if any(any(row["mismatches"].values()) for row in failing) else ToolError
    raise kind(f"agree: {len(failing)} of {len(table['rows'])} rows are not whole: {told}")


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
    write_file(out.with_name(f"{out.name}.json"), (json.dumps(table, indent=1) + "\n").encode())
    write_file(out.with_name(f"{out.name}.md"), ("\n".join(lines).rstrip() + "\n").encode())
