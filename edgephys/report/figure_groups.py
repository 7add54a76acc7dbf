"""Figures of a project in groups: all with their provenance, or one screen of a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgephys.core.figure import Figure
from edgephys.report.table import Column, Row, Table

LAYER = "."
"""Stands between the unit and the module in the name of a layer's figure, such as lut.layer_phi_1."""
LAYERS = "resources by layer"
ERROR = "_error"
"""Ends the name of the error of the figure before it."""
GROUPS: tuple[tuple[str, Callable[[Figure], bool]], ...] = (
    (LAYERS, lambda figure: LAYER in figure.name and figure.unit != ""),
    ("verification", lambda figure: figure.name.startswith(("vectors", "mismatches"))),
    ("time", lambda figure: figure.unit in ("cycles", "ns", "us", "MHz", "instructions") or figure.name == "ii"),
    ("memory", lambda figure: figure.unit == "bytes" or figure.name.endswith("_bits")),
    ("model", lambda figure: figure.unit in ("", "bits")),
    ("resources", lambda figure: True),
)
"""A figure belongs to the first group that it fits; reports show them in the order of ``ORDER``."""
ORDER = ("model", "verification", "time", "resources", "memory", LAYERS)
PORTS = ("input_bits", "output_bits")
MOST_OF_GROUP = 9
"""Figures of a group in one screen."""
MOST_SIGNS = 24
"""Signs of a tool and its version in one screen."""
NOT_MEASURED = "not measured"
MOST_LAYERS = 3
"""Layers in one screen: those that take most."""


def group_of(figure: Figure) -> str:
    """Return the group of a figure."""
    if figure.name in PORTS:
        return "model"
    return next(name for name, fits in GROUPS if fits(figure))


def in_groups(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    """Return figures by group, in the order of a report; layers by their size, the largest first."""
    groups: dict[str, list[Figure]] = {name: [] for name in ORDER}
    for figure in figures:
        groups[group_of(figure)].append(figure)
    groups[LAYERS].sort(key=_size, reverse=True)
    return {name: members for name, members in groups.items() if members}


def _size(figure: Figure) -> float:
    return float(figure.value) if isinstance(figure.value, int | float) else -1.0


def tool_of(figure: Figure) -> str:
    """Return tool and version of a figure."""
    return figure.tool if figure.version == "none" else f"{figure.tool} {figure.version}"


def figure_row(figure: Figure, group: str) -> dict[str, Any]:
    """Return the row of a figure."""
    return {
        "group": group,
        "figure": figure.name,
        "value": figure.text,
        "stage": figure.stage.value,
        "tool": tool_of(figure),
        "target": figure.target,
        "provenance": figure.provenance,
        "known": figure.value is not None,
    }


def _style(row: Row) -> str | None:
    return None if row["known"] else "dim"


def figures_table(name: str, figures: Sequence[Figure]) -> Table:
    """Declare all figures by group, with their provenance in columns and over the value."""
    rows = [figure_row(figure, group) for group, members in in_groups(figures).items() for figure in members]
    return Table(
        title=f"{name}: every figure and where it comes from",
        columns=(
            Column("figure", "figure", left=True),
            Column("value", "value", hover=lambda row: str(row["provenance"])),
            *(Column(key, key, left=True, minor=True) for key in ("stage", "tool", "target")),
        ),
        rows=rows,
        group="group",
        style=_style,
    )


def screen_table(name: str, figures: Sequence[Figure]) -> Table:
    """Declare the figures that fit one screen: a line each, the error behind its value, the largest layers alone."""
    rows: list[dict[str, Any]] = []
    left_out: dict[str, int] = {}
    for group, members in in_groups(figures).items():
        most = MOST_LAYERS if group == LAYERS else MOST_OF_GROUP
        shown = _with_shares(members) if group == LAYERS else _with_errors(members)
        left_out[group] = len(shown[most:])
        rows += [
            {**figure_row(figure, group if place == 0 else ""), "value": text, "tool": tool_of(figure)[:MOST_SIGNS]}
            for place, (figure, text) in enumerate(shown[:most])
        ]
    more = ", ".join(f"{count} of {group}" for group, count in left_out.items() if count)
    hidden = f"{more} left out; " if more else ""
    return Table(
        title=name,
        columns=(
            Column("group", "", left=True),
            Column("figure", "figure", left=True),
            Column("value", "value"),
            Column("stage", "stage", left=True),
            Column("tool", "tool", left=True),
        ),
        rows=rows,
        remarks=(*_reasons(figures), f"{hidden}--all: every figure, and what each is of"),
        style=_style,
        one_line=True,
    )


def _reasons(figures: Sequence[Figure]) -> list[str]:
    """Return why figures have no value, a line a reason."""
    names: dict[str, list[str]] = {}
    for figure in figures:
        if figure.value is None:
            names.setdefault(str(figure.why), []).append(figure.name)
    return [f"{', '.join(of)}: {NOT_MEASURED}: {why}" for why, of in names.items()]


def _with_shares(figures: Sequence[Figure]) -> list[tuple[Figure, str]]:
    """Return the figures of layers with their texts, and their share of all layers of the same unit."""
    totals: dict[str, float] = {}
    for figure in figures:
        totals[figure.unit] = totals.get(figure.unit, 0.0) + max(_size(figure), 0.0)
    return [
        (figure, f"{text}, {100 * _size(figure) / totals[figure.unit]:.0f} %" if _size(figure) > 0 else text)
        for figure, text in _with_errors(figures)
    ]


def _with_errors(figures: Sequence[Figure]) -> list[tuple[Figure, str]]:
    """Return figures with their texts; an error stands behind its figure."""
    errors = {figure.name.removesuffix(ERROR): figure for figure in figures if figure.name.endswith(ERROR)}
    names = {figure.name for figure in figures}
    texts = []
    for figure in figures:
        if figure.name.endswith(ERROR) and figure.name.removesuffix(ERROR) in names:
            continue
        error = errors.get(figure.name)
        behind = "" if error is None or error.value is None else f" ± {error.text}"
        texts.append((figure, NOT_MEASURED if figure.value is None else figure.text + behind))
    return texts
