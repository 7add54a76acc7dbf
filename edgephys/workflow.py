"""Steps of a table of many models, each skipped where its project already holds what it would make.

There is no book of progress beside the projects: a step is finished when its project holds the same Graph, options,
model and vectors, and a result for its present state. So a run goes on where a former one was killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgephys.core.errors import EdgephysError, ProjectError
from edgephys.graph.graph import Graph
from edgephys.models.trained import VECTORS, load_vectors
from edgephys.project import MANIFEST, Project, emit, model_files, read, read_result, read_vectors, write_result
from edgephys.report.gather import failed
from edgephys.verify import verify

Say = Callable[[str], None]
T = TypeVar("T")


def attempt(row: dict[str, Any], step: str, run: Callable[[], T]) -> T | None:
    """Run a step of a row; where it fails the row's ``failures`` say why, and the table goes on."""
    try:
        return run()
    except EdgephysError as error:
        row["failures"].append(f"{step}: {error}")
        return None


def emitted(graph: Graph, model: Path, options: Any, folder: Path, force: bool, say: Say) -> tuple[Project, float]:
    """Return a model's project and the seconds that its emission took, then or now.  Raises: as ``project.emit``."""
    if (folder / MANIFEST).is_file():
        try:
            project = read(folder)
            timed = kept(project, "emit", "seconds")
            if timed is not None and _holds(project, model, graph, options):
                return project, float(timed["seconds"])
        except ProjectError as error:
            say(f"{error}")
    say(f"{graph.name}: emit to {folder}")
    began = time.monotonic()
    project = emit(graph, model, options, folder, force)
    seconds = round(time.monotonic() - began, 2)
    write_result(project, "emit", {"seconds": seconds})
    return project, seconds


def _holds(project: Project, model: Path, graph: Graph, options: Any) -> bool:
    """Say whether a project is untouched and what would be emitted now: Graph, options, model, vectors, sources."""
    if project.manifest.get("revision", 1) != project.target.emitter.REVISION:
        return False
    if project.graph.digest != graph.digest or project.manifest["options"] != json.loads(json.dumps(asdict(options))):
        return False
    if project.changed() or any(
        (project.model / name).read_bytes() != (model / name).read_bytes() for name in model_files(model)
    ):
        return False
    ours, theirs = read_vectors(project), load_vectors(model / VECTORS)
    return np.array_equal(ours.inputs, theirs.inputs) and np.array_equal(ours.labels, theirs.labels)


def verified(project: Project, say: Say) -> Mapping[str, Any]:
    """Return the record of a project's verification, made then or now."""
    found = kept(project, "verify", "mismatches", "changed", "vectors", "targets")
    if found is not None and failed(found) is None:
        return found
    return verify(project, stage=lambda text: say(f"{project.name}: {text}")).to_record()


def kept(project: Project, name: str, *keys: str) -> dict[str, Any] | None:
    """Return a result that holds for the project as it is; None where it is missing, damaged or lacks a key."""
    try:
        found = read_result(project, name)
    except ProjectError:
        return None
    return found if found is not None and set(keys) <= set(found) else None
