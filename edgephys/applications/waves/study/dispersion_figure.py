"""The figure of numerical dispersion: profiles of a pulse, the speed of each wavelength, and the energy over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgephys.applications.waves.study.table_figure import COLOURS, GREY
from edgephys.report.plot import png

Row = Mapping[str, Any]

LENGTHS = (66, 33, 16, 11, 8, 6, 4, 3, 2)
SOLVER_LINES = ("--", ":")
EXACT = {"color": "#c8c8c8", "lw": 5, "solid_capstyle": "round"}


def picture(table: Mapping[str, Any]) -> bytes:
    """Return as PNG: the pulse at mid height after some frames, what is wrong with it, phase velocities, energy."""
    from matplotlib.figure import Figure

    steps = table["steps"]
    with_energy = all("energy" in row for row in table["rows"])  # earlier records have none
    figure: Any = Figure(figsize=(14 if with_energy else 11, 9))
    above = figure.add_gridspec(2, len(steps), top=0.95, bottom=0.50, left=0.08, right=0.99, wspace=0.08, hspace=0.12)
    below = figure.add_gridspec(1, 2 + with_energy, top=0.36, bottom=0.10, left=0.08, right=0.99, wspace=0.22)
    for lower, label in enumerate(("u at mid height", "u less the exact one")):
        first = None
        for column, step in enumerate(steps):
            first = axes = figure.add_subplot(above[lower, column], sharey=first)
            _profiles(axes, table, step, bool(lower))
            axes.tick_params(labelleft=not column, labelbottom=bool(lower))
            if not column:
                axes.set_ylabel(label)
    left, right, *rest = (figure.add_subplot(place) for place in below)
    held = max(row["wavenumber"][-1] for row in table["rows"] if "refinement" not in row) + 1e-6
    _speeds(left, table["rows"], table["rows"], held)
    left.set(xlim=(0, held + 0.05), ylabel="phase velocity, off by %")
    left.set_title("the wavelengths that the pulses hold", fontsize=10)
    _speeds(right, table["rows"], [row for row in table["rows"] if "refinement" in row], np.pi)
    right.axvspan(0, held, color="#f3efe4", zorder=0)
    right.set_xlim(0, np.pi)
    right.set_title("the solver beyond them", fontsize=10)
    for axes in rest:
        _energies(axes, table["rows"])
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=len(names), frameon=False, fontsize=9)
    return png(figure, 120, bbox_inches="tight")


def _profiles(axes: Any, table: Mapping[str, Any], step: int, less_exact: bool) -> None:
    x = np.arange(table["grid"] + 2)
    exact = _edged(table["exact"][str(step)])
    axes.plot(x, exact * (not less_exact), **EXACT)
    for row in table["rows"]:
        if row.get("refinement", 1) == 1:  # the finer mesh lies on the exact line
            style = {key: value for key, value in _style(table["rows"], row).items() if key not in ("marker", "ms")}
            axes.plot(x, _edged(row["profile"][str(step)]) - exact * less_exact, **style)
    if less_exact:
        axes.set_xlabel("points along x")
    else:
        axes.set_title(f"{step} frame{'s' if step > 1 else ''} on", fontsize=10)
    axes.grid(alpha=0.3)


def _edged(values: Any) -> Any:
    """Put the edge, u = 0, on either side."""
    return np.concatenate([[0.0], values, [0.0]])


def _speeds(axes: Any, every: Sequence[Row], rows: Sequence[Row], held: float) -> None:
    """Draw the phase velocities of rows up to a wavenumber."""
    axes.axhline(0.0, **EXACT, label="exact")
    for row in rows:
        wavenumber = np.asarray(row["wavenumber"])
        known = wavenumber <= held
        shown, spread = 100 * (np.asarray(row["speed_ratio"]) - 1), 100 * np.asarray(row["speed_ratio_error"])
        bars = None if "refinement" in row else spread[known]
        axes.errorbar(
            wavenumber[known],
            shown[known],
            bars,
            label=row["name"],
            capsize=2 * (bars is not None),
            **_style(every, row),
        )
    axes.set_xlabel("wavenumber along x (radians a point; Nyquist π)")
    other = axes.secondary_xaxis("top")
    lengths = LENGTHS[:: 2 if held > 2 else 1]
    other.set_xticks([2 * np.pi / length for length in lengths], [str(length) for length in lengths])
    other.set_xlabel("wavelength (points)", fontsize=9)
    axes.grid(alpha=0.3)


def _energies(axes: Any, rows: Sequence[Row]) -> None:
    """Draw how far the energy of a pulse is off that at the start; what is no number is left out."""
    for row in rows:
        points = [(int(step), 100 * abs(ratio - 1)) for step, ratio in row["energy"].items() if ratio is not None]
        style = {key: value for key, value in _style(rows, row).items() if key not in ("marker", "ms")}
        axes.plot(*zip(*points, strict=True), **style)
    axes.set(xscale="log", yscale="log", xlabel="steps, rolled out", ylabel="energy, off that at the start by %")
    axes.set_title("the energy of the pulse", fontsize=10)
    axes.grid(alpha=0.3)


def _style(every: Sequence[Row], row: Row) -> dict[str, Any]:
    if "refinement" in row:
        return {
            "color": GREY if row["refinement"] > 1 else "#7a4b00",
            "ls": SOLVER_LINES[row["refinement"] > 1],
            "lw": 1.3,
        }
    same = [of for of in every if of.get("format") == row["format"]]
    return {"color": COLOURS[row["format"]], "ls": ("-", "-.")[same.index(row) % 2], "lw": 1.5, "marker": "o", "ms": 4}
