"""Measure trained models as firmware: one row a model, with its figures from HLS and RTL projects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.files import check_free
from edgephys.figures import gather, keep
from edgephys.models.frameworks import load
from edgephys.project import MANIFEST, Project, read_result
from edgephys.targets.hls.options import HlsOptions
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.target import ToolRuns
from edgephys.workflow.candidates import Candidate, candidates
from edgephys.workflow.steps import Say, TargetRun, attempt, run_steps, valid_result

Row = dict[str, Any]

KINDS = ("hls", "rtl")
RESOURCES = ("lut", "ff", "dsp", "bram")
STATED_CLOCK = "estimated: stated clock"
NO_RTL = "not measured: no RTL project was asked for"


@dataclass(frozen=True)
class FirmwarePlan:
    """State the targets of each model, the folder of the projects, and the limits of a run of Yosys.

    Units: clock_ns in nanoseconds; synth_seconds for one run (one module); memory_gb for all runs at one time,
    together.
    """

    clock_ns: float = 5.0
    part: str = "xcvu13p-flga2577-2-e"
    to: tuple[str, ...] = KINDS
    synth_seconds: float = 1800.0
    memory_gb: float = 8.0
    projects: Path = Path("hls_projects")
    force: bool = False

    def __post_init__(self) -> None:
        if not self.to or len(set(self.to)) < len(self.to) or not set(self.to) <= set(KINDS):
            raise UsageError(f"--to must name {' and '.join(KINDS)}, each once at most, not '{','.join(self.to)}'")
        for name, limit in (("--synth-seconds", self.synth_seconds), ("--memory-gb", self.memory_gb)):
            if not 0 < limit < float("inf"):
                raise UsageError(f"{name} must be over 0, not {limit:g}")
        for kind in self.to:
            self.options(kind)

    def options(self, kind: str) -> HlsOptions | RtlOptions:
        """Return the options of one kind of project."""
        options = HlsOptions if kind == "hls" else RtlOptions
        return options(part=self.part, clock_ns=self.clock_ns)

    def folder(self, name: str, kind: str) -> Path:
        """Return the folder of a model's project of one kind."""
        return self.projects / f"{name}_{kind}"

    @property
    def budget(self) -> dict[str, float]:
        """Limits of a run of Yosys."""
        return {"synth_seconds": self.synth_seconds, "memory_gb": self.memory_gb}


def check_folders(model: Candidate, plan: FirmwarePlan) -> None:
    """Raise UsageError where a project's folder holds something else; ``force`` replaces it."""
    for kind in plan.to:
        check_free(plan.folder(model.name, kind), MANIFEST, plan.force, "a project")


def measured(folder: Path, plan: FirmwarePlan, say: Say) -> Row:
    """Return the row of one quantised model.

    Raises: ModelError where the folder holds none; UsageError where a project's folder is not ours.
    """
    (model,) = candidates([folder])
    if model.facts.is_float:
        raise ModelError(f"{folder}: expected a quantised model, found a float one; train one with bits=8")
    check_folders(model, plan)
    return firmware_row(model, plan, None, say)


# One row -----------------------------------------------------------------------------------------


def firmware_row(model: Candidate, plan: FirmwarePlan, float_metrics: Mapping[str, Any] | None, say: Say) -> Row:
    """Return a model's row: its card, and the figures of each project; ``failures`` names the steps that failed."""
    row = _stated(model, plan, float_metrics)
    say(f"{model.name}: lower")
    source = attempt(row["failures"], "lower", partial(load, model.folder))
    if source is None:
        return row
    report = partial(_reported, plan=plan, say=say)
    for kind in plan.to:
        folder = plan.folder(model.name, kind)
        run = run_steps(source, plan.options(kind), kind, folder, plan.force, say, report)
        row["failures"] += run.failures
        if run.project is not None and run.emit_seconds is not None:
            row["emit_seconds"] = round((row["emit_seconds"] or 0) + run.emit_seconds, 2)
            row["projects"][kind] = _project(run, run.project)
        if kind == "rtl" and run.report is not None:
            _add_report(row, run.report)
    _sum_up(row, plan)
    return row


def _stated(model: Candidate, plan: FirmwarePlan, float_metrics: Mapping[str, Any] | None) -> Row:
    """Return a row with the facts of the card, before any measurement."""
    metrics, twin, doubted = model.card.metrics, float_metrics or {}, model.doubted
    score, facts = model.score, model.facts
    if doubted is not None:
        metrics = {**metrics, score.key: None, score.error: None, "auc": {}}
    row: Row = {
        "model": model.name,
        "family": facts.family,
        "n": facts.size,
        "features": facts.features,
        "bits": facts.bits,
        "parameters": model.card.parameters,
        score.key: metrics.get(score.key),
        score.error: metrics.get(score.error),
        f"{score.key}_float": twin.get(score.key),
        f"{score.key}_float_error": twin.get(score.error),
        "auc": dict(metrics.get("auc", {})),
        f"test_{score.unit}": metrics.get(score.unit),
        "clock_ns": plan.clock_ns,
        "part": plan.part,
    }
    if model.card.imported is not None:
        row["imported"] = model.card.imported.file
    why = "not measured" if "rtl" in plan.to else NO_RTL
    for name in ("latency_cycles", "ii", *RESOURCES):
        row |= {name: None, f"{name}_stage": why}
    row |= {"latency_ns": None, "latency_stage": why, "lut_estimate": None, "lut_calibrated": None}
    empty: Row = {"mismatches": None, "vectors": None, "emit_seconds": None, "projects": {}}
    failures = [] if doubted is None else [f"card: {doubted}"]
    published = facts.application.published(model.card.recipe)
    return row | empty | {"provenance": {}, "failures": failures, "published": published}


def _project(run: TargetRun, project: Project) -> Row:
    entry: Row = {"project": project.name, "emit_seconds": run.emit_seconds}
    if run.verification is not None:
        entry["vectors"] = run.verification["vectors"]
        entry["mismatches"] = {name: target["mismatches"] for name, target in run.verification["targets"].items()}
    return entry


def _add_report(row: Row, report: Mapping[str, Any]) -> None:
    """Add the figures of an RTL report with their stages; without synthesis the LUTs are the estimate, labelled."""
    figures = _by_name(report)
    for name in ("latency_cycles", "ii", *RESOURCES):
        figure = figures[name]
        row[name] = figure["value"]
        row[f"{name}_stage"] = _stage(figure)
    row["latency_ns"] = figures.get("latency_ns", {}).get("value")
    row["latency_stage"] = STATED_CLOCK if row["latency_ns"] is not None else row["latency_cycles_stage"]
    routed = figures.get("latency_routed_ns", {})
    if routed.get("value") is not None:
        row["latency_ns"], row["latency_stage"] = routed["value"], f"{routed['stage']}: {routed['target']}"
    row["lut_estimate"] = figures["lut_estimate"]["value"]
    if row["lut"] is None:
        row["lut"], row["lut_stage"] = row["lut_estimate"], "estimated"
        if _exceeded(figures["lut"]["why"]) is None:  # beyond the stated budget an estimate is no failure
            row["failures"].append(f"rtl: LUT estimated: {figures['lut']['why']}")
    names = (*RESOURCES, "latency_cycles", "ii", "latency_ns", "latency_routed_ns", "lut_estimate", "mismatches")
    row["provenance"] = {
        name: f"{figures[name]['stage']}, {figures[name]['tool']} {figures[name]['version']}, {figures[name]['target']}"
        for name in names
        if figures.get(name, {}).get("value") is not None
    }


def _stage(figure: Mapping[str, Any]) -> str:
    return str(figure["stage"]) if figure["value"] is not None else f"not measured: {figure['why']}"


def _by_name(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return figures by name; of two of one name the last one that has a value."""
    figures: dict[str, Mapping[str, Any]] = {}
    for figure in report["figures"]:
        if figure["name"] not in figures or figure["value"] is not None:
            figures[figure["name"]] = figure
    return figures


def _sum_up(row: Row, plan: FirmwarePlan) -> None:
    """Add mismatches over every target of every project; where one is not verified there is no sum."""
    checked = [entry for entry in row["projects"].values() if "mismatches" in entry]
    if len(checked) == len(plan.to):
        row["mismatches"] = sum(sum(entry["mismatches"].values()) for entry in checked)
        row["vectors"] = min(entry["vectors"] for entry in checked)


# The report, kept where it fits the budget ------------------------------------------------------------


def _reported(project: Project, plan: FirmwarePlan, say: Say) -> Mapping[str, Any]:
    """Return a project's report, kept or new."""
    record = valid_result(project, "report", "figures")
    if record is not None and _is_whole(project, record, plan):
        return record
    runs = ToolRuns(timeout_s=plan.synth_seconds, memory_gb=plan.memory_gb)
    state = project.state()
    figures = gather(project, runs, lambda text: say(f"{project.name}: {text}"))
    return keep(project, state, figures, budget=plan.budget)


def _is_whole(project: Project, report: Mapping[str, Any], plan: FirmwarePlan) -> bool:
    """Return whether a report is of the last verification, and synthesis done or beyond this budget too."""
    figures = _by_name(report)
    verification = read_result(project, "verify") or {}
    mismatches = figures["mismatches"]["value"]
    if mismatches is None or mismatches != verification.get("mismatches"):
        return False
    if project.kind != "rtl" or figures["lut"]["value"] is not None:
        return True
    budget, limit = report.get("budget"), _exceeded(figures["lut"]["why"])
    return budget is not None and limit is not None and budget[limit] >= plan.budget[limit]


def _exceeded(why: str) -> str | None:
    """Return which limit of the budget a synthesis exceeded; None where it failed for another reason."""
    if "was stopped after" in why:
        return "synth_seconds"
    return "memory_gb" if "memory limit is" in why and "SIGKILL" not in why else None
