"""The figure of the scaling table: accuracy, LUT and latency against the number of constituents."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.report.published import EIGHT_BIT, FAMILIES

Row = Mapping[str, Any]

COLOURS = {"jet_mlp": "#c17d11", "jet_deepsets": "#204a87", "jet_interaction": "#a40000"}
OTHER = "#5c3566"
MARKERS = {8: "o", 6: "s", 4: "^"}
SHIFT = {"jet_mlp": 0.96, "jet_interaction": 1.04}
"""Families stand a little beside each other, so that equal points are all seen."""
PUBLISHED_GREY = "#8a8a8a"
PUBLISHED_MARKERS = {"jet_deepsets": "x", "jet_interaction": "+"}
COORDINATES = 3

PANELS = (
    ("accuracy", "accuracy on test jets (%)", 100.0),
    ("lut", "LUT (thousand)", 1e-3),
    ("latency_cycles", "latency (cycles, simulated)", 1.0),
)


def picture(rows: Sequence[Row]) -> bytes:
    """Return a PNG: a line a family, width and input; published figures in grey; estimates hollow."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(11, 4.6))
    counts = sorted({row["n"] for row in rows})
    for axes, (name, title, scale) in zip(panels, PANELS, strict=True):
        _draw_published(axes, rows, name, scale)
        for key in _lines(rows):
            _draw(axes, [row for row in rows if _key(row) == key], name, scale)
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set_xlim(counts[0] / 1.3, counts[-1] * 1.3)
        axes.set_xlabel("constituents N")
        axes.set_title(title, fontsize=11)
        axes.grid(alpha=0.25)
    if any(row["lut"] for row in rows):
        panels[1].set_yscale("log")
        panels[1].yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    panels[2].set_ylim(bottom=0)
    figure.legend(handles=_legend(rows), loc="lower center", ncols=4, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.15, 1, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()


def _key(row: Row) -> tuple[str, int, int]:
    return (row["family"], row["features"], row["bits"])


def _lines(rows: Sequence[Row]) -> list[tuple[str, int, int]]:
    return list(dict.fromkeys(_key(row) for row in rows))


def _draw(axes: Any, rows: Sequence[Row], name: str, scale: float) -> None:
    """Draw one line; a point whose LUTs are estimated is hollow, one of another input has a dark edge."""
    known = [row for row in rows if row[name] is not None]
    if not known:
        return
    family = known[0]["family"]
    colour, usual = COLOURS.get(family, OTHER), known[0]["features"] == COORDINATES
    x = [row["n"] * SHIFT.get(family, 1.0) for row in known]
    y = [scale * row[name] for row in known]
    axes.plot(x, y, "-" if usual else "--", color=colour, linewidth=1.2, alpha=0.7, zorder=2)
    for row, at, value in zip(known, x, y, strict=True):
        hollow = name == "lut" and row["lut_stage"] == "estimated"
        error = scale * row["accuracy_error"] if name == "accuracy" else None
        axes.errorbar(
            [at], [value], yerr=error, fmt=MARKERS.get(row["bits"], "D"), color=colour, markersize=6,
            markerfacecolor="white" if hollow else colour, markeredgewidth=1.4 if hollow or not usual else 0.6,
            markeredgecolor="black" if not usual else colour if hollow else "white", capsize=2, zorder=3,
        )  # fmt: skip


def _draw_published(axes: Any, rows: Sequence[Row], name: str, scale: float) -> None:
    """Draw the published 8-bit figures in grey: of the families and the numbers of constituents shown."""
    counts = {row["n"] for row in rows}
    for family in dict.fromkeys(row["family"] for row in rows):
        facts = [(n, of[name]) for n, of in EIGHT_BIT.get(family, {}).items() if n in counts and of[name] is not None]
        x = [n * SHIFT.get(family, 1.0) for n, _ in facts]
        marker = PUBLISHED_MARKERS.get(family, "1")
        axes.plot(
            x, [scale * value for _, value in facts], ":", marker=marker, color=PUBLISHED_GREY,
            linewidth=1.2, markersize=7, markeredgewidth=1.6, zorder=1,
        )  # fmt: skip


def _legend(rows: Sequence[Row]) -> list[Any]:
    from matplotlib.lines import Line2D

    families = dict.fromkeys(row["family"] for row in rows)
    handles = [
        Line2D([], [], color=COLOURS.get(family, OTHER), linewidth=3, label=FAMILIES.get(family, family))
        for family in families
    ]
    for bits in sorted({row["bits"] for row in rows}, reverse=True):
        marker = MARKERS.get(bits, "D")
        handles.append(Line2D([], [], color="#444444", marker=marker, linestyle="", label=f"{bits} bits"))
    for count in sorted({row["features"] for row in rows} - {COORDINATES}):
        handles.append(
            Line2D([], [], color="#444444", linestyle="dashed", marker="o", markerfacecolor="#bbbbbb",
                   markeredgecolor="black", label=f"{count} features, not {COORDINATES}")
        )  # fmt: skip
    if any(row["lut_stage"] == "estimated" for row in rows):
        handles.append(
            Line2D([], [], color="#444444", marker="o", markerfacecolor="white", linestyle="", label="LUT estimated")
        )
    for family in families:
        if family in EIGHT_BIT:
            handles.append(
                Line2D([], [], color=PUBLISHED_GREY, linestyle="dotted", marker=PUBLISHED_MARKERS.get(family, "1"),
                       label=f"{FAMILIES[family]}, published: 8 bits, other jets, part and tool")
            )  # fmt: skip
    return handles
