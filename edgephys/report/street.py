"""Results of several projects in one table: a row a model, each figure with its stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from edgephys.applications.jets.published import CAVEAT, published
from edgephys.applications.registry import scored
from edgephys.core import machine
from edgephys.core.errors import ProjectError
from edgephys.core.files import write_file, write_json
from edgephys.project import Project, read, read_card, read_result
from edgephys.report.show import titled

MEASURES = (
    ("latency_cycles", "cycles"),
    ("latency_ns", "ns at the stated clock"),
    ("ii", "II"),
    ("lut", "LUT"),
    ("ff", "FF"),
    ("dsp", "DSP"),
    ("bram", "BRAM"),
    ("fmax_mhz", "MHz routed"),
)


def tabulate(folders: Sequence[Path], command: str) -> dict[str, Any]:
    """Return the table of reported projects: {"command", "machine", "rows"}, one row a model.

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
        _fill(row, project, {figure["name"]: figure for figure in report["figures"]})
    return {
        "command": command,
        "machine": machine.name(),
        "rows": sorted(rows.values(), key=_order),
    }


def _order(row: Mapping[str, Any]) -> tuple[int, str]:
    return (row["constituents"], row["model"])


def _fill(row: dict[str, Any], project: Project, figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Add what one project knows; simulation results are kept apart by target."""
    target = project.target.checked
    row["constituents"] = project.graph.input.shape[0]
    row["published"] = published(read_card(project).get("recipe", {}))
    score = scored({name: figure["value"] for name, figure in figures.items()})
    for name in (score.key, score.error):
        row[name] = figures[name]["value"]
    row["auc"] = {name[4:]: figure["value"] for name, figure in figures.items() if name.startswith("auc_")}
    row["vectors"] = figures["vectors"]["value"]
    for name, figure in figures.items():
        if figure["value"] is not None:
            told = f"{figure['stage']}, {figure['tool']} {figure['version']}, {figure['target']}"
            row["provenance"][f"{target}.{name}" if name in ("vectors", "mismatches") else name] = told
    row[f"mismatches_{target}"] = figures["mismatches"]["value"]
    if project.kind != "rtl":
        return
    row["clock_ns"] = project.clock_ns
    for name, _ in MEASURES:
        if name in figures:
            value, stage = figures[name]["value"], figures[name]["stage"]
            row[name] = value
            row[f"{name}_stage"] = stage if value is not None else f"not measured: {figures[name]['why']}"
    if row.get("lut") is None and "lut_estimate" in figures:
        row["lut"], row["lut_stage"] = figures["lut_estimate"]["value"], figures["lut_estimate"]["stage"]
    if "lut_flat" in figures and figures["lut_flat"]["value"] is not None:
        row["lut_flat"] = figures["lut_flat"]["value"]


def cells(row: Mapping[str, Any], with_auc: bool) -> list[str]:
    """Return a row as text, in the order of ``headings``."""
    auc = " ".join(f"{100 * area:.1f}" for area in row.get("auc", {}).values())
    mismatches = " / ".join(_count(row.get(f"mismatches_{target}")) for target in ("csim", "rtl"))
    return [
        str(row["model"]),
        f"{100 * row[scored(row).key]:.2f} ± {100 * row[scored(row).error]:.2f}",
        *([auc] if with_auc else []),
        _count(row.get("vectors")),
        mismatches,
        *(_measure(row, name) for name, _ in MEASURES),
        str(row.get("lut_stage", "")),
    ]


def told(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name what says how well the models of rows do."""
    return " or ".join(dict.fromkeys(scored(row).name for row in rows))


def headings(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the headings of the table."""
    units = [heading for _, heading in MEASURES]
    auc = ["AUC g q W Z t %"] if tags(rows) else []
    return ["model", f"{told(rows)} %", *auc, "vectors", "mismatches C sim / RTL", *units, "LUT stage"]


def tags(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a row is a tagger's, which alone has areas under curves."""
    return any(row.get("auc") for row in rows)


def _count(value: Any) -> str:
    return "–" if value is None else f"{value:,}"


def _measure(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if value is None:
        return "–"
    return f"{value:,.1f}".removesuffix(".0") if isinstance(value, float) else f"{value:,}"


def shown(table: Mapping[str, Any]) -> Group:
    """Return the table for a terminal: one column a model, so that it fits 80 columns."""
    view = Table()
    view.add_column("")
    for row in table["rows"]:
        view.add_column(str(row["model"]), justify="right")
    columns = [cells(row, tags(table["rows"])) for row in table["rows"]]
    for index, heading in enumerate(headings(table["rows"])):
        if index:
            view.add_row(heading, *(column[index] for column in columns))
    return titled("the street: one model, every target, the same integers", view)


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), _markdown(table).encode())
    write_file(out.with_name(f"{out.name}.png"), _picture(table))


def _markdown(table: Mapping[str, Any]) -> str:
    head = headings(table["rows"])
    lines = [f"Made by `{table['command']}` on {table['machine']}.", "", "| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join([" --- ", *[" ---: "] * (len(head) - 1)]) + "|")
    for row in table["rows"]:
        lines.append("| " + " | ".join(cells(row, tags(table["rows"]))) + " |")
        if row["published"] is not None:
            lines.append("| " + " | ".join(_published(row["published"])) + " |")
    lines += ["", _notes(table["rows"])]
    return "\n".join(lines) + "\n"


def _published(facts: Mapping[str, Any]) -> list[str]:
    auc = "–" if facts["auc"] is None else " ".join(f"{100 * area:.1f}" for area in facts["auc"].values())
    found = [_count(facts.get(name)) for name, _ in MEASURES]
    return ["*published, other jets*", f"{100 * facts['accuracy']:.1f}", auc, "–", "–", *found, "synthesised (vendor)"]


MEANT = {
    "accuracy": "Accuracy: held-out test jets, binomial error.",
    "relative L2 error": "Relative L2 error: the next frame of held-out fields, over their norm; standard error.",
}


def _notes(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say what the columns are, of those that stand here."""
    scores = [MEANT[name] for name in dict.fromkeys(scored(row).name for row in rows)]
    common = (
        "Mismatches: output integers that differ from the golden model, which Keras equals too. Latency and II: "
        "measured from clock edges in the RTL simulation, ns at the stated clock, which no routing has confirmed. LUT, "
        "FF, DSP, BRAM: Yosys for UltraScale+, sum of the layers, unless the stage says otherwise."
    )
    beside = [CAVEAT] if any(row["published"] is not None for row in rows) else []
    return " ".join([*scores, common, *beside])


def _picture(table: Mapping[str, Any]) -> bytes:
    """Draw accuracy, or error, and LUTs of every model side by side."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = table["rows"]
    names = [str(row["model"]) for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 0.5 * len(rows) + 1.6), sharey=True)
    left.errorbar(
        [100 * row[scored(row).key] for row in rows], names, xerr=[100 * row[scored(row).error] for row in rows],
        fmt="o", color="#204a87", capsize=3,
    )  # fmt: skip
    left.set_xlabel(f"{told(rows)} on held-out examples (%)")
    known = [row for row in rows if row.get("lut")]
    right.barh([str(row["model"]) for row in known], [row["lut"] / 1000 for row in known], color="#8ae234", height=0.5)
    for row in known:
        cycles = f"; {row['latency_cycles']} cycles, simulated" if row.get("latency_cycles") else ""
        right.annotate(f" {row['lut_stage']}{cycles}", (row["lut"] / 1000, str(row["model"])), va="center", fontsize=8)
    right.set_xlabel("thousand LUT")
    right.margins(x=1.2)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.invert_yaxis()
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()
