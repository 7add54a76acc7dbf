"""Numerical dispersion: how fast the solver and networks carry each wavelength, beside the exact speed.

The field is a Gaussian in x times sin(pi y), in the homogeneous square with u = 0 on the edge. There the modes
sin(n pi x) sin(pi y) are exact and each swings with omega_n = pi c sqrt(n^2 + 1); the grid's points are those of a
discrete sine transform, so that a frame falls into them without windows. Central differences of an exact mode obey
a(t + dt) + a(t - dt) = 2 cos(omega dt) a(t): the same relation, fitted to what a method makes, gives its omega.

Source: Trefethen, SIAM Rev. 24 (1982) 113 (dispersion of difference schemes); Hughes, The Finite Element Method (1987),
chapter 9 (the energy between two steps of central differences).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from edgephys.applications.waves.channels import centre, channels
from edgephys.applications.waves.data import runs as wave_runs
from edgephys.applications.waves.data.equation import assemble
from edgephys.applications.waves.data.runs import MARGIN_WIDTHS, PULSE_CELLS, PULSE_WIDTH_MAX, SPEED
from edgephys.applications.waves.data.scene import Band, Medium, Scene
from edgephys.applications.waves.study import roll_out
from edgephys.applications.waves.study.roll_out import BATCH
from edgephys.models.trained import Trained

Floats = npt.NDArray[np.float64]

FRAMES = 24
"""Frames of a band that a network is shown, or that the solver makes."""
HEIGHT = 0.75
MODES = 128
"""Of the exact solution; a band of training's widths has fallen to nothing far below."""
LEAST = 0.01
"""A mode that holds less than this share of the strongest is not in the pulses: nothing is said of it."""
NARROW_CELLS = 1.0
"""Width of the band that shows the solver, which is linear, beyond what training's pulses hold."""
NARROW_SHARE = 0.75
"""Share of the Nyquist wavenumber up to which the aliases on the grid are at least 200 times weaker."""


@dataclass(frozen=True, eq=False)
class Speeds:
    """State a method's phase velocity over the exact one, by mode, with its jackknife error over the bands.

    Shape: (mode,) each; NaN where the bands hold nothing, or a method turns a wave into growth.
    Units: `wavenumber` in radians a point of the grid.
    """

    wavenumber: Floats
    ratio: Floats
    error: Floats


def bands(grid: int) -> list[Band]:
    """Return bands with the widths and places of the training pulses, at rest and moving in both directions."""
    pulses = []
    for cells in np.linspace(PULSE_CELLS[0], PULSE_WIDTH_MAX * (grid + 1), 3):
        width = float(cells) / (grid + 1)
        for side in (-1, 1):
            x = 0.5 + side * max(0.0, 0.5 - MARGIN_WIDTHS * width)
            pulses += [Band(x, width, -side * HEIGHT, drift) for drift in (-SPEED, 0.0, SPEED)]
    return pulses


def exact(band: Band, grid: int, frames: int) -> Floats:
    """Return a band's frames in closed form, its modes by quadrature.  Shape: (frame, row, column)."""
    x = np.arange(16 * MODES + 1) / (16 * MODES)
    middle = np.full_like(x, 0.5)
    numbers = np.arange(1, MODES + 1)
    waves = np.sin(np.pi * numbers[:, None] * x)
    place, rate = (2.0 * waves @ of / (16 * MODES) for of in (band.field(x, middle), band.velocity(x, middle)))
    omega = np.pi * SPEED * np.sqrt(numbers**2 + 1.0)
    phases = np.arange(frames)[:, None] * wave_runs.frame_dt(grid) * omega
    swinging = place * np.cos(phases) + rate / omega * np.sin(phases)  # (frame, mode)
    ticks = wave_runs.ticks(grid)
    along = swinging @ np.sin(np.pi * numbers[:, None] * ticks)
    return np.asarray(along[:, None, :] * np.sin(np.pi * ticks)[:, None])


def amplitudes(frames: Any) -> Floats:
    """Return the modes sin(n pi x) sin(pi y) of frames, n = 1 to the grid.

    Exact: the grid's points are those of a discrete sine transform.
    Shape: (..., row, column) -> (..., mode).
    """
    grid = np.shape(frames)[-1]
    ticks = wave_runs.ticks(grid)
    modes = np.sin(np.pi * np.arange(1, grid + 1)[:, None] * ticks)
    rows = np.einsum("...yx,y->...x", np.asarray(frames, np.float64), modes[0])
    return np.asarray(rows @ modes.T * (2.0 / (grid + 1)) ** 2)


def speeds(before: Floats, now: Floats, after: Floats, least: float = LEAST) -> Speeds:
    """Fit cos(omega dt) to triples of amplitudes, by least squares, and return phase velocities over the exact ones.

    Shape: (band, time, mode) each.
    """
    grid = now.shape[-1]
    top, bottom = ((after + before) * now).sum(1), 2.0 * (now * now).sum(1)  # (band, mode)
    weak = np.sqrt(bottom.sum(0)) < least * np.sqrt(bottom.sum(0).max())
    omega = np.pi * SPEED * np.sqrt(np.arange(1, grid + 1) ** 2 + 1.0) * wave_runs.frame_dt(grid)

    def ratio(up: Floats, down: Floats) -> Floats:
        cosine = np.where(weak, np.nan, up / np.where(down > 0.0, down, 1.0))
        return np.asarray(np.arccos(np.where(np.abs(cosine) <= 1.0, cosine, np.nan)) / omega)

    count = len(top)
    without = np.stack([ratio(top.sum(0) - one, bottom.sum(0) - two) for one, two in zip(top, bottom, strict=True)])
    spread = np.sqrt((count - 1) / count * ((without - without.mean(0)) ** 2).sum(0)) if count > 1 else 0.0 * omega
    wavenumber = np.pi * np.arange(1, grid + 1) / (grid + 1)
    return Speeds(wavenumber, ratio(top.sum(0), bottom.sum(0)), np.asarray(spread))


def solved(band: Band, grid: int, refinement: int, frames: int = FRAMES) -> Floats:
    """Return a band's frames as the solver computes them.  Shape: (frame, row, column)."""
    by = wave_runs.plan(grid=grid, frames=frames, refinement=refinement)
    scene = Scene(Medium(SPEED), (band,))
    return np.stack(list(islice(wave_runs.sampled(by, scene, assemble(scene.medium, by.cells)), frames)))


def solver_speeds(grid: int, refinement: int) -> Speeds:
    """Return the solver's phase velocities, of a narrow band, up to three quarters of the Nyquist wavenumber."""
    narrow = Band(0.4, NARROW_CELLS / (grid + 1), HEIGHT, SPEED)
    a = amplitudes(solved(narrow, grid, refinement))[None]
    measured = speeds(a[:, :-2], a[:, 1:-1], a[:, 2:], 0.0)
    far = measured.wavenumber > NARROW_SHARE * np.pi
    return Speeds(measured.wavenumber, np.where(far, np.nan, measured.ratio), measured.error)


def network_speeds(trained: Trained, grid: int) -> Speeds:
    """Return the phase velocities of a network that predicts one frame from the exact frames before it."""
    from edgephys.networks.backend import predict

    x = np.stack([_network_input(trained, exact(band, grid, FRAMES)) for band in bands(grid)])
    predicted = predict(trained.model, x.reshape(-1, *x.shape[2:]), BATCH)
    before, now = (centre(x[..., place], grid) for place in (-3, -2))
    after = amplitudes(centre(predicted[..., 0], grid)).reshape(*x.shape[:2], grid)
    return speeds(amplitudes(before), amplitudes(now), after)


def _network_input(trained: Trained, true: Floats) -> Any:
    """Return the input of a network at each time of a band.  Shape: (time, row, column, frame and speed)."""
    ready, side = trained.standardisation, trained.model.input_shape[1]
    frames = len(ready.names) - 1
    shown = np.stack([true[first : len(true) - frames + first + 1] for first in range(frames)], 1)
    speed = np.full((len(shown), *true.shape[1:]), SPEED)
    return ready.output.values(channels(ready, shown, speed, side)).astype(np.float32)


def rolled(trained: Trained, band: Band, grid: int, steps: int) -> Floats:
    """Return the frames that a network predicts from the first exact ones.  Shape: (step, row, column)."""
    x = _network_input(trained, exact(band, grid, FRAMES))[:1]
    return np.asarray(centre(roll_out.roll_out(trained.model, x, steps)[0], grid), np.float64)


def energies(frames: Any) -> Floats:
    """Return the energy between each frame and the next one, on the grid, with a speed of 1 and u = 0 on the edge.

    It is ``equation.energy`` of the mesh whose nodes are the grid's points, with the time from frame to frame for a
    step: the exact solution keeps that of a pulse to a hundredth. It may be below 0 where a field swings from point to
    point and from frame to frame.
    Shape: (frame, row, column) -> (frame less one,).
    """
    u = np.pad(np.asarray(frames, np.float64), ((0, 0), (1, 1), (1, 1)))
    spacing = 1.0 / (u.shape[-1] - 1)
    rates = np.diff(u, axis=0) / wave_runs.frame_dt(u.shape[-1] - 2)
    total = spacing**2 * (rates * rates).sum((1, 2))
    for axis in (1, 2):
        slopes = np.diff(u, axis=axis)
        total += (slopes[:-1] * slopes[1:]).sum((1, 2))
    return np.asarray(0.5 * total)


def at(of: Speeds, points: Sequence[float]) -> list[tuple[float, float, float]]:
    """Return (wavelength, ratio, error) of the modes nearest to wavelengths in points of the grid."""
    lengths = 2.0 * np.pi / of.wavenumber
    places = [int(np.argmin(np.abs(lengths - length))) for length in points]
    return [(float(lengths[place]), float(of.ratio[place]), float(of.error[place])) for place in places]
