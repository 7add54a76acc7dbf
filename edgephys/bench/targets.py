"""The targets of a model that can be timed: what each is run by, or why it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgephys.bench.exports import Export
from edgephys.bench.worker import Job
from edgephys.core.errors import UsageError
from edgephys.models.trained import MODEL
from edgephys.project import Project, read, read_result

REFERENCE = "keras_onnx"
"""What every ratio is to: onnxruntime on Keras' own export, the road that is open without us."""
RUNNERS = {"c": "c", "onnx": "onnx", "hls": "csim"}
"""How each kind of project is run to be timed."""
NOT_TIMED = {
    "qonnx": "not timed: QONNX is a form for other tools; what executes it here is for checks, node by node",
}


@dataclass(frozen=True)
class Member:
    """Hold one target of a model: what to load, or why nothing is timed."""

    target: str
    project: str
    job: Job | None = None
    why: str | None = None
    cycles: Mapping[str, Any] | None = None


def grouped(folders: Sequence[Path]) -> list[list[Project]]:
    """Return projects of the same Graph together, in the order of their first.

    Raises: as ``measure``.
    """
    if not folders:
        raise UsageError("bench: name one project at least; `edgephys emit` makes one")
    found: dict[str, list[Project]] = {}
    seen: set[Path] = set()
    for folder in folders:
        if folder.resolve() in seen:
            raise UsageError(f"{folder}: named twice; name each project once")
        seen.add(folder.resolve())
        project = read(folder)
        found.setdefault(project.graph.digest, []).append(project)
    return list(found.values())


# The targets of a model ----------------------------------------------------------------------------


def members(projects: Sequence[Project], made: Mapping[str, Export]) -> list[Member]:
    """Return the targets of a model: Keras' own roads first, then what each project holds."""
    first = projects[0]
    found = [Member("keras", first.name, _job(first, "keras", "keras", first.model / MODEL))]
    for form, export in made.items():
        if export.path is None:
            found.append(Member(form, first.name, why=f"not measured: {export.why}"))
        else:
            job = _job(first, form, form, export.path, export.facts, must_match=False)
            found.append(Member(form, first.name, job))
    for project, name in zip(projects, names_of(projects), strict=True):
        found.append(_member(project, name, first))
    return [each for member in found for each in (member, *_bound(member))]


def _bound(member: Member) -> list[Member]:
    """Return an ONNX model's target once more, its inputs and outputs bound beforehand."""
    job = member.job
    if job is None or job.runner not in ("keras_onnx", "onnx"):
        return []
    kind, _, name = member.target.partition(" ")
    target = f"{kind}_bound {name}".strip()
    return [replace(member, target=target, job=replace(job, target=target, bound=True))]


def names_of(projects: Sequence[Project]) -> list[str]:
    """Return the kind of each project, with its name or even its folder where another has the same."""
    for named in (lambda of: of.kind, lambda of: f"{of.kind} {of.name}", lambda of: f"{of.kind} {of.folder}"):
        names = [named(project) for project in projects]
        if len(set(names)) == len(names):
            break
    return names


def _member(project: Project, name: str, first: Project) -> Member:
    if project.changed():
        why = f"not measured: {', '.join(project.changed()[:3])} changed since the emission; emit it again"
        return Member(name, project.name, why=why)
    if project.kind == "rtl":
        return _simulated(project, name)
    if project.kind not in RUNNERS:
        why = NOT_TIMED.get(project.kind, f"not measured: nothing here runs projects of kind '{project.kind}'")
        return Member(name, project.name, why=why)
    source = project.firmware / str(project.facts["file"]) if project.kind == "onnx" else project.firmware
    return Member(name, project.name, _job(first, name, RUNNERS[project.kind], source, project.facts))


def _simulated(project: Project, name: str) -> Member:
    """Return an RTL project's cycles, as its verification counted them for the project as it is now."""
    record = read_result(project, "verify")
    target = (record or {}).get("targets", {}).get("rtl")
    if record is None or target is None:
        why = f"not simulated: `edgephys verify {project.folder}` has not run on the project as it is now"
        return Member(name, project.name, why=why)
    if record["mismatches"]:
        why = f"computes other numbers: {record['mismatches']} outputs in its verification"
        return Member(name, project.name, why=why)
    kept = ("latency_cycles", "ii", "tool", "version", "vectors")
    return Member(name, project.name, cycles={key: target[key] for key in kept} | {"clock_ns": project.clock_ns})


def _job(
    first: Project,
    target: str,
    runner: str,
    source: Path,
    facts: Mapping[str, Any] | None = None,
    must_match: bool = True,
) -> Job:
    """Return what a process is to load; all targets of a model take the vectors of its first project."""
    graph = first.graph
    vectors = first.folder / "vectors.npz"
    return Job(target, runner, source, facts or {}, vectors, graph.input.fixed, graph.output.fixed, must_match)
