"""Run a pipeline: stage after stage, each saved as a whole model with its costs; a second start goes on.

OUT/<number>_<kind> is an ordinary model after each stage, OUT/model the last one, with its test figures. The test data
are used once, at the end, and not at all in a job without ``score_test``. A stage is done when its folder states its
digest (``stage_digest``). Each stage reads the folder that the one before it wrote, so that a run that was killed ends
with the same weights as one that was not. Runs in one parent folder, such as those of a sweep, can share equal stages.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from edgephys.applications.registry import scored
from edgephys.applications.task import Task
from edgephys.compress.gains import measure
from edgephys.compress.job import CompressionJob
from edgephys.compress.stage import Progress, Stage
from edgephys.compress.stage_digest import digests
from edgephys.compress.start_model import require_trainable, start_model
from edgephys.core import machine
from edgephys.core.errors import EdgephysError
from edgephys.core.files import check_free, held, write_json
from edgephys.core.reading import UNREADABLE, read_json
from edgephys.models.card import CARD, read_card
from edgephys.models.trained import Trained, load, save
from edgephys.workflow import firmware
from edgephys.workflow.firmware import FirmwarePlan

Say = Callable[[str], None]
Row = dict[str, Any]
Table = dict[str, Any]
Digests = tuple[str, ...]
"""The digests with which a stage counts as done; the first one is that of a new row."""

TABLE = "compression.json"
LOCKS = ".locks"
LOCK_DIGITS = 16


def run(job: CompressionJob, say: Say, progress: Callable[[str], Progress], command: str) -> Table:
    """Run the stages of a job that are not done yet; return its table, one row a stage, the start model first.

    Raises: ModelError for a model that stages cannot train; UsageError where OUT is not ours or a stage's file is
    missing; what the stages raise.
    """
    check_free(job.out, TABLE, job.force, "a pipeline's")
    require_trainable(job.model)
    done = digests(job)
    say(f"read {job.data}")
    begun = start_model(job.model, job.data, job.test_data)
    start, task = begun.trained, begun.task
    for note in begun.notes:
        say(f"note: {note}")
    for number, stage in enumerate(job.pipeline.stages, 1):
        _check(stage, f"pipeline {job.pipeline.name}: stage {number} ({stage.kind})", start, task)
    runner = _Runner(job, task, _new_table(job, start, command), say, progress)
    job.out.mkdir(parents=True, exist_ok=True)
    return runner.run(start, done)


def _check(stage: Stage, where: str, start: Trained, task: Task) -> None:
    """Check a stage's files; an error names the stage."""
    try:
        stage.check(start.model, task)
    except EdgephysError as error:
        raise type(error)(f"{where}: {error}") from error


def finished_table(job: CompressionJob) -> Table | None:
    """Return the table of a job that has run to its end, with all that it asks for; None where it has not.

    Only the table is read, so that the stages' folders may be gone.
    Raises: OSError where the model or the data cannot be read; UsageError where a stage's file is missing.
    """
    done = digests(job)
    try:
        table = dict(read_json(job.out / TABLE))
        whole = len(table["rows"]) == len(done) and all(map(_is_done, table["rows"], done))
    except UNREADABLE:
        return None
    if not whole or (job.score_test and "metrics" not in table):
        return None
    rows = table["rows"][-1 if job.measure_last else 0 :]
    plan = job.measurement
    return table if plan is None or all(_is_measured(row, table, plan) for row in rows) else None


def _is_done(row: Mapping[str, Any], done: Digests) -> bool:
    return row["digest"] in done


def _is_measured(row: Row, table: Table, plan: FirmwarePlan) -> bool:
    """Tell whether a row was measured without a failure: synthesised, or beyond the budget of this plan too."""
    figures = row.get("measured")
    if not figures or figures["failures"]:
        return False
    return figures["lut_stage"] != "estimated" or table.get("budget") == plan.budget


def _new_table(job: CompressionJob, start: Trained, command: str) -> Table:
    table: Table = {
        "command": command,
        "machine": machine.name(),
        "model": start.name,
        "family": str(start.card.recipe.get("script", "")),
        "n": start.model.input_shape[1],
        "features": len(start.standardisation.names),
        "pipeline": job.pipeline.name,
        "seed": job.seed,
        "rows": [],
    }
    return table if job.measurement is None else {**table, "budget": job.measurement.budget}


class _Runner:
    """Run the stages of one job and keep its table."""

    def __init__(
        self, job: CompressionJob, task: Task, table: Table, say: Say, progress: Callable[[str], Progress]
    ) -> None:
        self.job, self.task, self.table, self.say, self.progress = job, task, table, say, progress
        seed = f"_seed{job.seed}" if job.seed != 1 else ""
        self.name = f"{table['model']}_{job.pipeline.name}{seed}"

    def run(self, start: Trained, done: list[Digests]) -> Table:
        """Return the table after the last stage."""
        row = self._start_row(done[0]) or self._row("start", {}, start, 0.0, done[0])
        self._add(row, self.job.model)
        trained = start
        for number, stage in enumerate(self.job.pipeline.stages, 1):
            trained, row = self._stage(number, stage, trained, done[number])
            row["bought_lut"] = self.table["rows"][-1]["lut_estimate"] - row["lut_estimate"]
            self._add(row, self._folder(number, stage))
        if self.job.score_test:
            self.table["metrics"] = self._test_metrics(trained, done[-1])
            self._write()
        return self.table

    def _folder(self, number: int, stage: Stage) -> Path:
        return self.job.out / f"{number}_{stage.kind}"

    def _stage(self, number: int, stage: Stage, before: Trained, done: Digests) -> tuple[Trained, Row]:
        """Return the model and the row of one stage: made now, by an earlier start or by another run."""
        folder, job = self._folder(number, stage), self.job
        if (row := _done_row(folder, done)) is not None:
            self.say(f"{folder.name}: done before")
            return load(folder), row
        with held(job.out.parent / LOCKS / done[0][:LOCK_DIGITS]) if job.share_stages else nullcontext():
            other = _same_stage_of_another_run(folder, done) if job.share_stages else None
            if other is not None:
                self.say(f"{folder.name}: taken from {other.parent.name}")
                trained, row = load(other), dict((read_card(other).compression or [{}])[-1])
            else:
                self.say(f"{folder.name}: {_parameters(stage)}")
                trained, row = self._apply(number, stage, before, done)
            card = dataclasses.replace(
                before.card,
                name=f"{self.name}_{folder.name}",
                parameters=int(trained.model.count_params()),
                metrics=row["metrics"],
                compression=[*(before.card.compression or []), row],
            )
            save(dataclasses.replace(trained, card=card), folder, job.force)
        return load(folder), row

    def _apply(self, number: int, stage: Stage, before: Trained, done: Digests) -> tuple[Trained, Row]:
        began = time.monotonic()
        progress = self.progress(f"{number}_{stage.kind}")
        result = stage.apply(before.model, self.task, self.job.seed + number - 1, progress)
        seconds = round(time.monotonic() - began, 1)
        trained = dataclasses.replace(before, model=result.model)
        stated = {**stage.to_record(), "notes": result.notes}
        return trained, self._row(f"{number} {stage.kind}", stated, trained, seconds, done)

    def _row(self, label: str, stated: Mapping[str, Any], trained: Trained, seconds: float, done: Digests) -> Row:
        """Return the row of a stage: its parameters, the time that it took, and the figures of its model."""
        gains = measure(trained.model, self.task, label.replace(" ", "_"))
        row = {"stage": label, "stated": dict(stated), "seconds": seconds, "digest": done[0]}
        return {**row, **dataclasses.asdict(gains)}

    def _start_row(self, done: Digests) -> Row | None:
        """Return the start model's row of an earlier start; None where there is none of this model and data."""
        try:
            rows = read_json(self.job.out / TABLE)["rows"]
        except UNREADABLE:
            return None
        return next(({**row} for row in rows if row["stage"] == "start" and _is_done(row, done)), None)

    def _add(self, row: Row, folder: Path) -> None:
        """Add a row to the table, with the figures of its projects where they are to be measured."""
        self.table["rows"].append(row)
        self._write()  # before the projects: without the table the folder would not be ours at the next start
        plan, last = self.job.measurement, len(self.table["rows"]) > len(self.job.pipeline.stages)
        if plan is None or (self.job.measure_last and not last):
            return
        measured = firmware.measured(folder, dataclasses.replace(plan, projects=self.job.out / "projects"), self.say)
        score = scored(row["metrics"])
        own = (score.key, score.error, "auc", "parameters")
        row["measured"] = {key: value for key, value in measured.items() if key not in own}
        self._write()

    def _write(self) -> None:
        write_json(self.job.out / TABLE, self.table)

    def _test_metrics(self, trained: Trained, done: Digests) -> dict[str, Any]:
        """Save the last model with its test figures, and return them."""
        folder = self.job.out / "model"
        if (folder / CARD).is_file():
            card = read_card(folder)
            if card.digest in done:
                return dict(card.metrics)
        metrics = self.task.test_metrics(trained.model)
        card = dataclasses.replace(
            trained.card, name=self.name, metrics=metrics, digest=done[0], compression=self.table["rows"]
        )
        save(dataclasses.replace(trained, card=card), folder, self.job.force)
        return metrics


def _done_row(folder: Path, done: Digests) -> Row | None:
    """Return the row of a stage that an earlier start finished; None where it did not, or made another one."""
    if not (folder / CARD).is_file():
        return None
    rows = read_card(folder).compression or []
    return dict(rows[-1]) if rows and rows[-1].get("digest") in done else None


def _same_stage_of_another_run(folder: Path, done: Digests) -> Path | None:
    others = sorted(folder.parent.parent.glob(f"*/{folder.name}"))
    return next((other for other in others if other != folder and _done_row(other, done) is not None), None)


def _parameters(stage: Stage) -> str:
    """Return the parameters of a stage that differ from their defaults, as text."""
    defaults = {field.name: field.default for field in dataclasses.fields(stage)}
    changed = [f"{k} = {v}" for k, v in dataclasses.asdict(stage).items() if defaults.get(k) != v]
    return ", ".join(changed) or "as it is"
