"""The targets of a model that can be timed: what loads each of them, or why it is not timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgephys.bench.exports import Export
from edgephys.bench.peers import peer_jobs
from edgephys.bench.worker import Job
from edgephys.core.errors import UsageError
from edgephys.core.names import real_path
from edgephys.core.remedies import command
from edgephys.models.raw_inputs import standardisation_in
from edgephys.models.trained import MODEL
from edgephys.project import Project, read
from edgephys.targets.emit_again import emit_again
from edgephys.targets.target import CountedCycles, NotTimed

REFERENCE = "keras_onnx"
"""The target that every ratio refers to: onnxruntime on Keras' own ONNX export, which needs no edgephys."""


@dataclass(frozen=True)
class TimedTarget:
    """State a target of a model: what a process loads, or the simulated cycles, or why nothing is timed."""

    target: str
    project: str
    job: Job | None = None
    why: str | None = None
    cycles: Mapping[str, Any] | None = None


def grouped(folders: Sequence[Path]) -> list[list[Project]]:
    """Return the projects, those of the same Graph together.

    Raises: UsageError for no project or for one that is named twice; ProjectError as the reader of projects does.
    """
    if not folders:
        raise UsageError(f"bench: name one project at least; {command('emit', 'MODEL', '--to', 'TARGET')} makes one")
    groups: dict[str, list[Project]] = {}
    paths: set[Path] = set()
    for folder in folders:
        if real_path(folder) in paths:
            raise UsageError(f"{folder}: named twice; name each project once")
        paths.add(real_path(folder))
        project = read(folder)
        if standardisation_in(project.graph) is not None:
            raise UsageError(f"{folder}: emitted with --raw-inputs; bench times networks: emit it without")
        groups.setdefault(project.graph.digest, []).append(project)
    return list(groups.values())


def targets_of(projects: Sequence[Project], exports: Mapping[str, Export]) -> list[TimedTarget]:
    """Return the targets of a model: Keras, its exports, and those of the projects."""
    first = projects[0]
    targets = [TimedTarget("keras", first.name, _job(first, "keras", "keras", first.model / MODEL))]
    for form, export in exports.items():
        if export.path is None:
            targets.append(TimedTarget(form, first.name, why=f"not measured: {export.why}"))
        else:
            job = _job(first, form, form, export.path, export.facts, must_match=False)
            targets.append(TimedTarget(form, first.name, job))
    for project, name in zip(projects, names_of(projects), strict=True):
        targets.append(_of_project(project, name, first))
    return [each for target in targets for each in (target, *_bound(target), *_of_peers(target))]


def _bound(target: TimedTarget) -> list[TimedTarget]:
    """Return a target of onnxruntime a second time, with its inputs and outputs bound before the call."""
    job = target.job
    if job is None or job.runner not in ("keras_onnx", "onnx"):
        return []
    kind, _, name = target.target.partition(" ")
    bound = f"{kind}_bound {name}".strip()
    return [replace(target, target=bound, job=replace(job, target=bound, bound=True))]


def _of_peers(target: TimedTarget) -> list[TimedTarget]:
    """Return the runtimes of others that run the file of a target."""
    jobs = peer_jobs(target.job) if target.job else []
    return [replace(target, target=job.target, job=job) for job in jobs]


def names_of(projects: Sequence[Project]) -> list[str]:
    """Return the kind of each project; with its name or its folder where kinds alone are not unique."""
    for name in (lambda of: of.kind, lambda of: f"{of.kind} {of.name}", lambda of: f"{of.kind} {of.folder}"):
        names = [name(project) for project in projects]
        if len(set(names)) == len(names):
            break
    return names


def _of_project(project: Project, name: str, first: Project) -> TimedTarget:
    if project.changed():
        why = (
            f"not measured: {', '.join(project.changed()[:3])} changed since the emission; {emit_again(project.folder)}"
        )
        return TimedTarget(name, project.name, why=why)
    with project.using_facts():
        timing = project.target.timing(project.emitted)
    if isinstance(timing, NotTimed):
        return TimedTarget(name, project.name, why=timing.why)
    if isinstance(timing, CountedCycles):
        return TimedTarget(name, project.name, cycles=timing.cycles)
    return TimedTarget(name, project.name, _job(first, name, timing.runner, timing.source, project.facts))


def _job(
    first: Project,
    target: str,
    runner: str,
    source: Path,
    facts: Mapping[str, Any] | None = None,
    must_match: bool = True,
) -> Job:
    """Return what a process loads; all targets of a model get the vectors of its first project."""
    graph = first.graph
    vectors = first.folder / "vectors.npz"
    return Job(target, runner, source, facts or {}, vectors, graph.input.fixed, graph.output.fixed, must_match)
