"""The figures of wave networks: the growth of their errors, their size, and what they make of a wave."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgephys.applications.waves.study.shown_run import ShownRun
from edgephys.applications.waves.study.table import STRAIGHT_ON
from edgephys.report.plot import png

COLOURS = {
    "full": "#222222",
    "one_way": "#d55e00",
    "cp": "#0072b2",
    "spatial": "#009e73",
    "depthwise": "#cc79a7",
    "operator": "#e69f00",
    "operator, one_way": "#56b4e9",
    "operator, cp": "#000000",
}
"""A colour a structure (after Okabe and Ito: they stay apart for the colour-blind)."""
GREY = "#8a8a8a"
FIELD = "RdBu_r"
GIF_MS = 120
ZOOM, HEADER = 5, 14
"""Pixels a side of a point in the film, and pixels above it for the names."""


def picture(table: Mapping[str, Any]) -> bytes:
    """Return as PNG: the error's growth with the steps, and the error one frame on against the parameters."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.3))
    left, right = figure.subplots(1, 2)
    widest = max(row["bits"] or 32 for row in table["over_seeds"])
    for row in table["over_seeds"]:
        if (row["bits"] or 32) == widest:
            shown = 100 * np.asarray(row["growth"])
            left.plot(
                range(1, len(shown) + 1), shown, lw=1.8, **_look(row), label=f"{_named(row)}, {row['parameters']:,}"
            )
    straight = 100 * np.asarray(table[STRAIGHT_ON]["growth"])
    left.plot(range(1, len(straight) + 1), straight, color=GREY, ls=":", lw=1.5, label="linear extrapolation")
    left.set(
        xlabel="steps rolled out", ylabel="relative L2 error (%)", yscale="log", ylim=(1, 60_000)
    )  # room for the legend
    left.set_title(f"{widest} bits, mean over seeds and runs", fontsize=10)
    left.legend(fontsize=8, frameon=False, title="format, parameters", title_fontsize=8, loc="upper left", ncols=2)
    for row in table["rows"]:
        right.plot(row["parameters"], 100 * row["error_1"], **_point(row, widest))
    for row in table["over_seeds"]:
        if (row["bits"] or 32) == widest:
            right.plot([], [], **_point(row, widest), label=_named(row))
    right.legend(fontsize=8, frameon=False, ncols=2)
    right.set(xlabel="parameters", ylabel="error of the next frame (%)", xscale="log")
    right.set_ylim(0, 125 * max(row["error_1"] for row in table["rows"]))  # room for the legend
    right.margins(x=0.2)
    bits = sorted({row["bits"] or 32 for row in table["rows"]}, reverse=True)
    right.set_title(f"every seed; filled {bits[0]} bits" + (f", hollow {bits[1]}" if bits[1:] else ""), fontsize=10)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    return png(figure, 120, bbox_inches="tight")


def _point(row: Mapping[str, Any], widest: int) -> dict[str, Any]:
    """Return how a network is marked: a square where the rank is chosen, hollow of fewer bits."""
    colour = COLOURS[row["format"]]
    filled = colour if (row["bits"] or 32) == widest else "none"
    return {"marker": "s" if row["rank"] else "o", "ls": "", "ms": 6, "alpha": 0.8, "color": colour, "mfc": filled}


def _named(row: Mapping[str, Any]) -> str:
    stride = row.get("stride") or 1
    words = str(row["format"]) + (f" {row['rank']}" if row["rank"] else "")
    return words + (f", {stride} at once" if stride > 1 else "")


def _look(row: Mapping[str, Any]) -> dict[str, Any]:
    style = "--" if row["rank"] else "-"
    return {"color": COLOURS[row["format"]], "ls": style if (row.get("stride") or 1) == 1 else ":"}


def fields(shown: ShownRun, steps: Sequence[int]) -> bytes:
    """Return as PNG the truth and what others make of it, a row each, a column a number of steps, all on one scale."""
    from matplotlib.figure import Figure

    rows = [("truth", shown.truth, None), *((one.name, one.frames, one.errors) for one in shown.others)]
    figure = Figure(figsize=(2.0 * len(steps) + 1.2, 2.15 * len(rows) + 0.5))
    grid = figure.subplots(len(rows), len(steps), squeeze=False)
    end = float(np.abs(shown.truth).max())
    for across, (name, frames, errors) in zip(grid, rows, strict=True):
        for axes, step in zip(across, steps, strict=True):
            axes.imshow(frames[step - 1], cmap=FIELD, vmin=-end, vmax=end, origin="lower")
            axes.set(xticks=[], yticks=[])
            if errors is not None:
                share = 100 * float(errors[step - 1])
                axes.set_xlabel(f"error {share:,.0f} %" if share >= 1000 else f"error {share:.3g} %", fontsize=9)
        across[0].set_ylabel(name, fontsize=9)
    for axes, step in zip(grid[0], steps, strict=True):
        axes.set_title(f"{step} step{'s' if step > 1 else ''}", fontsize=10)
    figure.suptitle(f"{shown.name}, rolled out", fontsize=10, y=0.94)
    figure.colorbar(grid[0, 0].images[0], ax=grid, shrink=0.6, pad=0.02)
    return png(figure, 120, bbox_inches="tight")


def film(shown: ShownRun) -> bytes:
    """Return as GIF the truth and what others make of it side by side, each under its name, a frame a step."""
    from matplotlib import colormaps
    from PIL import Image, ImageDraw

    end, (count, points, _) = float(np.abs(shown.truth).max()), shown.truth.shape
    gap = np.zeros((count, points, 1))
    parts = [shown.truth, *(part for one in shown.others for part in (gap, one.frames))]
    shades = colormaps[FIELD](np.clip(0.5 + np.concatenate(parts, 2)[:, ::-1] / (2 * end), 0, 1))[..., :3]
    zoomed = (255 * shades.repeat(ZOOM, 1).repeat(ZOOM, 2)).astype(np.uint8)
    pictures = []
    for step, frame in enumerate(np.pad(zoomed, ((0, 0), (HEADER, 0), (0, 0), (0, 0)), constant_values=255), 1):
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        for place, name in enumerate((f"truth, step {step}", *(one.name for one in shown.others))):
            draw.text((place * ZOOM * (points + 1) + 2, 1), name, fill=(0, 0, 0))
        pictures.append(picture.quantize(32))
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=GIF_MS, loop=0)
    return buffer.getvalue()
