"""Compare the reports of several projects: a row a model, each figure with its stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

from edgephys.applications.application import Score
from edgephys.applications.registry import applications, score_in
from edgephys.core import machine
from edgephys.core.errors import ProjectError
from edgephys.project import Project, read, read_card, read_result
from edgephys.report.columns import auc_columns, caveats, names, published, published_row, score_column, scores
from edgephys.report.plot import png
from edgephys.report.table import Column, Drawing, Row, Table, number

MEASURES = (
    Column("latency_cycles", "latency", "cycles"),
    Column("latency_ns", "latency at the stated clock", "ns"),
    Column("ii", "II"),
    Column("lut", "LUT"),
    Column("ff", "FF"),
    Column("dsp", "DSP"),
    Column("bram", "BRAM"),
    Column("fmax_mhz", "routed clock", "MHz"),
)
EXAMPLES = {"fields": "of the next frame of held-out fields"}
"""What scores are of, by their unit, where it is not "on held-out test", the unit."""
NOTES = (
    "Mismatches: output integers that differ from the golden model's. Keras gives the golden model's integers too.",
    "Latency and II: counted at the clock edges of the RTL simulation. The ns are at the stated clock; no routing has "
    "confirmed it.",
    "LUT, FF, DSP, BRAM: from Yosys for UltraScale+, the sum of the layers, unless the stage says otherwise.",
)


def tabulate(folders: Sequence[Path], command: str) -> dict[str, Any]:
    """Return the record of reported projects, one row a model.

    Raises: ProjectError for a project whose report is missing or older than its sources.
    """
    rows: dict[str, dict[str, Any]] = {}
    for folder in folders:
        project = read(folder)
        report = read_result(project, "report")
        if report is None:
            raise ProjectError(
                f"{folder}: expected a report of its sources as they are; run `edgephys report {folder}`"
            )
        row = rows.setdefault(project.graph.digest, {"model": project.graph.name, "projects": {}, "provenance": {}})
        if project.kind in row["projects"]:
            raise ProjectError(
                f"{folder}: {project.kind} of this graph is there twice, as {row['projects'][project.kind]}"
            )
        row["projects"][project.kind] = project.name
        with project.using_facts():
            _fill(row, project, {figure["name"]: figure for figure in report["figures"]})
    order = sorted(rows.values(), key=lambda row: (row["constituents"], row["model"]))
    return {"command": command, "machine": machine.name(), "rows": order}


def _fill(row: dict[str, Any], project: Project, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Add the figures of one project; simulation results are kept apart by target."""
    target = project.target.checked
    row["constituents"] = project.graph.input.shape[0]
    card = read_card(project)
    row["published"] = published(card)
    for score in (one.score for one in applications()):
        row |= {name: figures[name]["value"] for name in (score.key, score.error) if name in figures}
    if (stated := score_in(card.metrics)) is not None:
        row[f"test_{stated.unit}"] = card.metrics.get(stated.unit)
    areas = {name[4:]: figure["value"] for name, figure in figures.items() if name.startswith("auc_")}
    row["auc"] = {name: area for name, area in areas.items() if area is not None}
    row["vectors"] = figures["vectors"]["value"]
    for name, figure in figures.items():
        if figure["value"] is not None:
            source = f"{figure['stage']}, {figure['tool']} {figure['version']}, {figure['target']}"
            row["provenance"][f"{target}.{name}" if name in ("vectors", "mismatches") else name] = source
    row[f"mismatches_{target}"] = figures["mismatches"]["value"]
    if project.kind != "rtl":
        return
    row["clock_ns"] = project.clock_ns
    for name in (column.key for column in MEASURES):
        if name in figures:
            value, stage = figures[name]["value"], figures[name]["stage"]
            row[name] = value
            row[f"{name}_stage"] = stage if value is not None else f"not measured: {figures[name]['why']}"
    if row.get("lut") is None and "lut_estimate" in figures:
        row["lut"], row["lut_stage"] = figures["lut_estimate"]["value"], figures["lut_estimate"]["stage"]
    if "lut_flat" in figures and figures["lut_flat"]["value"] is not None:
        row["lut_flat"] = figures["lut_flat"]["value"]


# The table ----------------------------------------------------------------------------------------


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of compared models; areas under curves and published figures only where a row has them."""
    rows = record["rows"]
    explained = dict.fromkeys(map(_explained, scores(rows)))
    drawn = _drawn(rows)
    return Table(
        title="One model, every target, the same integers",
        columns=(
            Column("model", "model", left=True),
            *([score_column(rows)] if scores(rows) else []),
            *auc_columns(rows),
            Column("vectors", "vectors"),
            Column("mismatches", "mismatches C sim / RTL", value=_mismatches),
            *MEASURES,
            Column("lut_stage", "LUT stage", left=True),
        ),
        rows=rows,
        record=record,
        notes=(*explained, *NOTES, *caveats(rows)),
        pictures=(Drawing(f"{drawn} of every model", lambda table: _picture(table)),) if drawn else (),
        beneath=lambda row: published_row(row["published"]) if row.get("published") else None,
        sideways=True,
    )


def _explained(score: Score) -> str:
    """Say what a score is of, and of which kind its error is."""
    error = "binomial" if score.key == "accuracy" else "standard"
    of = EXAMPLES.get(score.unit, f"on held-out test {score.unit}")
    return f"{score.name[:1].upper()}{score.name[1:]}: {of}, with its {error} error."


def _mismatches(row: Row) -> str:
    return " / ".join(number(row.get(f"mismatches_{target}")) for target in ("csim", "rtl"))


def _drawn(rows: Sequence[Row]) -> str:
    """Return what the picture shows: scores where a row has one; nothing without scores and LUTs."""
    if scores(rows):
        return "accuracy or error, and LUT,"
    return "LUT" if any(row.get("lut") for row in rows) else ""


def _picture(table: Table) -> bytes:
    """Draw accuracy, or error, and LUT of every model side by side; LUT alone where no row has a score."""
    from matplotlib.figure import Figure

    rows = table.rows
    models = [str(row["model"]) for row in rows]
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.6), layout="constrained")
    panels = figure.subplots(1, 2 if scores(rows) else 1, sharey=True, squeeze=False)[0]
    left, right = panels[0], panels[-1]
    if scores(rows):
        shares, errors = ([_share(row, key) for row in rows] for key in ("key", "error"))
        left.errorbar(shares, models, xerr=errors, fmt="o", color="#204a87", capsize=3)
        left.set_xlabel(f"{names(rows)} on held-out examples (%)")
    known = [row for row in rows if row.get("lut")]
    right.barh([str(row["model"]) for row in known], [row["lut"] / 1000 for row in known], color="#8ae234", height=0.5)
    for row in known:
        cycles = f"; {row['latency_cycles']} cycles, simulated" if row.get("latency_cycles") else ""
        right.annotate(f" {row['lut_stage']}{cycles}", (row["lut"] / 1000, str(row["model"])), va="center", fontsize=8)
    right.set_xlabel("thousand LUT")
    right.margins(x=1.2)
    for axes in panels:
        axes.grid(alpha=0.3)
    left.invert_yaxis()
    return png(figure)


def _share(row: Row, key: str) -> float:
    """Return a row's score, or its error, in percent; NaN, which is not drawn, where it has none."""
    score = score_in(row)
    return nan if score is None else 100 * float(row[getattr(score, key)])
