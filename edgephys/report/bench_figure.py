"""Draw latencies: a line a target, from its median to its 99th percentile, and its inputs a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.bench.peers import peer_labels
from edgephys.report.plot import png
from edgephys.report.table import NONE, Row

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
} | peer_labels()
"""Name of each kind of target for readers; where there are several of a kind, the project's name follows."""

OTHERS = "#8f5902"
OURS = "#204a87"
SIMULATED = "#75507b"
COLOURS = {"keras": OTHERS, "keras_onnx": OTHERS, "keras_onnx_bound": OTHERS, "tflite": OTHERS, "rtl": SIMULATED}
COLOURS |= dict.fromkeys(peer_labels(), OTHERS)
INK = "#444444"
WHY = 58
"""Letters of a reason that the figure shows; the table has it whole."""


def label(target: str) -> str:
    """Return the name of a target for readers."""
    kind, _, name = target.partition(" ")
    return LABELS.get(kind, kind) + (f" ({name})" if name else "")


def picture(table: Mapping[str, Any]) -> bytes:
    """Return the figure as PNG."""
    return png(draw(table))


def draw(table: Mapping[str, Any]) -> Any:
    """Return the figure: a pair of panels a model, latency at batch 1 and inputs a second at the large batch."""
    from matplotlib.figure import Figure

    models: dict[str, list[Row]] = {}
    for row in table["rows"]:
        models.setdefault(str(row["model"]), []).append(row)
    tallest = [len({row["target"] for row in rows}) for rows in models.values()]
    height = 1.0 + sum(0.75 + 0.34 * count for count in tallest)
    figure = Figure(figsize=(11, height), layout="constrained")
    panels = figure.subplots(
        len(models),
        2,
        squeeze=False,
        sharex="col",
        width_ratios=(1.6, 1),
        height_ratios=[2 + count for count in tallest],
    )
    for (left, right), (model, rows) in zip(panels, models.items(), strict=True):
        _latencies(left, [row for row in rows if row["batch"] == 1])
        left.set_title(model, fontsize=10, loc="left")
        large = [row for row in rows if row["batch"] != 1]
        _rates(right, large)
        right.set_title(f"batch {large[0]['batch']}" if large else "", fontsize=9, loc="left")
    rows = table["rows"]
    _limits(panels[0][0], [row[name] for row in rows if row["batch"] == 1 for name in ("p50_us", "p99_us")], 0.22)
    _limits(panels[0][1], [row["per_second"] for row in rows if row["batch"] != 1], 0.2)
    measure = "µs a call at batch 1: median, 90th (tick) and 99th percentile; ×: times faster than\n"
    simulated = any(row["stage"] not in ("measured", None) for row in rows)
    diamond = "\nhollow diamond: simulated cycles at the stated clock, not a measured time" if simulated else ""
    panels[-1][0].set_xlabel(f"{measure}{label(table['reference'])}{diamond}")
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
        axes.plot([row["p50_us"]], [place], color=colour, ms=6, **_marker(row))
        times = "" if row["ratio"] is None else f"   {digits(row['ratio'])}×"
        text = f"{digits(row['p50_us'])} µs{times}"
        axes.annotate(text, (far, place), (7, 0), textcoords="offset points", va="center", fontsize=8, color=INK)


def _rates(axes: Any, rows: Sequence[Row]) -> None:
    _begin(axes, rows)
    axes.set_yticklabels([])
    for place, row in enumerate(rows):
        if row["per_second"] is not None:
            axes.plot([row["per_second"]], [place], color=_colour(row), ms=6, **_marker(row))
            rate = _short(row["per_second"])
            axes.annotate(
                rate, (row["per_second"], place), (7, 0), textcoords="offset points", va="center", fontsize=8, color=INK
            )


def _marker(row: Row) -> dict[str, Any]:
    """Return the marker of a row: a dot of what was measured, a hollow diamond of cycles at a stated clock."""
    return {"marker": "o"} if row["stage"] == "measured" else {"marker": "D", "mfc": "white"}


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
    reason = str(row["why"])
    shown = reason if len(reason) <= WHY else f"{reason[: WHY - 1]}…"
    where = axes.get_yaxis_transform()
    axes.text(0.02, place, shown, transform=where, va="center", fontsize=7.5, color="#a40000", clip_on=True)


def _colour(row: Row) -> str:
    return COLOURS.get(str(row["target"]).split(" ")[0], OURS)


def digits(value: float | None) -> str:
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
