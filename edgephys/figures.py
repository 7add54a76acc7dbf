"""Collect every figure of a project for its report, each with stage, tool, version and target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgephys.applications.registry import scored
from edgephys.core.figure import Figure, FigureStage, missing, to_record
from edgephys.core.files import write_file
from edgephys.core.fixed import Fixed
from edgephys.core.reading import drawable
from edgephys.core.remedies import not_verified
from edgephys.models.card import doubt
from edgephys.models.frameworks import framework_of
from edgephys.project import FILE_VERIFICATION, VERIFICATION, Project, read_card, read_result, write_result
from edgephys.targets.target import Say, ToolRuns, failure


@dataclass(frozen=True)
class Reported:
    """Hold the figures of a report, its record, and the files of its pictures by their titles."""

    figures: tuple[Figure, ...]
    record: Mapping[str, Any]
    pictures: Mapping[str, Path]


def report(project: Project, runs: ToolRuns, say: Say) -> Reported:
    """Collect the figures of a project and write its report and pictures into it."""
    state = project.state()
    figures = gather(project, runs, say)
    record = keep(project, state, figures)
    pictures = {}
    with project.using_facts(), drawable():
        drawn = project.target.pictures(project.emitted)
    for picture in drawn:
        pictures[picture.title] = project.folder / "results" / picture.name
        write_file(pictures[picture.title], picture.png)
    return Reported(figures, record, pictures)


def gather(project: Project, runs: ToolRuns, say: Say) -> tuple[Figure, ...]:
    """Return the figures of a project, in the order of a report.

    A tool that is missing or was killed gives a figure without a value that says why.
    """
    with project.using_facts():
        measured = project.target.figures(project.emitted, runs, say)
        return (*_model(project), *_widths(project), *_simulation(project), *measured)


def keep(project: Project, state: str, figures: Iterable[Figure], **facts: Any) -> dict[str, Any]:
    """Write the report into the project, with further facts, and return its record.

    ``state`` is that of the project before the figures were collected: a report does not vouch for a later emission.
    """
    record = {"project": str(project.folder), "figures": [to_record(figure) for figure in figures], **facts}
    write_result(project, "report", record, state)
    return record


def _model(project: Project) -> list[Figure]:
    """Return accuracy and AUC, or the error, as the card states them, and the parameters.

    A figure has no value where a verification contradicts the card, or where the card's digests are of other files.
    """
    card, (tool, package) = read_card(project), framework_of(project.model).tool
    provenance = (FigureStage.MEASURED, tool, card.versions[package])
    if card.imported is not None:
        where = f"{card.imported.file}, {card.imported.vectors} vectors"
    else:
        unit = scored(card.metrics).unit
        where = f"{card.metrics[unit]:,} held-out test {unit}"
    parameters = Figure("parameters", card.parameters, "", *provenance, project.graph.name)
    if not card.metrics:
        why = "no labels came with it; `edgephys import --data` takes them"
        return [missing("accuracy", "", *provenance, where, why), parameters]
    score = scored(card.metrics)
    values = {name: card.metrics[name] for name in (score.key, score.error)}
    values |= {f"auc_{name}": area for name, area in card.metrics.get("auc", {}).items()}
    checked = (read_result(project, VERIFICATION) or {}).get("score") or {}
    doubted = doubt(card, project.model) or next(iter(checked.get("failures", ())), None)
    if doubted is not None:
        return [*(missing(name, "", *provenance, where, doubted) for name in values), parameters]
    again = {figure["name"]: f"{figure['vectors']:,}" for figure in checked.get("figures", ())}
    places = {name: f"{where}, verified on {again[name]}" if name in again else where for name in values}
    return [*(Figure(name, value, "", *provenance, places[name]) for name, value in values.items()), parameters]


def _widths(project: Project) -> list[Figure]:
    provenance = (FigureStage.MEASURED, "edgephys", project.emitted.versions["edgephys"])

    def width(name: str, shape: tuple[int, ...], fixed: Fixed) -> Figure:
        return Figure(name, prod(shape) * fixed.bits, "bits", *provenance, f"{list(shape)} of {fixed}")

    ends = {"input_bits": project.graph.input, "output_bits": project.graph.output}
    return [width(name, node.shape, node.fixed) for name, node in ends.items()]


def _simulation(project: Project) -> list[Figure]:
    """Return what the verification of the project as it is now counted and timed, or why there is nothing."""
    target, emitted = project.target, project.emitted
    where, times = target.platform(emitted), target.simulated_times(emitted.facts)
    own, of_file = read_result(project, VERIFICATION), read_result(project, FILE_VERIFICATION)
    verified = own or of_file
    if verified is None:
        why = not_verified(project.folder)
        names = [("vectors", ""), ("mismatches", ""), *times]
        return [missing(name, unit, FigureStage.SIMULATED, "simulation", "none", where, why) for name, unit in names]
    simulated = verified["targets"][target.checked]
    stage = FigureStage.SIMULATED if target.has_clock else FigureStage.MEASURED
    source = (stage, simulated["tool"], simulated["version"])
    compared = f"{', '.join(verified['targets'])} against the golden model"
    vectors_of = where if own else f"{where}, vectors of {verified['file']}"
    figures = [
        Figure("vectors", simulated["vectors"], "", *source, vectors_of),
        Figure("mismatches", verified["mismatches"], "", *source, compared),
    ]
    if own and of_file:
        further = of_file["targets"][target.checked]
        source_of_file = (stage, further["tool"], further["version"], f"{where}, vectors of {of_file['file']}")
        figures += [Figure(f"{name}_of_file", of_file[name], "", *source_of_file) for name in ("vectors", "mismatches")]
    why_not = failure(verified, project.folder) or (failure(of_file, project.folder) if of_file else None)
    if why_not is not None:
        return figures + [missing(name, unit, *source, where, why_not) for name, unit in times]
    counted_for = f"{where}{target.times_counted_for(emitted.facts)}"
    figures += [Figure(name, simulated[name], unit, *source, counted_for) for name, unit in times]
    if times:
        nanoseconds = simulated["latency_cycles"] * emitted.clock_ns
        stated = f"simulated cycles at the stated {emitted.clock_ns:g} ns, which no routing has confirmed"
        provenance = ("ns", FigureStage.ESTIMATED, "edgephys", emitted.versions["edgephys"], stated)
        figures.append(Figure("latency_ns", nanoseconds, *provenance))
    return figures
