"""Measure every trained model as firmware: emit, verify and report, one row a model; a stopped run continues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgephys.applications.jets.published import SOURCE
from edgephys.applications.registry import scored
from edgephys.core import machine
from edgephys.core.errors import ModelError, UsageError
from edgephys.report.estimator import calibrate
from edgephys.workflow.firmware import FirmwarePlan, candidates, check_folders, firmware_row
from edgephys.workflow.steps import Say, require_whole

Table = dict[str, Any]


def require_taggers(folders: Sequence[Path]) -> None:
    """Raise UsageError for a model that is no jet tagger: the columns of the table are a tagger's figures."""
    for model in candidates(folders):
        if scored(model.card["metrics"]).key != "accuracy":
            raise UsageError(
                f"{model.folder}: the table is of taggers, {model.name} is none; `edgephys emit`, `verify`, `report` "
                "and `street` take it"
            )


def tabulate(
    folders: Sequence[Path], plan: FirmwarePlan, command: str, say: Say, write: Callable[[Table], None]
) -> Table:
    """Return the table of all quantised models; call ``write`` with it after each row.

    A row with failures does not end the run: ``require`` raises for it.
    Raises: ModelError where a folder holds no model or none is quantised; UsageError where a project's
    folder is not ours.
    """
    models = candidates(folders)
    quantised = [model for model in models if model.net["bits"] is not None]
    if not quantised:
        raise ModelError(f"{folders[0]}: expected a quantised model, found float ones only; train one with bits=8")
    for model in quantised:
        check_folders(model, plan)
    floats = {model.network: model.card["metrics"] for model in models if model.net["bits"] is None}
    table: Table = {
        "command": command,
        "machine": machine.name(),
        "budget": plan.budget,
        "published_source": SOURCE,
        "rows": [],
    }
    for number, model in enumerate(quantised, 1):
        say(f"{model.name}: {number} of {len(quantised)}")
        table["rows"].append(firmware_row(model, plan, floats.get(model.network), say))
        table["estimator"] = calibrate(table["rows"])
        write(table)
    return table


def require(table: Table) -> None:
    """Raise for rows with failures: MismatchError where integers differ, else ToolError."""
    require_whole("scaling", table["rows"], lambda row: bool(row["mismatches"]))
