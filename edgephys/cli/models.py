"""Commands that make data and models, and say how good those are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from edgephys.cli.console import bar, give, say
from edgephys.cli.words import Force, Json, ModelFolder, line


def data_jets(
    out: Annotated[Path, typer.Option(help="HDF5 file to write.")],
    jets_per_class: Annotated[int, typer.Option(min=1, help="Jets of each of g, q, W, Z, t.")] = 20000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same file on any number of cores.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    as_json: Json = False,
) -> None:
    """Generate jets with Pythia 8 and FastJet in the layout of the public LHC jet files.

    \b
    Example: edgephys data jets --jets-per-class 20000 --seed 1 --out data/jets.h5
    """
    from edgephys.applications.jets.data.generate import generate

    with bar("jets", 5 * jets_per_class) as tick:
        generate(out, jets_per_class, seed, workers, lambda done, total: tick(done, total))
    record = {"file": str(out), "jets": 5 * jets_per_class, "seed": seed}
    give(as_json, record, lambda: f"{out}: {5 * jets_per_class} jets, seed {seed}")


def data_waves(
    out: Annotated[Path, typer.Option(help="HDF5 file to write; OUT.runs keeps what is done until it is whole.")],
    runs: Annotated[int, typer.Option(min=1, help="Runs, each with a medium and pulses of its own.")] = 256,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file on any number of cores.")] = 1,
    grid: Annotated[int, typer.Option(help="Points a side of the regular grid that frames are sampled on.")] = 64,
    frames: Annotated[int, typer.Option(help="Frames of a run; from one to the next a wave moves one cell.")] = 64,
    edges: Annotated[str, typer.Option(help="What the edge does: dirichlet, absorbing or both, mixed by run.")] = (
        "dirichlet"
    ),
    inclusions: Annotated[int, typer.Option(help="Most discs and boxes of another wave speed in a run.")] = 3,
    sources: Annotated[int, typer.Option(help="Most sources with a Ricker signal in a run; no frame shows them.")] = 0,
    refine: Annotated[int, typer.Option(help="Mesh cells a side in a cell of the grid.")] = 6,
    dt: Annotated[float | None, typer.Option(help="Time step; the longest stable one by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    as_json: Json = False,
) -> None:
    """Generate runs of the 2-D wave equation with finite elements (scikit-fem).

    \b
    Example: edgephys data waves --runs 256 --seed 1 --out data/waves.h5
    """
    from edgephys.applications.waves.data import files as waves
    from edgephys.applications.waves.data import runs as wave_runs

    plan = wave_runs.plan(seed, grid, frames, edges, inclusions, sources, refine, dt)
    with bar("waves", runs) as tick:
        waves.generate(out, runs, plan, workers, lambda done, total: tick(done, total))
    record = {
        "file": str(out), "runs": runs, "seed": seed, "grid": grid, "frames": frames, "edges": edges,
        "frame_dt": plan.frame_dt, "dt": plan.dt, "steps_per_frame": plan.steps, "mesh_cells": plan.cells,
    }  # fmt: skip
    shown = (
        f"{out}: {runs} runs of {frames} frames on {grid} x {grid} points, seed {seed}; {plan.steps} time steps "
        f"from frame to frame on 2 x {plan.cells} x {plan.cells} triangles"
    )
    give(as_json, record, lambda: shown)


def train(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="Training script, such as models/jet_deepsets.py.")],
    data: Annotated[Path, typer.Option(help="File of jets (or folder of them) or of waves.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; runs/<name> by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    test_data: Annotated[Path | None, typer.Option(help="Take what is tested from this file instead.")] = None,
    start: Annotated[Path | None, typer.Option(help="Begin from this trained model of the same widths.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a script's recipe; the test split is touched once, at the end.

    \b
    Example: edgephys train models/jet_deepsets.py --set constituents=16 --set bits=8 --data data/jets.h5 --out runs/n16
    """
    from edgephys.core.files import check_free
    from edgephys.models import trained as artefact
    from edgephys.train.fit import fit, script_recipe, with_settings

    recipe = with_settings(script_recipe(script), settings or [])
    folder = out or Path("runs") / recipe.name
    check_free(folder, artefact.CARD, force, "a model")
    say(f"train {recipe.name} on {data}" + (f", from {start}" if start else ""))
    beginning = artefact.load(start) if start else None
    with bar("epochs", recipe.epochs) as tick:

        def progress(epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
            told = {name: logs[name] for name in ("loss", "val_loss", "val_accuracy") if name in logs}
            tick(epoch, epochs, " ".join(f"{name} {value:.4f}" for name, value in told.items()))

        trained = fit(recipe, data, test_data, progress, beginning)
    artefact.save(trained, folder, force)
    card = trained.card
    keys = ("parameters", "seconds", "epochs_run", *(key for key in card if key.startswith("validation_")), "metrics")
    record = {"model": str(folder), "name": trained.name, **{key: card[key] for key in keys}}
    line = f"{folder}: {_told(card['metrics'], 'test ')}; {card['parameters']} parameters, {card['seconds']:.0f} s"
    give(as_json, record, lambda: line)


def _told(measured: Mapping[str, Any], which: str) -> str:
    """Return the figures of a tagger, or of a network that advances a wave, in words."""
    if "relative_l2" in measured:
        share, error = 100 * measured["relative_l2"], 100 * measured["relative_l2_error"]
        return f"relative L2 error of the next frame {share:.2f} ± {error:.2f} % on {measured['fields']} {which}fields"
    auc = " ".join(f"{name} {100 * area:.1f}" for name, area in measured["auc"].items())
    share, error = 100 * measured["accuracy"], 100 * measured["accuracy_error"]
    return f"accuracy {share:.2f} ± {error:.2f} % on {measured['jets']} {which}jets; AUC {auc}"


def score(
    model: ModelFolder,
    data: Annotated[Path, typer.Option(help="File of jets or waves that the model was not trained on.")],
    as_json: Json = False,
) -> None:
    """Measure a trained model on other jets (accuracy and AUC) or waves (relative L2 error of the next frame).

    \b
    Example: edgephys score models/zoo/jet_deepsets_n8_8bit --data data/jets.h5
    """
    from edgephys.applications.choose import score as measure
    from edgephys.models import trained as artefact

    measured = measure(artefact.load(model), data)
    line = f"{model}: {_told(measured, '')}"
    give(as_json, {"model": str(model), "metrics": measured}, lambda: line)


def cards(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained models.")],
    out: Annotated[Path, typer.Option(help="Write OUT.json and OUT.md.")] = Path("hls_projects/results/accuracy"),
    as_json: Json = False,
) -> None:
    """Put model cards into one table: accuracy and AUC, with their spread over the seeds given.

    \b
    Example: edgephys cards models/zoo/* --out hls_projects/results/accuracy
    """
    from edgephys.report import cards as house

    table = house.tabulate(models, line())
    house.write(table, out)
    give(as_json, table, lambda: house.shown(table))


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="QONNX model, such as Brevitas and hls4ml write.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; runs/<name of the file> by default.")] = None,
    input_format: Annotated[
        str | None, typer.Option(help="Format of the input, such as fixed<16,6>, where no Quant states it.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(help="A .npz with inputs, and perhaps labels; random inputs by default.")
    ] = None,
    count: Annotated[int, typer.Option(help="Random inputs that the model is proven on.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 1,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn a QONNX model into one of ours, proven against the file: emit, verify and report take it.

    \b
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to qonnx
    Example: edgephys import hls_projects/jet_deepsets_n8_8bit_qonnx/firmware/model.onnx --out runs/imported
    """
    from edgephys.core.fixed import Fixed
    from edgephys.models import imported as house

    folder = out or Path("runs") / file.stem
    say(f"import {file}")
    stated = None if input_format is None else Fixed.of_text(input_format)
    found = house.import_model(file, folder, stated, vectors, count, seed, force)
    told = found.card["imported"]
    record = {"model": str(folder), "name": found.name, "graph": found.graph.digest, **told}
    line = f"{folder}: {told['operators']} operators, {told['outputs_compared']:,} outputs equal to the file's in qonnx"
    give(as_json, record, lambda: line)
