"""Draw a front: the score against LUTs and against latency, with uniform models and published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgephys.applications.registry import scored
from edgephys.report.columns import counted, family_name, literature, merit, score_of, style_of
from edgephys.report.plot import GREY, INK, MARKERS, OTHER_MARKER, legends, png
from edgephys.report.table import Row

OURS = "#204a87"
SHADE = "#d9e2ee"
UNIFORM = "#c17d11"
PUBLISHED_MARKERS = ("o", "s")
"""Markers of published networks, in the order of the literature."""
BOX: dict[str, Any] = {"facecolor": SHADE, "edgecolor": SHADE, "linewidth": 5, "joinstyle": "round"}
"""Style of a box; its edge keeps a box of equal seeds visible."""
RUN: dict[str, Any] = {"color": OURS, "linestyle": "", "marker": ".", "markersize": 6, "markeredgewidth": 0}
CHOSEN: dict[str, Any] = {"color": OURS, "linestyle": "--", "linewidth": 0.9, "alpha": 0.7}
RINGED: dict[str, Any] = {"linestyle": "", "markeredgecolor": "white", "markeredgewidth": 0.7}
TESTED: dict[str, Any] = {**RINGED, "color": OURS, "marker": "o", "markersize": 6.5}
FAINT, CLEAR = 0.3, 0.9
LEGENDS = (0.06, 0.43, 0.63)
"""Left edges of the legends below the panels."""
LUT_TICKS = tuple(step * 10**power for power in range(2, 8) for step in (1, 2, 5))
CYCLE_TICKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)


@dataclass(frozen=True)
class Panel:
    """Name the horizontal axis of a panel: the key in a run, in a uniform model and in a published one.

    ``named`` says whether the knob's values stand beside their runs.
    """

    run: str
    uniform: str
    published: str
    title: str
    ticks: tuple[int, ...]
    named: bool


def panels(table: Mapping[str, Any]) -> tuple[Panel, Panel]:
    """Return the panels of a table; the LUTs of uniform models are of the same stage as those of the runs."""
    synthesised = table["lut_stage"] == "synthesised"
    stage = "synthesised by Yosys" if synthesised else "estimated before synthesis"
    lut = Panel("compared_lut", "lut" if synthesised else "lut_estimate", "lut", f"LUT ({stage})", LUT_TICKS, True)
    title = f"latency (clock cycles, {table['cycles_stage']})"
    return lut, Panel("compared_cycles", "latency_cycles", "latency_cycles", title, CYCLE_TICKS, False)


def picture(table: Mapping[str, Any]) -> bytes:
    """Return the figure as PNG."""
    return png(draw(table))


def draw(table: Mapping[str, Any]) -> Any:
    """Return the figure: scores on validation data, which chose the front, are thin; those on test data are bold.

    Published accuracies, of other jets, stand in a strip of their own above the same costs.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.2))
    others = published(table)
    heights = [1, 5] if others else [1]
    grid = figure.subplots(len(heights), 2, sharex="col", sharey="row", height_ratios=heights, squeeze=False)
    for column, panel in enumerate(panels(table)):
        axes = grid[-1, column]
        _draw_uniform(axes, table["beside"], panel)
        _draw_runs(axes, table, panel)
        _draw_front(axes, table, panel)
        axes.set_xlabel(panel.title)
        if others:
            _draw_published(grid[0, column], others, panel)
        for each in grid[:, column]:
            each.grid(alpha=0.25)
        _scale(axes, panel.ticks)
    grid[-1, 0].set_ylabel(f"{score_of(table['runs']).name} (%)")
    figure.suptitle(_title(table), fontsize=11)
    figure.tight_layout(rect=(0, 0.2, 1, 1), w_pad=2, h_pad=0.5)
    _add_legends(figure, table)
    if not table["runs"]:
        grid[-1, 0].tick_params(labelleft=bool(table["beside"]))
        grid[-1, 0].text(0.5, 0.5, "no run is finished yet", ha="center", transform=grid[-1, 0].transAxes)
    return figure


def _title(table: Mapping[str, Any]) -> str:
    knob, seeds = table["knob"], ", ".join(map(str, table["seeds"]))
    return f"{table['model']}, {table['pipeline']}: {knob['key']} of stage {knob['stage']}, seeds {seeds}"


def edge(rows: Sequence[Row], key: str) -> list[Row]:
    """Return the members of a front that are best in the score and this cost alone, by rising cost."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[key], -merit(row))):
        if not best or merit(row) > merit(best[-1]):
            best.append(row)
    return best


def _percent(row: Row) -> float:
    """Return the score of a run, or of a model beside it, in percent."""
    return 100 * float(row[scored(row).key])


def _draw_runs(axes: Any, table: Mapping[str, Any], panel: Panel) -> None:
    """Draw all runs on validation data: dominated ones faint, the seeds of one value in a box with its name."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    for value in table["knob"]["values"]:
        seeds = [row for row in table["runs"] if row["value"] == value]
        x, y = [row[panel.run] for row in seeds], [_percent(row) for row in seeds]
        if len(seeds) > 1:
            axes.add_patch(Rectangle((min(x), min(y)), max(x) - min(x), max(y) - min(y), zorder=1, **BOX))
        if seeds and panel.named:
            axes.annotate(
                str(value), (max(x), min(y)), (4, -4), textcoords="offset points", color=OURS, fontsize=8,
                ha="left", va="top", zorder=6, path_effects=[withStroke(linewidth=2, foreground="white")],
            )  # fmt: skip
    for row in table["runs"]:
        axes.plot([row[panel.run]], [_percent(row)], zorder=3, **RUN, alpha=CLEAR if row["front"] else FAINT)


def _draw_front(axes: Any, table: Mapping[str, Any], panel: Panel) -> None:
    """Draw the members with their score on test data, joined; on validation data only a thin line joins them."""
    members = [row for row in table["runs"] if row["front"]]
    line = edge(members, panel.run)
    x, y = [row[panel.run] for row in line], [_percent(row) for row in line]
    axes.plot(x, y, zorder=2, **CHOSEN)
    tested = [row for row in members if row["test"]]
    joined = [row for row in line if row["test"]]
    axes.plot([row[panel.run] for row in joined], [_percent(row["test"]) for row in joined], color=OURS, lw=1.8)
    if tested:
        axes.errorbar(
            [row[panel.run] for row in tested],
            [_percent(row["test"]) for row in tested],
            [100 * row["test"][scored(row["test"]).error] for row in tested],
            elinewidth=1.2, zorder=5, **TESTED,
        )  # fmt: skip


def _draw_uniform(axes: Any, rows: Sequence[Row], panel: Panel) -> None:
    known = sorted((row for row in rows if row[panel.uniform] is not None), key=lambda row: row["bits"])
    x, y = [row[panel.uniform] for row in known], [_percent(row) for row in known]
    axes.plot(x, y, ":", color=UNIFORM, linewidth=1.2, zorder=2)
    for row in known:
        axes.errorbar(
            [row[panel.uniform]], [_percent(row)], [100 * row[scored(row).error]],
            elinewidth=1.2, zorder=4, **_uniform(row["bits"]),
        )  # fmt: skip


def _uniform(bits: int) -> dict[str, Any]:
    return {**RINGED, "color": UNIFORM, "marker": MARKERS.get(bits, OTHER_MARKER), "markersize": 7}


def _draw_published(axes: Any, others: Mapping[str, Mapping[str, Any]], panel: Panel) -> None:
    for family, facts in others.items():
        axes.plot([facts[panel.published]], [100 * facts["accuracy"]], zorder=2, **_published(family))
    axes.set_facecolor("#f4f4f4")
    axes.text(0.01, 0.93, "other jets", color=INK, fontsize=9, ha="left", va="top", transform=axes.transAxes)
    axes.margins(y=0.4)


def published(table: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the published models of a table's size of the input, by network."""
    known = literature(table["family"])
    rows = {} if known is None else known.rows
    return {family: by_size[table["n"]] for family, by_size in rows.items() if table["n"] in by_size}


def _published(family: str) -> dict[str, Any]:
    known = literature(family)
    marker = style_of(family, known.rows if known is not None else (), PUBLISHED_MARKERS, OTHER_MARKER)
    style = {"color": GREY, "linestyle": "", "marker": marker, "markersize": 8}
    return {**style, "markerfacecolor": "none", "markeredgewidth": 1.5}


def _scale(axes: Any, ticks: Sequence[int]) -> None:
    """Give a panel a logarithmic axis with the ticks of a list that lie on it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:,g}k" if x >= 1000 else f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _add_legends(figure: Any, table: Mapping[str, Any]) -> None:
    """Put the legends side by side below the panels: the sweep, uniform models, published ones."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    unit = counted(table["runs"])
    ours: list[Any] = [
        Line2D([], [], label=f"front, on validation {unit}, which chose it", **{**RUN, **CHOSEN, "alpha": CLEAR}),
        Line2D([], [], label=f"dominated, on validation {unit}", **RUN, alpha=FAINT),
    ]
    if any(row["test"] for row in table["runs"]):
        ours.insert(0, Line2D([], [], label=f"front, on test {unit}", **{**TESTED, "linestyle": "-", "linewidth": 1.8}))
    if len(table["seeds"]) > 1:
        ours.append(Patch(color=SHADE, label=f"spread over the seeds of one {table['knob']['key']}"))
    known = literature(table["family"])
    widths = sorted({row["bits"] for row in table["beside"]}, reverse=True)
    uniform = [Line2D([], [], label=f"{bits} bits", **_uniform(bits)) for bits in widths]
    others = [
        Line2D([], [], label=f"{family_name(family)}, 8 bits", **_published(family)) for family in published(table)
    ]
    heading = f"published, other jets, part and tool ({known.source if known is not None else 'none'})"
    groups = zip(LEGENDS, ("ours", f"uniform, on test {unit}", heading), (ours, uniform, others), strict=True)
    legends(figure, list(groups), 0.21, len(ours) + len(uniform) + len(others))
