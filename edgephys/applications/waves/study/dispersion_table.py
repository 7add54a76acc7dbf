"""How the solver and networks carry a pulse through the homogeneous square: its shape, each wavelength's speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.applications.waves.data.scene import Band
from edgephys.applications.waves.study import dispersion
from edgephys.applications.waves.study.dispersion import FRAMES, Speeds
from edgephys.applications.waves.study.dispersion_figure import picture
from edgephys.applications.waves.study.members import Member, members
from edgephys.applications.waves.study.table import Row, Say
from edgephys.core import machine
from edgephys.core.errors import UsageError
from edgephys.core.files import write_file, write_json
from edgephys.report.show import titled

MESHES = (1, 6)
"""Mesh cells a side in a cell of the grid: the grid itself, and the mesh that makes training's data."""
STEPS = (1, 5, 10, 20)
WAVELENGTHS = (33.0, 22.0, 16.5, 11.0, 8.25)
"""In points of the grid, whose modes they are at 32 points: 2 (grid + 1) / n."""


def tabulate(folders: Sequence[Path], command: str, say: Say) -> dict[str, Any]:
    """Return the table: a row a mesh and a network, with its phase velocities and what it makes of one band.

    Raises: as ``members``; UsageError for networks that read more frames than a band is shown for.
    """
    found = members(folders)
    grid, frames = found[0].net.grid, found[0].net.frames
    if any(member.net.frames != frames for member in found):
        raise UsageError(
            "dispersion: networks must read as many frames each, or they begin at other times; compare alike"
        )
    if frames + max(STEPS) > FRAMES:
        raise UsageError(f"dispersion: networks must read 1..{FRAMES - max(STEPS)} frames, not {frames}; roll out less")
    band = next(one for one in dispersion.bands(grid) if one.drift_x > 0)
    true = dispersion.exact(band, grid, FRAMES)[frames:]
    rows = []
    for refinement in MESHES:
        say(f"the solver, {refinement} cells a point")
        made = dispersion.solved(band, grid, refinement)[frames:]
        named = f"solver, {refinement} cell{'s' if refinement > 1 else ''} a point"
        rows.append(
            {"name": named, "refinement": refinement} | _facts(dispersion.solver_speeds(grid, refinement), made, true)
        )
    for member in found:
        say(f"{member.folder}: shown {len(dispersion.bands(grid))} bands, one rolled out {max(STEPS)} frames")
        rows.append(_network(member, band, true))
    return {
        "command": command,
        "machine": machine.name(),
        "grid": grid,
        "bands": len(dispersion.bands(grid)),
        "band": {"x": band.x, "width": band.width, "height": band.height, "drift_x": band.drift_x},
        "widths_points": sorted({round(one.width * (grid + 1), 3) for one in dispersion.bands(grid)}),
        "steps": list(STEPS),
        "versions": {name: found[0].trained.card["versions"][name] for name in ("edgephys", "keras")},
        "exact": {str(step): _profile(true[step - 1]) for step in STEPS},
        "rows": rows,
    }


def _network(member: Member, band: Band, true: Any) -> Row:
    net = member.net
    made = dispersion.rolled(member.trained, band, net.grid, max(STEPS))
    bits = f"{net.bits} bits" if net.bits else "float"
    named = f"{net.format}{f', rank {net.rank}' if net.rank else ''}, {bits}"
    facts = {"name": named, "model": member.trained.name, "format": net.format, "seed": member.trained.card["seed"]}
    return facts | _facts(dispersion.network_speeds(member.trained, net.grid), made, true)


def _facts(of: Speeds, made: Any, true: Any) -> dict[str, Any]:
    errors = {
        str(step): float(np.linalg.norm(made[step - 1] - true[step - 1]) / np.linalg.norm(true[step - 1]))
        for step in STEPS
    }
    known = np.isfinite(of.ratio)
    return {
        "wavenumber": [round(float(value), 6) for value in of.wavenumber[known]],
        "speed_ratio": [round(float(value), 6) for value in of.ratio[known]],
        "speed_ratio_error": [round(float(value), 6) for value in of.error[known]],
        "speeds": [_known(*one) for one in dispersion.at(of, WAVELENGTHS)],
        "error": errors,
        "profile": {str(step): _profile(made[step - 1]) for step in STEPS},
    }


def _known(wavelength: float, ratio: float, error: float) -> list[float | None]:
    """Return a wavelength with its ratio and error, None where nothing is said of it: JSON knows no NaN."""
    return [wavelength, ratio, error] if np.isfinite(ratio) else [wavelength, None, None]


def _profile(frame: Any) -> list[float]:
    """Return u along x at mid height: the mean of the rows about it.  Shape: (row, column) -> (column,)."""
    rows = len(frame)
    return [round(float(value), 5) for value in frame[(rows - 1) // 2 : rows // 2 + 1].mean(0)]


# For readers ------------------------------------------------------------------------------------


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json, OUT.md and OUT.png, each whole or not at all."""
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), page(table, out.name).encode())
    write_file(out.with_name(f"{out.name}.png"), picture(table))


def _headings(table: Mapping[str, Any]) -> list[str]:
    lengths = [f"{one[0]:.3g} points" for one in table["rows"][0]["speeds"]]
    return ["", *lengths, *(f"{step} step{'s' if step > 1 else ''} %" for step in table["steps"])]


def _cells(row: Row, steps: Sequence[int]) -> list[str]:
    speeds = ["–" if one[1] is None else _percent(one, "refinement" not in row) for one in row["speeds"]]
    return [row["name"], *speeds, *(f"{100 * row['error'][str(step)]:.2g}" for step in steps)]


def _percent(one: Sequence[float], spread: bool) -> str:
    return f"{100 * (one[1] - 1):+.2f}" + (f" ± {100 * one[2]:.2f}" if spread else "")


def page(table: Mapping[str, Any], name: str) -> str:
    """Return the page: phase velocities, errors of the band, and where they come from."""
    heads = _headings(table)
    widths = " to ".join(f"{end:.3g}" for end in (table["widths_points"][0], table["widths_points"][-1]))
    return "\n".join(
        [
            "# Waves: how fast each wavelength goes, and the shape of a pulse",
            "",
            f"Made by `{table['command']}` on {table['machine']}; edgephys {table['versions']['edgephys']}, Keras "
            f"{table['versions']['keras']}.",
            "",
            f"![profiles of a pulse, and phase velocity against wavenumber]({name}.png)",
            "",
            "Phase velocity against the exact one, difference in % by wavelength along x; then the relative L2 error "
            "of one pulse after so many frames.",
            "",
            "| " + " | ".join(heads) + " |",
            "| --- |" + " ---: |" * (len(heads) - 1),
            *("| " + " | ".join(_cells(row, table["steps"])) + " |" for row in table["rows"]),
            "",
            "- The field: a Gaussian in x times sin(πy), nearly a plane wave in the middle rows, in the homogeneous "
            "square with u = 0 on the edge. Its modes sin(nπx) sin(πy) are exact; all is compared with their sum.",
            f"- Pulses keep to training's scales: {table['bands']} of widths {widths} points, at rest and moving "
            "either way, four widths off the edge. Beyond the wavelengths that they hold (less than 1 % of the "
            "strongest mode) nothing is said of a network. Training's pulses were round: a band as wide as the square "
            "is new to the networks.",
            "- Phase velocity: from 2 cos(ω dt) = (u(t + dt) + u(t − dt)) / u(t) of each mode, least squares over the "
            f"{FRAMES} frames of all bands; a network makes u(t + dt) of the true frames before it; ± is the jackknife "
            "over bands. A share of a percent in the next frame moves the speed of long waves by percents, for they "
            "hardly turn within a frame.",
            "- The solver is linear and is shown with a narrower pulse, up to three quarters of the grid's Nyquist "
            "wavenumber.",
            "",
        ]
    )


def shown(table: Mapping[str, Any]) -> Group:
    """Return phase velocities and errors for a terminal."""
    grid = Table(box=box.SIMPLE)
    for number, heading in enumerate(_headings(table)):
        grid.add_column(heading, justify="right" if number else "left")
    for row in table["rows"]:
        grid.add_row(*_cells(row, table["steps"]))
    return Group(titled("phase velocity less the exact one, in %, by wavelength; error of a pulse after steps", grid))
