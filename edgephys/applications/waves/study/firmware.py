"""Emitted programs rolled out in their own integers: they read the frames that they made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgephys import project as projects
from edgephys.applications.waves import task as advance
from edgephys.applications.waves.channels import channels, reached_from, read_before
from edgephys.applications.waves.study import roll_out
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.applications.waves.study.table import STEPS, describe
from edgephys.applications.waves.study.table_page import steps_name
from edgephys.core import machine
from edgephys.core.errors import MismatchError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.feedback import feedback
from edgephys.project import Project
from edgephys.report.table import Column, Table, written

Say = Callable[[str], None]


def tabulate(
    folders: Sequence[Path], data: Path, horizon: Horizon, most: int, command: str, say: Say
) -> dict[str, Any]:
    """Return the table: a row a project, with the integers that differ from the golden model's, and its errors.

    Raises: UsageError for a project of no wave network; DataError as ``fitting`` and where runs are too short.
    """
    rows = [_row(projects.read(folder), data, horizon, most, say) for folder in folders]
    return {
        "command": command,
        "machine": machine.name(),
        "data": {"file": data.name},
        "horizon": {"steps": horizon.steps, "starts": list(horizon.starts)},
        "rows": rows,
    }


def require(record: Mapping[str, Any]) -> None:
    """Raise MismatchError where an integer of a roll-out differs from the golden model's."""
    for row in record["rows"]:
        if row["mismatches"]:
            raise MismatchError(
                f"{row['model']}, {row['target']}: {row['mismatches']} integers differ from the golden model's in "
                f"{record['horizon']['steps']} steps, from step {row['first_mismatch']} on; "
                "to see where: `edgephys verify PROJECT`"
            )


def _row(project: Project, data: Path, horizon: Horizon, most: int, say: Say) -> dict[str, Any]:
    card = projects.read_card(project)
    if card.standardisation is None or "grid" not in card.net:
        raise UsageError(f"{project.folder}: expected a network that advances a wave, found {card.name}")
    ready, side = card.standardisation, project.graph.input.shape[0]
    of = advance.fitting(data, ready, side)
    frames, calls = len(ready.names) - 1, roll_out.calls(horizon, ready)
    roll_out.check(of, horizon, ready)
    starts = [(run, start) for start in horizon.starts for run in range(len(of.frames))][:most]
    x = np.stack(
        [
            channels(ready, read_before(of.frames[run], start, ready), of.speed[run], side, of.edges[run])
            for run, start in starts
        ]
    )
    truth = np.stack([reached_from(of.frames[run], start, ready, calls) for run, start in starts])
    firmware = project.firmware  # scanned here, before anything runs
    say(f"{project.folder}: {len(x)} fields, {horizon.steps} steps")
    golden, own, of_output = x, x, feedback(project.graph, frames)
    differing, predicted = [], []
    for step in range(calls):
        with project.using_facts():
            outputs = project.target.run(firmware, project.facts, own).outputs
        expected = evaluate.run(project.graph, golden)
        differing.append(int((outputs != expected).sum()))
        predicted.append(project.graph.output.fixed.values(outputs)[..., 0])
        own, golden = of_output.fed_back(own, outputs), of_output.fed_back(golden, expected)
        if step % 10 == 9:
            say(f"{project.name}: {step + 1} of {calls} steps")
    errors = roll_out.each_frame(roll_out.relative_errors(np.stack(predicted, 1), truth), horizon, ready)
    return {
        "model": card.name,
        "target": project.target.name,
        "fields": len(x),
        "mismatches": sum(differing),
        "first_mismatch": next((step for step, count in enumerate(differing, 1) if count), None),
        **{
            f"error_{step}{word}": part
            for step in roll_out.steps_of(horizon, STEPS)
            for word, part in zip(("", "_error"), _measured(errors, step), strict=True)
        },
        "data": describe(data, of),
    }


def _measured(errors: Any, step: int) -> tuple[float, float]:
    at = roll_out.at(errors, step)
    return at.value, at.error


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of programs that are fed with their own frames."""
    steps = [step for step in STEPS if f"error_{step}" in record["rows"][0]]
    return Table(
        title="Waves: emitted programs, rolled out in their own integers",
        caption=f"{record['horizon']['steps']} steps: integers that differ from the golden model's, relative L2 error",
        record=record,
        columns=(
            Column("model", "model", left=True),
            Column("target", "target", left=True),
            Column("fields", "fields"),
            Column("mismatches", "mismatches"),
            *(
                Column(f"error_{step}", steps_name(step), "%", written(".2f", 100), error=f"error_{step}_error")
                for step in steps
            ),
        ),
        rows=record["rows"],
        notes=(
            "Each program starts from frames of the file and then reads the frames that it made; the golden model does "
            "the same, and every integer of every frame is compared.",
            "Errors: the mean over fields and its standard error.",
        ),
    )
