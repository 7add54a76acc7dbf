"""Sections of a project's page that describe its network: widths along it, its weights and their signed digits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from edgephys.core import signed_digits
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Constant, WithConstant
from edgephys.report.plot import COLOURS, GREY, WIDTH, panels, shortened, svg
from edgephys.report.table import CSV, Column, Drawing, Row, Table, written

LINE = 0.24
"""Inches of a line in a picture with a line a layer."""
KERNEL = "dense"
"""Word of the operation whose constants are the weights of layers."""
MOST_VALUES = 60
"""Bars of a histogram of weights."""
LOGARITHMIC = 50
"""Weights in one bar above which the axis is logarithmic."""


def height_of(lines: int) -> float:
    """Return the height of a picture with so many lines, in inches."""
    return 1.0 + LINE * max(lines, 3)


# Widths -------------------------------------------------------------------------------------------


def widths(graph: Graph) -> Table:
    """Declare the width of each layer's output and of its widest edge, from the input to the output."""
    layers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        layers.setdefault(node.layer, []).append(node)
    rows = [_width_row(layer, nodes) for layer, nodes in layers.items()]
    return Table(
        title="Widths along the network",
        lead=(
            "Each layer's widest edge, which is exact as a rule, and its output, which is rounded for the next one.",
        ),
        columns=(
            Column("layer", "layer", left=True),
            Column("format", "format of the output", left=True),
            Column("bits", "output", "bits"),
            Column("widest_bits", "widest edge", "bits", hover=lambda row: f"edge {row['widest']}"),
            Column("widest", "widest edge", left=True, where=(CSV,)),
            Column("elements", "elements of the output", where=(CSV,)),
        ),
        rows=rows,
        pictures=(Drawing("Bits of each layer's output and of its widest edge", _draw_widths, ".svg"),),
        notes=("`edgephys explain` on the model names every edge and the reason for its width.",),
    )


def _width_row(layer: str, nodes: Sequence[Node]) -> dict[str, Any]:
    widest, last = max(nodes, key=lambda node: node.fixed.bits), nodes[-1]
    return {
        "layer": layer,
        "format": str(last.fixed),
        "bits": last.fixed.bits,
        "widest_bits": widest.fixed.bits,
        "widest": widest.name,
        "elements": prod(last.shape),
    }


def _draw_widths(table: Table) -> bytes:
    figure, axes = panels(WIDTH, height_of(len(table.rows)))
    lines, names = range(len(table.rows)), [shortened(row["layer"]) for row in table.rows]
    output, widest = ([row[key] for row in table.rows] for key in ("bits", "widest_bits"))
    of = axes[0, 0]
    of.hlines(lines, output, widest, color="#c9d3de", linewidth=3, zorder=1)
    of.plot(widest, lines, "s", color=COLOURS[1], markersize=5, label="widest edge")
    of.plot(output, lines, "o", color=COLOURS[0], markersize=5, label="output")
    of.set_yticks(lines, names)
    of.set_ylim(len(names) - 0.5, -0.5)
    of.set_xlim(0, 1.08 * max(*widest, 1))
    of.set_xlabel("bits", fontsize=9)
    of.grid(alpha=0.25)
    figure.legend(loc="outside upper right", ncols=2, fontsize=8.5, frameon=False)
    return svg(figure)


# Weights ------------------------------------------------------------------------------------------


def weights(graph: Graph) -> Table:
    """Declare the weights of each layer: zeros, widths and signed digits, with their histograms."""
    rows = [_weight_row(layer, constants) for layer, constants in _kernels(graph).items()]
    drawings = (
        Drawing("Weights that are not zero, by value; all layers", lambda _: _draw_values(graph), ".svg"),
        Drawing("Weights by the number of their signed digits", lambda _: _draw_digits(graph), ".svg"),
    )
    total = sum(row["weights"] for row in rows)
    return Table(
        title="Weights and their signed digits",
        lead=(
            "A weight of d non-zero signed digits costs up to d additions in hardware; a zero costs nothing."
            if total
            else "The network has no layer with weights.",
        ),
        columns=(
            Column("layer", "layer", left=True),
            Column("weights", "weights"),
            Column("zeros", "zeros", "%", written(".1f", 100), bar=lambda row: float(row["zeros"])),
            Column("bits", "widest", "bits"),
            Column("values", "different values"),
            Column("digits", "digits a weight", text=written(".2f")),
        ),
        rows=rows,
        pictures=drawings if total else (),
    )


def _kernels(graph: Graph) -> dict[str, list[Constant]]:
    kernels: dict[str, list[Constant]] = {}
    for node in graph.nodes:
        if node.op.word == KERNEL and isinstance(node.op, WithConstant):
            kernels.setdefault(node.layer, []).append(node.op.constant)
    return kernels


def _weight_row(layer: str, constants: Sequence[Constant]) -> Row:
    integers = np.concatenate([constant.integers.ravel() for constant in constants])
    return {
        "layer": layer,
        "weights": integers.size,
        "zeros": float(np.mean(integers == 0)),
        "bits": max(constant.bits for constant in constants),
        "values": len(np.unique(integers)),
        "digits": float(signed_digits.count(integers).mean()),
    }


def _all_integers(graph: Graph) -> Iterator[tuple[Integers, int]]:
    for constants in _kernels(graph).values():
        for constant in constants:
            yield constant.integers.ravel(), constant.fraction


def _draw_values(graph: Graph) -> bytes:
    values = np.concatenate(
        [np.ldexp(integers.astype(float), -fraction) for integers, fraction in _all_integers(graph)]
    )
    figure, axes = panels(WIDTH, 3.0)
    of = axes[0, 0]
    counts, _, _ = of.hist(values[values != 0], bins=MOST_VALUES, color=COLOURS[0])
    if counts.max() > LOGARITHMIC:
        of.set_yscale("log")
    of.set_xlabel("weight", fontsize=9)
    of.set_ylabel("number", fontsize=9)
    of.set_title(f"{np.count_nonzero(values):,} of {values.size:,} weights are not zero", fontsize=9, color=GREY)
    return svg(figure)


def _draw_digits(graph: Graph) -> bytes:
    counts: Counter[int] = Counter()
    for integers, _ in _all_integers(graph):
        counts.update(signed_digits.count(integers).tolist())
    most = max(counts)
    figure, axes = panels(WIDTH, 3.0)
    of = axes[0, 0]
    bars = of.bar(range(most + 1), [counts[number] for number in range(most + 1)], color=COLOURS[2])
    of.bar_label(bars, [f"{counts[number]:,}" for number in range(most + 1)], fontsize=8.5, padding=1)
    of.set_xticks(range(most + 1))
    of.margins(y=0.12)
    of.set_xlabel("signed digits that are not zero", fontsize=9)
    of.set_ylabel("weights", fontsize=9)
    return svg(figure)
