"""Every trained model down the whole street, one row each: emit, verify, report.

A run goes on where a former one was killed (``steps``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgephys.applications.jets.published import FAMILIES, SOURCE, published
from edgephys.applications.metrics import scored
from edgephys.core import machine
from edgephys.core.errors import MismatchError, ModelError, ToolError, UsageError
from edgephys.graph.graph import Graph
from edgephys.models.files.keras import lower
from edgephys.models.trained import CARD, check_free, load, read_card
from edgephys.project import MANIFEST, Project, read_result
from edgephys.report.estimator import calibrate
from edgephys.report.gather import Wishes, failed, gather, keep
from edgephys.targets.hls.emit import HlsOptions
from edgephys.targets.rtl.emit import RtlOptions
from edgephys.workflow import Say, attempt, emitted, kept, verified

Table = dict[str, Any]

KINDS = ("hls", "rtl")
"""The targets of the table: firmware."""
RESOURCES = ("lut", "ff", "dsp", "bram")
STATED = "estimated: stated clock"
NO_RTL = "not measured: no RTL project was asked for"


@dataclass(frozen=True)
class Plan:
    """State what is made of each model, where, and what a run of Yosys may take.

    Units: clock_ns in nanoseconds; synth_seconds for one run (a module); memory_gb for the runs that go on at
    the same time, together.
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
        for name, given in (("--synth-seconds", self.synth_seconds), ("--memory-gb", self.memory_gb)):
            if not 0 < given < float("inf"):
                raise UsageError(f"{name} must be over 0, not {given:g}")
        for kind in self.to:
            self.options(kind)

    def options(self, kind: str) -> HlsOptions | RtlOptions:
        """Return the options of one kind of project."""
        made = HlsOptions if kind == "hls" else RtlOptions
        return made(part=self.part, clock_ns=self.clock_ns)

    def folder(self, name: str, kind: str) -> Path:
        """Return where a model's project of one kind stands."""
        return self.projects / f"{name}_{kind}"

    @property
    def budget(self) -> dict[str, float]:
        """What a run of Yosys may take."""
        return {"synth_seconds": self.synth_seconds, "memory_gb": self.memory_gb}


@dataclass(frozen=True)
class Candidate:
    """Name a trained model's folder and hold its card."""

    folder: Path
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return str(self.card["name"])

    @property
    def net(self) -> Mapping[str, Any]:
        """The recipe's network."""
        return dict(self.card["recipe"]["net"])

    @property
    def network(self) -> tuple[str, str]:
        """What a model and its float twin have in common: family, input and layers."""
        widths = ("bits", "activation_bits", "weight_integers")
        return str(self.card["recipe"]["script"]), json.dumps(
            {key: value for key, value in self.net.items() if key not in widths}, sort_keys=True
        )

    @property
    def size(self) -> int:
        """Constituents of a jet, or points of a field's side."""
        return int(self.net.get("constituents", self.net.get("grid", 0)))

    @property
    def features(self) -> int:
        """What a network sees of a constituent, or of a point: frames and the speed."""
        return len(self.net["features"]) if "features" in self.net else int(self.net["frames"]) + 1

    @property
    def order(self) -> tuple[int, str, int, int, int, str]:
        """Sort by family, size and features, the widest first."""
        family = str(self.card["recipe"]["script"])
        place = list(FAMILIES).index(family) if family in FAMILIES else len(FAMILIES)
        net = self.net
        return place, family, self.size, self.features, -(net["bits"] or 0), self.name


def candidates(folders: Sequence[Path]) -> list[Candidate]:
    """Return the models in their order in the table.

    Raises: ModelError for a folder without a card, a card without a network, or two models of one name.
    """
    found: dict[str, Candidate] = {}
    for folder in folders:
        if not (folder / CARD).is_file():
            raise ModelError(f"{folder}: expected a model's folder with {CARD}; `edgephys train` makes one")
        made = Candidate(folder, read_card(folder / CARD))
        recipe = made.card["recipe"]
        net = recipe.get("net", {}) if isinstance(recipe, dict) else {}
        known = any({"bits", *keys} <= set(net) for keys in (("constituents", "features"), ("grid", "frames")))
        if not known or "script" not in recipe:
            raise ModelError(
                f"{folder}: its card must state script, bits, and constituents and features, or grid and frames; train "
                "it again"
            )
        if made.name in found:
            raise ModelError(f"{folder}: {made.name} is there twice, also as {found[made.name].folder}; name each once")
        found[made.name] = made
    return sorted(found.values(), key=lambda made: made.order)


def require_taggers(folders: Sequence[Path]) -> None:
    """Raise UsageError for a model that does not tag jets, whose figures the table's columns are."""
    for made in candidates(folders):
        if scored(made.card["metrics"]).key != "accuracy":
            raise UsageError(
                f"{made.folder}: the table is of taggers, {made.name} is none; `edgephys emit`, `verify`, `report` and "
                "`street` take it"
            )


def tabulate(folders: Sequence[Path], plan: Plan, command: str, say: Say, write: Callable[[Table], None]) -> Table:
    """Return the table of all quantised models; ``write`` is given it anew after each row.

    A row that fails says why and does not end the run: ``require`` raises for it.
    Raises: ModelError where a folder holds no model or none is quantised; UsageError where a project's
    folder is not ours.
    """
    models = candidates(folders)
    rows_of = [made for made in models if made.net["bits"] is not None]
    if not rows_of:
        raise ModelError(f"{folders[0]}: expected a quantised model, found float ones only; train one with bits=8")
    for made in rows_of:
        for kind in plan.to:
            check_free(plan.folder(made.name, kind), MANIFEST, plan.force, "a project")
    floats = {made.network: made.card["metrics"] for made in models if made.net["bits"] is None}
    table: Table = {
        "command": command,
        "machine": machine.name(),
        "budget": plan.budget,
        "published_source": SOURCE,
        "rows": [],
    }
    for number, made in enumerate(rows_of, 1):
        say(f"{made.name}: {number} of {len(rows_of)}")
        table["rows"].append(_row(made, plan, floats.get(made.network), say))
        table["estimator"] = calibrate(table["rows"])
        write(table)
    return table


def require(table: Table) -> None:
    """Raise for the rows that are not whole, naming each: MismatchError where integers differ, else ToolError."""
    failing = [row for row in table["rows"] if row["failures"]]
    if not failing:
        return
    told = "; ".join(f"{row['model']}: {row['failures'][0]}" for row in failing)
    kind = MismatchError if any(row["mismatches"] for row in failing) else ToolError
    raise kind(f"scaling: {len(failing)} of {len(table['rows'])} rows are not whole: {told}")


# One row -----------------------------------------------------------------------------------------


def _row(made: Candidate, plan: Plan, float_metrics: Mapping[str, Any] | None, say: Say) -> dict[str, Any]:
    row = _stated(made, plan, float_metrics)
    say(f"{made.name}: lower")
    graph = attempt(row, "lower", partial(_lowered, made.folder))
    if graph is None:
        return row
    for kind in plan.to:
        at_hand = attempt(row, f"{kind}: emit", partial(_emitted, made, graph, kind, plan, say))
        if at_hand is None:
            continue
        project, seconds = at_hand
        row["emit_seconds"] = round((row["emit_seconds"] or 0) + seconds, 2)
        row["projects"][kind] = {"project": project.name, "emit_seconds": seconds}
        checked = attempt(row, f"{kind}: verify", partial(verified, project, say))
        if checked is not None:
            _add_verified(row, project, checked)
        report = attempt(row, f"{kind}: report", partial(_reported, project, plan, say))
        if report is not None:
            _add_reported(row, project, report)
    _sum_up(row, plan)
    return row


def _stated(made: Candidate, plan: Plan, float_metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a row with what the card knows, and nothing measured yet."""
    net, metrics = made.net, made.card["metrics"]
    score = scored(metrics)
    twin = float_metrics or {}
    row: dict[str, Any] = {
        "model": made.name,
        "family": str(made.card["recipe"]["script"]),
        "n": made.size,
        "features": made.features,
        "bits": net["bits"],
        "parameters": made.card["parameters"],
        score.key: metrics[score.key],
        score.error: metrics[score.error],
        f"{score.key}_float": twin.get(score.key),
        f"{score.key}_float_error": twin.get(score.error),
        "auc": dict(metrics.get("auc", {})),
        f"test_{score.unit}": metrics.get(score.unit),
        "clock_ns": plan.clock_ns,
        "part": plan.part,
    }
    why = "not measured" if "rtl" in plan.to else NO_RTL
    for name in ("latency_cycles", "ii", *RESOURCES):
        row |= {name: None, f"{name}_stage": why}
    row |= {"latency_ns": None, "latency_stage": why, "lut_estimate": None, "lut_calibrated": None}
    empty: dict[str, Any] = {"mismatches": None, "vectors": None, "emit_seconds": None, "projects": {}}
    return row | empty | {"provenance": {}, "failures": [], "published": published(made.card["recipe"])}


def _emitted(made: Candidate, graph: Graph, kind: str, plan: Plan, say: Say) -> tuple[Project, float]:
    return emitted(graph, made.folder, plan.options(kind), plan.folder(made.name, kind), plan.force, say)


def _lowered(folder: Path) -> Graph:
    trained = load(folder)
    return lower(trained.model, trained.standardisation.output, trained.name)


def _add_verified(row: dict[str, Any], project: Project, found: Mapping[str, Any]) -> None:
    entry = row["projects"][project.kind]
    entry["vectors"] = found["vectors"]
    entry["mismatches"] = {name: target["mismatches"] for name, target in found["targets"].items()}
    why = failed(found)
    if why is not None:
        first = next((t["first"] for t in found["targets"].values() if "first" in t), None)
        where = f" (layer '{first['layer']}' first, vector {first['vector']})" if first else ""
        row["failures"].append(f"{project.kind}: {why}{where}")


def _add_reported(row: dict[str, Any], project: Project, found: Mapping[str, Any]) -> None:
    """Take an RTL project's figures with their stages; without synthesis the LUTs are the estimate, labelled."""
    if project.kind != "rtl":
        return
    figures = _figures(found)
    for name in ("latency_cycles", "ii", *RESOURCES):
        figure = figures[name]
        row[name] = figure["value"]
        row[f"{name}_stage"] = _stage(figure)
    row["latency_ns"] = figures.get("latency_ns", {}).get("value")
    row["latency_stage"] = STATED if row["latency_ns"] is not None else row["latency_cycles_stage"]
    routed = figures.get("latency_routed_ns", {})
    if routed.get("value") is not None:
        row["latency_ns"], row["latency_stage"] = routed["value"], f"{routed['stage']}: {routed['target']}"
    row["lut_estimate"] = figures["lut_estimate"]["value"]
    if row["lut"] is None:
        row["lut"], row["lut_stage"] = row["lut_estimate"], "estimated"
        if _over_budget(figures["lut"]["why"]) is None:  # beyond the stated budget an estimate is what was asked for
            row["failures"].append(f"rtl: LUT estimated: {figures['lut']['why']}")
    shown = (*RESOURCES, "latency_cycles", "ii", "latency_ns", "latency_routed_ns", "lut_estimate")
    for name in (*shown, "mismatches"):
        figure = figures.get(name, {})
        if figure.get("value") is not None:
            told = f"{figure['stage']}, {figure['tool']} {figure['version']}, {figure['target']}"
            row["provenance"][name] = told


def _stage(figure: Mapping[str, Any]) -> str:
    return str(figure["stage"]) if figure["value"] is not None else f"not measured: {figure['why']}"


def _figures(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return figures by name; of two of a name the last one that has a value."""
    found: dict[str, Mapping[str, Any]] = {}
    for figure in report["figures"]:
        if figure["name"] not in found or figure["value"] is not None:
            found[figure["name"]] = figure
    return found


def _sum_up(row: dict[str, Any], plan: Plan) -> None:
    """Add mismatches over every target of every project; one that was not verified leaves no sum."""
    checked = [entry for entry in row["projects"].values() if "mismatches" in entry]
    if len(checked) == len(plan.to):
        row["mismatches"] = sum(sum(entry["mismatches"].values()) for entry in checked)
        row["vectors"] = min(entry["vectors"] for entry in checked)


# The report, made where its project has none of this budget --------------------------------------------


def _reported(project: Project, plan: Plan, say: Say) -> Mapping[str, Any]:
    found = kept(project, "report", "figures")
    if found is not None and _whole(project, found, plan):
        return found
    wishes = Wishes(timeout_s=plan.synth_seconds, memory_gb=plan.memory_gb)
    figures = gather(project, wishes, lambda text: say(f"{project.name}: {text}"))
    return keep(project, figures, budget=plan.budget)


def _whole(project: Project, report: Mapping[str, Any], plan: Plan) -> bool:
    """Say whether a report is younger than the verification, and synthesis done or beyond this budget too."""
    figures = _figures(report)
    checked = read_result(project, "verify") or {}
    if figures["mismatches"]["value"] is None or figures["mismatches"]["value"] != checked.get("mismatches"):
        return False
    if project.kind != "rtl" or figures["lut"]["value"] is not None:
        return True
    had, spent = report.get("budget"), _over_budget(figures["lut"]["why"])
    return had is not None and spent is not None and had[spent] >= plan.budget[spent]


def _over_budget(why: str) -> str | None:
    """Return which part of the budget a synthesis ran out of; None where it failed for another reason."""
    if "was stopped after" in why:
        return "synth_seconds"
    return "memory_gb" if "memory limit is" in why and "SIGKILL" not in why else None
