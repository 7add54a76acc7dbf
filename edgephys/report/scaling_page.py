"""The scaling table for readers: a page with the published rows beside ours, a figure, and a view for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.applications.jets.published import CAVEAT, family_name
from edgephys.core.files import write_file, write_json
from edgephys.report.scaling_figure import picture
from edgephys.report.show import titled

Row = Mapping[str, Any]

HEADINGS = (
    "model", "accuracy %", "float %", "AUC g q W Z t %", "cycles", "ns", "II",
    "LUT", "LUT stage", "FF", "DSP", "BRAM", "emit s", "mismatches", "vectors",
)  # fmt: skip


SHOWN = ("latency_cycles", "ii", "latency_ns", "latency_routed_ns", "lut", "ff", "dsp", "bram", "lut_estimate")
"""Figures whose origins the page tells."""


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table, out.name).encode())
    write_file(out.with_name(f"{out.name}.png"), picture(table["rows"]))


def page(table: Mapping[str, Any], name: str) -> str:
    """Return the page: the table, where each figure comes from, and how it stands against the published ones."""
    rows = table["rows"]
    budget = table["budget"]
    lines = [
        "# Scaling: model × constituents × width",
        "",
        f"Made by `{table['command']}` on {table['machine']}. Budget of synthesis: {budget['synth_seconds']:g} s for "
        f"a module, {budget['memory_gb']:g} GB for the modules that are built at the same time, together.",
        "",
        f"![Accuracy, LUT and latency against the number of constituents]({name}.png)",
        "",
        _line(HEADINGS),
        _line(["---", *["---:"] * (len(HEADINGS) - 1)]),
    ]
    for row in rows:
        lines.append(_line(cells(row)))
        if row["published"] is not None:
            lines.append(_line(_published_cells(row["published"])))
    parts = (_failures(rows), _provenance(rows), _estimator(table), _against(rows))
    return "\n".join([*lines, "", *(line for part in parts for line in part)]) + "\n"


def _line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def cells(row: Row) -> list[str]:
    """Return a row as text, in the order of HEADINGS."""
    return [
        str(row["model"]),
        _share(row["accuracy"], row["accuracy_error"]),
        _share(row["accuracy_float"], row["accuracy_float_error"]),
        " ".join(f"{100 * area:.1f}" for area in row["auc"].values()),
        *(_number(row[name]) for name in ("latency_cycles", "latency_ns", "ii", "lut")),
        _lut_stage(row),
        *(_number(row[name]) for name in ("ff", "dsp", "bram")),
        "–" if row["emit_seconds"] is None else f"{row['emit_seconds']:.1f}",
        _loud(row["mismatches"]),
        _number(row["vectors"]),
    ]


def _published_cells(facts: Mapping[str, Any]) -> list[str]:
    auc = "–" if facts["auc"] is None else " ".join(f"{100 * area:.1f}" for area in facts["auc"].values())
    numbers = [_number(facts[name]) for name in ("latency_cycles", "latency_ns", "ii", "lut")]
    more = [_number(facts[name]) for name in ("ff", "dsp", "bram")]
    told = f"*published, other jets, part and tool ({facts['source']})*"
    return [told, f"{100 * facts['accuracy']:.1f}", "–", auc, *numbers, facts["stage"], *more, "–", "–", "–"]


def _share(value: float | None, error: float | None) -> str:
    return "–" if value is None or error is None else f"{100 * value:.2f} ± {100 * error:.2f}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.1f}".removesuffix(".0") if isinstance(value, float) else f"{value:,}"


def _loud(mismatches: int | None) -> str:
    return f"**{mismatches:,} DIFFER**" if mismatches else _number(mismatches)


def _lut_stage(row: Row) -> str:
    if row["lut_calibrated"] is not None:
        return f"{row['lut_stage']}; calibrated {row['lut_calibrated']:,}"
    return str(row["lut_stage"])


def _failures(rows: Sequence[Row]) -> list[str]:
    failing = [(row["model"], why) for row in rows for why in row["failures"]]
    if not failing:
        return []
    return ["## Not whole", "", *(f"- {model}: {why}" for model, why in failing), ""]


def _provenance(rows: Sequence[Row]) -> list[str]:
    """Tell where each kind of figure comes from: the different origins over the rows, once each."""
    lines = ["## Where the figures come from", ""]
    lines.append(
        "- accuracy, AUC: measured with Keras on held-out test jets, errors binomial; float: the unquantised twin of "
        "the same network."
    )
    origins: dict[str, list[str]] = {}
    for name in SHOWN:
        for told in sorted({row["provenance"][name] for row in rows if name in row["provenance"]}):
            origins.setdefault(told, []).append(name)
    lines += [f"- {', '.join(names)}: {told}." for told, names in origins.items()]
    lines.append(
        "- mismatches: output integers that differ from the golden model, summed over the stored expectation, Keras "
        "and the simulation of each project; vectors: held-out jets that each of these was given."
    )
    lines.append("- emit s: seconds to trace and write the projects of a row on this machine, together.")
    return [*lines, ""]


def _estimator(table: Mapping[str, Any]) -> list[str]:
    found = table["estimator"]
    lines = ["## The LUT estimate", ""]
    estimated = [row for row in table["rows"] if row["lut_stage"] == "estimated"]
    if not found["rows"]:
        lines.append("No row has both an estimate and a synthesis: the error of the estimate is not known here.")
    else:
        lines.append(
            f"Synthesised over estimated LUTs ({found['tool']}'s estimate at emission) on the {found['rows']} rows "
            f"that have both: median {found['ratio_median']:.2f}, from {found['ratio_min']:.2f} to "
            f"{found['ratio_max']:.2f}."
        )
    if found["leave_one_out"]:
        left = found["leave_one_out"]
        lines.append(
            "Estimate times the median ratio of the other rows misses a row's synthesis by "
            f"{100 * left['relative_error_median']:.0f} % in the median, from "
            f"{100 * left['relative_error_min']:+.0f} % to {100 * left['relative_error_max']:+.0f} %."
        )
    lines += [""] if estimated else []
    for row in estimated:
        calibrated = f", {row['lut_calibrated']:,} calibrated" if row["lut_calibrated"] is not None else ""
        lines.append(
            f"- estimated, not synthesised: {row['model']}, {row['lut']:,} LUT as estimated{calibrated}"
            f" ({row['ff_stage']})."
        )
    if not estimated:
        lines.append("No row of the table rests on it.")
    return [*lines, ""]


# Against the published figures -------------------------------------------------------------------


def _against(rows: Sequence[Row]) -> list[str]:
    """Say where each figure stands against the published one, and why the two are not one measurement."""
    lines = ["## Where each figure stands against the paper, and why", ""]
    beside = [row for row in rows if row["published"] is not None]
    without = sorted({_family(row) for row in rows} - {_family(row) for row in beside})
    if not beside:
        return [*lines, "No row has the network, the input and the width of a published one.", ""]
    for row in beside:
        told = [_standing(row, *measure) for measure in MEASURES]
        lines.append(f"- **{_family(row)}, N = {row['n']}, {row['bits']} bits**: {'; '.join(filter(None, told))}.")
    if without:
        names = ", ".join(without)
        lines.append(f"- {names}: no published row of the same network and width that we could read in a source.")
    facts = beside[0]["published"]
    lines += ["", "Why they differ, figure by figure:", ""]
    lines += [
        f"- **Jets** (accuracy, AUC): ours are generated by Pythia 8 with a parametric detector, the paper's are "
        f"{facts['jets']}. Selection and detector differ, so the scale of the accuracies does: only differences "
        "between rows of one column mean something.",
        f"- **Part** (LUT, FF): ours are counted for UltraScale+ cells by Yosys, the paper's for {facts['part']} by "
        f"{facts['tool']}, {facts['stage']}. Neither is placed and routed.",
        _tool(beside),
        _clock(beside),
        "- **II**: ours is counted in the simulation: every product has its own adders, so that a jet is taken at "
        "each clock. Published networks with an II above 1 use a multiplier more than once a jet.",
        "",
        CAVEAT,
        "",
    ]
    return lines


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


MEASURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("accuracy", "accuracy", _percent),
    ("latency_cycles", "cycles", _number),
    ("ii", "II", _number),
    ("lut", "LUT", _number),
    ("dsp", "DSP", _number),
)


def _standing(row: Row, name: str, title: str, told: Callable[[Any], str]) -> str | None:
    ours, theirs = row[name], row["published"][name]
    if ours is None and theirs is None:
        return None
    label = " (estimated)" if name == "lut" and row["lut_stage"] == "estimated" else ""
    mine = "not measured" if ours is None else f"{told(ours)}{label}"
    return f"{title} {mine}, published {'not known' if theirs is None else told(theirs)}"


def _tool(beside: Sequence[Row]) -> str:
    dsp = sorted({row["dsp"] for row in beside if row["dsp"] is not None})
    published = [row["published"]["dsp"] for row in beside if row["published"]["dsp"] is not None]
    ours = "not synthesised here" if not dsp else f"{_span(dsp)} here"
    return (
        f"- **Tool** (LUT against DSP): alkaid builds constant multiplications out of adders (distributed arithmetic), "
        f"hls4ml leaves them to the synthesis, which takes DSPs: {ours}, {_span(published)} published. LUTs alone "
        "therefore do not compare."
    )


def _clock(beside: Sequence[Row]) -> str:
    clocks = sorted({row["clock_ns"] for row in beside})
    cycles = [row["latency_cycles"] for row in beside if row["latency_cycles"] is not None]
    stated = sum(row["latency_stage"].startswith("estimated") for row in beside)
    ours = f"{_span(cycles)} cycles here" if cycles else "not measured here"
    published = [row["published"]["latency_cycles"] for row in beside]
    return (
        f"- **Clock** (latency): {ours}, {_span(published)} published. Cycles are simulated; the ns of {stated} of "
        f"these {len(beside)} rows are cycles at the stated {_span(clocks)} ns, which no routing has confirmed."
    )


def _span(values: Sequence[float]) -> str:
    if not values:
        return "none"
    low, high = min(values), max(values)
    return _number(low) if low == high else f"{_number(low)} to {_number(high)}"


def _family(row: Row) -> str:
    return family_name(row["family"])


# Terminal ----------------------------------------------------------------------------------------


def shown(table: Mapping[str, Any]) -> Group:
    """Return the table for a terminal of 100 columns."""
    view = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    view.add_column("model", no_wrap=True)
    for heading in ("accuracy %", "cycles", "ns", "II", "LUT", "FF", "DSP", "emit s", "differ", "vectors"):
        view.add_column(heading, justify="right", no_wrap=True)
    for row in table["rows"]:
        of = dict(zip(HEADINGS, cells(row), strict=True))
        estimated = "~" if row["lut_stage"] == "estimated" else ""
        view.add_row(
            of["model"], f"{100 * row['accuracy']:.1f} ± {100 * row['accuracy_error']:.1f}",
            of["cycles"], of["ns"], of["II"], estimated + of["LUT"], of["FF"], of["DSP"], of["emit s"],
            _number(row["mismatches"]), of["vectors"],
            style="bold red" if row["mismatches"] else "yellow" if row["failures"] else None,
        )  # fmt: skip
    note = "; ~ is an estimate" if any(row["lut_stage"] == "estimated" for row in table["rows"]) else ""
    return titled(f"scaling: latency and II simulated, ns at the stated clock, LUT FF DSP by Yosys{note}", view)
