"""Measure HGQ2 on our jets: the same network, trained with learned bit-widths, through the same synthesis.

    .venv/bin/python compress/rival/rival.py --model models/zoo/jet_deepsets_n8_8bit --data data/jets_train.h5 \
        --test-data models/samples/jets.h5 --beta 3e-7 1e-6 3e-6 1e-5 --seed 1 2 3

This part runs in our environment: it writes the jets as the model reads them, creates the rival's environment (hgq2
has a module ``qkeras`` of its own, so that the two cannot share one), trains in it once for each beta and seed, chooses
epochs from the fronts of these trainings by validation jets, has them converted, synthesises the Verilog, and writes
the table after each. Each step is skipped where its result exists.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgq2_front import Epoch, epochs_of, front, limits_of
from hgq2_front import chosen as choose
from rich.console import Console
from rival_export import LAYERS, TABLES, arrays, export, network_of, save_jets, settings_of
from rival_steps import converted, interpreter, say, synthesised, trained_in
from rival_table import front_of, joined, read, row_of, table

from edgephys.applications.jets.task import of_trained
from edgephys.core.errors import EdgephysError, UsageError
from edgephys.models.trained import Trained, load
from edgephys.report import render

CHOICE = """\
Every training writes validation accuracy and EBOPs after each epoch, and stores the weights of the epochs on their
front. For each seed, the epochs of all betas together, and for each limit of --limit, the most accurate epoch on the
validation jets among those of at most so many EBOPs is converted and synthesised, and gets a row. Without --limit
there are three, evenly apart in the logarithm, from the cheapest epoch within 4 points of accuracy of the best one to
the best one, over all seeds. Test jets choose nothing.
"""
POSITIVE = ("beta", "limit", "epochs", "batch", "learning_rate", "cycle")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.  Raises: UsageError for a number that must be above 0."""
    parser = argparse.ArgumentParser(
        description="Train the same network with HGQ2 and synthesise it as ours.",
        epilog=CHOICE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", type=Path, nargs="+", required=True, help="trained models whose jets and networks are used"
    )
    parser.add_argument("--data", type=Path, required=True, help="the jets that they were trained on")
    parser.add_argument("--test-data", type=Path, help="their test jets; without them a share of --data")
    parser.add_argument("--jets", type=int, help="train on so many jets only")
    parser.add_argument(
        "--layers",
        choices=(LAYERS, TABLES),
        default=LAYERS,
        help=f"{LAYERS}: the model's network in layers of HGQ2; {TABLES}: the network on sets of HGQ-LUT, of its own "
        "widths, on the model's jets",
    )
    parser.add_argument(
        "--beta", type=float, nargs="+", required=True, help="prices of an EBOP in the loss, a training each"
    )
    parser.add_argument(
        "--beta-rises",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let beta rise as for the public models of JEDI-linear: linearly from 1/150 to 1/10 of it over the first "
        "2/7 of the epochs, then to the whole along a logarithm; of tables from 1/2000 along a logarithm over the last "
        "half, as for HGQ-LUT (default); without it beta is constant",
    )
    parser.add_argument("--limit", type=int, nargs="+", help="limits of EBOPs, a row each; see below")
    parser.add_argument("--rounding", choices=("RND", "TRN"), default="RND", help="of activations")
    parser.add_argument("--epochs", type=int, default=216)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="at the start of each cycle")
    parser.add_argument(
        "--cycle",
        type=int,
        default=54,
        help="epochs in which the learning rate falls along half a cosine; then it starts again (default: 54, about as "
        "many steps as for the public models)",
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--work", type=Path, default=Path("runs/rival"), help="environment, jets, networks, Verilog")
    parser.add_argument("--out", type=Path, default=Path("hls_projects/results/rival"), help="OUT.json, .md, .csv")
    parser.add_argument("--no-install", action="store_true", help="fail where the environment is missing")
    parser.add_argument("--no-convert", action="store_true", help="only train, to choose beta; adds no row")
    parser.add_argument("--no-synth", action="store_true", help="keep alkaid's estimate of the LUTs")
    parser.add_argument("--flat", action="store_true", help="synthesise the whole design at once")
    parser.add_argument("--train-seconds", type=float, default=86400.0, help="limit of one training")
    parser.add_argument("--synth-seconds", type=float, default=3600.0)
    parser.add_argument("--memory-gb", type=float, default=8.0)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args(words)
    for name in POSITIVE:
        values = getattr(chosen, name)
        for value in values if isinstance(values, list) else [1 if values is None else values]:
            if not value > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0, not {value:g}")
    return chosen


def measure(chosen: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure each model and return the record of the table, which is written after each row."""
    write = render.writer(None if chosen.no_convert else chosen.out, table)
    chosen.work = chosen.work.absolute()  # the tools run elsewhere
    python = interpreter(chosen.work / ".venv", make=not chosen.no_install)
    record = read(chosen.out.with_name(f"{chosen.out.name}.json"))
    trained_models = [load(model) for model in chosen.model]
    for trained in trained_models:
        network_of(trained, chosen.layers)  # before hours of training on another one
    for trained in trained_models:
        record = of_model(trained, chosen, python, record, command, write)
    return record


def of_model(
    trained: Trained, chosen: argparse.Namespace, python: Path, record: dict[str, Any], command: str, write: Any
) -> dict[str, Any]:
    """Train a model's network for each seed and beta, then measure the epochs chosen; return the record with them."""
    task = of_trained(trained, chosen.data, chosen.test_data)
    runs, epochs = {}, []
    for seed in chosen.seed:
        jets_file = save_jets(arrays(task, chosen.jets, seed), chosen.work)
        for beta in chosen.beta:
            settings = settings_of(trained, task, chosen, jets_file, beta, seed)
            folder = export(settings, chosen.work)
            training = trained_in(folder, python, chosen.train_seconds)
            runs[str(folder)] = settings, training
            own = epochs_of(folder / "history.jsonl", str(folder))
            epochs += own
            record = joined(record, [], [front_of(settings, own)], command)
            best = front(own)[-1]
            say(f"{folder.name}: best epoch {best.number}, validation {best.accuracy:.4f}, {best.ebops:,} EBOPs")
    if chosen.no_convert:
        return record
    for limit, epoch, on_front in points(epochs, {name: one["seed"] for name, (one, _) in runs.items()}, chosen.limit):
        folder, (settings, training) = Path(epoch.run), runs[epoch.run]
        result = converted(folder, epoch.number, python, chosen.train_seconds)
        circuit = None if chosen.no_synth else synthesised(folder / f"epoch_{epoch.number}", result["top"], chosen)
        jets = len(task.test.labels)
        row = row_of(settings, chosen.beta, limit, epoch, on_front, training, result, circuit, jets)
        record = joined(record, [row], [], command)
        write(record)
        say(f"limit {limit:,}: test {row['accuracy']:.4f}, {row['lut']:,} LUT, {row['mismatches']} mismatches")
    return record


def points(
    epochs: Sequence[Epoch], seed_of: dict[str, int], stated: Sequence[int] | None
) -> list[tuple[int, Epoch, int]]:
    """Return limit, epoch and number of epochs on the front of each seed, for each limit that it meets."""
    limits = sorted(stated) if stated else limits_of(epochs)
    result = []
    for seed in sorted(set(seed_of.values())):
        own = [epoch for epoch in epochs if seed_of[epoch.run] == seed]
        best = choose(own, limits)
        for limit in limits:
            if limit in best:
                result.append((limit, best[limit], len(front(own))))
            else:
                say(f"seed {seed}: no epoch of at most {limit:,} EBOPs; train longer, or with a higher beta")
    return result


def main(words: Sequence[str] | None = None) -> None:
    """Run; end with a message of one line and status 1, or 2 for a usage error, where it fails."""
    stated = sys.argv[1:] if words is None else list(words)
    try:
        record = measure(arguments(stated), shlex.join(["python", "compress/rival/rival.py", *stated]))
        Console(highlight=False).print(render.shown(table(record)))
    except EdgephysError as error:
        say(" ".join(str(error).split()))
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    main()
