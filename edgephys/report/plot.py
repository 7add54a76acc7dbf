"""Draw declared columns: a panel a group of columns, against one column; PNG bytes of any figure."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgephys.report.table import Table

RING = {"color": "black", "linestyle": "", "marker": "o", "markersize": 14, "markerfacecolor": "none"}
GREY, INK = "#8a8a8a", "#444444"
WIDTH = 4.6
"""Inches of a picture that stands beside its table on a laptop and fills the width of a phone."""
MARKERS = {8: "o", 6: "s", 4: "^"}
"""Markers of models by their bits."""
OTHER_MARKER = "D"
COLOURS = ("#204a87", "#a40000", "#4e9a06", "#8f5902", "#75507b")


def png(figure: Any, dpi: int = 130, maker: str | None = None, **options: Any) -> bytes:
    """Return a figure of matplotlib as PNG, the same bytes each time; ``maker`` is stated in the file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": maker}, **options)
    return buffer.getvalue()


def svg(figure: Any, maker: str | None = None) -> bytes:
    """Return a figure of matplotlib as SVG, the same bytes each time; its letters are shapes, which need no font.

    ``maker`` is stated in the file.
    """
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "edgephys", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": maker})
    return buffer.getvalue()


def panels(width: float, height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Any, Any]:
    """Return a figure of matplotlib and its axes, an array of (rows, columns).  Units: width and height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
        each.tick_params(labelsize=9)
    return figure, axes


def shortened(name: str, most: int = 22) -> str:
    """Return a name that is short enough for the edge of a picture: both ends of a longer one."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def legends(figure: Any, groups: Sequence[tuple[float, str, Sequence[Any]]], top: float, tall: int) -> None:
    """Put legends side by side: left edge, title and entries of each, at most ``tall`` entries in a column."""
    for left, title, entries in groups:
        if entries:
            figure.legend(
                handles=entries, title=title, loc="upper left", bbox_to_anchor=(left, top), alignment="left",
                ncols=-(-len(entries) // tall), fontsize=9, title_fontsize=9, frameon=False,
            )  # fmt: skip


def plot(
    x: str, panels: Sequence[Sequence[str]], levels: Mapping[str, tuple[float, str]] | None = None
) -> Callable[[Table], bytes]:
    """Return what draws a table's columns, named by their keys, against the column ``x``; chosen rows are ringed.

    ``levels`` are horizontal lines: the key of a panel's first column, the value and a name.
    """

    def draw(table: Table) -> bytes:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4 * len(panels), 3.8), layout="constrained")
        for axes, keys in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _panel(axes, table, x, keys, (levels or {}).get(keys[0]))
        figure.suptitle(table.caption or table.title, fontsize=10)
        return png(figure)

    return draw


def _panel(axes: Any, table: Table, x: str, keys: Sequence[str], level: tuple[float, str] | None) -> None:
    across = table.column(x)
    for key, colour in zip(keys, COLOURS, strict=False):
        column = table.column(key)
        for rows, style in (
            (table.rows, {"color": colour, "marker": "o", "label": column.heading}),
            ([row for row in table.rows if table.chosen(row)], RING),
        ):
            known = [row for row in rows if column.of(row) is not None]
            axes.plot([across.of(row) for row in known], [column.of(row) for row in known], **style)
    if level is not None:
        axes.axhline(level[0], color="#555753", linestyle="--", label=level[1])
    axes.set(xlabel=across.label, ylabel=table.column(keys[0]).unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])  # room for the legend above the points
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left")
