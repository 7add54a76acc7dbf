"""Declare what `edgephys explain` shows: the layers of a Graph, a line each, and one edge with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.report.table import Column, Row, Table


def layers_table(name: str, layers: Sequence[Mapping[str, Any]]) -> Table:
    """Declare the layers of a graph, a row each."""
    return Table(
        title=f"{name}: its layers",
        columns=(
            Column("layer", "layer", left=True),
            Column("operations", "operations", left=True),
            Column("shape", "shape", left=True, text=shape_text),
            Column("input_bits", "bits in", text=_widths),
            Column("format", "result", left=True, text=_without_modes),
            Column("weights", "weights, biases", cell=_weights),
            Column("low", "range", left=True, cell=lambda row: f"{row['low']:.3g} .. {row['high']:.3g}"),
        ),
        rows=layers,
    )


def totals(layers: Sequence[Mapping[str, Any]], edges: int) -> str:
    """Return what all layers have together, and how to see more."""
    weights = sum(layer["weights"] for layer in layers)
    widest = max(layers, key=lambda layer: layer["bits"])
    return (
        f"{len(layers)} layers, {edges} edges, {weights:,} weights that are not 0; widest result {widest['bits']} bits "
        f"({widest['layer']})\n--edge LAYER gives the reasons for its widths, --all lists every edge, "
        "--svg FILE draws the layers"
    )


def edge_text(edge: Mapping[str, Any]) -> str:
    """Return one edge in a few lines."""
    lines = [
        f"{edge['edge']}: {edge['format']}, {edge['bits']} bits",
        f"  why      {edge['reason']}",
        f"  layer    {edge['layer']} ({edge['operation']})",
        f"  shape    {shape_text(edge['shape'])}",
        f"  range    {edge['low']:.6g} .. {edge['high']:.6g}",
        f"  reads    {', '.join(edge['reads']) or 'the caller'}",
        f"  read by  {', '.join(edge['read_by']) or 'the caller'}",
    ]
    return "\n".join(lines)


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape such as 8×3."""
    return "×".join(map(str, shape)) or "1"


def _widths(widths: Sequence[int]) -> str:
    return ", ".join(map(str, dict.fromkeys(widths)))


def _without_modes(text: str) -> str:
    """Return a format such as fixed<12,3>, without how it rounds and overflows."""
    return ",".join(text.removesuffix(">").split(",")[:2]) + ">"


def _weights(row: Row) -> str:
    return f"{row['weights']:,} of up to {row['weight_bits']} bits" if row["weights"] else ""
