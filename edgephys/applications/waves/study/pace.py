"""What it takes to carry a wave one frame further: the solver on meshes of its own, in numpy and in C, and Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from time import process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Floats
from edgephys.applications.waves.channels import reached_from
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import System, assemble
from edgephys.applications.waves.data.files import Waves
from edgephys.applications.waves.data.runs import RunPlan
from edgephys.applications.waves.study import roll_out
from edgephys.applications.waves.study.compiled_solver import CompiledSolver
from edgephys.applications.waves.study.models import WaveModel
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.core.errors import UsageError

COARSE = (1, 2)
"""Mesh cells a side in a cell of the grid, beside those of the mesh that made the data."""

FINER = 2
"""The mesh that all errors are measured against: so many times as fine as that of the data."""

SOLVER, COMPILED, KERAS = "solver", "solver in C", "Keras"

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

    kind: str
    name: str
    frames: int
    work: Callable[[], object]
    facts: Mapping[str, Any]


def lay_out(of: Waves, horizon: Horizon, runs: int, say: Callable[[str], None], reach: int | None = None) -> Setting:
    """Solve the first runs of a file again on a finer mesh, ``reach`` frames from the start on: by default its steps.

    Raises: UsageError where the file has fewer runs, or more than one start is asked for; DataError where its runs are
    too short; as ``wave_runs.plan``.
    """
    if not 2 <= runs <= len(of.frames):
        raise UsageError(f"runs must be 2..{len(of.frames)}, those of '{of.source}', not {runs}; set --runs")
    if len(horizon.starts) != 1:
        raise UsageError(f"a pace has one start, for the solver begins at the first frame, not {horizon.starts}")
    plans = {
        refinement: _plan(of, horizon.starts[0] + (reach or horizon.steps), refinement)
        for refinement in (*COARSE, *_meshes(of))
    }
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


def _plan(of: Waves, frames: int, refinement: int) -> RunPlan:
    """Return the plan of a mesh, with the longest stable step that divides a frame."""
    edges = {scene.medium.edges for scene in of.scenes}
    inclusions = max(len(scene.medium.inclusions) for scene in of.scenes)
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
    end = start + setting.horizon.steps
    return roll_out.relative_errors(frames[:, start:end], setting.truth[:, start:end])


def compiled_errors(setting: Setting, refinement: int) -> NDArray[np.float64]:
    """Return the same of the solver in C, in float32.  Shape: (run, step)."""
    start, by = setting.horizon.starts[0], setting.plans[refinement]
    frames = [
        CompiledSolver(by, scene, assemble(scene.medium, by.cells)).frames(by.frames - 1) for scene in setting.of.scenes
    ]
    end = start + setting.horizon.steps
    return roll_out.relative_errors(np.stack(frames)[:, start - 1 : end - 1], setting.truth[:, start:end])


def network_frames(setting: Setting, member: WaveModel) -> Floats:
    """Return what a network makes that is fed with its own frames.  Shape: (run, step, row, column)."""
    first = roll_out.first_frames(member.trained, setting.of, setting.horizon.starts[0])
    return roll_out.roll_out(member.trained.model, first, _calls(setting, member))


def network_errors(setting: Setting, member: WaveModel, frames: Floats) -> NDArray[np.float64]:
    """Return the error of frames that a network made.  Shape: (run, step)."""
    start, ready = setting.horizon.starts[0], member.trained.standardisation
    truth = reached_from(setting.truth, start, ready, _calls(setting, member))
    return roll_out.each_frame(roll_out.relative_errors(frames, truth), setting.horizon, ready)


def _calls(setting: Setting, member: WaveModel) -> int:
    return roll_out.calls(setting.horizon, member.trained.standardisation)


def solvers(setting: Setting) -> list[Contestant]:
    """Return the solver on each mesh but the finest, in numpy and in C, assembled before: that is timed by itself.

    In numpy a call gives a frame, in C all frames of a run from the scene on.
    """
    contestants = []
    for refinement, by in sorted(setting.plans.items())[:-1]:
        scene = setting.of.scenes[0]
        assemble(scene.medium, by.cells)  # the mesh itself, which all scenes share
        began = process_time()
        system = assemble(scene.medium, by.cells)
        facts: dict[str, Any] = {"refinement": refinement, "steps": by.steps, "setup_seconds": process_time() - began}
        contestants.append(Contestant(SOLVER, f"solver, {refinement}", 1, _frames(setting, by, system), facts))
        compiled = CompiledSolver(by, scene, system)
        frames = compiled.frames(by.frames - 1)
        facts = {**facts, "compiler": compiled.version, "flags": compiled.flags}
        work = partial(compiled.work, frames)
        contestants.append(Contestant(COMPILED, f"solver in C, {refinement}", len(frames), work, facts))
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
            contestants.append(
                Contestant(KERAS, f"{member.trained.name}, Keras, {batch}", batch * member.net.stride, work, facts)
            )
    return contestants


def _predict(model: Any, x: Any) -> Callable[[], object]:
    return lambda: model.predict_on_batch(x)
