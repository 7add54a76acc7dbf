"""The command line: commands in the street's order, files in between, one exit code per outcome.

Exit codes: 0 done, 1 a failure explained on one line, 2 a usage error. With --json, one JSON document
on stdout and everything else on stderr. Heavy libraries are loaded by the command that needs them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from edgephys import __version__
from edgephys.console import bar, begin, fail, give, say, stage_progress
from edgephys.errors import EdgephysError, UsageError

EXAMPLES = """From a trained physics model to silicon, with the same integers on every target.

A walk down the street, on the jets that the repository ships:

\b
  edgephys train models/jet_deepsets.py --set bits=6 --data models/samples/jets.h5 --out runs/tagger
  edgephys explain runs/tagger
  edgephys emit runs/tagger --to rtl --out hls_projects/tagger_rtl
  edgephys verify hls_projects/tagger_rtl
  edgephys report hls_projects/tagger_rtl
"""

STREET = (
    "data",
    "train",
    "score",
    "cards",
    "compress",
    "gains",
    "pareto",
    "explain",
    "emit",
    "sweep",
    "verify",
    "report",
    "street",
    "scaling",
    "doctor",
)


class _Street(TyperGroup):
    """List the commands in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(STREET)


app = typer.Typer(
    cls=_Street,
    help=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Make training data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

INTERRUPTED = "interrupted; what stood before is unchanged"
TYPER_INTERRUPTED = 130

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output folder even if it is not ours.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.")]
ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of an emitted project.")]


def main() -> None:
    """Run the command line and exit with 0, 1 or 2."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    begin()
    if sys.argv[1:] in ([], ["data"]):
        sys.argv.append("--help")
    try:
        status = app(standalone_mode=False)
    except TyperException as error:  # what Typer makes of the words on the line
        fail(f"{error.format_message()}; see `edgephys {_command()}--help`", 2)
    except EdgephysError as error:
        fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        fail(INTERRUPTED, 1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fail(f"{error.strerror or error}{where}; what stood before is unchanged; check the folder and the disk", 1)
    except Exception as error:
        if os.environ.get("EDGEPHYS_TRACEBACK"):
            raise
        told = f"{type(error).__name__}: {error}"
        fail(f"unforeseen: {told}; EDGEPHYS_TRACEBACK=1 shows where; please report it", 1)
    if status == TYPER_INTERRUPTED:
        fail(INTERRUPTED, 1)
    sys.exit(status or 0)


def _command() -> str:
    """Return the command on the line, for a hint."""
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"{word} " if word in STREET else ""


def train_script(script: str) -> None:
    """Train a script's recipe with the options on its own command line."""
    sys.argv[1:] = ["train", script, *sys.argv[1:]]
    main()


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgephys {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options of the program itself."""


@data_app.command("jets")
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
    from edgephys.data.generate import generate

    with bar("jets", 5 * jets_per_class) as tick:
        generate(out, jets_per_class, seed, workers, lambda done, total: tick(done, total))
    record = {"file": str(out), "jets": 5 * jets_per_class, "seed": seed}
    give(as_json, record, lambda: f"{out}: {5 * jets_per_class} jets, seed {seed}")


@app.command()
def train(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="Training script, such as models/jet_deepsets.py.")],
    data: Annotated[Path, typer.Option(help="Jet file or folder of them.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the model; runs/<name> by default.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe.")] = None,
    test_data: Annotated[Path | None, typer.Option(help="Take the test jets from this file instead.")] = None,
    start: Annotated[Path | None, typer.Option(help="Begin from this trained model of the same widths.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a script's recipe; the test split is touched once, at the end.

    \b
    Example: edgephys train models/jet_deepsets.py --set constituents=16 --set bits=8 --data data/jets.h5 --out runs/n16
    """
    from edgephys import artefact
    from edgephys.train import fit, script_recipe, with_settings

    recipe = with_settings(script_recipe(script), settings or [])
    folder = out or Path("runs") / recipe.name
    artefact.check_free(folder, artefact.CARD, force, "a model")
    say(f"train {recipe.name} on {data}" + (f", from {start}" if start else ""))
    beginning = artefact.load(start) if start else None
    with bar("epochs", recipe.epochs) as tick:

        def progress(epoch: int, epochs: int, logs: Mapping[str, float]) -> None:
            tick(epoch, epochs, f"loss {logs.get('loss', 0):.4f} validation accuracy {logs.get('val_accuracy', 0):.4f}")

        trained = fit(recipe, data, test_data, progress, beginning)
    artefact.save(trained, folder, force)
    card = trained.card
    keys = ("parameters", "seconds", "epochs_run", "validation_accuracy", "metrics")
    record = {"model": str(folder), "name": trained.name, **{key: card[key] for key in keys}}
    measured = card["metrics"]
    auc = " ".join(f"{name} {100 * area:.1f}" for name, area in measured["auc"].items())
    line = (
        f"{folder}: accuracy {100 * measured['accuracy']:.2f} ± {100 * measured['accuracy_error']:.2f} % "
        f"on {measured['jets']} test jets; AUC {auc}; {card['parameters']} parameters, {card['seconds']:.0f} s"
    )
    give(as_json, record, lambda: line)


@app.command()
def score(
    model: ModelFolder,
    data: Annotated[Path, typer.Option(help="Jet file or folder of them, none of which the model was trained on.")],
    as_json: Json = False,
) -> None:
    """Measure a trained model's accuracy and AUC on other jets.

    \b
    Example: edgephys score models/zoo/jet_deepsets_n8_8bit --data data/other.h5
    """
    from edgephys import artefact
    from edgephys.train import score as measure

    measured = measure(artefact.load(model), data)
    auc = " ".join(f"{name} {100 * area:.1f}" for name, area in measured["auc"].items())
    share, error = 100 * measured["accuracy"], 100 * measured["accuracy_error"]
    line = f"{model}: accuracy {share:.2f} ± {error:.2f} % on {measured['jets']} jets; AUC {auc}"
    give(as_json, {"model": str(model), "metrics": measured}, lambda: line)


@app.command()
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

    table = house.tabulate(models, "edgephys " + " ".join(sys.argv[1:]))
    house.write(table, out)
    give(as_json, table, lambda: house.shown(table))


@app.command()
def compress(
    model: ModelFolder,
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="Stages in TOML, such as compress/jets.toml.")],
    data: Annotated[Path, typer.Option(help="The jets that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of the stages and of the last model.")],
    test_data: Annotated[Path | None, typer.Option(help="The model's test jets, if it has a file of them.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all stages.")] = 1,
    measure: Annotated[bool, typer.Option("--measure", help="Simulate and synthesise after every stage.")] = False,
    measure_last: Annotated[bool, typer.Option("--measure-last", help="Do so with the last model alone.")] = False,
    synth_seconds: Annotated[float, typer.Option(help="Seconds for each run of Yosys, which is one module.")] = 1800.0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline of compression stages; show what each cost and bought. A second start goes on.

    \b
    Example: edgephys compress models/zoo/jet_deepsets_n8_8bit compress/sparse.toml --data jets.h5 --out runs/sparse
    """
    from edgephys.pipelines.recipe import read
    from edgephys.pipelines.run import Order, run
    from edgephys.report import scaling
    from edgephys.report.compression_page import shown

    plan = scaling.Plan(synth_seconds=synth_seconds, force=force) if measure or measure_last else None
    last = measure_last and not measure
    order = Order(model, read(pipeline), data, test_data, out, seed, plan, force, measured_last=last)
    table = run(order, say, stage_progress, "edgephys " + " ".join(sys.argv[1:]))
    give(as_json, table, lambda: shown(table))


@app.command()
def gains(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Finished folders of `edgephys compress`.")],
    beside: Annotated[list[Path] | None, typer.Option(help="Tables in JSON whose models stand beside them.")] = None,
    out: Annotated[Path, typer.Option(help="Write OUT.json and OUT.md.")] = Path("hls_projects/results/compression"),
    as_json: Json = False,
) -> None:
    """Put finished pipelines into one table, beside the uniform models of the same networks.

    \b
    Example: edgephys gains runs/frugal_n8 runs/frugal_n16 --beside hls_projects/results/scaling.json
    """
    from edgephys.report import compression_page as pages
    from edgephys.report.gains import tabulate

    table = tabulate(runs, beside or [], "edgephys " + " ".join(sys.argv[1:]))
    pages.write(table, out)
    give(as_json, table, lambda: pages.all_shown(table))


@app.command()
def pareto(
    model: ModelFolder,
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="Stages in TOML, with a [knob].")],
    data: Annotated[Path, typer.Option(help="The jets that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs, and of pareto.json, .md and .png.")],
    seeds: Annotated[str, typer.Option(help="Seeds of every value of the knob, such as 1,2,3.")],
    test_data: Annotated[Path | None, typer.Option(help="The model's test jets, if it has a file of them.")] = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers run.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes of this machine; else one run after another.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Simulate and synthesise every run's last model.")] = False,
    synth_seconds: Annotated[float, typer.Option(help="Seconds for each run of Yosys, which is one module.")] = 1800.0,
    beside: Annotated[Path | None, typer.Option(help="Scaling table in JSON that has the uniform models.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune-dominated", help="Remove the stages of dominated runs; their tables stay.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Sweep a pipeline's knob over seeds; keep the models that no other beats. A second start goes on.

    \b
    Example: edgephys pareto runs/tagger compress/frugal.toml --data jets.h5 --seeds 1,2,3 --out runs/front
    """
    if scheduler is not None and workers is not None:
        raise UsageError("--workers counts processes of this machine and --scheduler has workers of its own; give one")
    from functools import partial

    from edgephys.pipelines import cluster, local
    from edgephys.pipelines import pareto as house
    from edgephys.pipelines.recipe import read
    from edgephys.report import pareto_page as pages
    from edgephys.report import scaling

    carry: local.Carry = local.one_by_one if workers is None else local.Processes(workers)
    if scheduler is not None:
        carry = cluster.Cluster(scheduler, say)
    plan = scaling.Plan(to=("rtl",), synth_seconds=synth_seconds) if measure else None
    turned = read(pipeline.absolute())  # a worker may stand elsewhere
    of = house.Sweep(model, turned, data, test_data, out, house.numbers(seeds), plan, prune, beside, force)
    command = "edgephys " + " ".join(sys.argv[1:])
    work = partial(house.complete, command=command, say=say, progress=stage_progress)
    table = house.sweep(of, carry, work, command, say, lambda table: pages.write(table, out / "pareto"))
    give(as_json, table, lambda: pages.shown(table))
    house.require(table)


@app.command()
def explain(model: ModelFolder, as_json: Json = False) -> None:
    """Print every edge of a model's Graph: its format, its width and the reason for it.

    \b
    Example: edgephys explain models/zoo/jet_deepsets_n8_8bit
    """
    from edgephys.lower.ranges import derive, reason
    from edgephys.report.show import edges_table

    _, graph = _lowered(model)
    ranges = derive(graph)
    edges = [
        {
            "layer": node.layer,
            "edge": node.name,
            "shape": list(node.shape),
            "format": str(node.fixed),
            "bits": node.fixed.bits,
            "reason": reason(graph, node, ranges),
        }
        for node in graph.nodes
    ]
    give(as_json, {"model": str(model), "edges": edges}, lambda: edges_table(graph.name, edges))


@app.command()
def emit(
    model: ModelFolder,
    to: Annotated[str, typer.Option(help="Target: hls or rtl.")],
    out: Annotated[Path | None, typer.Option(help="Project folder; hls_projects/<model>_<target> by default.")] = None,
    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 5.0,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xcvu13p-flga2577-2-e",
    backend: Annotated[str | None, typer.Option(help="hls: hls4ml backend, Vitis by default.")] = None,
    language: Annotated[str | None, typer.Option(help="rtl: verilog (default) or vhdl.")] = None,
    cutoff_ns: Annotated[float | None, typer.Option(help="rtl: estimated ns of a stage; the clock by default.")] = None,
    vectors: Annotated[int | None, typer.Option(help="Held-out vectors that travel along; all by default.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Emit a synthesizable FPGA project from a trained model.

    \b
    Example: edgephys emit models/zoo/jet_deepsets_n8_8bit --to rtl --clock-ns 5
    """
    from edgephys.firmware import project

    options = _options_of(to, clock_ns, part, backend, language, cutoff_ns)
    trained, graph = _lowered(model)
    folder = out or Path("hls_projects") / f"{trained.name}_{to}"
    say(f"emit {graph.name} to {to}: {folder}")
    made = project.emit(graph, model, options, folder, force, vectors)
    files = sum(1 for path in made.firmware.rglob("*") if path.is_file())
    record = {"project": str(folder), "kind": made.kind, "files": files, "graph": graph.digest}
    give(as_json, record, lambda: f"{folder}: {files} files, graph {graph.digest[:12]}")


def _options_of(
    to: str, clock_ns: float, part: str, backend: str | None, language: str | None, cutoff_ns: float | None
) -> Any:
    from edgephys.firmware.hls import HlsOptions
    from edgephys.firmware.rtl import RtlOptions

    if to == "hls":
        if language is not None:
            raise UsageError("--language goes with --to rtl, not with --to hls; leave it out")
        if cutoff_ns is not None:
            raise UsageError("--cutoff-ns goes with --to rtl, not with --to hls; leave it out")
        return HlsOptions(backend=backend or "Vitis", part=part, clock_ns=clock_ns)
    if to == "rtl":
        if backend is not None:
            raise UsageError("--backend goes with --to hls, not with --to rtl; leave it out")
        return RtlOptions(language=language or "verilog", part=part, clock_ns=clock_ns, cutoff_ns=cutoff_ns)
    raise UsageError(f"--to must be hls or rtl, not {to}")


def _lowered(model: Path) -> tuple[Any, Any]:
    say("load Keras")
    from edgephys import artefact
    from edgephys.lower.from_keras import lower

    trained = artefact.load(model)
    return trained, lower(trained.model, trained.standardisation.output, trained.name)


@app.command()
def sweep(
    model: ModelFolder,
    clock_ns: Annotated[float, typer.Option(help="Clock period to meet after routing, in ns.")],
    out: Annotated[Path | None, typer.Option(help="Project kept; hls_projects/<model>_swept by default.")] = None,
    device: Annotated[str, typer.Option(help="Lattice ECP5: 12k, 25k, 45k or 85k.")] = "85k",
    cutoffs: Annotated[str | None, typer.Option(help="Estimated ns of a stage, such as 4,8,16; else found.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of the placement, 1 by default; give several.")] = None,
    vectors: Annotated[int | None, typer.Option(min=1, help="Held-out vectors; all by default.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each synthesis or routing job.")] = 3000.0,
    results: Annotated[Path, typer.Option(help="Write RESULTS.json, .md and .png.")] = Path(
        "hls_projects/results/pipelining"
    ),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Choose the pipelining: emit, simulate, place and route at several depths, keep the fastest that meets the clock.

    \b
    Example: edgephys sweep runs/demo --clock-ns 20 --out hls_projects/demo_swept
    """
    from edgephys import artefact
    from edgephys.firmware import project
    from edgephys.firmware.rtl import RtlOptions
    from edgephys.firmware.sweep import sweep as measure
    from edgephys.report import pipelining as house

    trained, graph = _lowered(model)
    folder = out or Path("hls_projects") / f"{trained.name}_swept"
    artefact.check_free(folder, project.MANIFEST, force, "a project")
    x = trained.held_out.inputs
    if vectors is not None and vectors > len(x):
        raise UsageError(f"--vectors must be 1..{len(x)} (what the model carries), not {vectors}")
    found = measure(graph, x[:vectors], clock_ns, device, _numbers(cutoffs), seed or [1], timeout, say)
    table = house.tabulate(found, graph.name, "edgephys " + " ".join(sys.argv[1:]))
    house.write(table, results)
    give(as_json, table, lambda: house.shown(table))
    chosen = found.require()
    options = RtlOptions(part=found.part, clock_ns=clock_ns, cutoff_ns=chosen.cutoff_ns)
    project.emit(graph, model, options, folder, force, vectors)
    say(f"kept {chosen.stages} stages: {folder}")


def _numbers(words: str | None) -> list[float] | None:
    try:
        return None if words is None else [float(word) for word in words.split(",")]
    except ValueError as error:
        raise UsageError(f"--cutoffs must be numbers of ns such as 4,8,16, not '{words}'") from error


@app.command()
def verify(
    project: ProjectFolder,
    data: Annotated[Path | None, typer.Option(help="Raw jets instead of the vectors that travel along.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --data: the most jets to take.")] = None,
    as_json: Json = False,
) -> None:
    """Compare Keras, the golden model and the simulated sources, bit for bit; any difference exits with 1.

    \b
    Example: edgephys verify hls_projects/jet_deepsets_n8_8bit_rtl --data models/samples/jets.h5
    """
    from edgephys import verify as house
    from edgephys.firmware.project import read
    from edgephys.report.show import targets_table

    if limit is not None and data is None:
        raise UsageError("--limit goes with --data; leave it out")
    opened = read(project)
    vectors = house.raw_vectors(opened, data, limit) if data is not None else None
    verified = house.verify(opened, vectors, say)
    record = verified.to_record()
    give(as_json, record, lambda: targets_table(record))
    verified.require()


@app.command()
def report(
    project: ProjectFolder,
    synth: Annotated[bool, typer.Option(help="Synthesise the RTL with Yosys where no cached result fits.")] = True,
    place: Annotated[bool, typer.Option("--place", help="Place and route on ECP5-85k for a routed clock.")] = False,
    flat: Annotated[bool, typer.Option("--flat", help="Also synthesise flat and show how the two agree.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each synthesis or routing job.")] = 3000.0,
    as_json: Json = False,
) -> None:
    """Gather every figure of a project with its provenance; what was not measured says why.

    \b
    Example: edgephys report hls_projects/jet_deepsets_n8_8bit_rtl --place
    """
    from edgephys.firmware.project import read
    from edgephys.report.gather import Wishes, gather, keep
    from edgephys.report.show import figures_table

    opened = read(project)
    figures = gather(opened, Wishes(synth=synth, place=place, flat=flat, timeout_s=timeout), say)
    record = keep(opened, figures)
    give(as_json, record, lambda: figures_table(opened.name, figures))


@app.command()
def street(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Reported projects, one row a model.")],
    out: Annotated[Path, typer.Option(help="Write OUT.json, OUT.md and OUT.png.")] = Path(
        "hls_projects/results/street"
    ),
    as_json: Json = False,
) -> None:
    """Put the reports of several projects into one table, one row a model.

    \b
    Example: edgephys street hls_projects/tagger_hls hls_projects/tagger_rtl --out hls_projects/results/mine
    """
    from edgephys.report import street as house

    table = house.tabulate([*projects], "edgephys " + " ".join(sys.argv[1:]))
    house.write(table, out)
    give(as_json, table, lambda: house.shown(table))


@app.command()
def scaling(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained models, float too.")],
    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 5.0,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xcvu13p-flga2577-2-e",
    to: Annotated[str, typer.Option(help="Targets of each model: hls, rtl or both.")] = "hls,rtl",
    synth_seconds: Annotated[float, typer.Option(help="Seconds for each run of Yosys, which is one module.")] = 1800.0,
    memory_gb: Annotated[float, typer.Option(help="Gigabytes for all runs of Yosys at a time, together.")] = 8.0,
    projects: Annotated[Path, typer.Option(help="Folder of the projects.")] = Path("hls_projects"),
    out: Annotated[Path, typer.Option(help="Write OUT.json, OUT.md and OUT.png after every row.")] = Path(
        "hls_projects/results/scaling"
    ),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Emit, verify and report every model, one row each; a second start goes on where the first one ended.

    \b
    Example: edgephys scaling models/zoo/* --synth-seconds 1800 --memory-gb 8
    """
    from edgephys.report import scaling as house
    from edgephys.report import scaling_page as pages

    targets = tuple(word for word in to.split(",") if word)
    plan = house.Plan(clock_ns, part, targets, synth_seconds, memory_gb, projects, force)
    command = "edgephys " + " ".join(sys.argv[1:])
    table = house.tabulate(models, plan, command, say, lambda table: pages.write(table, out))
    give(as_json, table, lambda: pages.shown(table))
    house.require(table)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say which outside tools are here, which are missing, and what to install.

    \b
    Example: edgephys doctor
    """
    from edgephys.firmware.tools import examine
    from edgephys.report.show import doctor_table

    found = examine()
    give(as_json, {"tools": found}, lambda: doctor_table(found))
    missing = [tool["name"] for tool in found if tool["needed"] and not tool["version"]]
    if missing:
        raise typer.Exit(1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
