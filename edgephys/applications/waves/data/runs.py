"""Runs of waves drawn at random and sampled on a regular grid: what a network is to carry one frame further.

The grid is that of the points inside the square, x_i = (i + 1) / (grid + 1): a ring of zeros about it, as a convolution
pads, is the edge u = 0. From frame to frame a wave of speed 1 moves one cell of the grid, and lengths of pulses and
sources are drawn in cells, so that a smaller grid is the same task nearby, on a smaller stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from edgephys.applications.waves.data.equation import System, assemble, check_step, march, sampling
from edgephys.applications.waves.data.scene import (
    ABSORBING,
    EDGES,
    Box,
    Disc,
    Floats,
    Inclusion,
    Medium,
    Pulse,
    Scene,
    Source,
)
from edgephys.core import workers as pool
from edgephys.core.errors import UsageError

WHAT = "wave generation"
BOTH = "both"

SPEED = 1.0
SPEEDS = (0.6, 1.5)
"""Wave speeds of inclusions, drawn evenly; outside of them it is SPEED."""

PULSES = 3
PULSE_CELLS = (3.0, 6.0)
PULSE_WIDTH_MAX = 0.12
MARGIN_WIDTHS = 4.0
"""A pulse begins so many widths off the edge, where it has fallen to 1/3000 of its height."""

HALF_WIDTHS = (0.08, 0.22)
"""Of a box, and radii of a disc."""

SOURCE_CELLS = 2.0
WAVELENGTH_CELLS = (8.0, 16.0)
SPEED_SAMPLES = 4

GRID_MIN = math.ceil(PULSE_CELLS[0] / PULSE_WIDTH_MAX) - 1
CELLS_MAX = 2048
SEED_MAX = 2**32 - 1


@dataclass(frozen=True)
class RunPlan:
    """All that the runs of a file follow from; `plan` makes one that is checked.

    `refinement` is the number of mesh cells a side in a cell of the grid, `steps` those of `dt` between two frames.
    """

    seed: int
    grid: int
    frames: int
    edges: str
    inclusions: int
    sources: int
    refinement: int
    dt: float
    steps: int

    @property
    def cells(self) -> int:
        """Squares a side of the mesh, two triangles each."""
        return self.refinement * (self.grid + 1)

    @property
    def frame_dt(self) -> float:
        """Time from frame to frame."""
        return frame_dt(self.grid)


@dataclass(frozen=True, eq=False)
class RunArrays:
    """One run as a file holds it: frames (time, y, x), wave speed (y, x) and the record of all that made it."""

    frames: npt.NDArray[np.float32]
    speed: npt.NDArray[np.float32]
    record: dict[str, Any]


def frame_dt(grid: int) -> float:
    """Return the time from frame to frame: a wave of speed 1 moves one cell of the grid."""
    return 1.0 / ((grid + 1) * SPEED)


def plan(
    seed: int = 1,
    grid: int = 64,
    frames: int = 64,
    edges: str = EDGES[0],
    inclusions: int = 3,
    sources: int = 0,
    refinement: int = 6,
    dt: float | None = None,
) -> RunPlan:
    """Check what is asked for and choose the time step: the longest stable one that divides a frame.

    A `dt` that is given is shortened so that it divides a frame.

    Raises: UsageError on a number out of range and on an unstable time step; ToolError when scikit-fem is missing.
    """
    _check_range("seed", seed, 0, SEED_MAX)
    _check_range("grid", grid, GRID_MIN, CELLS_MAX - 1)
    _check_range("frames", frames, 3, 100_000)
    _check_range("inclusions", inclusions, 0, 100)
    _check_range("sources", sources, 0, 100)
    _check_range("refine", refinement, 1, CELLS_MAX // (grid + 1))
    if edges not in (*EDGES, BOTH):
        raise UsageError(f"{WHAT}: edges must be one of {', '.join((*EDGES, BOTH))}, not '{edges}'; set --edges")
    fastest = SPEEDS[1] if inclusions else SPEED
    hardest = Medium(fastest, (), ABSORBING if edges == BOTH else edges)  # no medium drawn has a shorter limit
    limit = assemble(hardest, refinement * (grid + 1)).dt_limit
    if dt is not None:
        check_step(dt, limit, f"lower --dt, or --refine (now {refinement})")
    steps = math.ceil(frame_dt(grid) / (limit if dt is None else dt) - 1e-9)
    return RunPlan(seed, grid, frames, edges, inclusions, sources, refinement, frame_dt(grid) / steps, steps)


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{WHAT}: {name} must be {low}..{high}, not {value}; set --{name}")


def draw(run_plan: RunPlan, index: int) -> Scene:
    """Draw the scene of a run; it depends on the seed and the run's number alone, not on how many there are."""
    random = np.random.default_rng([run_plan.seed, index])
    edges = str(random.choice(EDGES)) if run_plan.edges == BOTH else run_plan.edges
    inclusions = tuple(_inclusion(random) for _ in range(random.integers(0, run_plan.inclusions + 1)))
    pulses = tuple(_pulse(random, run_plan.grid) for _ in range(random.integers(1, PULSES + 1)))
    sources = tuple(_source(random, run_plan.grid) for _ in range(random.integers(0, run_plan.sources + 1)))
    return Scene(Medium(SPEED, inclusions, edges), pulses, sources)


def _inclusion(random: np.random.Generator) -> Inclusion:
    speed = float(random.uniform(*SPEEDS))
    half_width, half_height = (float(half) for half in random.uniform(*HALF_WIDTHS, 2))
    is_disc = random.random() < 0.5
    if is_disc:
        half_height = half_width
    x, y = (float(random.uniform(half, 1 - half)) for half in (half_width, half_height))
    return Disc(x, y, half_width, speed) if is_disc else Box(x, y, 2 * half_width, 2 * half_height, speed)


def _pulse(random: np.random.Generator, grid: int) -> Pulse:
    widest = min(PULSE_CELLS[1] / (grid + 1), PULSE_WIDTH_MAX)
    width = float(random.uniform(PULSE_CELLS[0] / (grid + 1), widest))
    x, y = (float(place) for place in random.uniform(MARGIN_WIDTHS * width, 1 - MARGIN_WIDTHS * width, 2))
    height = _height(random)
    if random.random() < 0.5:
        return Pulse(x, y, width, height)
    angle = float(random.uniform(0.0, 2.0 * math.pi))
    return Pulse(x, y, width, height, SPEED * math.cos(angle), SPEED * math.sin(angle))


def _source(random: np.random.Generator, grid: int) -> Source:
    width = SOURCE_CELLS / (grid + 1)
    x, y = (float(place) for place in random.uniform(MARGIN_WIDTHS * width, 1 - MARGIN_WIDTHS * width, 2))
    frequency = SPEED * (grid + 1) / float(random.uniform(*WAVELENGTH_CELLS))
    height = _height(random) * (2.0 * math.pi * frequency) ** 2  # u is then near 1 at the source
    return Source(x, y, width, height, frequency, float(random.uniform(1.0, 3.0)) / frequency)


def _height(random: np.random.Generator) -> float:
    return float(random.uniform(0.5, 1.0) * random.choice((-1.0, 1.0)))


def ticks(grid: int) -> Floats:
    """Return the coordinates of the grid: the points inside the square, the edge left out."""
    return (np.arange(grid) + 1.0) / (grid + 1)


def speed_map(medium: Medium, grid: int) -> Floats:
    """Return the wave speed on the grid, a geometric mean over each cell.

    Shape: (y, x).
    """
    offsets = ((np.arange(SPEED_SAMPLES) + 0.5) / SPEED_SAMPLES - 0.5) / (grid + 1)
    fine = (ticks(grid)[:, None] + offsets).ravel()
    logs = np.log(medium.speed_at(*np.meshgrid(fine, fine)))
    speeds: Floats = np.exp(logs.reshape(grid, SPEED_SAMPLES, grid, SPEED_SAMPLES).mean(axis=(1, 3)))
    return speeds


@lru_cache(maxsize=2)
def _sampling(cells: int, edges: str, grid: int) -> Any:
    x, y = np.meshgrid(ticks(grid), ticks(grid))
    return sampling(cells, edges, x.ravel(), y.ravel())


def simulate(run_plan: RunPlan, index: int) -> RunArrays:
    """Draw a run, solve it and sample it on the grid.

    Shape: frames (time, y, x), the first at time 0; speed (y, x).
    Raises: ToolError when the run was stopped; DataError when u is no longer finite.
    """
    scene = draw(run_plan, index)
    system = assemble(scene.medium, run_plan.cells)
    frames = np.empty((run_plan.frames, run_plan.grid, run_plan.grid), dtype=np.float32)
    for frame, u in enumerate(islice(sampled(run_plan, scene, system), run_plan.frames)):
        pool.check_going_on(WHAT)
        frames[frame] = u
    speed = speed_map(scene.medium, run_plan.grid).astype(np.float32)
    return RunArrays(frames, speed, _record(run_plan, index, scene, system))


def sampled(run_plan: RunPlan, scene: Scene, system: System) -> Iterator[Floats]:
    """Solve a scene by a plan's mesh and steps, and hand over its frames on the grid, without end.

    Shape: each (y, x).
    Raises: as ``march``.
    """
    at = _sampling(run_plan.cells, scene.medium.edges, run_plan.grid)
    for u in march(system, scene, run_plan.dt, run_plan.steps):
        yield (at @ u).reshape(run_plan.grid, run_plan.grid)


def _record(run_plan: RunPlan, index: int, scene: Scene, system: System) -> dict[str, Any]:
    """Return all that made a run, as plain JSON types."""
    return {
        "run": index,
        "seed": [run_plan.seed, index],
        **scene.to_record(),
        "grid": run_plan.grid,
        "mesh_cells": run_plan.cells,
        "dt": run_plan.dt,
        "steps_per_frame": run_plan.steps,
        "frame_dt": run_plan.frame_dt,
        "cfl": system.cfl(run_plan.dt),
    }
