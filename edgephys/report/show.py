"""Turn results into tables that a person reads: one look for the whole program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from edgephys.core.figure import Figure


def titled(title: str, table: Table) -> Group:
    """Put a title of any length above a table."""
    return Group(Text(title, style="italic"), table)


def edges_table(name: str, edges: Iterable[Mapping[str, Any]]) -> Group:
    """Tabulate the edges of a graph."""
    title = f"{name}: every edge and the reason for its width"
    table = Table()
    for heading in ("layer", "edge", "shape", "format", "why"):
        table.add_column(heading, overflow="fold")
    for edge in edges:
        shape = "×".join(map(str, edge["shape"])) or "1"
        table.add_row(edge["layer"], edge["edge"], shape, edge["format"], edge["reason"])
    return titled(title, table)


def targets_table(record: Mapping[str, Any]) -> Group:
    """Tabulate how every target fared in verification."""
    title = f"{record['project']}: {record['vectors']:,} vectors, bit for bit"
    table = Table()
    table.add_column("target")
    for heading in ("outputs", "mismatches", "latency", "II"):
        table.add_column(heading, justify="right")
    for name, target in record["targets"].items():
        latency = f"{target['latency_cycles']:,} cycles" if "latency_cycles" in target else ""
        if "latency_first_cycles" in target:
            latency += f" ({target['latency_first_cycles']:,} to the first pixel)"
        mismatches = f"{target['mismatches']:,}"
        style = "bold red" if target["mismatches"] else None
        table.add_row(name, f"{record['outputs']:,}", mismatches, latency, str(target.get("ii", "")), style=style)
    return titled(title, table)


def figures_table(name: str, figures: Sequence[Figure]) -> Group:
    """Tabulate figures with their provenance."""
    title = f"{name}: every figure and where it comes from"
    table = Table()
    table.add_column("figure")
    table.add_column("value", justify="right", overflow="fold", max_width=48)
    for heading in ("stage", "tool", "target"):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        style = "dim" if figure.value is None else None
        tool = f"{figure.tool} {figure.version}" if figure.version != "none" else figure.tool
        table.add_row(figure.name, figure.text, figure.stage.value, tool, figure.target, style=style)
    return titled(title, table)


def doctor_table(found: Iterable[Mapping[str, Any]]) -> Group:
    """Tabulate which tools are here and what to install."""
    title = "outside tools"
    table = Table()
    for heading in ("tool", "found", "needed for", "what to do"):
        table.add_column(heading, overflow="fold")
    for tool in found:
        state = tool["version"] or ("missing" if tool["needed"] else "missing (optional)")
        style = "bold red" if tool["needed"] and not tool["version"] else None
        table.add_row(tool["name"], state, tool["use"], tool["install"] or "", style=style)
    return titled(title, table)
