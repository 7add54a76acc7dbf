"""The figure of latencies: a line a target, from its median to its 99th percentile, and its inputs a second."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

NONE = "–"
LABELS = {
    "keras": "Keras",
    "keras_onnx": "onnxruntime, Keras' export",
    "keras_onnx_bound": "onnxruntime, Keras' export, bound",
    "tflite": "TFLite",
    "onnx": "onnxruntime, our export",
    "onnx_bound": "onnxruntime, our export, bound",
    "qonnx": "QONNX",
    "c": "generated C",
    "hls": "C simulation of HLS",
    "rtl": "RTL (simulated cycles)",
}
"""What readers call a target; several of a kind have their project's name behind it."""

OTHERS = "#8f5902"
OURS = "#204a87"
SIMULATED = "#75507b"
COLOURS = {"keras": OTHERS, "keras_onnx": OTHERS, "keras_onnx_bound": OTHERS, "tflite": OTHERS, "rtl": SIMULATED}
INK = "#444444"
WHY = 58
"""Letters of a reason that the figure shows; the table has it whole."""


def label(target: str) -> str:
    """Return what readers call a target."""
    kind, _, name = target.partition(" ")
    return LABELS.get(kind, kind) + (f" ({name})" if name else "")


def models(table: Mapping[str, Any]) -> list[tuple[str, list[Row]]]:
    """Return the rows of each model, in the table's order."""
    found: dict[str, list[Row]] = {}
    for row in table["rows"]:
        found.setdefault(str(row["model"]), []).append(row)
    return list(found.items())


def picture(table: Mapping[str, Any]) -> bytes:
    """Return the figure as PNG."""
    buffer = io.BytesIO()
    draw(table).savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def draw(table: Mapping[str, Any]) -> Any:
    """Return the figure: a pair of panels a model, latency at batch 1 and inputs a second at the large batch."""
    from matplotlib.figure import Figure

    found = models(table)
    tallest = [len({row["target"] for row in rows}) for _, rows in found]
    height = 1.0 + sum(0.75 + 0.34 * count for count in tallest)
    figure = Figure(figsize=(11, height), layout="constrained")
    panels = figure.subplots(
        len(found),
        2,
        squeeze=False,
        sharex="col",
        width_ratios=(1.6, 1),
        height_ratios=[2 + count for count in tallest],
    )
    for (left, right), (model, rows) in zip(panels, found, strict=True):
        _latencies(left, [row for row in rows if row["batch"] == 1])
        left.set_title(model, fontsize=10, loc="left")
        large = [row for row in rows if row["batch"] != 1]
        _rates(right, large)
        right.set_title(f"batch {large[0]['batch']}" if large else "", fontsize=9, loc="left")
    rows = table["rows"]
    _limits(panels[0][0], [row[name] for row in rows if row["batch"] == 1 for name in ("p50_us", "p99_us")], 0.22)
    _limits(panels[0][1], [row["per_second"] for row in rows if row["batch"] != 1], 0.2)
    told = "µs a call at batch 1: median, 90th (tick) and 99th percentile; ×: times faster than\n"
    panels[-1][0].set_xlabel(f"{told}{label(table['reference'])}")
    panels[-1][1].set_xlabel("inputs a second")
    return figure


def _latencies(axes: Any, rows: Sequence[Row]) -> None:
    _begin(axes, rows)
    for place, row in enumerate(rows):
        if row["p50_us"] is None:
            _why(axes, place, row)
            continue
        colour = _colour(row)
        far = row["p99_us"] or row["p90_us"] or row["p50_us"]
        axes.plot([row["p50_us"], far], [place, place], "-", color=colour, lw=2.5, alpha=0.4, solid_capstyle="butt")
        if row["p90_us"] is not None and row["p90_us"] > row["p50_us"]:
            axes.plot([row["p90_us"]], [place], "|", color=colour, ms=9)
        hollow = {} if row["stage"] == "measured" else {"mfc": "white"}
        axes.plot([row["p50_us"]], [place], "o", color=colour, ms=6, **hollow)
        times = "" if row["ratio"] is None else f"   {number(row['ratio'])}×"
        told = f"{number(row['p50_us'])} µs{times}"
        axes.annotate(told, (far, place), (7, 0), textcoords="offset points", va="center", fontsize=8, color=INK)


def _rates(axes: Any, rows: Sequence[Row]) -> None:
    _begin(axes, rows)
    axes.set_yticklabels([])
    for place, row in enumerate(rows):
        if row["per_second"] is not None:
            hollow = {} if row["stage"] == "measured" else {"mfc": "white"}
            axes.plot([row["per_second"]], [place], "o", color=_colour(row), ms=6, **hollow)
            told = _short(row["per_second"])
            axes.annotate(
                told, (row["per_second"], place), (7, 0), textcoords="offset points", va="center", fontsize=8, color=INK
            )


def _begin(axes: Any, rows: Sequence[Row]) -> None:
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [label(row["target"]) for row in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.3)


def _limits(axes: Any, values: Sequence[float | None], share: float) -> None:
    """Leave a share of the axis, which is logarithmic, for the text at the right of the last point."""
    known = [value for value in values if value is not None]
    if known:
        low, high = min(known) / 1.6, max(known) * 1.6
        axes.set_xlim(low, high * (high / low) ** (share / (1 - share)))


def _why(axes: Any, place: int, row: Row) -> None:
    told = str(row["why"])
    shown = told if len(told) <= WHY else f"{told[: WHY - 1]}…"
    where = axes.get_yaxis_transform()
    axes.text(0.02, place, shown, transform=where, va="center", fontsize=7.5, color="#a40000", clip_on=True)


def _colour(row: Row) -> str:
    return COLOURS.get(str(row["target"]).split(" ")[0], OURS)


def number(value: float | None) -> str:
    """Return a figure with three digits, or more where it has more before the point."""
    if value is None:
        return NONE
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def _short(value: float) -> str:
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"
