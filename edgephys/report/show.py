"""Declare the tables that commands show of one model or project, and never write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgephys.report.table import Column, Table


def edges_table(name: str, edges: Sequence[Mapping[str, Any]]) -> Table:
    """Declare the edges of a graph."""
    return Table(
        title=f"{name}: every edge and the reason for its width",
        columns=(
            Column("layer", "layer", left=True),
            Column("edge", "edge", left=True),
            Column("shape", "shape", left=True, text=lambda shape: "×".join(map(str, shape)) or "1"),
            Column("format", "format", left=True),
            Column("reason", "why", left=True),
        ),
        rows=edges,
    )


def targets_table(record: Mapping[str, Any]) -> Table:
    """Declare the result of a verification: a row a program that computed the outputs."""
    return Table(
        title=f"{record['project']}: {record['vectors']:,} vectors and {record['generated']:,} generated, bit for bit",
        columns=(
            Column("target", "program", left=True),
            Column("vectors", "vectors"),
            Column("generated", "generated"),
            Column("mismatches", "mismatches"),
            Column("latency_cycles", "latency", cell=_latency),
            Column("ii", "II", cell=lambda row: str(row.get("ii", ""))),
        ),
        rows=[{"target": name, **row} for name, row in record["targets"].items()],
        style=lambda row: "bold red" if row["mismatches"] else None,
        remarks=_fewer(record),
    )


def _fewer(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Say why the plain evaluation computed fewer vectors than the others, where it did."""
    row = record["targets"].get("plain")
    fewer = row is not None and (row["vectors"], row["generated"]) < (record["vectors"], record["generated"])
    return ("plain: as many of the vectors as it computes in about a second",) if fewer else ()


def coverage_table(record: Mapping[str, Any]) -> Table:
    """Declare what the vectors of a verification reached: bits of edges, roundings, overflows."""
    coverage = record["coverage"]
    rows = [{"what": name.replace("_", " "), **share} for name, share in coverage.items() if isinstance(share, Mapping)]
    return Table(
        title=f"reached by {coverage['vectors']:,} of these vectors",
        columns=(
            Column("what", "what", left=True),
            Column("possible", "can occur"),
            Column("reached", "reached"),
            Column("share", "share", cell=_share),
        ),
        rows=rows,
    )


def lint_table(record: Mapping[str, Any]) -> Table:
    """Declare what the tools that only read the sources object to."""
    return Table(
        title="tools that read the sources",
        columns=(
            Column("tool", "tool", left=True),
            Column("version", "version", left=True),
            Column("findings", "findings", left=True, cell=_findings),
        ),
        rows=record["lint"],
        style=lambda row: "bold red" if row["findings"] else "dim" if row["skipped"] else None,
    )


def _findings(row: Mapping[str, Any]) -> str:
    if row["skipped"]:
        return f"not run: {row['skipped']}"
    return "none" if not row["findings"] else f"{len(row['findings'])}: {row['findings'][0]}"


def proofs_table(record: Mapping[str, Any]) -> Table:
    """Declare which modules of a netlist are proven equal to their sources, and why the others are not."""
    proven = sum(proof["holds"] is True for proof in record["proofs"])
    return Table(
        title=f"netlist equal to the RTL for every input: {proven} of {len(record['proofs'])} modules proven",
        columns=(
            Column("netlist", "netlist", left=True),
            Column("module", "module", left=True),
            Column(
                "holds", "proven", left=True, cell=lambda row: {True: "yes", False: "differs", None: "no"}[row["holds"]]
            ),
            Column("why", "how, or why not", left=True),
            Column("seconds", "seconds", text=lambda seconds: f"{seconds:.1f}"),
        ),
        rows=record["proofs"],
        style=lambda row: "bold red" if row["holds"] is False else None,
    )


def score_table(record: Mapping[str, Any]) -> Table:
    """Declare the figures of the model's card that a verification computed again, or why there are none."""
    score = record["score"] or {"figures": (), "skipped": "the vectors are of a file: `edgephys score` measures on it"}
    note = () if score["skipped"] is None else (f"Not computed again: {score['skipped']}.",)
    return Table(
        title="figures of the card, computed again from the labels",
        columns=(
            Column("name", "figure", left=True),
            Column("value", "computed", text=_figure, error="error"),
            Column("stated", "the card's", text=_figure, error="stated_error"),
            Column("vectors", "vectors"),
        ),
        rows=score["figures"],
        remarks=note,
    )


def _figure(value: float) -> str:
    return f"{value:.4f}"


def _share(row: Mapping[str, Any]) -> str:
    return f"{100 * row['reached'] / row['possible']:.2f} %" if row["possible"] else ""


def _latency(row: Mapping[str, Any]) -> str:
    if "step_cycles" in row:
        return f"{row['step_cycles']:,} cycles a step ({row['run_cycles']:,} for a run of one)"
    latency = f"{row['latency_cycles']:,} cycles" if "latency_cycles" in row else ""
    if "latency_first_cycles" in row:
        latency += f" ({row['latency_first_cycles']:,} to the first pixel)"
    return latency


def doctor_table(tools: Iterable[Mapping[str, Any]]) -> Table:
    """Declare the outside tools: which are here, which are missing, and what to install."""
    return Table(
        title="outside tools",
        columns=(
            Column("name", "tool", left=True),
            Column("version", "found", left=True, cell=_state),
            Column("use", "needed for", left=True),
            Column("install", "what to do", left=True, cell=lambda tool: tool["install"] or ""),
        ),
        rows=list(tools),
        style=lambda tool: "bold red" if tool["needed"] and not tool["version"] else None,
    )


def _state(tool: Mapping[str, Any]) -> str:
    return str(tool["version"] or ("missing" if tool["needed"] else "missing (optional)"))
