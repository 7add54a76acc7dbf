"""Measure the latency of every target of a model: compare its integers first, then time all in turns on one core.

Projects of the same Graph are one model. Keras, its ONNX export and its TFLite conversion are made from the model that
each project contains.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgephys.bench import latency
from edgephys.bench.exports import Export, exports
from edgephys.bench.timed_targets import REFERENCE, TimedTarget, grouped, names_of, targets_of
from edgephys.bench.worker import Job, Worker
from edgephys.core import machine
from edgephys.core.errors import EdgephysError, ProjectError, UsageError
from edgephys.core.figure import FigureStage
from edgephys.core.fixed import Integers
from edgephys.core.remaining import Remaining
from edgephys.core.timing import Slice, Slot, calibrate, interleave
from edgephys.graph import evaluate
from edgephys.models.trained import MODEL
from edgephys.project import Project, read, read_vectors, write_result
from edgephys.targets.latency import RESULT

Say = Callable[[str], None]
Row = dict[str, Any]
Slices = Mapping[tuple[str, int], Sequence[Slice]]
"""Slices by target and batch size."""

BATCH_ELEMENTS = 1 << 18
BATCH = 1024
"""Inputs in the large batch by default; fewer where they would have more than BATCH_ELEMENTS elements."""
FACTS = ("made_with", "style", "nodes", "bytes")
"""Facts of a project or an export that its row repeats, because they explain the latency."""
COMPARED_SINGLY = 100
"""Vectors that are also compared one at a time."""
EMPTY_ROW: Row = dict.fromkeys(
    (
        *("p50_us", "p90_us", "p99_us", "per_second", "ratio", "ratio_low", "ratio_high", "rounds"),
        *("calls", "cpu_us", "core_share", "timer_ns", "outputs", "mismatches", "tool", "version", "stage"),
    )
)
DEFINITION = (
    "A call is what a user of the runtime waits for: from Python for onnxruntime (session.run; bound: "
    "run_with_iobinding, which converts nothing and so is nearest to its C interface), TFLite (set_tensor, invoke, "
    "get_tensor), tract (run of a state, its output not yet an array) and Keras (predict_on_batch), with arrays made "
    "beforehand; from C for compiled targets, SOFIE and emlearn, whose batch is a loop over inputs, or one call of "
    "the entry point for many events (batch_entry). Nothing is subtracted; what the clock adds is stated (timer_ns). "
    "Every target has a process of one thread on the same core, warm, and works only in its turn."
)


@dataclass(frozen=True)
class BenchPlan:
    """State how long and how to measure.

    Units: ``seconds`` is the time of all slices of one model.
    """

    seconds: float = 60.0
    rounds: int = 20
    batch: int | None = None
    seed: int = 1
    core: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise UsageError(f"--seconds must be over 0, not {self.seconds:g}")
        if self.rounds < latency.LEAST_ROUNDS:
            least = latency.LEAST_ROUNDS
            raise UsageError(f"--rounds must be {least} or more, not {self.rounds}: a spread is over rounds")
        if self.batch is not None and self.batch < 2:
            raise UsageError(f"--batch must be 2 or more, not {self.batch}; a batch of 1 is always measured")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, not {self.seed}")


class RunningTarget(Protocol):
    """Run a target: a Worker, or what a test puts in its place."""

    details: Mapping[str, Any]

    def outputs(self, batch: int, count: int) -> Any:
        """Return the first vectors' outputs in steps."""

    def slice(self, batch: int, calls: int) -> Slice:
        """Return times of calls."""

    def close(self) -> None:
        """End it."""


Start = Callable[[Job, int | None], RunningTarget]
MakeExports = Callable[[Path], Mapping[str, Export]]


@dataclass
class ComparedTarget:
    """Hold a target that was started, and how its outputs compare with the golden model's."""

    running: RunningTarget
    comparison: dict[str, Any]


def measure(
    folders: Sequence[Path],
    plan: BenchPlan,
    command: str,
    say: Say,
    write: Callable[[dict[str, Any]], None] = lambda table: None,
    start: Start = Worker,
    export: MakeExports = exports,
) -> dict[str, Any]:
    """Return the table: for every model a row for each target and batch size; call ``write`` after each model.

    The rows of a target that fails say why.
    Raises: UsageError for no projects, or one that is named twice; ProjectError as the projects' reader does.
    """
    models = grouped(folders)
    core = machine.choose(plan.core)
    table: dict[str, Any] = {
        "command": command,
        "machine": machine.name(),
        "processor": machine.describe(core),
        "load": {"before": machine.load()},
        "plan": {"seconds": plan.seconds, "rounds": plan.rounds, "seed": plan.seed},
        "reference": REFERENCE,
        "definition": DEFINITION,
        "rows": [],
    }
    for number, projects in enumerate(models, 1):
        say(f"{projects[0].graph.name}: {number} of {len(models)}")
        table["rows"] += _model(projects, plan, core, say, start, export)
        table["load"]["after"] = machine.load()
        write(table)
    return table


def states_of(folders: Sequence[Path]) -> dict[Path, str]:
    """Return the state of each project, for which a measurement that begins now holds."""
    return {folder: read(folder).state() for folder in folders}


def save_in_projects(table: Mapping[str, Any], states: Mapping[Path, str]) -> None:
    """Write the rows of each project into it, where its report reads them; ``states`` are those before the run."""
    for projects in grouped(tuple(states)):
        for project, name in zip(projects, names_of(projects), strict=True):
            rows = [row for row in table["rows"] if row["model"] == project.graph.name and row["target"] == name]
            record = {"command": table["command"], "machine": table["machine"], "rows": rows}
            write_result(project, RESULT, record, states[project.folder])


def large_batch(plan: BenchPlan, elements: int) -> int:
    """Return the size of the large batch for inputs of so many elements."""
    return plan.batch or max(2, min(BATCH, BATCH_ELEMENTS // max(1, elements)))


# One model -----------------------------------------------------------------------------------------


def _model(
    projects: Sequence[Project], plan: BenchPlan, core: int | None, say: Say, start: Start, export: MakeExports
) -> list[Row]:
    graph = projects[0].graph
    x = read_vectors(projects[0]).inputs
    golden = evaluate.run(graph, x)
    batches = (1, large_batch(plan, x[0].size))
    say(f"{graph.name}: Keras' own exports")
    targets = targets_of(projects, export(projects[0].model / MODEL))
    failures = {target.target: target.why for target in targets if target.why is not None}
    compared: dict[str, ComparedTarget] = {}
    with ExitStack() as processes:
        for target in targets:
            if target.job is None:
                continue
            say(f"{graph.name}: {target.target}, {len(x)} vectors compared")
            try:
                running = start(target.job, core)
                processes.callback(running.close)
                comparison = compare(running, golden, batches)
            except EdgephysError as error:
                failures[target.target] = f"not measured: {error}"
                continue
            if comparison["mismatches"] and target.job.must_match:
                count = f"{comparison['mismatches']} of {comparison['outputs']} outputs"
                failures[target.target] = f"computes other numbers: {count}, {comparison['first']}"
            else:
                compared[target.target] = ComparedTarget(running, comparison)
        slices = _timed(compared, batches, plan, lambda text: say(f"{graph.name}: {text}"), failures)
    return [
        _row(graph.name, target, batch, failures.get(target.target), compared.get(target.target), slices)
        for target in targets
        for batch in batches
    ]


def compare(running: RunningTarget, golden: Integers, batches: Sequence[int]) -> dict[str, Any]:
    """Return how many outputs differ from the golden model's, at all batch sizes, the first one, and how far.

    Units: steps of the output's format.
    """
    comparison: dict[str, Any] = {"outputs": 0, "mismatches": 0, "first": None, "largest": 0.0}
    for batch in batches:
        expected = golden if batch > 1 else golden[:COMPARED_SINGLY]
        received = np.asarray(running.outputs(batch, len(expected)))
        if received.shape != expected.shape:
            raise ProjectError(f"expected outputs of shape {expected.shape}, received {received.shape}")
        differ = np.argwhere(received != expected)
        comparison["outputs"] += expected.size
        comparison["mismatches"] += len(differ)
        comparison["largest"] = max(comparison["largest"], float(np.abs(received - expected).max(initial=0)))
        if len(differ) and comparison["first"] is None:
            place = tuple(int(at) for at in differ[0])
            comparison["first"] = (
                f"first vector {place[0]}, element {list(place[1:])}: expected {expected[place]}, "
                f"received {received[place]:g}"
            )
    return comparison


def _timed(
    targets: Mapping[str, ComparedTarget], batches: Sequence[int], plan: BenchPlan, say: Say, failures: dict[str, str]
) -> Slices:
    """Return the slices of every target and batch size; add to ``failures`` why a target could not be timed."""

    def timer(target: str, batch: int, calls: int) -> Slice:
        return targets[target].running.slice(batch, calls)

    slice_s = plan.seconds / max(1, plan.rounds * len(targets) * len(batches))
    slots: list[Slot] = []
    errors: dict[str, str] = {}
    say(f"{len(targets)} targets, warmed up")
    for target in targets:
        try:
            for batch in batches:
                least = -(-latency.LEAST_CALLS // plan.rounds) if batch == 1 else 1
                slots.append(Slot(target, batch, calibrate(timer, target, batch, slice_s, least)))
        except EdgephysError as error:
            errors[target] = str(error)
    slots = [slot for slot in slots if slot.name not in errors]
    start, remaining = time.monotonic(), Remaining()

    def progress(number: int) -> None:
        if number in (1, plan.rounds) or not number % max(1, plan.rounds // 4):
            left = remaining.left(number, plan.rounds)
            say(f"round {number} of {plan.rounds}, {time.monotonic() - start:.0f} s{left}")

    slices, late_errors = interleave(slots, plan.rounds, plan.seed, timer, progress)
    failures.update({target: f"not measured: {why}" for target, why in (errors | late_errors).items()})
    return slices


# Rows ----------------------------------------------------------------------------------------------


def _row(
    model: str, target: TimedTarget, batch: int, why: str | None, compared: ComparedTarget | None, slices: Slices
) -> Row:
    row: Row = {"model": model, "target": target.target, "project": target.project, "batch": batch, **EMPTY_ROW}
    row |= {"told": {}, "why": why}
    reference = slices.get((REFERENCE, batch))
    if why is not None:
        return row
    if target.cycles is not None:
        return row | _of_cycles(target.cycles, batch, reference)
    if compared is None or (target.target, batch) not in slices:
        return row | {"why": "not measured: it was not timed"}
    own = slices[target.target, batch]
    row |= latency.summary(own, batch) | {name: compared.comparison[name] for name in ("outputs", "mismatches")}
    details = dict(compared.running.details)
    row |= {name: details.pop(name) for name in ("tool", "version", "timer_ns")}
    if target.job and row["mismatches"]:
        details["largest_difference"] = f"{compared.comparison['largest'] * 2.0**-target.job.output.fraction:.2g}"
    facts = target.job.facts if target.job else {}
    row |= {
        "stage": FigureStage.MEASURED.value,
        "told": details | {name: facts[name] for name in FACTS if name in facts},
    }
    return row | (latency.ratio(reference, latency.medians(own)) if reference else {})


def _of_cycles(cycles: Mapping[str, Any], batch: int, reference: Sequence[Slice] | None) -> Row:
    """Return the figures of simulated cycles at a stated clock, where every call takes the same time."""
    clock_ns = cycles["clock_ns"]
    ns = (cycles["latency_cycles"] + (batch - 1) * cycles["ii"]) * clock_ns
    row: Row = dict.fromkeys(("p50_us", "p90_us", "p99_us"), ns * 1e-3)
    row |= {"per_second": batch * 1e9 / ns, "mismatches": 0, "stage": FigureStage.SIMULATED.value}
    row |= {"tool": cycles["tool"], "version": cycles["version"]}
    text = f"{cycles['latency_cycles']} cycles, a new input every {cycles['ii']}, at a stated clock of {clock_ns:g} ns"
    row["told"] = {"cycles": text, "vectors": cycles["vectors"]}
    return row | (latency.ratio(reference, [ns] * len(reference)) if reference else {})
