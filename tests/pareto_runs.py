"""What stands in for heavy runs where a sweep's own conduct is tested; workers import it, so it imports little."""

import json
import os
import time
from pathlib import Path

PATIENCE_S = 60
MODEL = Path(__file__).parent.parent / "models" / "zoo" / "jet_deepsets_n8_8bit"
KNOB = """
[[stage]]
kind = "frugal"
epochs = 1
batch = 256

[[stage]]
kind = "untie"

[knob]
stage = 1
key = "lut_cost"
values = [3e-8, 1e-7, 1e-6]
"""
NAMES = [f"{value}_seed{seed}" for value in ("3e-08", "1e-07", "1e-06") for seed in (1, 2)]
MEMBERS = [name for name in NAMES if name.endswith("seed1")]


def sweep_of(folder, seeds=(1, 2), **more):
    """Return a sweep of three values and two seeds, of which seed 1 is the better one; its results go to ``out``."""
    from edgephys.compress import pareto_sweep as pareto
    from edgephys.compress import pipeline_file

    for name, text in (("mine.toml", KNOB), ("jets.h5", "jets")):
        if not (folder / name).exists():
            (folder / name).write_text(text)
    pipeline = pipeline_file.read(folder / "mine.toml")
    return pareto.Sweep(MODEL, pipeline, folder / "jets.h5", None, folder / "out", seeds, **more)


def swept(of, carry, work, told=None, said=None):
    """Carry a sweep out, its table written as the command writes it."""
    from edgephys.compress import pareto_sweep as pareto
    from edgephys.core.files import write_file

    def write(table):
        write_file(of.out / "pareto.json", json.dumps(table).encode())
        if told is not None:
            told.append(table)

    return pareto.sweep(of, carry, work, "edgephys pareto", (said if said is not None else []).append, write)


def small_tagger(data, folder):
    """Train a small tagger for an epoch; return its folder."""
    from edgephys.applications.jets.networks.deepsets import DeepSets
    from edgephys.models import trained as artefact
    from edgephys.train.fit import Recipe, fit

    net = DeepSets(constituents=4, phi=(6, 5), rho=(5,), bits=6)
    recipe = Recipe(script="jet_deepsets", net=net, learning_rate={8: 5e-3}, epochs=1, batch=256)
    return artefact.save(fit(recipe, data), folder)


def quiet(*_):
    pass


def silent(label):
    return quiet


def log(order, *words):
    """Append a line to the book beside the runs: what was done, in which run, by which process."""
    with (order.out.parent / "log.txt").open("a") as book:
        book.write(" ".join([*map(str, words), order.out.name, str(os.getpid())]) + "\n")


def logged(out, what):
    """Return the (run, process) pairs of which a book says something."""
    book = out / "log.txt"
    lines = [line.split() for line in book.read_text().splitlines()] if book.exists() else []
    return [(words[-2], int(words[-1])) for words in lines if " ".join(words[:-2]) == what]


def work(order):
    """Complete an order as a worker does, but for what a run computes."""
    from edgephys.compress import pareto_sweep as pareto

    pareto.run = pretend
    return pareto.complete(order, "edgephys pareto in a test", quiet, quiet)


def pretend(order, say, progress, command):
    """Make a run's table, stage after stage; what it should wait for or die of stands in files beside the runs."""
    from edgephys.compress.run_pipeline import TABLE
    from edgephys.core.errors import ModelError
    from edgephys.core.files import write_file

    log(order, "begin")
    for number, step in enumerate(order.pipeline.steps, 1):
        folder = order.out / f"{number}_{step.kind}"
        if not folder.exists():
            folder.mkdir(parents=True)
            log(order, "stage", number)
        await_word(order)
    if (order.out.parent / f"fail_{order.out.name}").exists():
        raise ModelError("training diverged: loss is nan after epoch 1; lower learning_rate")
    table = made(order)
    if order.tested:
        log(order, "tested")
        (order.out / "model").mkdir(exist_ok=True)
        table["metrics"] = {"accuracy": 0.5, "accuracy_error": 0.002, "jets": 45000, "auc": {}}
    write_file(order.out / TABLE, json.dumps(table).encode())
    log(order, "end")
    return table


def await_word(order):
    """Wait, in the run that is to be killed, until that was done."""
    waits, done = order.out.parent / f"wait_{order.out.name}", order.out.parent / "done"
    end = time.monotonic() + PATIENCE_S
    while waits.exists() and not done.exists() and time.monotonic() < end:
        time.sleep(0.02)


def made(order):
    """Return a table whose figures follow from the knob and the seed: dearer is better, seed 1 better still."""
    from edgephys.compress import run_pipeline as run

    digests = [run._digest(order)]
    for step in order.pipeline.steps:
        digests.append(run._chained(digests[-1], step))
    lut = round(1e-2 / order.pipeline.steps[0].stage.lut_cost) + order.seed
    row = {
        "metrics": {"accuracy": 0.5 + lut * 1e-7 - order.seed * 1e-3, "accuracy_error": 0.004, "jets": 18900},
        **dict.fromkeys(("weights", "nonzero", "digits", "ebops"), 100),
        "lut_estimate": lut,
        "cycles_estimate": 10,
        "seconds": 1.0,
    }
    if order.measured is not None:
        measured = {"lut": 2 * lut, "lut_stage": "synthesised", "latency_cycles": 11, "failures": [], "provenance": {}}
        row["measured"] = measured
    return {"seed": order.seed, "rows": [{**row, "digest": digest} for digest in digests]}


# Plain work, of plain orders -----------------------------------------------------------------------


def doubled(order):
    return f"{order} twice, by {os.getpid()}"


def killed(order):
    os.kill(os.getpid(), 9)


def deadly(order):
    if order == "deadly":
        time.sleep(1)  # a worker that dies as it begins is another failure, and is not restarted
        killed(order)


def unforeseen(order):
    with Path(order).open("a") as book:
        book.write("tried\n")
    raise RuntimeError("nobody foresaw this")


def interrupted(order):
    """Begin, and tell when interrupted."""
    try:
        Path(order).write_text("begun")
        time.sleep(PATIENCE_S)
    except KeyboardInterrupt:
        Path(order).write_text("cleared up")
        raise


def once_told(order):
    """Wait for one file, if there is one to wait for, and make another."""
    told, done = order
    end = time.monotonic() + PATIENCE_S
    while told and not told.exists() and time.monotonic() < end:
        time.sleep(0.02)
    if done:
        done.touch()
