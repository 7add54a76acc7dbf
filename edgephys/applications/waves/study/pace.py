"""What it takes to carry a wave one frame further: the solver on meshes of its own, networks on a processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import System, assemble
from edgephys.applications.waves.data.files import Waves
from edgephys.applications.waves.data.runs import RunPlan
from edgephys.applications.waves.study import roll_out
from edgephys.applications.waves.study.models import WaveModel
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.core.errors import UsageError

COARSE = (1, 2)
"""Mesh cells a side in a cell of the grid, beside those of the mesh that made the data."""

FINER = 2
"""The mesh that all errors are measured against: so many times as fine as that of the data."""

BATCHES = (1, 64)
RUNS = 12
"""Runs on which errors are measured; the finest mesh takes seconds for each."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Hold runs with what a finer mesh makes of them: the truth, from the first frame to the last one rolled out.

    Shape: truth (run, frame, row, column).
    """

    of: Waves
    horizon: Horizon
    plans: Mapping[int, RunPlan]
    truth: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Contestant:
    """Name what gives ``frames`` frames a call, with what else is to be known of it."""

    name: str
    frames: int
    work: Callable[[], object]
    facts: Mapping[str, Any]


def lay_out(of: Waves, horizon: Horizon, runs: int, say: Callable[[str], None]) -> Setting:
    """Solve the first runs of a file again on a finer mesh.

    Raises: UsageError where the file has fewer runs, or more than one start is asked for; DataError where its runs are
    too short; as ``wave_runs.plan``.
    """
    if not 2 <= runs <= len(of.frames):
        raise UsageError(f"runs must be 2..{len(of.frames)}, those of '{of.source}', not {runs}; set --runs")
    if len(horizon.starts) != 1:
        raise UsageError(f"a pace has one start, for the solver begins at the first frame, not {horizon.starts}")
    plans = {refinement: _plan(of, horizon, refinement) for refinement in (*COARSE, *_meshes(of))}
    first_runs = {name: getattr(of, name)[:runs] for name in ("frames", "speed", "records", "scenes")}
    few = replace(of, **first_runs)
    finest = max(plans)
    say(f"solving {runs} runs on the finest mesh, {plans[finest].cells} squares a side")
    return Setting(few, horizon, plans, solved(few, plans[finest]))


def _meshes(of: Waves) -> tuple[int, int]:
    """Return the refinement of the file's mesh, and that of the finer one."""
    grid = of.frames.shape[-1]
    own = int(of.records[0]["mesh_cells"]) // (grid + 1)
    return own, FINER * own


def _plan(of: Waves, horizon: Horizon, refinement: int) -> RunPlan:
    """Return the plan of a mesh, with the longest stable step that divides a frame."""
    edges = {scene.medium.edges for scene in of.scenes}
    inclusions = max(len(scene.medium.inclusions) for scene in of.scenes)
    frames = horizon.starts[0] + horizon.steps
    return wave_runs.plan(
        grid=of.frames.shape[-1],
        frames=frames,
        edges=wave_runs.BOTH if len(edges) > 1 else edges.pop(),
        inclusions=inclusions,
        refinement=refinement,
    )


def solved(of: Waves, by: RunPlan) -> NDArray[np.float64]:
    """Return the runs of a file as the solver makes them from their scenes.  Shape: (run, frame, row, column)."""
    whole = []
    for scene in of.scenes:
        frames = wave_runs.sampled(by, scene, assemble(scene.medium, by.cells))
        whole.append(np.stack(list(islice(frames, by.frames))))
    return np.stack(whole)


def solver_errors(setting: Setting, refinement: int) -> NDArray[np.float64]:
    """Return the error of a mesh at the frames that networks predict, begun at the first.  Shape: (run, step)."""
    start = setting.horizon.starts[0]
    frames = solved(setting.of, setting.plans[refinement])
    return roll_out.relative_errors(frames[:, start:], setting.truth[:, start:])


def network_errors(setting: Setting, member: WaveModel) -> NDArray[np.float64]:
    """Return the error of a network that is fed with its own frames.  Shape: (run, step)."""
    start = setting.horizon.starts[0]
    first = roll_out.first_frames(member.trained, setting.of, start)
    frames = roll_out.roll_out(member.trained.model, first, setting.horizon.steps)
    return roll_out.relative_errors(frames, setting.truth[:, start:])


def solvers(setting: Setting) -> list[Contestant]:
    """Return the solver on each mesh but the finest, a frame a call; assembled before, which is timed by itself."""
    contestants = []
    for refinement, by in sorted(setting.plans.items())[:-1]:
        medium = setting.of.scenes[0].medium
        assemble(medium, by.cells)  # the mesh itself, which all scenes share
        began = process_time()
        system = assemble(medium, by.cells)
        facts = {"refinement": refinement, "steps": by.steps, "setup_seconds": process_time() - began}
        contestants.append(Contestant(f"solver, {refinement}", 1, _frames(setting, by, system), facts))
    return contestants


def _frames(setting: Setting, by: RunPlan, system: System) -> Callable[[], object]:
    frames = wave_runs.sampled(by, setting.of.scenes[0], system)
    return lambda: next(frames)


def networks(models: Sequence[WaveModel], setting: Setting) -> list[Contestant]:
    """Return Keras on each network at each batch."""
    contestants = []
    for member in models:
        first = roll_out.first_frames(member.trained, setting.of, setting.horizon.starts[0])
        for batch in BATCHES:
            x = np.resize(first, (batch, *first.shape[1:]))
            facts = {"model": member.trained.name, "batch": batch, "parameters": member.trained.card.parameters}
            work = _predict(member.trained.model, x)
            contestants.append(Contestant(f"{member.trained.name}, Keras, {batch}", batch, work, facts))
    return contestants


def _predict(model: Any, x: Any) -> Callable[[], object]:
    return lambda: model.predict_on_batch(x)
