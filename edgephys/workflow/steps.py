"""Emit, verify and report one model on one target, in order; skip each step whose result is still valid.

The projects themselves record the progress. A step is done when the project holds the same Graph, options, model and
vectors, and a result for its present sources. A run that was stopped therefore continues where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgephys.core.errors import EdgephysError, MismatchError, ProjectError, ToolError
from edgephys.core.reading import sha256
from edgephys.models.model import Model
from edgephys.project import EMISSION, MANIFEST, Project, emit, read, read_result, read_vectors, write_result
from edgephys.targets.target import failure
from edgephys.verify.run import verify

Say = Callable[[str], None]
Report = Callable[[Project], Mapping[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class TargetRun:
    """Hold the results of the steps of one model on one target; a step that failed has None and a failure."""

    kind: str
    project: Project | None = None
    emit_seconds: float | None = None
    verification: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    failures: tuple[str, ...] = ()


def run_steps(
    model: Model,
    options: Any,
    kind: str,
    folder: Path,
    force: bool,
    say: Say,
    report: Report | None = None,
) -> TargetRun:
    """Emit and verify a model, and report it where ``report`` is stated; return the results and the failures."""
    failures: list[str] = []
    emission = attempt(failures, f"{kind}: emit", partial(emitted, model, options, folder, force, say))
    if emission is None:
        return TargetRun(kind, failures=tuple(failures))
    project, seconds = emission
    verification = attempt(failures, f"{kind}: verify", partial(verified, project, say))
    if verification is not None and failure(verification, project.folder) is not None:
        failures.append(f"{kind}: {failure(verification, project.folder)}{_first_difference(verification)}")
    reported = attempt(failures, f"{kind}: report", partial(report, project)) if report is not None else None
    return TargetRun(kind, project, seconds, verification, reported, tuple(failures))


def attempt(failures: list[str], step: str, run: Callable[[], T]) -> T | None:
    """Run a step and return its result; where it fails, add the reason to ``failures`` and return None."""
    try:
        return run()
    except EdgephysError as error:
        failures.append(f"{step}: {error}")
        return None


def require_whole(
    command: str, rows: Sequence[Mapping[str, Any]], differs: Callable[[Mapping[str, Any]], bool]
) -> None:
    """Raise for rows with failures, naming each: MismatchError where ``differs`` holds for one, else ToolError."""
    failing = [row for row in rows if row["failures"]]
    if failing:
        reasons = "; ".join(f"{row['model']}: {row['failures'][0]}" for row in failing)
        kind = MismatchError if any(map(differs, failing)) else ToolError
        raise kind(f"{command}: {len(failing)} of {len(rows)} rows are not whole: {reasons}")


def emitted(model: Model, options: Any, folder: Path, force: bool, say: Say) -> tuple[Project, float]:
    """Return a model's project and the seconds of its emission, kept or new.  Raises: as ``project.emit``."""
    if (folder / MANIFEST).is_file():
        try:
            project = read(folder)
            timing = valid_result(project, EMISSION, "seconds")
            if timing is not None and _is_current(project, model, options):
                return project, float(timing["seconds"])
        except ProjectError as error:
            say(f"{error}")
    say(f"{model.name}: emit to {folder}")
    start = time.monotonic()
    project = emit(model, options, folder, force)
    seconds = round(time.monotonic() - start, 2)
    write_result(project, EMISSION, {"seconds": seconds}, project.state())
    return project, seconds


def _is_current(project: Project, model: Model, options: Any) -> bool:
    """Return whether a project is unchanged and equal to a new emission: Graph, options, model, vectors, sources.

    An option that did not exist at the emission had its default.
    """
    if project.manifest.revision != project.target.revision:
        return False
    stated, defaults = (json.loads(json.dumps(asdict(of))) for of in (options, type(options)()))
    if project.graph.digest != model.graph.digest or {**defaults, **project.manifest.options} != stated:
        return False
    if project.changed() or any(
        sha256(project.model / name) != sha256(model.folder / name) for name in model.framework.files
    ):
        return False
    ours, theirs = read_vectors(project), model.held_out
    return np.array_equal(ours.inputs, theirs.inputs) and np.array_equal(ours.labels, theirs.labels)


def verified(project: Project, say: Say) -> Mapping[str, Any]:
    """Return the record of a project's verification, kept or new."""
    record = valid_result(project, "verify", "mismatches", "changed", "vectors", "targets", "score")
    if record is not None and failure(record, project.folder) is None:
        return record
    return verify(project, say=lambda text: say(f"{project.name}: {text}")).to_record()


def valid_result(project: Project, name: str, *keys: str) -> dict[str, Any] | None:
    """Return a result of the project's present sources; None where it is missing, damaged or lacks a key."""
    try:
        record = read_result(project, name)
    except ProjectError:
        return None
    return record if record is not None and set(keys) <= set(record) else None


def _first_difference(verification: Mapping[str, Any]) -> str:
    first = next((target["first"] for target in verification["targets"].values() if "first" in target), None)
    return f" (layer '{first['layer']}' first, vector {first['vector']})" if first else ""
