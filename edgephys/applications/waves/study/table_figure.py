"""The figures of wave networks: the growth of their errors, their size, and what they make of a wave."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.waves.study.table import STRAIGHT_ON
from edgephys.report.plot import png

COLOURS = {"full": "#222222", "one_way": "#d55e00", "cp": "#0072b2", "spatial": "#009e73", "depthwise": "#cc79a7"}
"""A colour a format (after Okabe and Ito: they stay apart for the colour-blind)."""
GREY = "#8a8a8a"
FIELD = "RdBu_r"
GIF_MS = 120
ZOOM = 5
"""Pixels a side of a point in the film."""


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
    left.set(xlabel="steps rolled out", ylabel="relative L2 error (%)", yscale="log", ylim=(1, 3000))
    left.set_title(f"{widest} bits, mean over seeds and runs", fontsize=10)
    left.legend(fontsize=8, frameon=False, title="format, parameters", title_fontsize=8)
    for row in table["rows"]:
        right.plot(row["parameters"], 100 * row["error_1"], **_point(row, widest))
    for row in table["over_seeds"]:
        if (row["bits"] or 32) == widest:
            right.plot([], [], **_point(row, widest), label=_named(row))
    right.legend(fontsize=8, frameon=False, ncols=2)
    right.set(xlabel="parameters", ylabel="error of the next frame (%)", xscale="log")
    right.set_ylim(0, None)
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
    return str(row["format"]) + (f" {row['rank']}" if row["rank"] else "")


def _look(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"color": COLOURS[row["format"]], "ls": "--" if row["rank"] else "-"}


def fields(truth: NDArray[Any], prediction: NDArray[Any], steps: Sequence[int], title: str) -> bytes:
    """Return as PNG truth, prediction and their difference, a column a number of steps.

    Truth and prediction are drawn on the scale at the right, each difference on its own, whose end it states.
    Shape: truth and prediction (step, row, column).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.1 * len(steps) + 0.6, 6.6))
    grid = figure.subplots(3, len(steps), squeeze=False)
    top = float(np.abs(truth).max())
    for column, step in enumerate(steps):
        three = (truth[step - 1], prediction[step - 1], prediction[step - 1] - truth[step - 1])
        ends = (top, top, float(np.abs(three[2]).max()) or top)
        for axes, field, end, name in zip(
            grid[:, column], three, ends, ("truth", "network", "difference"), strict=True
        ):
            axes.imshow(field, cmap=FIELD, vmin=-end, vmax=end, origin="lower")
            axes.set(xticks=[], yticks=[])
            if not column:
                axes.set_ylabel(name)
        share = np.linalg.norm(three[2]) / np.linalg.norm(three[0])
        grid[0, column].set_title(f"{step} step{'s' if step > 1 else ''}", fontsize=10)
        grid[2, column].set_xlabel(f"error {100 * share:.3g} %\nscale ± {ends[2]:.2g}", fontsize=9)
    figure.suptitle(title, fontsize=10)
    figure.colorbar(grid[0, 0].images[0], ax=grid, shrink=0.6, pad=0.02)
    return png(figure, 120, bbox_inches="tight")


def film(truth: NDArray[Any], prediction: NDArray[Any]) -> bytes:
    """Return as GIF truth, prediction and difference side by side, a frame a step.

    Shape: truth and prediction (step, row, column).
    """
    from matplotlib import colormaps
    from PIL import Image

    top = float(np.abs(truth).max())
    gap = np.zeros((*truth.shape[:2], 1))
    side = np.concatenate([truth, gap, prediction, gap, prediction - truth], 2)[:, ::-1]
    shades = (255 * colormaps[FIELD](np.clip(0.5 + side / (2 * top), 0, 1))[..., :3]).astype(np.uint8)
    pictures = [Image.fromarray(np.kron(frame, np.ones((ZOOM, ZOOM, 1), np.uint8))) for frame in shades]
    buffer = io.BytesIO()
    first, *others = [of.quantize(64) for of in pictures]
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=GIF_MS, loop=0)
    return buffer.getvalue()
