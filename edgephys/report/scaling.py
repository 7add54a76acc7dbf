"""Measure every trained model as firmware: emit, verify and report, one row a model; a stopped run continues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.applications.application import Score
from edgephys.applications.registry import applications
from edgephys.core import machine
from edgephys.core.errors import ModelError
from edgephys.core.remaining import Remaining
from edgephys.report.columns import auc_columns, caveats, counted, family_name, published_row
from edgephys.report.estimator import calibrate
from edgephys.report.scaling_figure import picture
from edgephys.report.table import CSV, PAGE, TERMINAL, Column, Drawing, Row, Table, number, percent, written
from edgephys.workflow.candidates import candidates
from edgephys.workflow.firmware import FirmwarePlan, check_folders, firmware_row
from edgephys.workflow.steps import Say, require_whole

Record = dict[str, Any]


def tabulate(
    folders: Sequence[Path], plan: FirmwarePlan, command: str, say: Say, write: Callable[[Record], None]
) -> Record:
    """Return the table of all quantised models; call ``write`` with it after each row.

    A row with failures does not end the run: ``require`` raises for it.
    Raises: ModelError where a folder holds no model or none is quantised; UsageError where a project's
    folder is not ours.
    """
    models = candidates(folders)
    quantised = [model for model in models if not model.facts.is_float]
    if not quantised:
        raise ModelError(f"{folders[0]}: expected a quantised model, found float ones only; train one with bits=8")
    for model in quantised:
        check_folders(model, plan)
    floats = {model.network: model.card.metrics for model in models if model.facts.is_float and not model.doubted}
    source = quantised[0].facts.application.literature
    record: Record = {
        "command": command,
        "machine": machine.name(),
        "budget": plan.budget,
        "published_source": source.source if source is not None else None,
        "rows": [],
    }
    remaining = Remaining()
    for place, model in enumerate(quantised, 1):
        say(f"{model.name}: {place} of {len(quantised)}{remaining.left(place - 1, len(quantised))}")
        record["rows"].append(firmware_row(model, plan, floats.get(model.network), say))
        record["estimator"] = calibrate(record["rows"])
        write(record)
    return record


def require(record: Record) -> None:
    """Raise for rows with failures: MismatchError where integers differ, else ToolError."""
    require_whole("scaling", record["rows"], lambda row: bool(row["mismatches"]))


# The table ----------------------------------------------------------------------------------------

SOURCES = ("latency_cycles", "ii", "latency_ns", "latency_routed_ns", "lut", "ff", "dsp", "bram", "lut_estimate")
"""Figures whose sources the page states."""


def table(record: Mapping[str, Any]) -> Table:
    """Declare the scaling table: what was measured, its sources, and how it compares with published figures."""
    rows, budget = record["rows"], record.get("budget")
    estimated = "; ~ is an estimate" if any(row["lut_stage"] == "estimated" for row in rows) else ""
    sections = [Table("Rows with failures", notes=_failures(rows))] if _failures(rows) else []
    sections += [Table("Where the figures come from", notes=_sources(rows)), *_estimator(record), _against(rows)]
    return Table(
        title="Scaling: model × constituents × width",
        caption=f"scaling: latency and II simulated, ns at the stated clock, LUT FF DSP by Yosys{estimated}",
        columns=_columns(rows),
        rows=rows,
        record=record,
        lead=()
        if budget is None
        else (
            f"Limits of the synthesis: {budget['synth_seconds']:g} s for a module, {budget['memory_gb']:g} GB for the "
            "modules that are synthesised at one time, together.",
        ),
        sections=tuple(sections),
        pictures=(
            Drawing("Accuracy, LUT and latency against the number of constituents", lambda table: picture(table.rows)),
        ),
        style=lambda row: "bold red" if row["mismatches"] else "yellow" if row["failures"] else None,
        beneath=lambda row: _published(row["published"]) if row["published"] else None,
    )


def _published(facts: Mapping[str, Any]) -> Row:
    return published_row(facts, f"*published, other jets, part and tool ({facts['source']})*")


def _columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    page = (PAGE, CSV)
    return (
        Column("model", "model", left=True),
        *(column for score in _scores(rows) for column in _score_columns(score)),
        *auc_columns(rows, page),
        Column("latency_cycles", "cycles"),
        Column("latency_ns", "ns"),
        Column("ii", "II"),
        Column("lut", "LUT", where=page),
        Column("lut", "LUT", cell=_estimated, where=(TERMINAL,)),
        Column("lut_stage", "LUT stage", cell=_lut_stage, left=True, where=page),
        Column("ff", "FF"),
        Column("dsp", "DSP"),
        Column("bram", "BRAM", where=page),
        Column("emit_seconds", "emit", "s", written(".1f")),
        Column("mismatches", "mismatches", text=lambda count: f"**{count:,} DIFFER**" if count else "0", where=page),
        Column("mismatches", "differ", where=(TERMINAL,)),
        Column("vectors", "vectors"),
    )


def _scores(rows: Sequence[Row]) -> list[Score]:
    """Return the different scores of the rows, in the order of the rows."""
    keys = {one.score.key: one.score for one in applications()}
    return [keys[key] for key in dict.fromkeys(key for row in rows for key in keys if key in row)]


def _score_columns(score: Score) -> tuple[Column, ...]:
    """Return the columns of a score with its error, and of the float network's."""
    key, page = score.key, (PAGE, CSV)
    return (
        Column(key, score.name, "%", percent, error=score.error, where=page),
        Column(key, score.name, "%", written(".1f", 100), error=score.error, where=(TERMINAL,)),
        Column(f"{key}_float", "float", "%", percent, error=f"{key}_float_error", where=page),
    )


def _estimated(row: Row) -> str:
    return ("~" if row["lut_stage"] == "estimated" else "") + number(row["lut"])


def _lut_stage(row: Row) -> str:
    calibrated = row["lut_calibrated"]
    return str(row["lut_stage"]) + ("" if calibrated is None else f"; calibrated {calibrated:,}")


def _failures(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(f"{row['model']}: {why}" for row in rows for why in row["failures"])


def _sources(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return where each figure comes from: the different sources over the rows, once each."""
    sources: dict[str, list[str]] = {}
    for name in SOURCES:
        for source in sorted({row["provenance"][name] for row in rows if name in row["provenance"]}):
            sources.setdefault(source, []).append(name)
    unit = counted(rows)
    return (
        f"accuracy, AUC: measured with Keras on held-out test {unit}, errors binomial; float: the network of the same "
        "layers without quantisation.",
        *_imports(rows),
        *(f"{', '.join(names)}: {source}." for source, names in sources.items()),
        "mismatches: output integers that differ from the golden model, summed over the stored vectors, Keras and the "
        f"simulation of each project; vectors: the held-out {unit} that each of these computed.",
        "emit s: seconds to trace and write the projects of a row on this machine, together.",
    )


def _imports(rows: Sequence[Row]) -> tuple[str, ...]:
    """Say what the scores of imported models are."""
    files = [f"{row['model']} ({row['imported']})" for row in rows if "imported" in row]
    score = "scores are those of the data at the import, which may have trained the file; without answers there is none"
    return (f"imported: {', '.join(files)}; {score}.",) if files else ()


def _estimator(record: Mapping[str, Any]) -> list[Table]:
    """State the error of the LUT estimate on the rows that have a synthesis too, and the rows that rest on it."""
    errors = record["estimator"]
    if not errors["rows"]:
        text = "No row has both an estimate and a synthesis, so the error of the estimate is not known here."
    else:
        text = (
            f"Synthesised over estimated LUTs ({errors['tool']}'s estimate at emission) on the {errors['rows']} rows "
            f"that have both: median {errors['ratio_median']:.2f}, from {errors['ratio_min']:.2f} to "
            f"{errors['ratio_max']:.2f}."
        )
    if left := errors["leave_one_out"]:
        text += (
            " Each row was predicted by its estimate times the median ratio of the other rows: the error is "
            f"{100 * left['relative_error_median']:.0f} % in the median, from "
            f"{100 * left['relative_error_min']:+.0f} % to {100 * left['relative_error_max']:+.0f} %."
        )
    notes = tuple(
        f"estimated, not synthesised: {row['model']}, {row['lut']:,} LUT as estimated"
        + ("" if row["lut_calibrated"] is None else f", {row['lut_calibrated']:,} calibrated")
        + f" ({row['ff_stage']})."
        for row in record["rows"]
        if row["lut_stage"] == "estimated"
    )
    return [Table("The LUT estimate", lead=(text if notes else f"{text} No row of the table uses it.",), notes=notes)]


# Against the published figures -------------------------------------------------------------------


def _against(rows: Sequence[Row]) -> Table:
    """Compare each figure with the published one, and say why the two are not one measurement."""
    title = "Our figures and the published ones, and why they differ"
    beside = [row for row in rows if row["published"] is not None]
    if not beside:
        return Table(title, lead=("No row has the network, the input and the width of a published one.",))
    without = sorted({family_name(row["family"]) for row in rows} - {family_name(row["family"]) for row in beside})
    notes = [
        f"**{family_name(row['family'])}, N = {row['n']}, {row['bits']} bits**: "
        f"{'; '.join(filter(None, (_difference(row, *measure) for measure in MEASURES)))}."
        for row in beside
    ]
    if without:
        notes.append(f"{', '.join(without)}: no published row of the same network and width in a source we could read.")
    return Table(title, notes=(*notes, *_reasons(beside), *caveats(beside)))


MEASURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("accuracy", "accuracy", written(".1f", 100)),
    ("latency_cycles", "cycles", number),
    ("ii", "II", number),
    ("lut", "LUT", number),
    ("dsp", "DSP", number),
)


def _difference(row: Row, name: str, title: str, text: Callable[[Any], str]) -> str | None:
    ours, theirs = row[name], row["published"][name]
    if ours is None and theirs is None:
        return None
    unit = " %" if name == "accuracy" else ""
    label = " (estimated)" if name == "lut" and row["lut_stage"] == "estimated" else ""
    mine = "not measured" if ours is None else f"{text(ours)}{unit}{label}"
    return f"{title} {mine}, published {'not known' if theirs is None else text(theirs) + unit}"


def _reasons(beside: Sequence[Row]) -> tuple[str, ...]:
    """Say why figures differ from published ones, a sentence or two each."""
    facts = [row["published"] for row in beside]
    dsp = [row["dsp"] for row in beside if row["dsp"] is not None]
    cycles = [row["latency_cycles"] for row in beside if row["latency_cycles"] is not None]
    stated = sum(row["latency_stage"].startswith("estimated") for row in beside)
    return (
        f"**Jets** (accuracy, AUC): ours are generated by Pythia 8 with a parametric detector, the paper's are "
        f"{facts[0]['jets']}. Selection and detector differ, so accuracies have another scale: compare only rows of "
        "one column.",
        f"**Part** (LUT, FF): ours are UltraScale+ cells counted by Yosys, the paper's are for {facts[0]['part']} by "
        f"{facts[0]['tool']}, {facts[0]['stage']}. Neither is placed and routed.",
        "**Tool** (LUT against DSP): alkaid builds constant multiplications out of adders (distributed arithmetic). "
        "hls4ml leaves them to the synthesis, which uses DSPs: "
        f"{f'{_span(dsp)} here' if dsp else 'not synthesised here'}, "
        f"{_span([fact['dsp'] for fact in facts if fact['dsp'] is not None])} published. LUTs alone therefore do not "
        "compare.",
        f"**Clock** (latency): {f'{_span(cycles)} cycles here' if cycles else 'not measured here'}, "
        f"{_span([fact['latency_cycles'] for fact in facts])} published. Cycles are simulated. The ns of {stated} of "
        f"these {len(beside)} rows are cycles at the stated {_span([row['clock_ns'] for row in beside])} ns, which no "
        "routing has confirmed.",
        "**II**: ours is counted in the simulation. Every product has its own adders, so a jet enters at each clock. "
        "Published networks with an II above 1 use a multiplier more than once a jet.",
    )


def _span(values: Sequence[float]) -> str:
    if not values:
        return "none"
    low, high = min(values), max(values)
    return number(low) if low == high else f"{number(low)} to {number(high)}"
