"""Sweep a pipeline's knob over seeds and keep the models that no other one beats; a second start goes on.

Every value and seed is one run of the pipeline in a folder of its own, OUT/<value>_seed<seed>. Progress is not stored
elsewhere: a run is finished when its table states the digests of the same model, data, stages and seed. The stages
before the knob's are the same for all its values: one run of a seed trains them, the others take them over. The front
is chosen on the validation data; only its members are scored on the test data, once the front is complete.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.applications.registry import scored
from edgephys.compress.job import CompressionJob
from edgephys.compress.local_executor import Executor, RunJob
from edgephys.compress.pareto_front import SYNTHESISED, ParetoFront, SweepRun, pareto_front
from edgephys.compress.pipeline_file import Pipeline
from edgephys.compress.run_pipeline import LOCKS, TABLE, Say, Table, finished_table, run
from edgephys.compress.stage import Progress
from edgephys.compress.start_model import candidate
from edgephys.compress.uniform import uniform
from edgephys.core import machine
from edgephys.core.errors import EdgephysError, ToolError, UsageError
from edgephys.core.files import check_free, held, write_json
from edgephys.core.reading import read_json
from edgephys.core.remaining import Remaining
from edgephys.workflow.candidates import Candidate
from edgephys.workflow.firmware import FirmwarePlan

RESULT = "pareto.json"
MOST_SEED = 2**31 - 1
"""Seeds of stages are counted up from it."""
VISIBLE_S = 60.0
"""Seconds within which the table of a run that ended on another machine must be visible here."""


@dataclass(frozen=True)
class KnobSweep:
    """State the pipeline whose knob is varied, the start model, the seeds, the data and the folder of the results.

    ``prune`` removes the stages' folders of dominated runs; their tables stay. ``beside`` is a scaling table with
    the uniform models of the same network.
    """

    model: Path
    pipeline: Pipeline
    data: Path
    test_data: Path | None
    out: Path
    seeds: tuple[int, ...]
    measurement: FirmwarePlan | None = None
    prune: bool = False
    beside: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if (
            not self.seeds
            or len(set(self.seeds)) < len(self.seeds)
            or min(self.seeds) < 0
            or max(self.seeds) > MOST_SEED
        ):
            raise _wrong_seeds(",".join(map(str, self.seeds)))
        if self.pipeline.knob is None:
            raise UsageError(
                f"pipeline {self.pipeline.name}: it has no [knob] to turn; state stage, key and "
                "values, as `edgephys init` does"
            )
        names = [label(value) for value in self.pipeline.knob.values]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"pipeline {self.pipeline.name}: [knob]: two values have the name {twice}; change one")

    def jobs(self) -> dict[str, tuple[Any, CompressionJob]]:
        """Return each run's value of the knob and job, by the run's name; none of them uses the test data."""
        jobs = {}
        # absolute, as workers may have another working directory
        model, data, out = (path.absolute() for path in (self.model, self.data, self.out))
        test_data = self.test_data and self.test_data.absolute()
        for value in self.pipeline.knob.values if self.pipeline.knob else ():
            pipeline = self.pipeline.with_knob_at(value)
            pipeline = dataclasses.replace(pipeline, name=f"{pipeline.name}_{label(value)}")
            for seed in self.seeds:
                name = f"{label(value)}_seed{seed}"
                job = CompressionJob(model, pipeline, data, test_data, out / name, seed, self.measurement)
                jobs[name] = value, dataclasses.replace(job, score_test=False, measure_last=True, share_stages=True)
        return jobs


def seed_numbers(text: str) -> tuple[int, ...]:
    """Return the seeds of a command line.

    Raises: UsageError where one is no whole number.
    """
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise _wrong_seeds(text) from error


def _wrong_seeds(text: str) -> UsageError:
    return UsageError(f"--seeds must be different whole numbers, 0..{MOST_SEED}, such as 1,2,3, not '{text}'")


def label(value: Any) -> str:
    """Return a knob's value as a part of a folder's name."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return "".join(sign if sign.isalnum() or sign in "+-.," else "-" for sign in text) or "-"


def sweep(
    plan: KnobSweep, executor: Executor, run_job: RunJob, command: str, say: Say, write: Callable[[Table], None]
) -> Table:
    """Run the jobs of a sweep that are not finished; return its table, given to ``write`` after each run.

    A run that fails states its reason in the table and does not end the sweep: ``require_finished`` raises for it.
    Raises: UsageError where OUT is not ours; ModelError where there is no model; what ``executor`` raises.
    """
    check_free(plan.out, RESULT, plan.force, "a front")
    model = candidate(plan.model, plan.data)
    state = _SweepState(plan, model, executor, run_job, command, say, write)
    say(f"{len(state.tables)} of {len(state.jobs)} runs are finished")
    state.write_table()
    state.execute({name: job for name, (_, job) in state.jobs.items() if name not in state.tables})
    if not state.failures:
        state.score_members()
    if plan.prune:
        state.prune_dominated()
    return state.write_table()


def require_finished(table: Mapping[str, Any]) -> None:
    """Raise ToolError for the runs that are not finished, naming each."""
    failures = table["failures"]
    if failures:
        reasons = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise ToolError(f"pareto: {len(failures)} of {table['asked']} runs are not finished: {reasons}")


def complete(job: CompressionJob, command: str, say: Say, progress: Callable[[str], Progress]) -> str | None:
    """Finish a run unless it is finished; return the reason where it failed, else None.

    Raises: OSError, or an error that is none of ours.
    """
    name = job.out.name
    # Dask starts a task again where it has not heard of a worker for long, but that worker may still be running
    with held(job.out.parent / LOCKS / name):
        try:
            if finished_table(job) is None:
                run(job, lambda text: say(f"{name}: {text}"), lambda stage: progress(f"{name}: {stage}"), command)
        except EdgephysError as error:
            return str(error)
        if job.measurement is None:
            return None
        last = read_json(job.out / TABLE)["rows"][-1]
        return "; ".join(last.get("measured", {}).get("failures", [])) or None


class _SweepState:
    """Hold the tables of finished runs and the reasons of failed ones; run jobs and make the sweep's table."""

    def __init__(
        self,
        plan: KnobSweep,
        model: Candidate,
        executor: Executor,
        run_job: RunJob,
        command: str,
        say: Say,
        write: Callable[[Table], None],
    ) -> None:
        self.plan, self.model, self.executor, self.run_job = plan, model, executor, run_job
        self.command, self.say, self.write = command, say, write
        self.jobs = plan.jobs()
        self.beside = uniform(plan.beside, model) if plan.beside is not None else []
        finished = {name: finished_table(job) for name, (_, job) in self.jobs.items()}
        self.tables: dict[str, Table] = {name: table for name, table in finished.items() if table is not None}
        self.failures: dict[str, str] = {}

    def front(self) -> ParetoFront:
        """Return the front of the finished runs."""
        values = [(name, value) for name, (value, _) in self.jobs.items() if name in self.tables]
        return pareto_front([_sweep_run(name, value, self.tables[name]) for name, value in values])

    def write_table(self) -> Table:
        """Write the sweep's table, and return it."""
        table = {
            "command": self.command,
            "machine": machine.name(),
            "model": self.model.name,
            "family": self.model.facts.family,
            "n": self.model.facts.size,
            "pipeline": self.plan.pipeline.name,
            "knob": _knob_record(self.plan.pipeline),
            "seeds": list(self.plan.seeds),
            "asked": len(self.jobs),
            "failures": dict(self.failures),
            **self.front().to_record(),
            "beside": self.beside,
        }
        self.write(table)
        return table

    def execute(self, jobs: Mapping[str, CompressionJob]) -> None:
        """Run jobs, and write the table as each one ends."""
        remaining = Remaining()
        with closing(self.executor(jobs, self.run_job)) as outcomes:
            for number, (name, why) in enumerate(outcomes, 1):
                if why is None:
                    self.tables[name] = _table_of(jobs[name])
                else:
                    self.failures[name] = why
                left = remaining.left(number, len(jobs))
                self.say(f"{name}: {why or 'finished'}, {number} of {len(jobs)}{left}")
                self.write_table()

    def score_members(self) -> None:
        """Score the members of the front, and no other run, on the test data."""
        members = self.front().members
        jobs = {run.name: dataclasses.replace(self.jobs[run.name][1], score_test=True) for run in members}
        untested = {name: job for name, job in jobs.items() if finished_table(job) is None}
        self.say(f"the front has {len(jobs)} runs, {len(untested)} of them not tested")
        self.execute(untested)

    def prune_dominated(self) -> None:
        """Remove the folders of dominated runs, without their tables."""
        front = self.front()
        for dominated, by in zip(front.runs, front.dominated_by, strict=True):
            name, job = dominated.name, self.jobs[dominated.name][1]
            stages = [f"{number}_{stage.kind}" for number, stage in enumerate(job.pipeline.stages, 1)]
            folders = [folder for part in (*stages, "model", "projects") if (folder := job.out / part).is_dir()]
            if by is None or not folders:
                continue
            self.say(f"{name}: dominated by {by}, its stages are removed")
            self.tables[name]["pruned"] = True
            write_json(job.out / TABLE, self.tables[name])
            for folder in folders:
                shutil.rmtree(folder)


def _knob_record(pipeline: Pipeline) -> dict[str, Any]:
    knob = pipeline.knob
    if knob is None:
        return {}
    stage = f"{knob.stage} {pipeline.stages[knob.stage - 1].kind}"
    return {"stage": stage, "key": knob.key, "values": list(knob.values)}


def _sweep_run(name: str, value: Any, table: Mapping[str, Any]) -> SweepRun:
    last = table["rows"][-1]
    measured = last.get("measured", {})
    synthesised = str(measured.get("lut_stage", "")).startswith(SYNTHESISED)
    counts = {key: last[key] for key in ("weights", "nonzero", "digits", "ebops", "lut_estimate", "cycles_estimate")}
    score = scored(last["metrics"])
    return SweepRun(
        name,
        value,
        table["seed"],
        {key: last["metrics"][key] for key in (score.key, score.error, score.unit)},
        **counts,
        lut=measured.get("lut") if synthesised else None,
        latency_cycles=measured.get("latency_cycles"),
        provenance=measured.get("provenance", {}),
        seconds=round(sum(row["seconds"] for row in table["rows"]), 1),
        pruned=table.get("pruned", False),
        test=table.get("metrics"),
    )


def _table_of(job: CompressionJob) -> Table:
    """Return the table of a job that ended, perhaps on another machine, whose file may be visible here only later."""
    end = time.monotonic() + VISIBLE_S
    while (table := finished_table(job)) is None:
        if time.monotonic() >= end:
            raise ToolError(
                f"{job.out.name}: its worker says that it is finished, but {job.out / TABLE} does not; --out, the "
                "model and the data must lie on a file system that all workers share, under the same paths"
            )
        time.sleep(VISIBLE_S / 60)
    return table
