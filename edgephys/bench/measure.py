"""Measure the latency of every target of a model: check its integers first, then time all in turns on one core.

Projects of the same Graph are one model. Keras, its own export and TFLite's conversion come from the model that
travels in the project.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgephys.bench import turns
from edgephys.bench.exports import Export, exports
from edgephys.bench.targets import REFERENCE, Member, grouped, members
from edgephys.bench.turns import Slice, Slot
from edgephys.bench.worker import Job, Worker
from edgephys.core import machine
from edgephys.core.errors import EdgephysError, ProjectError, UsageError
from edgephys.core.figure import Stage
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.models.trained import MODEL
from edgephys.project import Project, read_vectors

Say = Callable[[str], None]
Row = dict[str, Any]

BATCH_ELEMENTS = 1 << 18
BATCH = 1024
"""Inputs in the large batch where none is asked for, fewer where they would hold over BATCH_ELEMENTS elements."""
TOLD = ("made_with", "style", "nodes", "bytes")
"""Facts of a project or an export that its row repeats: they explain the latency."""
SINGLY = 100
"""Vectors that are also compared one at a time."""
DEFINITION = (
    "A call is what a user of the runtime waits for: from Python for onnxruntime (session.run; bound: "
    "run_with_iobinding, which converts nothing and so is nearest to its C interface), TFLite (set_tensor, invoke, "
    "get_tensor) and Keras (predict_on_batch), with arrays made beforehand; from C for compiled targets, whose "
    "batch is a loop over inputs. Nothing is subtracted; what the clock adds is stated (timer_ns). Every target has a "
    "process of one thread on the same core, warm, and works only in its turn."
)


@dataclass(frozen=True)
class Plan:
    """State how long and how to measure.

    Units: seconds for the slices of one model, all together.
    """

    seconds: float = 60.0
    rounds: int = 20
    batch: int | None = None
    seed: int = 1
    core: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise UsageError(f"--seconds must be over 0, not {self.seconds:g}")
        if self.rounds < turns.LEAST_ROUNDS:
            least = turns.LEAST_ROUNDS
            raise UsageError(f"--rounds must be {least} or more, not {self.rounds}: a spread is over rounds")
        if self.batch is not None and self.batch < 2:
            raise UsageError(f"--batch must be 2 or more, not {self.batch}; a batch of 1 is always measured")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, not {self.seed}")


class Runs(Protocol):
    """Run a target, somewhere: what a Worker does, and what tests put in its place."""

    told: Mapping[str, Any]

    def outputs(self, batch: int, count: int) -> Any:
        """Return the first vectors' outputs in steps."""

    def slice(self, batch: int, calls: int) -> Slice:
        """Return times of calls."""

    def close(self) -> None:
        """Let it go."""


Start = Callable[[Job, int | None], Runs]


def _process(job: Job, core: int | None) -> Runs:
    return Worker(job, core)


MakeExports = Callable[[Path], Mapping[str, Export]]


@dataclass
class Ready:
    """Hold a target that computes the right integers, and may take turns."""

    member: Member
    run: Runs
    checked: dict[str, Any] = field(default_factory=dict)


def measure(
    folders: Sequence[Path],
    plan: Plan,
    command: str,
    say: Say,
    write: Callable[[dict[str, Any]], None] = lambda table: None,
    start: Start = _process,
    export: MakeExports = exports,
) -> dict[str, Any]:
    """Return the table: for every model a row a target and batch; ``write`` is given it anew after each model.

    A target that fails has rows that say why.
    Raises: UsageError for no projects, or one that is there twice; ProjectError as the projects' reader does.
    """
    models = grouped(folders)
    core = machine.choose(plan.core)
    table = _begun(plan, core, command)
    for number, projects in enumerate(models, 1):
        say(f"{projects[0].graph.name}: {number} of {len(models)}")
        table["rows"] += _model(projects, plan, core, say, start, export)
        table["load"]["after"] = machine.load()
        write(table)
    return table


def _begun(plan: Plan, core: int | None, command: str) -> dict[str, Any]:
    """Return a table without rows: on what and how they will be measured."""
    described = machine.describe(core)
    told = (described["processor"], described["architecture"], f"{described['cores']} cores")
    return {
        "command": command,
        "machine": ", ".join((*told, f"Python {described['python']}")),
        "processor": described,
        "load": {"before": machine.load()},
        "plan": {"seconds": plan.seconds, "rounds": plan.rounds, "seed": plan.seed},
        "reference": REFERENCE,
        "definition": DEFINITION,
        "rows": [],
    }


def large_batch(plan: Plan, elements: int) -> int:
    """Return the large batch: what was asked for, else BATCH or what BATCH_ELEMENTS hold."""
    return plan.batch or max(2, min(BATCH, BATCH_ELEMENTS // max(1, elements)))


# One model -----------------------------------------------------------------------------------------


def _model(
    projects: Sequence[Project], plan: Plan, core: int | None, say: Say, start: Start, export: MakeExports
) -> list[Row]:
    graph = projects[0].graph
    x = read_vectors(projects[0]).inputs
    golden = evaluate.run(graph, x)
    batches = (1, large_batch(plan, x[0].size))
    say(f"{graph.name}: Keras' own exports")
    found = members(projects, export(projects[0].model / MODEL))
    rows: list[Row] = []
    ready: dict[str, Ready] = {}
    with ExitStack() as open_runs:
        for member in found:
            if member.job is None:
                continue
            say(f"{graph.name}: {member.target}, {len(x)} vectors compared")
            ready_or_why = _ready(member, golden, batches, core, start, open_runs)
            if isinstance(ready_or_why, Ready):
                ready[member.target] = ready_or_why
            else:
                found[found.index(member)] = Member(member.target, member.project, why=ready_or_why)
        slices, failed = _timed(ready, batches, plan, lambda told: say(f"{graph.name}: {told}"))
    for member in found:
        why = failed.get(member.target, member.why)
        for batch in batches:
            rows.append(_row(graph.name, member, batch, why, ready.get(member.target), slices))
    return rows


def _ready(
    member: Member, golden: Integers, batches: Sequence[int], core: int | None, start: Start, open_runs: ExitStack
) -> Ready | str:
    """Return a target that was started and compared, or why it is not timed."""
    if member.job is None:
        raise ProjectError(f"{member.target}: there is nothing to load")
    try:
        run = start(member.job, core)
        open_runs.callback(run.close)
        checked = compared(run, golden, batches)
    except EdgephysError as error:
        return f"not measured: {error}"
    if checked["mismatches"] and member.job.must_match:
        return f"computes other numbers: {checked['mismatches']} of {checked['outputs']} outputs, {checked['first']}"
    return Ready(member, run, checked)


def compared(run: Runs, golden: Integers, batches: Sequence[int]) -> dict[str, Any]:
    """Return how many outputs differ from the golden model's, at each batch, and where the first one does."""
    found: dict[str, Any] = {"outputs": 0, "mismatches": 0, "first": None}
    for batch in batches:
        expected = golden if batch > 1 else golden[:SINGLY]
        received = np.asarray(run.outputs(batch, len(expected)))
        if received.shape != expected.shape:
            raise ProjectError(f"expected outputs of shape {expected.shape}, received {received.shape}")
        differ = np.argwhere(received != expected)
        found["outputs"] += expected.size
        found["mismatches"] += len(differ)
        if len(differ) and found["first"] is None:
            place = tuple(int(at) for at in differ[0])
            found["first"] = (
                f"first vector {place[0]}, element {list(place[1:])}: expected {expected[place]}, "
                f"received {received[place]:g}"
            )
    return found


def _timed(
    ready: dict[str, Ready], batches: Sequence[int], plan: Plan, say: Say
) -> tuple[dict[tuple[str, int], Sequence[Slice]], dict[str, str]]:
    """Return the slices of every target and batch, and why a target fell out on the way."""

    def take(target: str, batch: int, calls: int) -> Slice:
        return ready[target].run.slice(batch, calls)

    budget_s = plan.seconds / max(1, plan.rounds * len(ready) * len(batches))
    slots: list[Slot] = []
    failed: dict[str, str] = {}
    say(f"{len(ready)} targets, warmed up")
    for target in ready:
        try:
            for batch in batches:
                least = -(-turns.LEAST_CALLS // plan.rounds) if batch == 1 else 1
                slots.append(Slot(target, batch, turns.calibrate(take, target, batch, budget_s, least)))
        except EdgephysError as error:
            failed[target] = str(error)
    slots = [slot for slot in slots if slot.target not in failed]
    began = time.monotonic()

    def tell(number: int) -> None:
        if number in (1, plan.rounds) or not number % max(1, plan.rounds // 4):
            say(f"round {number} of {plan.rounds}, {time.monotonic() - began:.0f} s")

    slices, fell = turns.interleave(slots, plan.rounds, plan.seed, take, tell)
    return turns.rates(slices), {target: f"not measured: {why}" for target, why in (failed | fell).items()}


# Rows ----------------------------------------------------------------------------------------------


def _row(
    model: str,
    member: Member,
    batch: int,
    why: str | None,
    ready: Ready | None,
    slices: Mapping[tuple[str, int], Sequence[Slice]],
) -> Row:
    row: Row = {"model": model, "target": member.target, "project": member.project, "batch": batch}
    row |= dict.fromkeys(("p50_us", "p90_us", "p99_us", "per_second", "ratio", "ratio_low", "ratio_high", "rounds"))
    row |= dict.fromkeys(
        ("calls", "cpu_us", "core_share", "timer_ns", "outputs", "mismatches", "tool", "version", "stage")
    )
    row |= {"told": {}, "why": why}
    reference = slices.get((REFERENCE, batch))
    if why is not None:
        return row
    if member.cycles is not None:
        return row | _of_cycles(member.cycles, batch, reference)
    if ready is None or (member.target, batch) not in slices:
        return row | {"why": "not measured: it was not timed"}
    found = slices[member.target, batch]
    row |= turns.summary(found, batch) | {name: ready.checked[name] for name in ("outputs", "mismatches")}
    told = dict(ready.run.told)
    row |= {name: told.pop(name) for name in ("tool", "version", "timer_ns")}
    facts = ready.member.job.facts if ready.member.job else {}
    row |= {"stage": Stage.MEASURED.value, "told": told | {name: facts[name] for name in TOLD if name in facts}}
    return row | (turns.ratio(reference, turns.medians(found)) if reference else {})


def _of_cycles(cycles: Mapping[str, Any], batch: int, reference: Sequence[Slice] | None) -> Row:
    """Return the row of simulated cycles at a stated clock, at which every call takes the same."""
    clock_ns = cycles["clock_ns"]
    ns = (cycles["latency_cycles"] + (batch - 1) * cycles["ii"]) * clock_ns
    row: Row = dict.fromkeys(("p50_us", "p90_us", "p99_us"), ns * 1e-3)
    row |= {"per_second": batch * 1e9 / ns, "mismatches": 0, "stage": Stage.SIMULATED.value}
    row |= {"tool": cycles["tool"], "version": cycles["version"]}
    told = f"{cycles['latency_cycles']} cycles, a new input every {cycles['ii']}, at a stated clock of {clock_ns:g} ns"
    row["told"] = {"cycles": told, "vectors": cycles["vectors"]}
    return row | (turns.ratio(reference, [ns] * len(reference)) if reference else {})
