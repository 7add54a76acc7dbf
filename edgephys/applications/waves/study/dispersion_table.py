"""How the solver and networks carry a pulse through the homogeneous square: its shape, its energy, every wavelength."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.applications.waves.data.scene import Band
from edgephys.applications.waves.study import dispersion
from edgephys.applications.waves.study.dispersion import FRAMES, Speeds
from edgephys.applications.waves.study.dispersion_figure import picture
from edgephys.applications.waves.study.models import VERSIONS, WaveModel, wave_models
from edgephys.applications.waves.study.table import Say
from edgephys.applications.waves.study.table_page import steps_name
from edgephys.core import machine
from edgephys.core.errors import UsageError
from edgephys.report.table import NONE, Column, Drawing, Row, Table, written

MESHES = (1, 6)
"""Mesh cells a side in a cell of the grid: the grid itself, and the mesh that makes training's data."""
STEPS = (1, 5, 10, 20)
FAR = 1000
"""Steps over which the energy of a pulse is followed."""
ENERGY_STEPS = (10, 100, 1000)
CURVE = 100
"""Steps at which the picture shows the energy, about so many, evenly on a logarithmic axis."""
WAVELENGTHS = (33.0, 22.0, 16.5, 11.0, 8.25)
"""In points of the grid, whose modes they are at 32 points: 2 (grid + 1) / n."""


def tabulate(folders: Sequence[Path], command: str, say: Say) -> dict[str, Any]:
    """Return the table: a row a mesh and a network, with its phase velocities and what it makes of one band.

    Raises: as ``members``; UsageError for networks that read more frames than a band is shown for.
    """
    networks = wave_models(folders)
    if slow := next((member for member in networks if member.net.stride > 1), None):
        raise UsageError(
            f"{slow.folder}: dispersion takes networks that advance one frame at a time, this one advances "
            f"{slow.net.stride}; leave it out"
        )
    grid, frames = networks[0].net.grid, networks[0].net.frames
    if any(member.net.frames != frames for member in networks):
        raise UsageError(
            "dispersion: networks must read as many frames each, or they begin at other times; compare alike"
        )
    if frames + max(STEPS) > FRAMES:
        raise UsageError(f"dispersion: networks must read 1..{FRAMES - max(STEPS)} frames, not {frames}; roll out less")
    band = next(one for one in dispersion.bands(grid) if one.drift_x > 0)
    exact = dispersion.exact(band, grid, FRAMES)
    true, last = exact[frames:], exact[frames - 2 : frames]
    rows = []
    for refinement in MESHES:
        say(f"the solver, {refinement} cells a point")
        solution = dispersion.solved(band, grid, refinement, frames + FAR)[frames:]
        named = f"solver, {refinement} cell{'s' if refinement > 1 else ''} a point"
        facts = _facts(dispersion.solver_speeds(grid, refinement), solution, true, last)
        rows.append({"name": named, "refinement": refinement} | facts)
    for member in networks:
        say(f"{member.folder}: shown {len(dispersion.bands(grid))} bands, one rolled out {FAR} frames")
        rows.append(_network(member, band, true, last))
    return {
        "command": command,
        "machine": machine.name(),
        "grid": grid,
        "bands": len(dispersion.bands(grid)),
        "band": {"x": band.x, "width": band.width, "height": band.height, "drift_x": band.drift_x},
        "widths_points": sorted({round(one.width * (grid + 1), 3) for one in dispersion.bands(grid)}),
        "steps": list(STEPS),
        "versions": {name: networks[0].trained.card.versions[name] for name in VERSIONS},
        "exact": {str(step): _profile(true[step - 1]) for step in STEPS},
        "rows": rows,
    }


def _network(member: WaveModel, band: Band, true: Any, last: Any) -> dict[str, Any]:
    net = member.net
    prediction = dispersion.rolled(member.trained, band, net.grid, FAR)
    bits = f"{net.bits} bits" if net.bits else "float"
    named = f"{net.structure}{f', rank {net.rank}' if net.rank else ''}, {bits}"
    facts = {"name": named, "model": member.trained.name, "format": net.structure, "seed": member.trained.card.seed}
    return facts | _facts(dispersion.network_speeds(member.trained, net.grid), prediction, true, last)


def _facts(of: Speeds, frames: Any, true: Any, last: Any) -> dict[str, Any]:
    errors = {
        str(step): float(np.linalg.norm(frames[step - 1] - true[step - 1]) / np.linalg.norm(true[step - 1]))
        for step in STEPS
    }
    known = np.isfinite(of.ratio)
    return {
        "wavenumber": [round(float(value), 6) for value in of.wavenumber[known]],
        "speed_ratio": [round(float(value), 6) for value in of.ratio[known]],
        "speed_ratio_error": [round(float(value), 6) for value in of.error[known]],
        "speeds": [_known(*one) for one in dispersion.at(of, WAVELENGTHS)],
        "error": errors,
        "profile": {str(step): _profile(frames[step - 1]) for step in STEPS},
        "energy": _energy(frames, last),
    }


def _energy(frames: Any, last: Any) -> dict[str, float | None]:
    """Return the energy after some steps over that of the two exact frames before the first one; None for no number."""
    energies = dispersion.energies(np.concatenate([last, frames]))
    ratios = energies[1:] / energies[0]
    steps = {*np.geomspace(1, len(ratios), CURVE).astype(int), *(step for step in ENERGY_STEPS if step <= len(ratios))}
    shown = {int(step): float(ratios[step - 1]) for step in sorted(steps)}
    return {str(step): float(f"{ratio:.7g}") if np.isfinite(ratio) else None for step, ratio in shown.items()}


def _known(wavelength: float, ratio: float, error: float) -> list[float | None]:
    """Return a wavelength with its ratio and error, None where nothing is said of it: JSON knows no NaN."""
    return [wavelength, ratio, error] if np.isfinite(ratio) else [wavelength, None, None]


def _profile(frame: Any) -> list[float]:
    """Return u along x at mid height: the mean of the rows about it.  Shape: (row, column) -> (column,)."""
    rows = len(frame)
    return [round(float(value), 5) for value in frame[(rows - 1) // 2 : rows // 2 + 1].mean(0)]


ENERGY_NOTES = (
    "Energy: of the pulse of the errors, rolled out, over that at the start, which the exact solution keeps to a "
    "hundredth. It is the energy that central differences keep, of two successive frames on the points of the grid: "
    "half the squares of (u(t + dt) − u(t)) / dt and half the products of the slopes of both frames. What the solver "
    "keeps to rounding is the energy of its own mesh and its own step: on the grid, from frame to frame, that is "
    "another by parts of a percent.",
)

# The table ----------------------------------------------------------------------------------------


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of phase velocities and of the error of a pulse."""
    wavelengths = [speed[0] for speed in record["rows"][0]["speeds"]]
    widths = " to ".join(f"{end:.3g}" for end in (record["widths_points"][0], record["widths_points"][-1]))
    return Table(
        title="Waves: phase velocity of each wavelength, and the shape of a pulse",
        caption="phase velocity less the exact one, in %, by wavelength; error of a pulse after steps",
        record=record,
        columns=(*columns(wavelengths, record["steps"]), *energy_columns(record["rows"][0])),
        rows=record["rows"],
        lead=(
            "Phase velocity less the exact one, in %, by wavelength along x; then the relative L2 error of one pulse "
            "after some frames.",
        ),
        notes=(
            "The field: a Gaussian in x times sin(πy), nearly a plane wave in the middle rows, in the homogeneous "
            "square with u = 0 on the edge. Its modes sin(nπx) sin(πy) are exact; all rows are compared "
            "with their sum.",
            f"The pulses have the scales of the training: {record['bands']} of widths {widths} points, at rest and "
            "moving either way, four widths off the edge. Nothing is stated for wavelengths that they hold less than "
            "1 % of (of the strongest mode). The pulses of the training were round: a band as wide as the square is "
            "new to the networks.",
            "Phase velocity: from 2 cos(ω dt) = (u(t + dt) + u(t − dt)) / u(t) of each mode, least squares over the "
            f"{FRAMES} frames of all bands; a network computes u(t + dt) from the true frames before it; ± is the "
            "jackknife over bands. Long waves hardly turn within a frame, so that a small error of the next frame, a "
            "part of a percent, changes their speed by percents.",
            "The solver is linear. It computes a narrower pulse, up to three quarters of the grid's Nyquist "
            "wavenumber.",
            *(ENERGY_NOTES if "energy" in record["rows"][0] else ()),
        ),
        pictures=(
            Drawing(
                "profiles of a pulse, phase velocity against wavenumber, and energy against steps"
                if "energy" in record["rows"][0]
                else "profiles of a pulse, and phase velocity against wavenumber",
                lambda table: picture(record),
            ),
        ),
    )


def columns(wavelengths: Sequence[float], steps: Sequence[int]) -> tuple[Column, ...]:
    """Return the columns: a speed a wavelength, an error a number of steps."""
    return (
        Column("name", "", left=True),
        *(
            Column(f"speed_{length:.3g}", f"{length:.3g} points", value=_ratio(place), cell=_speed(place))
            for place, length in enumerate(wavelengths)
        ),
        *(Column(f"error.{step}", steps_name(step), "%", written(".2g", 100)) for step in steps),
    )


def energy_columns(row: Row) -> tuple[Column, ...]:
    """Return a column for each number of steps after which a row states the energy; none for an earlier record."""
    steps = [step for step in ENERGY_STEPS if str(step) in row.get("energy", {})]
    return tuple(Column(f"energy.{step}", f"energy after {step:,} steps", "%", written(".4g", 100)) for step in steps)


def _ratio(place: int) -> Callable[[Row], Any]:
    return lambda row: row["speeds"][place][1]


def _speed(place: int) -> Callable[[Row], str]:
    """Return what writes a speed: less the exact one, in percent, with the error of a network's."""

    def cell(row: Row) -> str:
        _, ratio, error = row["speeds"][place]
        if ratio is None:
            return NONE
        return f"{100 * (ratio - 1):+.2f}" + ("" if "refinement" in row else f" ± {100 * error:.2f}")

    return cell
