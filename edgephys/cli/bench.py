"""The command that measures latency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import give, say
from edgephys.cli.words import MOST, MOST_SECONDS, MOST_SEED, Json, TableOut, line


def bench(
    projects: Annotated[
        list[Path], typer.Argument(metavar="PROJECT...", help="Emitted projects; those of one Graph are one model.")
    ],
    out: TableOut = None,
    seconds: Annotated[
        float, typer.Option(max=MOST_SECONDS, help="Seconds of timing for each model, all targets together.")
    ] = 60.0,
    rounds: Annotated[int, typer.Option(max=10_000, help="Rounds, in each of which every target takes its turn.")] = 20,
    batch: Annotated[
        int | None, typer.Option(max=MOST, help="The large batch; 1024 by default, fewer of large inputs.")
    ] = None,
    seed: Annotated[int, typer.Option(max=MOST_SEED, help="Seed of the order within rounds.")] = 1,
    core: Annotated[int | None, typer.Option(max=65535, help="Core to measure on; the last one by default.")] = None,
    as_json: Json = False,
) -> None:
    """Measure latency and throughput of every target on one core, beside Keras, its own export and TFLite.

    \b
    Example: edgephys bench hls_projects/jet_deepsets_n8_8bit_c hls_projects/jet_deepsets_n8_8bit_onnx
    """
    from edgephys.bench.measure import BenchPlan, measure, save_in_projects, states_of
    from edgephys.report.bench import table
    from edgephys.report.render import writer

    plan = BenchPlan(seconds, rounds, batch, seed, core)
    states = states_of(projects)
    record = measure(projects, plan, line(), say, writer(out, table))
    save_in_projects(record, states)
    give(as_json, record, lambda: table(record))
