"""Draw the scaling table: accuracy, LUT and latency against the number of constituents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgephys.report.columns import counted, family_name, literature, style_of
from edgephys.report.plot import GREY, INK, MARKERS, OTHER_MARKER, legends, png
from edgephys.report.table import Row
from edgephys.targets.capacity import lut6

COLOURS = ("#c17d11", "#204a87", "#a40000")
"""Colours of the families of networks, in the order of the literature."""
OTHER = "#5c3566"
PUBLISHED_MARKERS = ("x", "+")
"""Markers of published networks, in the order of the literature."""
COORDINATES = 3
BESIDE = 0.13
"""Octaves between families: points of equal N stand side by side, so that none hides another."""
TALL = 3
"""Entries in one column of a legend."""

PANELS = (
    ("accuracy", "accuracy on held-out test {unit} (%)", 100.0),
    ("lut", "LUT (thousand)", 1e-3),
    ("latency_cycles", "latency (clock cycles; ours simulated)", 1.0),
)


def picture(rows: Sequence[Row]) -> bytes:
    """Return the figure as PNG."""
    return png(draw(rows))


def draw(rows: Sequence[Row]) -> Any:
    """Return the figure: a line a family and width, the widest thick, published figures in grey.

    Rows of other inputs are hollow points without a line. Rows of a whole jet, which has no constituents to count, are
    left to the table.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    rows = [row for row in rows if (row["n"] or 1) > 1]
    counts = sorted({row["n"] for row in rows})
    of_arrays = rows and all(literature(row["family"]) is None for row in rows)
    counts_of = "length of the input's first axis" if of_arrays else "constituents"
    places = _places(rows)
    figure = Figure(figsize=(11, 5))
    panels = figure.subplots(1, len(PANELS))
    for axes, (name, title, scale) in zip(panels, PANELS, strict=True):
        for family, place in places.items():
            _draw_published(axes, family, counts, place, name, scale)
            own = [row for row in rows if row["family"] == family and row.get(name) is not None]
            _draw(axes, own, place, name, scale)
        axes.set_ylabel(title.format(unit=counted(rows)))
        axes.set_xlabel(f"{counts_of} N (networks side by side)")
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.xaxis.set_minor_locator(NullLocator())
        if counts:
            axes.set_xlim(counts[0] / 1.4, counts[-1] * 1.4)
        axes.grid(alpha=0.25)
    if any(row["lut"] for row in rows):
        panels[1].set_yscale("log")
        panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels[1].yaxis.set_minor_locator(NullLocator())
        panels[1].yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    _draw_parts(panels[1], rows)
    panels[2].set_ylim(0, 1.03 * panels[2].get_ylim()[1])
    figure.tight_layout(rect=(0, 0.2, 1, 1), w_pad=2)
    _add_legends(figure, rows)
    if not rows:
        figure.text(0.5, 0.1, "no row has constituents: the table has them all", ha="center")
    return figure


def _draw_parts(axes: Any, rows: Sequence[Row]) -> None:
    """Draw a line at the LUTs of each part that the rows are for, in thousands; rows without one have no line."""
    for part in dict.fromkeys(str(row["part"]) for row in rows if row.get("lut") and row.get("part")):
        whole = lut6(part)
        if whole is not None:
            where, name = axes.get_yaxis_transform(), part.partition("-")[0]
            axes.hlines(whole / 1000, 0, 1, color=INK, linestyle="--", linewidth=1, transform=where)
            axes.text(0.02, whole / 1000, f"all of {name}", transform=where, va="bottom", fontsize=8, color=INK)


def _places(rows: Sequence[Row]) -> dict[str, float]:
    """Return by what factor each family stands beside its N."""
    families = list(dict.fromkeys(row["family"] for row in rows))
    return {family: 2 ** (BESIDE * (index - (len(families) - 1) / 2)) for index, family in enumerate(families)}


def _draw(axes: Any, rows: Sequence[Row], place: float, name: str, scale: float) -> None:
    """Draw a family: lines over the rows of three coordinates; a point with other features stands by itself."""
    widths = sorted({row["bits"] for row in rows}, key=lambda bits: bits or 0)
    for bits in widths:
        usual = [row for row in rows if row["bits"] == bits and row["features"] == COORDINATES]
        x, y = [row["n"] * place for row in usual], [scale * row[name] for row in usual]
        width, alpha = (2.2, 0.9) if bits == widths[-1] else (0.9, 0.35)
        axes.plot(x, y, "-", color=_colour(rows[0]["family"]), linewidth=width, alpha=alpha, zorder=2)
    for row in rows:
        error = scale * row["accuracy_error"] if name == "accuracy" else None
        estimated = name == "lut" and row["lut_stage"] == "estimated"
        axes.errorbar(
            [row["n"] * place], [scale * row[name]], yerr=error, elinewidth=1, zorder=3,
            **_point(_colour(row["family"]), row["bits"], row["features"] != COORDINATES, estimated),
        )  # fmt: skip


def _colour(family: str) -> str:
    known = literature(family)
    return style_of(family, known.families if known is not None else (), COLOURS, OTHER)


def _point(colour: str, bits: int, hollow: bool = False, estimated: bool = False) -> dict[str, Any]:
    """Return the style of a point: its bits by shape, other features hollow, an estimate half filled."""
    return {
        "color": colour,
        "linestyle": "",
        "marker": MARKERS.get(bits, OTHER_MARKER),
        "markersize": 6,
        "markerfacecolor": "white" if hollow else colour,
        "markerfacecoloralt": "white",
        "markeredgecolor": colour if hollow or estimated else "white",
        "markeredgewidth": 1.3 if hollow or estimated else 0.6,
        "fillstyle": "bottom" if estimated else "full",
    }


def _draw_published(axes: Any, family: str, counts: Sequence[int], place: float, name: str, scale: float) -> None:
    """Draw a family's published 8-bit figures, of the numbers of constituents shown."""
    known = literature(family)
    published = {} if known is None else known.rows.get(family, {})
    sizes = [n for n in counts if n in published and published[n][name] is not None]
    if sizes:
        x, y = [n * place for n in sizes], [scale * published[n][name] for n in sizes]
        axes.plot(x, y, zorder=1, **_published_line(family))


def _published_line(family: str) -> dict[str, Any]:
    known = literature(family)
    marker = style_of(family, known.rows if known is not None else (), PUBLISHED_MARKERS, "1")
    return {
        "color": GREY, "linestyle": ":", "linewidth": 1.2, "marker": marker, "markersize": 7, "markeredgewidth": 1.6
    }  # fmt: skip


def _add_legends(figure: Any, rows: Sequence[Row]) -> None:
    """Put the legends side by side below the panels: networks, points, published figures."""
    from matplotlib.lines import Line2D

    families = list(dict.fromkeys(row["family"] for row in rows))
    known = literature(families[0]) if families else None
    widths = sorted({row["bits"] for row in rows if row["bits"]}, reverse=True)
    others = sorted({row["features"] for row in rows} - {COORDINATES})
    networks = [Line2D([], [], color=_colour(family), linewidth=3, label=family_name(family)) for family in families]
    points = [Line2D([], [], label=f"{bits} bits", **_point(INK, bits)) for bits in widths]
    points += [
        Line2D([], [], label=f"{count} features, not {COORDINATES}", **_point(INK, 8, hollow=True)) for count in others
    ]
    if any(row["lut_stage"] == "estimated" for row in rows):
        points.append(Line2D([], [], label="LUT estimated", **_point(INK, 8, estimated=True)))
    published = [
        Line2D([], [], label=family_name(family), **_published_line(family))
        for family in families
        if known is not None and family in known.rows
    ]
    source = known.source if known is not None else "none"
    heading = f"published ({source}): 8 bits, other jets, part and tool"
    last = 0.58 if len(points) > TALL else 0.43
    legends(figure, ((0.05, "network", networks), (0.26, "ours", points), (last, heading, published)), 0.2, TALL)
