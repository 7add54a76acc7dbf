"""Commands of the waves: `edgephys data waves`, and the tables of wave networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgephys.cli.console import bar, give, say
from edgephys.cli.words import MOST, DataSeed, Json, TableOut, Workers, line
from edgephys.core.errors import UsageError

if TYPE_CHECKING:
    from edgephys.applications.waves.study.roll_out import Horizon


def data(
    out: Annotated[Path, typer.Option(help="HDF5 file to write; OUT.runs keeps what is done until it is whole.")],
    runs: Annotated[int, typer.Option(min=1, max=10**6, help="Runs, each with a medium and pulses of its own.")] = 256,
    seed: DataSeed = 1,
    grid: Annotated[
        int, typer.Option(min=1, max=2047, help="Points a side of the regular grid that frames are sampled on.")
    ] = 64,
    frames: Annotated[
        int, typer.Option(min=3, max=100_000, help="Frames of a run; from one to the next a wave moves one cell.")
    ] = 64,
    edges: Annotated[str, typer.Option(help="What the edge does: dirichlet, absorbing or both, mixed by run.")] = (
        "dirichlet"
    ),
    inclusions: Annotated[
        int, typer.Option(min=0, max=100, help="Most discs and boxes of another wave speed in a run.")
    ] = 3,
    sources: Annotated[
        int, typer.Option(min=0, max=100, help="Most sources with a Ricker signal in a run; no frame shows them.")
    ] = 0,
    refine: Annotated[int, typer.Option(min=1, max=1024, help="Mesh cells a side in a cell of the grid.")] = 6,
    dt: Annotated[
        float | None, typer.Option(min=1e-6, max=1, help="Time step; the longest stable one by default.")
    ] = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Generate runs of the 2-D wave equation with finite elements (scikit-fem).

    \b
    Example: edgephys data waves --runs 256 --seed 1 --out data/waves.h5
    """
    from edgephys.applications.waves.data import files as waves
    from edgephys.applications.waves.data import runs as wave_runs
    from edgephys.core.hdf5 import check_replaceable

    check_replaceable(out)
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


def waves(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained wave networks.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    out: TableOut = None,
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Frames that are rolled out.")] = 50,
    starts: Annotated[str, typer.Option(help="First frames that are predicted, such as 2,13.")] = "2,13",
    run: Annotated[
        int, typer.Option(min=0, max=MOST, help="The run that the pictures show, with the best networks.")
    ] = 0,
    beside: Annotated[Path | None, typer.Option(help="An earlier table of the same data: keep its rows.")] = None,
    as_json: Json = False,
) -> None:
    """Put wave networks into one table: their size and how their errors grow when they are rolled out.

    \b
    Example: edgephys waves models/waves/* --data data/waves.h5 --beside hls_projects/results/waves.json
    """
    from edgephys.applications.waves.study.shown_run import shown_run
    from edgephys.applications.waves.study.table import tabulate
    from edgephys.applications.waves.study.table_page import table
    from edgephys.report.render import writer

    horizon = _horizon(steps, starts)
    write = writer(out, lambda record: table(record, shown))
    shown = None if out is None else shown_run(models, data, horizon, run)
    record = tabulate(models, data, horizon, line(), say, beside)
    write(record)
    give(as_json, record, lambda: table(record))


def pace(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of wave networks, a seed of each.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    project: Annotated[list[Path] | None, typer.Option(help="A verified project of one of them; give several.")] = None,
    out: TableOut = None,
    runs: Annotated[int, typer.Option(min=1, max=MOST, help="Runs on which errors are measured.")] = 12,
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Frames that are rolled out, from the third on.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds in which all are timed in turns.")] = 9,
    as_json: Json = False,
) -> None:
    """Measure the time of a frame and its error: the solver in numpy and C, networks in Keras, C and firmware.

    \b
    Example: edgephys pace models/waves/* --data data/waves.h5 --project hls_projects/wave_cnn_n32_cp12_8bit_rtl
    """
    from edgephys.core.machine import one_core

    command = line()
    with one_core():  # before anything is loaded that starts threads
        from edgephys.applications.waves.study.pace_page import table
        from edgephys.applications.waves.study.pace_table import tabulate
        from edgephys.applications.waves.study.roll_out import Horizon
        from edgephys.report.render import writer

        write = writer(out, table)
        record = tabulate(models, project or [], data, Horizon(steps, (2,)), runs, rounds, command, say)
    write(record)
    give(as_json, record, lambda: table(record))


def dispersion(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained wave networks.")],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Measure the phase velocity of each wavelength and the shape of a pulse, for the solver and wave networks.

    \b
    Example: edgephys dispersion models/waves/full_8bit models/waves/cp12_8bit
    """
    from edgephys.applications.waves.study.dispersion_table import table, tabulate
    from edgephys.report.render import writer

    write = writer(out, table)
    record = tabulate(models, line(), say)
    write(record)
    give(as_json, record, lambda: table(record))


def rollout(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Folders of emitted wave networks.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    out: TableOut = None,
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Frames that are rolled out.")] = 50,
    starts: Annotated[str, typer.Option(help="First frames that are predicted, such as 2,13.")] = "2,13",
    fields: Annotated[int, typer.Option(min=1, max=MOST, help="Most fields that are rolled out.")] = 128,
    as_json: Json = False,
) -> None:
    """Feed emitted programs with their own frames, and compare every integer with the golden model.

    \b
    Example: edgephys rollout hls_projects/wave_cnn_n32_cp12_8bit_rtl --data data/waves.h5
    """
    from edgephys.applications.waves.study.firmware import require, table, tabulate
    from edgephys.report.render import writer

    write = writer(out, table)
    record = tabulate(projects, data, _horizon(steps, starts), fields, line(), say)
    write(record)
    give(as_json, record, lambda: table(record))
    require(record)


def _horizon(steps: int, starts: str) -> Horizon:
    from edgephys.applications.waves.study.roll_out import Horizon

    try:
        return Horizon(steps, tuple(int(word) for word in starts.split(",")))
    except ValueError:
        raise UsageError(
            f"--starts must be whole numbers with commas between them, such as 2,13, not {starts}"
        ) from None
