"""Declare any number of reported projects side by side: a column a project, a row a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core.errors import ProjectError, UsageError
from edgephys.core.figure import Figure, FigureStage, from_record
from edgephys.project import Project, read, read_result
from edgephys.report.figure_groups import LAYER, in_groups, tool_of
from edgephys.report.network_sections import height_of
from edgephys.report.page import Page, Verdict
from edgephys.report.plot import COLOURS, INK, WIDTH, panels, shortened, svg
from edgephys.report.project_page import verdict
from edgephys.report.table import NONE, Column, Drawing, Row, Table
from edgephys.targets import capacity

BARS = ("lut", "lut_estimate", "lut_csynth_estimate", "latency_ns", "p50_us", "arena_bytes")
"""Figures that are drawn as bars where two projects or more have them."""


OF_PART = ("lut", "lut_estimate", "lut_csynth_estimate")
"""Figures with a limit: the LUTs of the part."""
CALCULATED = (FigureStage.ESTIMATED, FigureStage.SIMULATED)
"""Stages whose bars are hatched: nothing was measured, or built for a part."""
HATCHED = "hatched: not measured"
DASHED = "dashed: the whole part"
FARTHEST = 4.0
"""Times the longest bar, at which the limit of a part is still drawn; the text has the share in any case."""


@dataclass(frozen=True, eq=False)
class ReportedProject:
    """Hold a project and the figures of its report; ``label`` is its name, its folder where two have one name."""

    label: str
    project: Project
    figures: Mapping[str, Figure]


def read_reports(folders: Sequence[Path]) -> list[ReportedProject]:
    """Return reported projects in their order.

    Raises: ProjectError for a project whose report is missing or older than its sources; UsageError for one twice.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("compare: a project is named twice; name each once")
    projects = [read(folder) for folder in folders]
    names = [project.name for project in projects]
    return [
        ReportedProject(project.name if names.count(project.name) == 1 else str(folder), project, _figures(project))
        for folder, project in zip(folders, projects, strict=True)
    ]


def _figures(project: Project) -> dict[str, Figure]:
    report = read_result(project, "report")
    if report is None:
        raise ProjectError(
            f"{project.folder}: expected a report of its sources as they are; run `edgephys report {project.folder}`"
        )
    with project.using_facts():
        return {record["name"]: from_record(record) for record in report["figures"]}


def comparison_page(projects: Sequence[ReportedProject], command: str, machine: str) -> Page:
    """Return the page of several projects: the verdict on each, all figures, layers, and bars."""
    versions = sorted({of.project.manifest.versions["edgephys"] for of in projects})
    return Page(
        title=f"{len(projects)} projects side by side",
        subtitle=", ".join(of.label for of in projects),
        verdicts=[_verdict(of) for of in projects],
        sections=[figures_side_by_side(projects), _layers(projects)],
        made_by=f"Made by `{command}` on {machine}, edgephys {', '.join(versions)}.",
    )


def _verdict(of: ReportedProject) -> Verdict:
    with of.project.using_facts():
        return Verdict(verdict(of.project, list(of.figures.values())), of.label)


def figures_side_by_side(projects: Sequence[ReportedProject]) -> Table:
    """Declare every figure of whole designs, by group."""
    drawn = [name for name in BARS if sum(_has(of, name) for of in projects) > 1]
    return _table(
        "Figures side by side",
        projects,
        layers=False,
        lead="Below each value: its stage and its tool, without which two values cannot be compared.",
        pictures=tuple(_bars(projects, name) for name in drawn),
    )


def _layers(projects: Sequence[ReportedProject]) -> Table:
    table = _table("Layers side by side", projects, layers=True, lead="All copies of a module are counted.")
    empty = Table(title=table.title, lead=("Not measured: no project has figures of single layers.",))
    return table if table.rows else empty


def _table(
    title: str, projects: Sequence[ReportedProject], layers: bool, lead: str, pictures: tuple[Drawing, ...] = ()
) -> Table:
    union: dict[str, Figure] = {}
    for of in projects:
        union |= {name: figure for name, figure in of.figures.items() if name not in union}
    wanted = [figure for figure in union.values() if (LAYER in figure.name) == layers]
    rows = [
        {"group": "" if layers else group, "figure": figure.name}
        | {f"of_{place}": _cell(of.figures.get(figure.name)) for place, of in enumerate(projects)}
        for group, figures in in_groups(wanted).items()
        for figure in figures
    ]
    return Table(
        title=title,
        lead=(lead,),
        columns=(
            Column("figure", "figure", left=True),
            *(_column(f"of_{place}", of.label) for place, of in enumerate(projects)),
        ),
        rows=rows,
        group="group",
        pictures=pictures,
    )


def _cell(figure: Figure | None) -> Mapping[str, Any] | None:
    if figure is None:
        return None
    value = "not measured" if figure.value is None else figure.text
    return {
        "value": value,
        "under": f"{figure.stage.value}, {tool_of(figure)}" if figure.value is not None else "",
        "provenance": figure.provenance if figure.value is not None else f"{figure.text} ({figure.provenance})",
    }


def _column(key: str, label: str) -> Column:
    def part(name: str, row: Row) -> str:
        return NONE if row[key] is None and name == "value" else str((row[key] or {}).get(name, ""))

    return Column(
        key,
        label,
        value=lambda row: part("value", row),
        hover=lambda row: part("provenance", row),
        under=lambda row: part("under", row),
    )


# Pictures -------------------------------------------------------------------------------------------


def _has(of: ReportedProject, name: str) -> bool:
    figure = of.figures.get(name)
    return figure is not None and isinstance(figure.value, int | float)


def _bars(projects: Sequence[ReportedProject], name: str) -> Drawing:
    stages = dict.fromkeys(of.figures[name].stage.value for of in projects if _has(of, name))
    return Drawing(f"{name}: {' or '.join(stages)}", lambda _: _draw_bars(projects, name), ".svg")


def _draw_bars(projects: Sequence[ReportedProject], name: str) -> bytes:
    with_it = [of for of in projects if _has(of, name)]
    values = [float(of.figures[name].value or 0) for of in with_it]
    figure, axes = panels(WIDTH, height_of(len(with_it)))
    of_bars = axes[0, 0]
    bars = of_bars.barh(range(len(with_it)), values, height=0.6, color=COLOURS[0], edgecolor=COLOURS[0])
    for bar, of in zip(bars, with_it, strict=True):
        if of.figures[name].stage in CALCULATED:
            bar.set(facecolor="white", hatch="////")
    limits = [_limit(of, name) for of in with_it]
    texts = [_with_share(of.figures[name], limit) for of, limit in zip(with_it, limits, strict=True)]
    of_bars.bar_label(bars, texts, fontsize=8.5, padding=3)
    end = max(*values, 1e-9)
    drawn = [(line, limit) for line, limit in enumerate(limits) if limit is not None and limit <= FARTHEST * end]
    for line, limit in drawn:
        of_bars.plot([limit, limit], [line - 0.42, line + 0.42], "--", color=INK, linewidth=1.4)
    of_bars.set_yticks(range(len(with_it)), [shortened(of.label) for of in with_it])
    of_bars.set_ylim(len(with_it) - 0.5, -0.5)
    of_bars.set_xlim(0, max(1.35 * end, *(1.1 * limit for _, limit in drawn)) if drawn else 1.35 * end)
    notes = [HATCHED] * any(of.figures[name].stage in CALCULATED for of in with_it) + [DASHED] * bool(drawn)
    of_bars.set_xlabel(f"{name} ({with_it[0].figures[name].unit})" + "\n" * bool(notes) + "; ".join(notes), fontsize=9)
    return svg(figure)


def _limit(of: ReportedProject, name: str) -> int | None:
    """Return how many LUTs the part of a project has, for figures of LUTs."""
    return capacity.lut6(of.project.part) if name in OF_PART and of.project.target.has_clock else None


def _with_share(figure: Figure, limit: int | None) -> str:
    """Return the text of a bar, with the share of the part where the part is known."""
    return figure.text if limit is None else f"{figure.text}, {100 * float(figure.value or 0) / limit:.2g} %"
