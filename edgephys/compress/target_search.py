"""Compress a model to a number of LUTs within a time: pipeline, epochs and the price of an adder are chosen here.

Every price is one run of a pipeline in a folder of its own, OUT/price_<price>; the chosen one gets the test score,
and its model is copied to OUT/model.
Only the validation data choose.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.applications.registry import scored
from edgephys.applications.task import Task
from edgephys.compress.job import CompressionJob
from edgephys.compress.pareto_sweep import label
from edgephys.compress.pipeline_file import Pipeline
from edgephys.compress.price_search import Try, best, next_price
from edgephys.compress.run_pipeline import Say, Table, run
from edgephys.compress.stage import Progress, Stage
from edgephys.compress.stages.finetune import Finetune
from edgephys.compress.stages.frugal import Frugal
from edgephys.compress.stages.shrink import Shrink
from edgephys.compress.stages.untie import Untie
from edgephys.compress.start_model import require_trainable, start_model
from edgephys.core import machine
from edgephys.core.errors import UsageError
from edgephys.core.files import check_free, replace_folder, write_json
from edgephys.graph.passes import lowered
from edgephys.models.card import CARD
from edgephys.models.files.keras import lower
from edgephys.models.trained import Trained, load
from edgephys.targets.rtl.emit import estimate
from edgephys.targets.rtl.options import RtlOptions

RESULT = "target.json"
MODEL_FOLDER = "model"
"""Folder of the last model, in that of a pipeline and in that of the search."""
TRIES = 4
"""Prices for which the epochs leave time."""
CALIBRATED = 3
"""Epochs that are trained to measure the time of one."""
FEWEST, MOST = 3, 30


@dataclass(frozen=True)
class LutTarget:
    """State what a compressed model must reach.

    ``luts`` below 1 is a share of the LUTs that the model has now, else a number of LUTs; all are estimated.
    Units: minutes, and ns for the clock at which cycles are estimated.
    """

    luts: float
    minutes: float = 30.0
    clock_ns: float = 5.0

    def __post_init__(self) -> None:
        if not self.luts > 0:
            raise UsageError(
                f"--target-luts must be above 0: a share such as 0.5, or a number of LUTs, not {self.luts:g}"
            )

    def number(self, start: int) -> int:
        """Return the number of LUTs for a model that has ``start`` now."""
        return round(self.luts * start) if self.luts < 1 else round(self.luts)


def pipeline_at(price: float, epochs: int) -> Pipeline:
    """Return the pipeline of a price: weights rounded by their cost, trained on, units without effect removed."""
    stages: tuple[Stage, ...] = (
        Frugal(epochs=epochs, lut_cost=price, recovery=60),
        Finetune(digits="kept", epochs=max(1, epochs // 2)),
        Shrink(),
        Untie(),
    )
    return Pipeline(f"price_{label(price)}", stages)


def search(
    job: CompressionJob, target: LutTarget, say: Say, progress: Callable[[str], Progress], command: str
) -> Table:
    """Try prices until the target is reached or the time is over; return the table, one row a price.

    ``job`` states everything but the pipeline. A row states whether it reaches the target; "unreached" says in words
    what was not reached.
    Raises: as ``run_pipeline.run``.
    """
    deadline = time.monotonic() + target.minutes * 60
    check_free(job.out, RESULT, job.force, "a compression's")
    require_trainable(job.model)
    start = start_model(job.model, job.data, job.test_data)
    for text in start.notes:
        say(f"note: {text}")
    costs = _costs(start.trained, start.task, target)
    luts = target.number(costs["lut_estimate"])
    say(f"target: {luts:,} LUT, the model has {costs['lut_estimate']:,} (estimated)")
    epochs = _epochs(start.trained, start.task, deadline - time.monotonic(), job.seed)
    say(f"{epochs} epochs a price")
    table: Table = {
        "command": command,
        "machine": machine.name(),
        "model": start.trained.name,
        "seed": job.seed,
        "target": dataclasses.asdict(target) | {"number": luts},
        "epochs": epochs,
        "rows": [_row(None, costs, costs, luts, start.task.validation_metrics(start.trained.model), 0.0)],
    }

    def finished(price: float, more: CompressionJob) -> Table:
        own = _job_at(more, price, epochs)
        return run(own, say, lambda stage: progress(f"{own.out.name}: {stage}"), command)

    def run_price(price: float) -> Table:
        """Return the row of a price."""
        began = time.monotonic()
        finished(price, dataclasses.replace(job, score_test=False, measurement=None, measure_last=False))
        trained = load(_last_folder(_job_at(job, price, epochs)))
        own, metrics = _costs(trained, start.task, target), start.task.validation_metrics(trained.model)
        return _row(price, own, costs, luts, metrics, round(time.monotonic() - began, 1))

    def keep(row: Table) -> None:
        table["rows"].append(row)
        write_json(job.out / RESULT, table)
        say(f"price {row['price']:g}: {row['lut_estimate']:,} LUT, {row['share']:.0%} of the model's")

    chosen, why = tried_prices(run_price, keep, luts, deadline)
    row = next(row for row in table["rows"] if row["price"] == chosen)
    row["chosen"] = True
    table["metrics"] = finished(chosen, job)["metrics"]
    own = _job_at(job, chosen, epochs).out / MODEL_FOLDER
    replace_folder(job.out / MODEL_FOLDER, lambda folder: _copy(own, folder), CARD)
    table["folder"] = str(job.out / MODEL_FOLDER)
    table["unreached"] = [] if row["reached"] else [_unreached(row, luts, why)]
    write_json(job.out / RESULT, table)
    return table


def _copy(model: Path, folder: Path) -> None:
    shutil.copytree(model, folder, dirs_exist_ok=True)


def _row(
    price: float | None, own: Table, start: Table, luts: int, metrics: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """Return the row of a price; that of the start has none."""
    share, reached = own["lut_estimate"] / start["lut_estimate"], own["lut_estimate"] <= luts
    row = {"price": price, "share": share, **own, "metrics": dict(metrics)}
    return row | {"reached": reached, "chosen": False, "seconds": seconds}


def _last_folder(job: CompressionJob) -> Path:
    """Return the folder of a job's last stage."""
    return job.out / f"{len(job.pipeline.stages)}_{job.pipeline.stages[-1].kind}"


def tried_prices(
    run_price: Callable[[float], dict[str, Any]],
    record: Callable[[dict[str, Any]], None],
    luts: int,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[float, str]:
    """Try prices until none is worth a try or the next would end after the deadline.

    Returns the chosen price, and why no further one was tried.
    """
    tries: list[Try] = []
    longest, price = 0.0, next_price(tries, luts)
    while price is not None and (not tries or clock() + longest <= deadline):
        began = clock()
        row = run_price(price)
        longest = max(longest, clock() - began)
        record(row)
        tries.append(Try(price, row["lut_estimate"], _goodness(row["metrics"])))
        price = next_price(tries, luts)
    why = "a higher price of an adder gives no smaller circuit here" if price is None else "the time is over"
    return best(tries, luts).price, why


def _job_at(job: CompressionJob, price: float, epochs: int) -> CompressionJob:
    pipeline = pipeline_at(price, epochs)
    return dataclasses.replace(job, pipeline=pipeline, out=job.out / pipeline.name)


def _costs(trained: Trained, task: Task, target: LutTarget) -> dict[str, int]:
    """Return LUTs and cycles of a model, estimated at the target's clock."""
    graph = lowered(lower(trained.model, task.input, trained.name))
    planned = estimate(graph, RtlOptions(clock_ns=target.clock_ns))
    return {"lut_estimate": round(planned.lut), "cycles_estimate": planned.stages}


def _epochs(trained: Trained, task: Task, seconds: float, seed: int) -> int:
    """Return the epochs for which a few prices fit into a time, from the time of a few epochs."""
    ticks = [time.monotonic()]
    stage = Frugal(epochs=CALIBRATED, lut_cost=1e-9, recovery=60)
    stage.apply(trained.model, task, seed, lambda done, total, logs: ticks.append(time.monotonic()))
    each = (ticks[-1] - ticks[1]) / (CALIBRATED - 1)
    compiled = max(0.0, ticks[1] - ticks[0] - each)
    left = seconds - (time.monotonic() - ticks[0])
    return epochs_in(left, each, 2 * compiled)


def epochs_in(seconds: float, each: float, once: float) -> int:
    """Return the epochs of the first stage of each price, half as many in the second; ``once`` is what both need."""
    return int(min(MOST, max(FEWEST, (seconds / TRIES - once) / (1.5 * each))))


def _goodness(metrics: Mapping[str, Any]) -> float:
    score = scored(metrics)
    return float(metrics[score.key]) * (1 if score.rising else -1)


def _unreached(row: Mapping[str, Any], luts: int, why: str) -> str:
    """Return what was not reached, why, and what to do."""
    return (
        f"{luts:,} LUT were not reached: the smallest model has {row['lut_estimate']:,} ({why}); give more "
        "--max-minutes, start from a model of fewer bits or units, or run `edgephys pareto` with compress/frugal.toml"
    )
