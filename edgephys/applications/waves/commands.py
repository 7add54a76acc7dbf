"""Commands of the waves: `edgephys data waves`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import bar, give
from edgephys.cli.words import Json


def data(
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
