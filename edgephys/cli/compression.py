"""Commands that make a model's circuit smaller, and show by how much."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from edgephys.cli.console import give, say, stage_progress
from edgephys.cli.words import MOST, MOST_SECONDS, MOST_SEED, MOST_WORKERS, Force, Json, ModelFolder, TableOut, line
from edgephys.core.errors import ProjectError, UsageError

Data = Annotated[Path, typer.Option(help="File or folder of the data that the model was trained on.")]
TestData = Annotated[Path | None, typer.Option(help="The model's test data, if they are in a file of their own.")]
RunScript = Annotated[
    list[Path] | None,
    typer.Option(metavar="SCRIPT", help="Training script that the pipeline may run, beside those in models/."),
]
SynthSeconds = Annotated[
    float, typer.Option(max=MOST_SECONDS, help="Time limit in seconds of each run of Yosys, one run a module.")
]


def compress(
    model: ModelFolder,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the stages and of the last model.")],
    pipeline: Annotated[
        Path | None, typer.Argument(metavar="[PIPELINE]", help="TOML of stages, such as compress/frugal.toml.")
    ] = None,
    test_data: TestData = None,
    target_luts: Annotated[
        float | None,
        typer.Option(min=0, max=MOST, help="Instead of PIPELINE: choose it for this share of LUTs, or this number."),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0.1, max=1e5, help="With --target-luts: time of it all; 30 by default.")
    ] = None,
    clock_ns: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="With --target-luts: clock of the estimate; 5 by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Seed of all stages.")] = 1,
    measure: Annotated[bool, typer.Option("--measure", help="Simulate and synthesise after every stage.")] = False,
    measure_last: Annotated[
        bool, typer.Option("--measure-last", help="Simulate and synthesise only the last model.")
    ] = False,
    synth_seconds: SynthSeconds = 1800.0,
    run_script: RunScript = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Run a pipeline of compression stages; show what each costs and saves. A second start resumes.

    \b
    Example: edgephys compress models/zoo/jet_deepsets_n8_8bit --data data/jets.h5 --target-luts 0.5 --out runs/half
    Example: edgephys compress models/zoo/jet_deepsets_n8_8bit compress/frugal.toml --data data/jets.h5 --out runs/small
    """
    if (pipeline is None) == (target_luts is None):
        raise UsageError(
            "compress: name a PIPELINE, such as compress/frugal.toml, or state --target-luts, such as 0.5 for half of "
            f"the LUTs; {'neither' if pipeline is None else 'both'} came"
        )
    if target_luts is None and (max_minutes is not None or clock_ns is not None):
        raise UsageError("--max-minutes and --clock-ns go with --target-luts; leave them out")
    from edgephys.compress.job import CompressionJob
    from edgephys.compress.pipeline_file import Pipeline, read
    from edgephys.compress.run_pipeline import run
    from edgephys.report import render
    from edgephys.report.compression import pipeline_table
    from edgephys.workflow.firmware import FirmwarePlan

    plan = FirmwarePlan(synth_seconds=synth_seconds, force=force) if measure or measure_last else None
    last = measure_last and not measure
    if target_luts is not None:
        from edgephys.compress.target_search import LutTarget, search
        from edgephys.report.target import table

        target = LutTarget(target_luts, max_minutes or LutTarget.minutes, clock_ns or LutTarget.clock_ns)
        begun = CompressionJob(model, Pipeline("", ()), data, test_data, out, seed, plan, force, measure_last=last)
        record = search(begun, target, say, stage_progress, line())
        render.write(table(record), out / "target")
        give(as_json, record, lambda: table(record))
        return
    stages = read(cast("Path", pipeline), run_script or ())
    job = CompressionJob(model, stages, data, test_data, out, seed, plan, force, measure_last=last)
    record = run(job, say, stage_progress, line())
    render.write(pipeline_table(record), out / "compression")
    give(as_json, record, lambda: pipeline_table(record))


def gains(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of `edgephys compress`, or one folder of many.")
    ],
    beside: Annotated[list[Path] | None, typer.Option(help="Tables in JSON with models to compare with.")] = None,
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put finished pipelines into one table, beside the uniform models of the same networks.

    \b
    Example: edgephys gains runs/small --beside hls_projects/results/uniform.json
    """
    from edgephys.core.reading import fitting
    from edgephys.report.compression import table
    from edgephys.report.gains import tabulate
    from edgephys.report.render import writer

    write = writer(out, table)
    tables = ", ".join(map(str, (*runs, *(beside or []))))
    with fitting(tables, "tables with the figures of models", ProjectError):
        record = tabulate(runs, beside or [], line())
        write(record)
        give(as_json, record, lambda: table(record))


def pareto(
    model: ModelFolder,
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="TOML of stages with a [knob].")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the runs, and of pareto.json, .md and .png.")],
    seeds: Annotated[str, typer.Option(help="Seeds for every value of the knob, such as 1,2,3.")],
    test_data: TestData = None,
    scheduler: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler of the workers.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(max=MOST_WORKERS, help="Number of processes on this machine; without it one run after another."),
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Simulate and synthesise every run's last model.")] = False,
    synth_seconds: SynthSeconds = 1800.0,
    beside: Annotated[Path | None, typer.Option(help="Scaling table in JSON with the uniform models.")] = None,
    prune: Annotated[
        bool, typer.Option("--prune-dominated", help="Remove the stages of dominated runs; their tables stay.")
    ] = False,
    run_script: RunScript = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Sweep a pipeline's knob over seeds; keep the models that no other one beats. A second start resumes.

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

    executor: local_executor.Executor = local_executor.one_by_one
    if workers is not None:
        executor = local_executor.ProcessExecutor(workers)
    if scheduler is not None:
        executor = dask_executor.DaskExecutor(scheduler, say)
    measurement = FirmwarePlan(to=("rtl",), synth_seconds=synth_seconds) if measure else None
    stages = read(pipeline.absolute(), run_script or ())  # a worker may have another working directory
    numbers = pareto_sweep.seed_numbers(seeds)
    plan = pareto_sweep.KnobSweep(model, stages, data, test_data, out, numbers, measurement, prune, beside, force)
    command = line()
    run_job = partial(pareto_sweep.complete, command=command, say=say, progress=stage_progress)
    record = pareto_sweep.sweep(plan, executor, run_job, command, say, writer(out / "pareto", table))
    give(as_json, record, lambda: table(record))
    pareto_sweep.require_finished(record)
