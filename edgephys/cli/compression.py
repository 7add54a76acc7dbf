"""Commands that make a model's circuit smaller, and say by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import give, say, stage_progress
from edgephys.cli.words import Force, Json, ModelFolder, TableOut, line
from edgephys.core.errors import UsageError


def compress(
    model: ModelFolder,
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="Stages in TOML, such as compress/frugal.toml.")],
    data: Annotated[Path, typer.Option(help="The data that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of the stages and of the last model.")],
    test_data: Annotated[Path | None, typer.Option(help="The model's test data, if in another file.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all stages.")] = 1,
    measure: Annotated[bool, typer.Option("--measure", help="Simulate and synthesise after every stage.")] = False,
    measure_last: Annotated[bool, typer.Option("--measure-last", help="Do so with the last model alone.")] = False,
    synth_seconds: Annotated[float, typer.Option(help="Seconds for each run of Yosys, which is one module.")] = 1800.0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline of compression stages; show what each cost and bought. A second start goes on.

    \b
    Example: edgephys compress models/zoo/jet_deepsets_n8_8bit compress/frugal.toml --data data/jets.h5 --out runs/small
    """
    from edgephys.compress.pipeline_file import read
    from edgephys.compress.run_pipeline import Order, run
    from edgephys.report.compression import pipeline_table
    from edgephys.workflow.firmware import FirmwarePlan

    plan = FirmwarePlan(synth_seconds=synth_seconds, force=force) if measure or measure_last else None
    last = measure_last and not measure
    order = Order(model, read(pipeline), data, test_data, out, seed, plan, force, measured_last=last)
    record = run(order, say, stage_progress, line())
    give(as_json, record, lambda: pipeline_table(record))


def gains(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of `edgephys compress`, or one of many.")
    ],
    beside: Annotated[list[Path] | None, typer.Option(help="Tables in JSON whose models stand beside them.")] = None,
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put finished pipelines into one table, beside the uniform models of the same networks.

    \b
    Example: edgephys gains runs/small --beside hls_projects/results/uniform.json
    """
    from edgephys.report.compression import table
    from edgephys.report.gains import tabulate
    from edgephys.report.render import writer

    record = tabulate(runs, beside or [], line())
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def pareto(
    model: ModelFolder,
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="Stages in TOML, with a [knob].")],
    data: Annotated[Path, typer.Option(help="The data that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs, and of pareto.json, .md and .png.")],
    seeds: Annotated[str, typer.Option(help="Seeds of every value of the knob, such as 1,2,3.")],
    test_data: Annotated[Path | None, typer.Option(help="The model's test data, if in another file.")] = None,
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
    Example: edgephys pareto runs/n16 compress/frugal.toml --data data/jets.h5 --seeds 1,2,3 --out runs/front
    """
    if scheduler is not None and workers is not None:
        raise UsageError("--workers counts processes of this machine and --scheduler has workers of its own; give one")
    from functools import partial

    from edgephys.compress import dask_executor, local_executor, pareto_sweep
    from edgephys.compress.pipeline_file import read
    from edgephys.report.pareto import table
    from edgephys.report.render import writer
    from edgephys.workflow.firmware import FirmwarePlan

    carry: local_executor.Carry = local_executor.one_by_one if workers is None else local_executor.Processes(workers)
    if scheduler is not None:
        carry = dask_executor.Cluster(scheduler, say)
    plan = FirmwarePlan(to=("rtl",), synth_seconds=synth_seconds) if measure else None
    turned = read(pipeline.absolute())  # a worker may stand elsewhere
    of = pareto_sweep.Sweep(
        model, turned, data, test_data, out, pareto_sweep.numbers(seeds), plan, prune, beside, force
    )
    command = line()
    work = partial(pareto_sweep.complete, command=command, say=say, progress=stage_progress)
    record = pareto_sweep.sweep(of, carry, work, command, say, writer(out / "pareto", table))
    give(as_json, record, lambda: table(record))
    pareto_sweep.require(record)
