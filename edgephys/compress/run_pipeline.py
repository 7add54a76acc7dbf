"""Run a pipeline: stage after stage, each saved whole with what it cost and what it bought; a second start goes on.

OUT/<number>_<kind> is an ordinary model after each stage, OUT/model the last one, with its test figures: the test
jets are looked at once, at the end, and not at all by an order that leaves them out. A stage is done when its folder
states the same digest, which covers the model it began with, the data, the seed and all stages up to it. Each stage
reads the folder that the former one wrote, so that a run that was killed ends in the same weights. Runs that stand
side by side in one folder, as those of a sweep do, can share the stages in which they are equal.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.applications import registry
from edgephys.applications.registry import scored
from edgephys.applications.task import Task
from edgephys.compress.gains import Gains, measure
from edgephys.compress.pipeline_file import Pipeline, Step
from edgephys.compress.stage import Progress
from edgephys.core import machine
from edgephys.core.errors import UsageError
from edgephys.core.files import check_free, held, write_json
from edgephys.models import trained as artefact
from edgephys.models.card import CARD, read_card
from edgephys.models.trained import MODEL, Trained
from edgephys.workflow import firmware
from edgephys.workflow.firmware import FirmwarePlan

Say = Callable[[str], None]
Row = dict[str, Any]

TABLE = "compression.json"
LOCKS = ".locks"
LOCK_DIGITS = 16


@dataclass(frozen=True)
class Order:
    """State what is compressed, by what, on which jets, and where it goes.

    ``tested`` says whether the last model sees the test jets; ``measured_last`` whether it alone is measured, not
    each stage; ``shared`` whether a stage that a run beside OUT has made, or is making, is taken from there.
    """

    model: Path
    pipeline: Pipeline
    data: Path
    test_data: Path | None
    out: Path
    seed: int = 1
    measured: FirmwarePlan | None = None
    force: bool = False
    tested: bool = True
    measured_last: bool = False
    shared: bool = False


def run(order: Order, say: Say, progress: Callable[[str], Progress], command: str) -> dict[str, Any]:
    """Run what is not done yet of an order; return its table, one row a stage, the given model first.

    Raises: UsageError where OUT is not ours; what the stages raise.
    """
    check_free(order.out, TABLE, order.force, "a pipeline's")
    start = artefact.load(order.model)
    name = _name(start, order)
    digest = _digest(order)
    say(f"read {order.data}")
    task = registry.of_card(start.card).task(start, order.data, order.test_data)
    order.out.mkdir(parents=True, exist_ok=True)
    table: dict[str, Any] = {
        "command": command,
        "machine": machine.name(),
        "model": start.name,
        **_network(start),
        "pipeline": order.pipeline.name,
        "seed": order.seed,
        "rows": [],
    }
    if order.measured is not None:
        table["budget"] = order.measured.budget
    row = _kept_row(order, "start", digest) or _row("start", {}, start, task, 0.0, digest)
    _finish(order, table, row, order.model, say)
    trained, folder = start, order.model
    for number, step in enumerate(order.pipeline.steps, 1):
        digest = _chained(digest, step)
        folder, trained, row = _step(order, name, number, step, trained, task, digest, say, progress)
        row["bought_lut"] = table["rows"][-1]["lut_estimate"] - row["lut_estimate"]
        _finish(order, table, row, folder, say)
    if order.tested:
        table["metrics"] = _final(order, name, trained, task, digest, table)
        _write(order, table)
    return table


def finished(order: Order) -> dict[str, Any] | None:
    """Return the table of an order that was run to its end, with all that it asks for; None where it was not.

    Only the table is read, so that it may outlive the stages' folders.
    Raises: OSError where the model or the data cannot be read, UsageError where a teacher is missing.
    """
    digests = [_digest(order)]
    for step in order.pipeline.steps:
        digests.append(_chained(digests[-1], step))
    try:
        table = dict(json.loads((order.out / TABLE).read_text()))
        whole = [row["digest"] for row in table["rows"]] == digests
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not whole or (order.tested and "metrics" not in table):
        return None
    due = table["rows"][-1 if order.measured_last else 0 :]
    return table if order.measured is None or all(_measured(row, table, order.measured) for row in due) else None


def _measured(row: Row, table: Mapping[str, Any], plan: FirmwarePlan) -> bool:
    """Say whether a row was measured without a failure: synthesised, or beyond the budget of this plan too."""
    found = row.get("measured")
    if not found or found["failures"]:
        return False
    return found["lut_stage"] != "estimated" or table.get("budget") == plan.budget


def _network(start: Trained) -> dict[str, Any]:
    """Return what names the uniform models of the same network."""
    recipe = start.card.recipe
    return {
        "family": str(recipe.get("script", "")),
        "n": start.model.input_shape[1],
        "features": len(start.standardisation.names),
    }


def _name(start: Trained, order: Order) -> str:
    return f"{start.name}_{order.pipeline.name}" + (f"_seed{order.seed}" if order.seed != 1 else "")


def _step(
    order: Order,
    name: str,
    number: int,
    step: Step,
    given: Trained,
    task: Task,
    digest: str,
    say: Say,
    progress: Callable[[str], Progress],
) -> tuple[Path, Trained, Row]:
    """Return folder, model and row of one stage, made now, by an earlier run or by one beside this."""
    folder = order.out / f"{number}_{step.kind}"
    done = _done(folder, digest)
    if done is not None:
        say(f"{folder.name}: done before")
        return folder, artefact.load(folder), done
    with held(order.out.parent / LOCKS / digest[:LOCK_DIGITS]) if order.shared else nullcontext():
        beside = _beside(folder, digest) if order.shared else None
        if beside is not None:
            say(f"{folder.name}: taken from {beside.parent.name}")
            trained, row = artefact.load(beside), dict((read_card(beside).compression or [{}])[-1])
        else:
            say(f"{folder.name}: {_stated(step)}")
            trained, row = _made(order, number, step, given, task, digest, progress(folder.name))
        card = dataclasses.replace(
            given.card,
            name=f"{name}_{folder.name}",
            parameters=int(trained.model.count_params()),
            metrics=row["metrics"],
            compression=[*(given.card.compression or []), row],
        )
        artefact.save(dataclasses.replace(trained, card=card), folder, order.force)
    return folder, artefact.load(folder), row


def _made(
    order: Order, number: int, step: Step, given: Trained, task: Task, digest: str, progress: Progress
) -> tuple[Trained, Row]:
    """Apply a stage; return the model that it made and its row."""
    began = time.monotonic()
    made = step.stage.apply(given.model, task, order.seed + number - 1, progress)
    seconds = round(time.monotonic() - began, 1)
    trained = dataclasses.replace(given, model=made.model)
    stated = {**step.to_record(), "notes": made.notes}
    return trained, _row(f"{number} {step.kind}", stated, trained, task, seconds, digest)


def _beside(folder: Path, digest: str) -> Path | None:
    """Return the folder of the same stage in a run beside this one, or None."""
    others = sorted(folder.parent.parent.glob(f"*/{folder.name}"))
    return next((other for other in others if other != folder and _done(other, digest) is not None), None)


def _stated(step: Step) -> str:
    fields = {field.name: field.default for field in dataclasses.fields(step.stage)}
    told = [f"{k} = {v}" for k, v in dataclasses.asdict(step.stage).items() if fields.get(k) != v]
    return ", ".join(told) or "as it is"


def _row(label: str, stated: Mapping[str, Any], model: Trained, task: Task, seconds: float, digest: str) -> Row:
    """Return the row of a stage: what was asked for, what it cost, what the model is like now."""
    found: Gains = measure(model.model, task, label.replace(" ", "_"))
    return {"stage": label, "stated": dict(stated), "seconds": seconds, "digest": digest, **dataclasses.asdict(found)}


def _finish(order: Order, table: dict[str, Any], row: Row, folder: Path, say: Say) -> None:
    """Add a row to the table, with what synthesis and simulation say of it where that was asked for."""
    table["rows"].append(row)
    _write(order, table)  # before the projects: a folder without its table is not ours
    last = len(table["rows"]) > len(order.pipeline.steps)
    if order.measured is None or (order.measured_last and not last):
        return
    plan = dataclasses.replace(order.measured, projects=order.out / "projects")
    score = scored(row["metrics"])
    ours = (score.key, score.error, "auc", "parameters")
    whole = firmware.measured(folder, plan, say)
    row["measured"] = {key: value for key, value in whole.items() if key not in ours}
    _write(order, table)


def _write(order: Order, table: Mapping[str, Any]) -> None:
    write_json(order.out / TABLE, table)


def _done(folder: Path, digest: str) -> Row | None:
    """Return the row of a stage that an earlier run finished; None where it did not, or another one."""
    if not (folder / CARD).is_file():
        return None
    rows = read_card(folder).compression or []
    return dict(rows[-1]) if rows and rows[-1].get("digest") == digest else None


def _kept_row(order: Order, label: str, digest: str) -> Row | None:
    try:
        rows = json.loads((order.out / TABLE).read_text())["rows"]
    except (OSError, ValueError, KeyError):
        return None
    return next(({**row} for row in rows if row["stage"] == label and row["digest"] == digest), None)


def _final(
    order: Order, name: str, trained: Trained, task: Task, digest: str, table: Mapping[str, Any]
) -> dict[str, Any]:
    """Save the last model with its test figures, and return them."""
    folder = order.out / "model"
    if (folder / CARD).is_file():
        card = read_card(folder)
        if card.digest == digest:
            return dict(card.metrics)
    metrics = task.test_metrics(trained.model)
    card = dataclasses.replace(trained.card, name=name, metrics=metrics, digest=digest, compression=table["rows"])
    artefact.save(dataclasses.replace(trained, card=card), folder, order.force)
    return metrics


# What a stage depends on -------------------------------------------------------------------------


def _digest(order: Order) -> str:
    """Cover the given model, the data and the seed."""
    digest = hashlib.sha256((order.model / MODEL).read_bytes())
    for path in (order.data, order.test_data):
        for file in sorted(path.glob("*.h5")) if path is not None and path.is_dir() else [path] if path else []:
            state = file.stat()
            digest.update(_content(file.resolve(), state.st_size, state.st_mtime_ns))
    digest.update(str(order.seed).encode())
    return digest.hexdigest()


@functools.lru_cache
def _content(file: Path, size: int, changed_ns: int) -> bytes:
    """Return a file's digest: once for all runs of a front, as long as it is not written again."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _chained(digest: str, step: Step) -> str:
    """Cover a step too, with its teachers' weights."""
    chained = hashlib.sha256(digest.encode())
    chained.update(json.dumps(step.to_record(), sort_keys=True, default=str).encode())
    for folder in getattr(step.stage, "teacher", ()):
        if not (Path(folder) / MODEL).is_file():
            raise UsageError(f"teacher {folder}: no such model; paths are relative to the pipeline's file")
        chained.update((Path(folder) / MODEL).read_bytes())
    return chained.hexdigest()
