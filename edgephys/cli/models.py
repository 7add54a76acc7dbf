"""Commands that train, import and score models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from edgephys.cli.console import bar, give, note, say
from edgephys.cli.words import MOST_SEED, Force, Json, ModelFolder, TableOut, line

MOST_INPUTS = 10**6


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder for the files.")],
    as_json: Json = False,
) -> None:
    """Write files to start from: a training script, sample data and a compression pipeline; print what comes next.

    \b
    Example: edgephys init my_model
    """
    from edgephys.train import start

    files, commands = start.write(folder), start.commands(folder)
    record = {"folder": str(folder), "files": [str(path) for path in files], "commands": list(commands)}
    shown = "\n".join([f"{folder}: {', '.join(path.name for path in files)}. What comes next:", *commands])
    give(as_json, record, lambda: shown)


def train(
    script: Annotated[
        Path, typer.Argument(metavar="SCRIPT", help="Training script: models/jet_deepsets.py, or a function of yours.")
    ],
    data: Annotated[
        Path, typer.Option(help="Training data: your arrays (.npz, .csv, HDF5) with x and y; a file of jets, of waves.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; runs/<name> by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    test_data: Annotated[Path | None, typer.Option(help="File of the test split, instead of a part of --data.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="Start from the weights of this trained model, which has the same layers.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train the recipe of a script; the test split is used once, at the end.

    In a script of yours, a function `model` returns a Keras model; its arguments are settings. `edgephys train SCRIPT
    --help` lists the settings of a script.

    \b
    Example: edgephys train examples/my_model.py --data mine.npz --set width=32 --out runs/own
    Example: edgephys train models/jet_deepsets.py --set constituents=16 --set bits=8 --data data/jets.h5 --out runs/n16
    Example: edgephys train models/jet_tables.py --data models/samples/jets.h5 --out runs/tables
    """
    from edgephys.applications import registry
    from edgephys.core.files import check_free
    from edgephys.models import trained as artefact
    from edgephys.models.card import CARD
    from edgephys.train.fit import fit
    from edgephys.train.recipe import completed, with_settings
    from edgephys.train.script import script_recipe

    recipe = with_settings(script_recipe(script), settings or [])
    folder = out or Path("runs") / recipe.name
    check_free(folder, CARD, force, "a model")
    recipe, notes = completed(recipe, data)
    application = registry.of_network(recipe.net)
    say(f"train {recipe.name} on {data}" + (f", from {start}" if start else ""))
    for text in notes:
        note(text)
    initial = artefact.load(start) if start else None
    with bar("epochs", recipe.epochs) as tick:

        def progress(epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
            names = [name for name in ("loss", "val_loss", f"val_{application.score.key}") if name in logs]
            tick(epoch, epochs, " ".join(f"{name} {logs[name]:.4f}" for name in names))

        trained = fit(recipe, data, test_data, progress, initial)
    artefact.save(trained, folder, force)
    card, record = trained.card, trained.card.to_record()
    keys = ("parameters", "seconds", "epochs_run", *(key for key in record if key.startswith("validation_")), "metrics")
    record = {"model": str(folder), "name": trained.name, **{key: record[key] for key in keys}}
    metrics = application.describe(card.metrics, "test ")
    line = f"{folder}: {metrics}; {card.parameters} parameters, {card.seconds:.0f} s"
    give(as_json, record, lambda: line)


def settings(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="Training script, such as models/jet_deepsets.py.")],
    as_json: Json = False,
) -> None:
    """List what `--set KEY=VALUE` changes in a training script: keys, types and defaults.

    \b
    Example: edgephys settings models/jet_deepsets.py
    """
    from edgephys.report.settings import table

    rows = settings_in(script)
    give(as_json, {"script": str(script), "settings": rows}, lambda: table(script, rows))


def settings_in(script: Path) -> list[dict[str, str]]:
    """Return the settings of a training script.  Raises: UsageError as the reader of scripts."""
    from edgephys.train.script import script_recipe
    from edgephys.train.settings import settings_of

    return [setting.to_record() for setting in settings_of(script_recipe(script))]


class TrainCommand(TyperCommand):
    """Add the settings of a script to the help of `train`, where the command line names one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep the words, which the help reads before they are parsed."""
        ctx.meta["edgephys.words"] = list(args)
        return super().parse_args(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the help, with the settings of the script among the words."""
        text = super().get_help(ctx)
        script = next((Path(word) for word in ctx.meta.get("edgephys.words", ()) if word.endswith(".py")), None)
        if script is None:
            return f"{text}\n\nSettings of a script: edgephys train SCRIPT --help"
        rows = settings_in(script)
        lengths = [max(len(row[name]) for row in rows) for name in ("key", "kind")]
        lines = [
            f"  {row['key']:<{lengths[0]}}  {row['kind']:<{lengths[1]}}  {row['default']}  ({row['of']})".rstrip()
            for row in rows
        ]
        return "\n".join([f"{text}\n", f"Settings of {script} (--set KEY=VALUE): key, value, default", *lines])


def score(
    model: ModelFolder,
    data: Annotated[Path, typer.Option(help="File of data that the model was not trained on: jets, waves, or yours.")],
    as_json: Json = False,
) -> None:
    """Measure a model on other data: accuracy and AUC of classes, errors of numbers, the next frame of waves.

    \b
    Example: edgephys score models/zoo/jet_deepsets_n8_8bit --data data/jets.h5
    """
    from edgephys.applications import registry
    from edgephys.applications.arrays import imported
    from edgephys.models import trained as artefact
    from edgephys.models.card import read_card

    if read_card(model).imported is not None:
        application, metrics = imported.measured(model, data)
    else:
        trained = artefact.load(model)
        application = registry.of_card(trained.card)
        metrics = application.measure(trained, data)
    line = f"{model}: {application.describe(metrics)}"
    give(as_json, {"model": str(model), "metrics": metrics}, lambda: line)


def cards(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained models.")],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put model cards into one table: accuracy and AUC, or the error, with their spread over seeds.

    \b
    Example: edgephys cards models/zoo/* --out hls_projects/results/accuracy
    """
    from edgephys.report.cards import table, tabulate
    from edgephys.report.render import writer

    record = tabulate(models, line())
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Keras or QKeras model (.keras, .h5, .json) or QONNX model.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; runs/<name of the file> by default.")] = None,
    input_format: Annotated[
        str | None, typer.Option(help="Format of the input, such as fixed<16,6>, where no Quant node states it.")
    ] = None,
    output_format: Annotated[
        str | None, typer.Option(help="Format that the outputs of a Keras file are rounded to, where they are floats.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Your data (.npz, .npy, .csv, HDF5) with x and perhaps y; random inputs by default."),
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Of an ONNX file: a .npz with inputs, and labels if there are any.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(min=1, max=MOST_INPUTS, help="Random inputs that the model is compared on; a large one on fewer."),
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the random inputs.")] = 1,
    keep_softmax: Annotated[
        bool, typer.Option(help="Compute a softmax at the end, too; it is left out by default: the order is the same.")
    ] = False,
    softmax_bits: Annotated[
        int, typer.Option(min=1, max=16, help="Bits of a softmax that is computed, all behind the point.")
    ] = 12,
    softmax_entries: Annotated[
        int, typer.Option(min=16, max=4096, help="Most entries of each of the two tables of a softmax.")
    ] = 1024,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Import a model of yours, compared with its framework on many inputs; emit, verify and report then accept it.

    \b
    Example: edgephys import model.keras --data mine.npz --input-format 'fixed<12,4>' --out runs/mine
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to qonnx
    Example: edgephys import hls_projects/jet_deepsets_n8_8bit_qonnx/firmware/model.onnx --out runs/imported
    """
    from edgephys.core.errors import UsageError
    from edgephys.core.fixed import Fixed
    from edgephys.core.remedies import coming_in
    from edgephys.models.files.softmax import SoftmaxForm
    from edgephys.models.import_plan import ImportPlan
    from edgephys.models.importing import import_file

    folder = out or Path("runs") / file.stem
    say(f"import {file}")
    fixed, ends = (None if text is None else Fixed.of_text(text) for text in (input_format, output_format))
    if vectors is not None and file.suffix != ".onnx":
        raise UsageError("--vectors goes with an ONNX file; use --data")
    form = SoftmaxForm(keep_softmax, softmax_bits, softmax_entries)
    softmax = None if form == SoftmaxForm() else form
    with coming_in(file, data, folder):
        imported = import_file(file, folder, ImportPlan(fixed, ends, data, vectors, count, seed, softmax, force))
    model, warnings = imported.model, imported.warnings
    for warning in warnings:
        note(warning)
    facts = model.card.to_record()["imported"]
    exact = {"exact": not model.card.approximated, "warnings": list(warnings)}
    record = {"model": str(folder), "name": model.name, "graph": model.graph.digest, **facts, **exact}
    compared = f"{facts['outputs_compared']:,} outputs equal to the file's in {model.framework.tool[0]}"
    if model.card.approximated:
        compared += ", but for a softmax that is computed by tables"
    line = f"{folder}: {facts['operators']} operations, {compared}"
    give(as_json, record, lambda: line)


def quantise(
    file: Annotated[Path, typer.Argument(metavar="MODEL", help="Float Keras (.keras, .h5, .json) or ONNX model.")],
    data: Annotated[
        Path, typer.Option(help="Your data (.npz, .npy, .csv, HDF5) with x and perhaps y, for ranges and the score.")
    ],
    bits: Annotated[int, typer.Option(min=2, max=16, help="Bits of weights and activations.")] = 8,
    out: Annotated[Path | None, typer.Option(help="Folder of the model; runs/<name of the file> by default.")] = None,
    input_format: Annotated[
        str | None, typer.Option(help="Format of the input, such as fixed<12,4>; the data decide by default.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, max=10**6, help="Epochs of fine-tuning on the data; needs y.")] = 0,
    held_out: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the data that gives the score, and is not used for anything else."),
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of the held-out share and the tuning.")] = 1,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Quantise a float Keras or ONNX model with your data, and import it; emit, verify and report then accept it.

    Batch normalisations are folded. Weights and activations get a power of two of their own a tensor. The table of what
    each layer lost is written to OUT/quantised.json, .md and .csv.

    \b
    Example: edgephys quantise model.keras --data mine.npz --bits 8 --out runs/mine
    """
    from edgephys.core.fixed import Fixed
    from edgephys.report import quantisation, render
    from edgephys.train.quantise.run import Settings
    from edgephys.train.quantise.run import quantise as quantise_file

    folder = out or Path("runs") / file.stem
    fixed = None if input_format is None else Fixed.of_text(input_format)
    say(f"quantise {file} with {data}")
    settings = Settings(bits, fixed, epochs, held_out, seed)
    with bar("epochs", epochs) if epochs else nullcontext() as tick:
        record = quantise_file(file, data, folder, settings, force, _ticking(tick)).record
    table = quantisation.table(record)
    render.write(table, folder / "quantised")
    for warning in record["warnings"]:
        note(warning)
    end = f"{folder}: {quantisation.sentence(record)}; {record['outputs_compared']:,} outputs equal to Keras'"
    give(as_json, record, lambda: table, lambda: end)


def _ticking(tick: Callable[..., None] | None) -> Callable[[int, int, Mapping[str, float]], None] | None:
    """Return what shows an epoch with its loss."""
    if tick is None:
        return None
    return lambda epoch, epochs, logs: tick(epoch, epochs, f"loss {logs['loss']:.4f}")
