"""What stands in for heavy runs where a sweep's own conduct is tested; workers import it, so it imports little."""

import json
import os
import time
from pathlib import Path

PATIENCE_S = 60
MODEL = Path(__file__).parent.parent / "models" / "zoo" / "jet_deepsets_n8_8bit"
SCALING = MODEL.parents[2] / "hls_projects" / "results" / "scaling.json"
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


def run_of(name, accuracy, lut_estimate, lut=None, cycles=None, **more):
    """Return a finished run with a few figures of its own."""
    from edgephys.compress.pareto_front import SweepRun

    counts = dict.fromkeys(("weights", "nonzero", "digits", "ebops"), 7)
    stated = {"value": 1, "seed": 1, "provenance": {}, "seconds": 1.0}
    metrics = {"accuracy": accuracy, "accuracy_error": 0.004, "jets": 100}
    found = {"lut_estimate": lut_estimate, "cycles_estimate": 9, "lut": lut, "latency_cycles": cycles, "pruned": False}
    return SweepRun(name=name, metrics=metrics, **{**stated, **counts, **found, **more})


def sweep_of(folder, seeds=(1, 2), **more):
    """Return a sweep of three values and two seeds, of which seed 1 is the better one; its results go to ``out``."""
    from edgephys.compress import pareto_sweep as pareto
    from edgephys.compress import pipeline_file

    for name, text in (("mine.toml", KNOB), ("jets.h5", "jets")):
        if not (folder / name).exists():
            (folder / name).write_text(text)
    pipeline = pipeline_file.read(folder / "mine.toml")
    return pareto.KnobSweep(MODEL, pipeline, folder / "jets.h5", None, folder / "out", seeds, **more)


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


def log(job, *words):
    """Append a line to the book beside the runs: what was done, in which run, by which process."""
    with (job.out.parent / "log.txt").open("a") as book:
        book.write(" ".join([*map(str, words), job.out.name, str(os.getpid())]) + "\n")


def logged(out, what):
    """Return the (run, process) pairs of which a book says something."""
    book = out / "log.txt"
    lines = [line.split() for line in book.read_text().splitlines()] if book.exists() else []
    return [(words[-2], int(words[-1])) for words in lines if " ".join(words[:-2]) == what]


def work(job):
    """Complete a job as a worker does, but for what a run computes."""
    from edgephys.compress import pareto_sweep as pareto

    pareto.run = pretend
    return pareto.complete(job, "edgephys pareto in a test", quiet, quiet)


def pretend(job, say, progress, command):
    """Make a run's table, stage after stage; what it should wait for or die of stands in files beside the runs."""
    from edgephys.compress.run_pipeline import TABLE
    from edgephys.core.errors import ModelError
    from edgephys.core.files import write_file

    log(job, "begin")
    for number, stage in enumerate(job.pipeline.stages, 1):
        folder = job.out / f"{number}_{stage.kind}"
        if not folder.exists():
            folder.mkdir(parents=True)
            log(job, "stage", number)
        await_word(job)
    if (job.out.parent / f"fail_{job.out.name}").exists():
        raise ModelError("training diverged: loss is nan after epoch 1; lower learning_rate")
    table = table_of(job)
    if job.score_test:
        log(job, "tested")
        (job.out / "model").mkdir(exist_ok=True)
        table["metrics"] = {"accuracy": 0.5, "accuracy_error": 0.002, "jets": 45000, "auc": {}}
    write_file(job.out / TABLE, json.dumps(table).encode())
    log(job, "end")
    return table


def await_word(job):
    """Wait, in the run that is to be killed, until that was done."""
    waits, done = job.out.parent / f"wait_{job.out.name}", job.out.parent / "done"
    end = time.monotonic() + PATIENCE_S
    while waits.exists() and not done.exists() and time.monotonic() < end:
        time.sleep(0.02)


def table_of(job):
    """Return a table whose figures follow from the knob and the seed: dearer is better, seed 1 better still."""
    from edgephys.compress.stage_digest import digests

    lut = round(1e-2 / job.pipeline.stages[0].lut_cost) + job.seed
    row = {
        "metrics": {"accuracy": 0.5 + lut * 1e-7 - job.seed * 1e-3, "accuracy_error": 0.004, "jets": 18900},
        **dict.fromkeys(("weights", "nonzero", "digits", "ebops"), 100),
        "lut_estimate": lut,
        "cycles_estimate": 10,
        "seconds": 1.0,
    }
    if job.measurement is not None:
        measured = {"lut": 2 * lut, "lut_stage": "synthesised", "latency_cycles": 11, "failures": [], "provenance": {}}
        row["measured"] = measured
    return {"seed": job.seed, "rows": [{**row, "digest": done[0]} for done in digests(job)]}


# Plain work, of plain orders -----------------------------------------------------------------------


def doubled(job):
    return f"{job} twice, by {os.getpid()}"


def killed(job):
    os.kill(os.getpid(), 9)


def deadly(job):
    if job == "deadly":
        time.sleep(1)  # a worker that dies as it begins is another failure, and is not restarted
        killed(job)


def unforeseen(job):
    with Path(job).open("a") as book:
        book.write("tried\n")
    raise RuntimeError("nobody foresaw this")


def interrupted(job):
    """Begin, and tell when interrupted."""
    try:
        Path(job).write_text("begun")
        time.sleep(PATIENCE_S)
    except KeyboardInterrupt:
        Path(job).write_text("cleared up")
        raise


def once_told(job):
    """Wait for one file, if there is one to wait for, and make another."""
    told, done = job
    end = time.monotonic() + PATIENCE_S
    while told and not told.exists() and time.monotonic() < end:
        time.sleep(0.02)
    if done:
        done.touch()
