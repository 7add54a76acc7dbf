"""Benchmark of the stages' training steps against QKeras' own (`make speed`): seconds a step, ratios within one run.

By itself: `python tests/bench_compress.py [MODEL] [--out FOLDER]`. Keras' loop and every stage train the same quantised
model on the same batches, one after another, several times over. Writes steps.json and steps.md.
"""

import argparse
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench_tool import ROOT, ZOO, machine

from edgephys.applications.jets.task import of_trained
from edgephys.applications.task import Task
from edgephys.compress.model_structure import rebuilt
from edgephys.compress.stage import Training
from edgephys.compress.stages.bitwise import Bitwise
from edgephys.compress.stages.finetune import Finetune
from edgephys.compress.stages.frugal import Frugal
from edgephys.core.files import write_file, write_json
from edgephys.models.trained import load

KERAS = "QKeras, Keras' own loop"
BATCH, EPOCHS, ROUNDS = 1024, 4, 3
STAGES: dict[str, Training] = {
    "finetune": Finetune(batch=BATCH, epochs=EPOCHS),
    "bitwise": Bitwise(batch=BATCH, epochs=EPOCHS),
    "bitwise, priced, learned widths": Bitwise(batch=BATCH, epochs=EPOCHS, lut_cost=1e-7, widths="channel"),
    "frugal": Frugal(batch=BATCH, epochs=EPOCHS),
}
LIMITS = {"bitwise": 2.0, "bitwise, priced, learned widths": 2.0}
"""Ratios to Keras' step at most."""


def keras_step(model: Any, task: Task) -> float:
    """Return the seconds of a step of Keras' loop, compilation left out."""
    from edgephys.networks.backend import keras

    fresh = rebuilt(model)
    fresh.compile(keras.optimizers.Adam(1e-4), lambda labels, logits: task.loss(labels, logits, None), jit_compile=True)
    x, labels = task.train
    whole = len(x) // BATCH * BATCH  # as the stages: no smaller last batch, which would be compiled anew
    times: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()))
    fresh.fit(x[:whole], labels[:whole], batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return (times[-1] - times[0]) / (EPOCHS - 1) / (len(x) // BATCH)


def stage_step(model: Any, task: Task, stage: Training) -> float:
    """Return the seconds of a step of a stage, with its share of the validation that ends an epoch."""
    times: list[float] = []
    stage.apply(model, task, 1, lambda epoch, epochs, logs: times.append(time.perf_counter()))
    return (times[-1] - times[0]) / (EPOCHS - 1) / (len(task.train[0]) // BATCH)


def measure(folder: Path, data: Path) -> dict[str, Any]:
    """Time every loop, in turns."""
    trained = load(folder)
    task = of_trained(trained, data)
    loops: dict[str, Callable[[], float]] = {KERAS: lambda: keras_step(trained.model, task)}
    loops |= {name: lambda stage=stage: stage_step(trained.model, task, stage) for name, stage in STAGES.items()}  # type: ignore[misc]
    load_before = os.getloadavg()[0]
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            found[name].append(loop())
    rows = []
    for name, seconds in found.items():
        ratios = [own / keras for own, keras in zip(seconds, found[KERAS], strict=True)]
        middle = statistics.median(ratios)
        limit = LIMITS.get(name)
        rows.append(
            {
                "loop": name,
                "step_ms": 1e3 * statistics.median(seconds),
                "ratio": middle,
                "ratio_lowest": min(ratios),
                "ratio_highest": max(ratios),
                "limit": limit,
                "limit_met": None if limit is None else middle <= limit,
            }
        )
    return {"model": trained.name, "batch": BATCH, "rounds": ROUNDS, "load_before": load_before, "rows": rows}


def markdown(table: dict[str, Any]) -> str:
    """Return the table as a page."""
    lines = [
        f"Made by `{table['command']}` on {table['machine']}.",
        "",
        f"One training step of {table['model']}, batch {table['batch']}, compiled (XLA); every loop "
        f"{table['rounds']} times in turns, load before {table['load_before']:.1f}. "
        "A stage's step holds its share of an epoch's validation.",
        "",
        "| loop | ms a step | times Keras' | lowest – highest | at most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in table["rows"]:
        bound = "–" if row["limit"] is None else f"{row['limit']:g}" + ("" if row["limit_met"] else ": **missed**")
        spread = f"{row['ratio_lowest']:.2f} – {row['ratio_highest']:.2f}"
        lines.append(f"| {row['loop']} | {row['step_ms']:.2f} | {row['ratio']:.2f} | {spread} | {bound} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, write the table and print it; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, default=ZOO / "jet_deepsets_n8_8bit")
    parser.add_argument("--data", type=Path, default=ROOT / "models" / "samples" / "jets.h5")
    parser.add_argument("--out", type=Path, default=ROOT / "hls_projects" / "results")
    given = parser.parse_args(words)
    command = shlex.join(["python", "tests/bench_compress.py", *(sys.argv[1:] if words is None else words)])
    table = {"command": command, "machine": machine(), **measure(given.model, given.data)}
    write_json(given.out / "steps.json", table)
    write_file(given.out / "steps.md", markdown(table).encode())
    print(markdown(table), end="")
    return int(any(row["limit_met"] is False for row in table["rows"]))


if __name__ == "__main__":
    sys.exit(main())
