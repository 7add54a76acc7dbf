"""LUTs, latency and throughput against the initiation interval, gathered from the reports of RTL projects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.core import machine
from edgephys.core.errors import ProjectError
from edgephys.project import read, read_card, read_result
from edgephys.report.columns import caveats, published, published_row
from edgephys.report.gains import read_table
from edgephys.report.plot import COLOURS, GREY, png
from edgephys.report.table import Column, Drawing, Row, Table, number, written

MEASURES = ("latency_cycles", "latency_ns", "lut", "ff", "dsp", "bram", "vectors", "mismatches")


def tabulate(folders: Sequence[Path], beside: Path | None, command: str) -> dict[str, Any]:
    """Return the record of reported RTL projects, a row each.

    ``beside`` is the record of a table with rows of the same models at an interval of 1, as `edgephys scaling` writes
    it.
    Raises: ProjectError for a project whose report is missing, or of another target.
    """
    rows = [_row(folder) for folder in folders]
    names = {row["model"] for row in rows}
    known = [row for row in (read_table(beside)["rows"] if beside is not None else ()) if row["model"] in names]
    rows += [_beside(row, rows) for row in known if not any(r["model"] == row["model"] and r["ii"] == 1 for r in rows)]
    whole = {(row["model"], row["lut_stage"]): row["lut"] for row in rows if row["ii"] == 1}
    for row in rows:
        lut = whole.get((row["model"], row["lut_stage"]))  # an estimate is not compared with a synthesis
        row["share"] = row["lut"] / lut if lut and row["lut"] else None
        row["throughput_mhz"] = 1000 / (row["clock_ns"] * row["ii"])
    order = {name: place for place, name in enumerate(dict.fromkeys(row["model"] for row in rows))}
    return {
        "command": command,
        "machine": machine.name(),
        "rows": sorted(rows, key=lambda row: (order[row["model"]], row["ii"])),
    }


def _row(folder: Path) -> dict[str, Any]:
    project = read(folder)
    report = read_result(project, "report")
    if project.kind != "rtl" or report is None:
        raise ProjectError(f"{folder}: expected a reported RTL project; run `edgephys report {folder}`")
    figures = {figure["name"]: figure["value"] for figure in report["figures"]}
    if figures.get("ii") is None:
        raise ProjectError(
            f"{folder}: expected a verification of its sources as they are; run `edgephys verify {folder}`"
        )
    card = read_card(project)
    synthesised = figures.get("lut") is not None
    return {
        "model": card.name,
        "ii": figures["ii"],
        "clock_ns": project.clock_ns,
        **{name: figures.get(name) for name in MEASURES},
        "lut": figures["lut"] if synthesised else figures["lut_estimate"],
        "lut_stage": "synthesised" if synthesised else "estimated",
        "published": published(card),
    }


def _beside(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    """Return a row of another table, as far as it has our figures."""
    like = next(other for other in rows if other["model"] == row["model"])
    own = {name: row.get(name) for name in MEASURES}
    same = {name: row[name] for name in ("model", "clock_ns", "lut_stage")}
    return {**own, **same, "ii": 1, "published": like["published"]}


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table; published figures stand below the last row of their model."""
    rows = record["rows"]
    last = {row["model"]: row for row in rows}
    return Table(
        title="One copy for several rows: LUTs against the initiation interval",
        columns=(
            Column("model", "model", left=True),
            Column("ii", "II", "cycles"),
            Column("lut", "LUT"),
            Column("lut_stage", "LUT stage", left=True),
            Column("share", "LUT / LUT at II 1", text=written(".3f")),
            Column("ff", "FF"),
            Column("dsp", "DSP"),
            Column("bram", "RAMB18"),
            Column("latency_cycles", "latency", "cycles"),
            Column("latency_ns", "latency at the stated clock", "ns"),
            Column("throughput_mhz", "throughput at the stated clock", "million/s", text=written(".3g")),
            Column("vectors", "vectors"),
            Column("mismatches", "mismatches"),
        ),
        rows=rows,
        record=record,
        notes=(
            "II: clocks between two inputs, measured in simulation, as the latency is. The ns are at the stated clock; "
            "no routing has confirmed it.",
            "LUT, FF, DSP, RAMB18: from Yosys for UltraScale+, the sum of the modules. Rows of II 1 are of another "
            "table. DSPs compute products with weights that come from a table, where Yosys finds them large enough.",
            *caveats(rows),
        ),
        pictures=(Drawing("LUTs and latency of each model against its initiation interval", _picture),),
        beneath=lambda row: published_row(row["published"]) if row["published"] and last[row["model"]] is row else None,
    )


def _picture(table: Table) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    models = list(dict.fromkeys(row["model"] for row in table.rows))
    for number_of, model in enumerate(models):
        rows = [row for row in table.rows if row["model"] == model]
        marker, line = ("o", "-") if number_of < len(COLOURS) else ("s", "--")
        style = {"marker": marker, "linestyle": line, "color": COLOURS[number_of % len(COLOURS)]}
        for axes, key in zip(panels, ("lut", "latency_ns"), strict=True):
            known = [(row["ii"], row[key]) for row in rows if row[key]]
            axes.plot(*zip(*known, strict=True), label=model, **style)
        first = rows[0]
        if first["ii"] == 1 and first["lut"]:
            ends = [1, rows[-1]["ii"]]
            panels[0].plot(ends, [first["lut"] / ii for ii in ends], color=GREY, linewidth=0.8, linestyle=":")
    for axes, title in zip(panels, ("LUT", "latency at the stated clock (ns)"), strict=True):
        axes.set(xlabel="initiation interval (cycles)", ylabel=title, xscale="log", yscale="log")
        axes.xaxis.set_major_formatter(lambda value, _: number(int(value)))
        axes.yaxis.set_major_formatter(lambda value, _: number(int(value)))
        axes.grid(alpha=0.3, which="both")
    panels[0].set_title("dotted: the LUTs at II 1, divided by II", fontsize=9)
    panels[1].legend(fontsize=8)
    return png(figure)
