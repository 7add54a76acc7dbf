"""Declare the page of one project: the verdict, its figures, and sections on what its data hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgephys.core.figure import Figure
from edgephys.core.reading import drawable
from edgephys.figures import Reported
from edgephys.project import FILE_VERIFICATION, VERIFICATION, Project, read_result
from edgephys.report.figure_groups import LAYERS, figures_table, group_of, tool_of
from edgephys.report.hardware_sections import memory, part, pipeline, resources
from edgephys.report.network_sections import weights, widths
from edgephys.report.page import Page, Statement, Verdict
from edgephys.report.score_sections import quality
from edgephys.report.show import coverage_table
from edgephys.report.table import Table
from edgephys.targets import capacity
from edgephys.targets.hls.estimate import NAME as HLS_ESTIMATE
from edgephys.targets.target import failure

ESTIMATES = ("lut_estimate", HLS_ESTIMATE)
"""LUTs before any synthesis."""


def project_page(project: Project, reported: Reported, command: str, machine: str) -> Page:
    """Return the page of a project whose figures were collected just now."""
    figures = reported.figures
    with project.using_facts(), drawable():
        pictures = project.target.pictures(project.emitted)
        sections = [
            _figures(figures),
            *([part(figures, project.part, capacity.capacity_of(project.part))] if project.target.has_clock else []),
            resources(figures, capacity.lut6(project.part) if project.target.has_clock else None),
            pipeline(project),
            *quality(project),
            widths(project.graph),
            weights(project.graph),
            memory(project, pictures),
            _coverage(project),
        ]
        subtitle = f"{project.graph.name} on {project.kind}, {project.target.platform(project.emitted)}"
        statements = verdict(project, figures)
    return Page(
        title=f"Report of {project.name}",
        subtitle=f"{subtitle}; Graph {project.graph.digest[:12]}",
        verdicts=[Verdict(statements)],
        sections=sections,
        made_by=f"Made by `{command}` on {machine}, edgephys {project.manifest.versions['edgephys']}.",
    )


# The verdict --------------------------------------------------------------------------------------


def verdict(project: Project, figures: Sequence[Figure]) -> list[Statement]:
    """Return what is known of a project at a glance: equality, coverage, score, latency, size."""
    known = {figure.name: figure for figure in figures}
    verified = read_result(project, VERIFICATION) or read_result(project, FILE_VERIFICATION)
    statements = [_equality(project, verified), _covered(verified)]
    return [*statements, *_score(figures), *latency(known), *_part(project, known), *_size(known)]


def _equality(project: Project, verified: Mapping[str, Any] | None) -> Statement:
    about = "the same integers on every target?"
    if verified is None:
        return Statement(about, "not verified", f"run `edgephys verify {project.folder}`")
    vectors = f"{verified['vectors']:,} held-out and {verified['generated']:,} generated vectors"
    ways = ", ".join(verified["targets"])
    why = failure(verified, project.folder)
    if why is not None:
        return Statement(about, "no: it does not hold", why, False)
    return Statement(about, "exact: no integer differs", f"{ways}, on {vectors}", True)


def _covered(verified: Mapping[str, Any] | None) -> Statement:
    about = "what the vectors reach"
    if verified is None:
        return Statement(about, "not measured", "the project is not verified as it stands")
    coverage = verified["coverage"]
    parts = {name: of for name, of in coverage.items() if isinstance(of, Mapping) and of["possible"]}
    reached, possible = (sum(of[key] for name, of in parts.items() if name.endswith("_bits")) for key in _COUNTS)
    others = ", ".join(
        f"{100 * of['reached'] / of['possible']:.0f} % of {name.replace('_', ' ')}"
        for name, of in parts.items()
        if not name.endswith("_bits")
    )
    return Statement(about, f"{100 * reached / possible:.1f} % of all bits" if possible else "no bits", others)


_COUNTS = ("reached", "possible")


def _score(figures: Sequence[Figure]) -> Iterator[Statement]:
    """Yield the first figure that has an error, which is the score."""
    names = {figure.name: figure for figure in figures}
    for figure in figures:
        error = names.get(f"{figure.name}_error")
        if error is not None:
            about = figure.name.replace("_", " ")
            if figure.value is None or error.value is None:
                yield Statement(about, "not measured", str(figure.why or error.why))
            else:
                finding = f"{100 * float(figure.value):.2f} ± {100 * float(error.value):.2f} %"
                yield Statement(about, finding, f"{tool_of(figure)}, {figure.target}")
            return


def latency(known: Mapping[str, Figure]) -> Iterator[Statement]:
    """Yield what is known of the latency, of figures by name: cycles, ns and where each is from, or the median."""
    cycles, ns, interval = (known.get(name) for name in ("latency_cycles", "latency_ns", "ii"))
    if cycles is not None:
        if cycles.value is None:
            yield Statement("latency", "not measured", str(cycles.why))
        else:
            every = "" if interval is None or interval.value is None else f", an input every {_interval(interval)}"
            at, detail = "", f"cycles {cycles.stage.value}, {tool_of(cycles)}{every}"
            if ns is not None and ns.value is not None:
                at, detail = f" = {ns.text}", f"{detail}; ns {ns.stage.value}: {ns.target}"
            yield Statement("latency", f"{cycles.text}{at}", detail)
    elif (median := known.get("p50_us")) is not None:
        finding = "not measured" if median.value is None else f"{median.text}, the median"
        yield Statement("latency", finding, str(median.why or median.target))


def _interval(interval: Figure) -> str:
    return "cycle" if interval.value == 1 else interval.text


def _part(project: Project, known: Mapping[str, Figure]) -> Iterator[Statement]:
    """Yield whether a design fits its part: by the share that was synthesised, or by the LUTs of a vendor's report."""
    about, share, lut = "does it fit the part?", known.get("lut_share"), known.get("lut")
    if share is not None and share.value is not None:
        yield _fits(about, float(share.value), share.target)
    elif lut is not None and (percent := _share(project, lut)) is not None:
        yield _fits(about, percent, lut.provenance)
    elif (estimate := _estimate(known)) is not None and (percent := _share(project, estimate)) is not None:
        yield Statement(about, f"estimated: {percent:.3g} % of its LUTs", estimate.provenance)
    elif (unknown := share or lut) is not None:
        yield Statement(about, "not known", str(unknown.why or f"the LUTs of {project.part} are not listed"))


def _estimate(known: Mapping[str, Figure]) -> Figure | None:
    """Return the estimated LUTs, where a target states any."""
    return next((known[name] for name in ESTIMATES if name in known), None)


def _share(project: Project, lut: Figure) -> float | None:
    """Return the percentage of the part's LUTs; None where it is not known."""
    whole = None if lut.value is None else capacity.lut6(project.part)
    return None if whole is None else 100 * float(lut.value or 0) / whole


def _fits(about: str, percent: float, detail: str) -> Statement:
    return Statement(about, f"{'yes' if percent <= 100 else 'no'}: {percent:.3g} % of its LUTs", detail, percent <= 100)


def _size(known: Mapping[str, Figure]) -> Iterator[Statement]:
    """Yield the LUTs, or the memory, whichever the target has."""
    for name in ("lut", *ESTIMATES, "arena_bytes", "file_bytes"):
        figure = known.get(name)
        if figure is not None and figure.value is not None:
            yield Statement("size", figure.text, f"{figure.stage.value}, {tool_of(figure)}, {figure.target}")
            return


# Sections -------------------------------------------------------------------------------------------


def _figures(figures: Sequence[Figure]) -> Table:
    """Declare all figures but those of single layers, which have a section of their own."""
    whole = [figure for figure in figures if group_of(figure) != LAYERS]
    table = figures_table("", whole)
    return Table(
        title="Figures",
        lead=("Each figure with the stage, the tool and the version that it comes from.",),
        columns=table.columns,
        rows=table.rows,
        group=table.group,
        style=table.style,
    )


def _coverage(project: Project) -> Table:
    verified = read_result(project, VERIFICATION)
    if verified is None:
        return Table(title="Coverage", lead=("Not measured: the project is not verified as it stands.",))
    table = coverage_table(verified)
    return Table(
        title="Coverage",
        lead=(
            f"What {verified['coverage']['vectors']:,} of the vectors of the verification reach: bits that were 0"
            " and 1, ties of roundings, overflows below and above.",
        ),
        columns=table.columns,
        rows=table.rows,
    )
