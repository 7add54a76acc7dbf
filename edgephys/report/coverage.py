"""Which bits, rounding ties and overflows of models the held-out vectors reach, and the generated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import machine
from edgephys.core.fixed import Integers
from edgephys.graph import stimuli
from edgephys.graph.coverage import coverage_of
from edgephys.graph.graph import Graph
from edgephys.models.frameworks import load
from edgephys.report.table import Column, Table

ELEMENTS = 1 << 28
"""Most elements of all edges that are counted for the vectors of one kind."""
KINDS = ("held_out", "generated", "both")

Say = Callable[[str], None]


def tabulate(models: Sequence[Path], command: str, say: Say, write: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the table, a row for each model and what is counted; call ``write`` with it after each model."""
    record: dict[str, Any] = {"command": command, "machine": machine.name(), "rows": []}
    for path in models:
        say(f"{path.name}: {len(record['rows'])} rows so far")
        record["rows"] += _rows(path.name, path)
        write(record)
    return record


def _rows(name: str, folder: Path) -> Iterator[dict[str, Any]]:
    model = load(folder)
    generated = _part(model.graph, stimuli.make(model.graph))
    held_out = _part(model.graph, model.held_out.inputs)
    x = {"held_out": held_out, "generated": generated, "both": np.concatenate([held_out, generated])}
    shares = {kind: coverage_of(model.graph, vectors).shares() for kind, vectors in x.items()}
    for what, share in shares["both"].items():
        counts = {kind: shares[kind][what].reached for kind in KINDS}
        vectors = {f"{kind}_vectors": len(x[kind]) for kind in KINDS[:2]}
        yield {"model": name, **vectors, "what": what, "possible": share.possible, **counts}


def _part(graph: Graph, x: Integers) -> Integers:
    """Return as many vectors as can be counted in a few seconds, evenly drawn."""
    most = ELEMENTS // sum(prod(node.shape) for node in graph.nodes) + 1
    return x if len(x) <= most else x[np.linspace(0, len(x) - 1, most).astype(int)]


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table."""
    return Table(
        title="What the vectors of a verification reach",
        columns=(
            Column("model", "model", left=True),
            Column("held_out_vectors", "held-out vectors"),
            Column("generated_vectors", "generated vectors"),
            Column("what", "what", left=True),
            Column("possible", "can occur"),
            *(Column(kind, f"{kind.replace('_', '-')} %", cell=_share(kind)) for kind in KINDS),
        ),
        rows=record["rows"],
        record=record,
        lead=(
            "A bit of an element of an edge counts as up to four cases: 0 and 1, in negative numbers and in others. "
            "What the proven range of an element excludes is not counted. What remains unreached may still be "
            "impossible: the ranges treat the elements of an edge as independent. Ties and overflows are counted for "
            "every element of an edge that is rounded.",
        ),
    )


def _share(kind: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: f"{100 * row[kind] / row['possible']:.2f}" if row["possible"] else "none can occur"
