"""The solver in C makes the frames of the one in numpy, to what float32 holds."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import assemble
from edgephys.applications.waves.data.scene import ABSORBING, DIRICHLET, Box, Disc, Medium, Pulse, Scene, Source
from edgephys.applications.waves.study.compiled_solver import CompiledSolver
from edgephys.core.errors import DataError, UsageError

GRID, FRAMES = 24, 20
PULSES = Pulse(0.4, 0.55, 0.07, 1.0, 0.6, -0.8), Pulse(0.62, 0.3, 0.06, -0.7)
INCLUSIONS = Disc(0.35, 0.4, 0.15, 0.6), Box(0.7, 0.65, 0.3, 0.2, 1.5)
SOURCE = Source(0.55, 0.3, 0.08, 40.0, 2.0, 0.4)
CLOSE = 16 * 2.0**-24
"""Of the largest value: a step rounds u by half a last digit of float32, 2^-25 of itself, at random, and there are up
to 260 steps, the root of which is 16; as many again for the roundings of what is added."""


def scene_of(edges: str, inclusions: tuple = INCLUSIONS, sources: tuple[Source, ...] = ()) -> Scene:
    return Scene(Medium(1.0, inclusions, edges), PULSES, sources)


def both(scene: Scene, refinement: int, frames: int = FRAMES):
    """Return the frames of a scene in C and in numpy, without the one at time 0."""
    by = wave_runs.plan(grid=GRID, frames=frames + 1, edges=scene.medium.edges, refinement=refinement)
    system = assemble(scene.medium, by.cells)
    in_numpy = np.stack(list(islice(wave_runs.sampled(by, scene, system), 1, frames + 1)))
    return CompiledSolver(by, scene, system).frames(frames), in_numpy


def gap(of_c, of_numpy) -> float:
    """Return the largest difference as a share of the largest value."""
    return float(np.abs(of_c - of_numpy).max() / np.abs(of_numpy).max())


@pytest.mark.parametrize("edges", [DIRICHLET, ABSORBING])
@pytest.mark.parametrize("refinement", [1, 2, 6])
def test_frames_in_c_are_those_of_numpy_within_any_edges_and_media_with_inclusions(edges, refinement):
    of_c, of_numpy = both(scene_of(edges), refinement)
    assert of_c.shape == (FRAMES, GRID, GRID) and of_c.dtype == np.float32
    assert gap(of_c, of_numpy) < CLOSE


@pytest.mark.parametrize("edges", [DIRICHLET, ABSORBING])
def test_frames_of_one_speed_alone_are_those_of_numpy(edges):
    assert gap(*both(scene_of(edges, ()), 2)) < CLOSE


@pytest.mark.parametrize("edges", [DIRICHLET, ABSORBING])
def test_sources_drive_the_solver_in_c_as_in_numpy(edges):
    of_c, of_numpy = both(scene_of(edges, sources=(SOURCE, Source(0.3, 0.7, 0.06, -30.0, 3.0, 0.2))), 2)
    quiet = both(scene_of(edges), 2)[1]
    assert gap(of_c, of_numpy) < CLOSE < 1e-2 < gap(of_numpy, quiet)


def test_the_tolerance_tells_a_medium_edges_and_a_mesh_from_others():
    of_c = both(scene_of(DIRICHLET), 2)[0]
    swapped = Disc(0.4, 0.35, 0.15, 0.6), Box(0.65, 0.7, 0.2, 0.3, 1.5)
    for other in (scene_of(DIRICHLET, swapped), scene_of(ABSORBING)):
        assert gap(of_c, both(other, 2)[1]) > 100 * CLOSE
    assert gap(of_c, both(scene_of(DIRICHLET), 1)[1]) > 100 * CLOSE


def test_every_call_begins_with_the_scene_again():
    by = wave_runs.plan(grid=GRID, frames=4, refinement=1)
    scene = scene_of(DIRICHLET)
    solver = CompiledSolver(by, scene, assemble(scene.medium, by.cells))
    first = solver.frames(3)
    assert np.array_equal(solver.frames(3), first) and np.array_equal(solver.frames(1), first[:1])


def test_a_field_that_is_not_finite_is_refused():
    by = wave_runs.plan(grid=GRID, frames=4, refinement=1)
    scene = scene_of(DIRICHLET)
    solver = CompiledSolver(by, scene, assemble(scene.medium, by.cells))
    solver.begin[0][GRID // 2, GRID // 2] = np.inf
    with pytest.raises(DataError, match="wave equation in C: u must be finite, found NaN or infinity in 2 frames"):
        solver.frames(2)


def test_an_unstable_step_and_the_system_of_another_medium_are_refused_as_in_numpy():
    by = wave_runs.plan(grid=GRID, frames=4, refinement=2)
    scene = scene_of(DIRICHLET)
    system = assemble(scene.medium, by.cells)
    with pytest.raises(UsageError, match=r"time step must be above 0 and at most .* \(CFL number 1\), not"):
        CompiledSolver(replace(by, dt=1.01 * system.dt_limit), scene, system)
    with pytest.raises(UsageError, match="the scene must be of the system's medium"):
        CompiledSolver(by, scene_of(DIRICHLET, ()), system)
