"""A run for the pictures: the truth, the solver on the grid's own mesh, and networks that are rolled out beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.applications.task import Floats
from edgephys.applications.waves import task as advance
from edgephys.applications.waves.channels import centre
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import assemble
from edgephys.applications.waves.data.files import Waves
from edgephys.applications.waves.study import roll_out
from edgephys.applications.waves.study.models import WaveModel, distinct, wave_models
from edgephys.applications.waves.study.roll_out import Horizon
from edgephys.core.errors import UsageError

MOST_NETWORKS = 3


@dataclass(frozen=True, eq=False)
class Contender:
    """Name what made frames, and how large the error of each is.  Shape: frames (step, y, x), errors (step,)."""

    name: str
    frames: Floats
    errors: Any


@dataclass(frozen=True, eq=False)
class ShownRun:
    """Hold the frames of a run, and what others make of it.  Shape: truth (step, y, x)."""

    name: str
    truth: Any
    others: tuple[Contender, ...]


def shown_run(folders: Sequence[Path], data: Path, horizon: Horizon, run: int) -> ShownRun:
    """Return a run with the solver and the networks of least error at the end, one a kind, at most ``MOST_NETWORKS``.

    Networks that advance several frames at once are left out where others do not.
    Raises: UsageError for a run that the file does not have; as ``wave_models`` and ``fitting``.
    """
    networks = wave_models(folders)
    first = networks[0]
    of = advance.fitting(data, first.trained.standardisation, first.net.side, first.net.grid)
    if not 0 <= run < len(of.frames):
        raise UsageError(f"run must be 0..{len(of.frames) - 1}, the runs of '{data}', not {run}")
    start, stride = horizon.starts[0], min(member.net.stride for member in networks)
    truth = of.frames[run, start - 1 + stride : start + horizon.steps : stride]
    alike = [member for member in distinct(networks).values() if member.net.stride == stride]
    rolled = sorted((_network(member, of, start, run, truth) for member in alike), key=lambda one: one.errors[-1])
    solver = _contender("solver, 1 cell a point", _solved(of, run, start, len(truth), stride), truth)
    return ShownRun(f"run {run} of {data.name}", truth, (solver, *rolled[:MOST_NETWORKS]))


def _network(member: WaveModel, of: Waves, start: int, run: int, truth: Floats) -> Contender:
    first = roll_out.first_frames(member.trained, of, start)[run : run + 1]
    frames = centre(roll_out.roll_out(member.trained.model, first, len(truth))[0], member.net.grid)
    rank, bits = f", rank {member.net.rank}" if member.net.rank else "", member.net.bits or "float"
    return _contender(f"{member.net.structure}{rank}, {bits} bits", frames, truth)


def _solved(of: Waves, run: int, start: int, count: int, stride: int) -> Floats:
    """Return the frames that the solver makes from a run's scene on, on the mesh of the grid."""
    scene, needed = of.scenes[run], start + stride * count
    by = wave_runs.plan(
        grid=of.frames.shape[-1],
        frames=needed,
        edges=scene.medium.edges,
        inclusions=len(scene.medium.inclusions),
        refinement=1,
    )
    frames = np.stack(list(islice(wave_runs.sampled(by, scene, assemble(scene.medium, by.cells)), needed)))
    return frames[start - 1 + stride :: stride][:count].astype(np.float32)


def _contender(name: str, frames: Floats, truth: Floats) -> Contender:
    return Contender(name, frames, roll_out.relative_errors(frames[None], truth[None])[0])
