"""Declare the table of a compression to a number of LUTs: a row a price, the chosen one in bold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgephys.applications.registry import scored
from edgephys.report.columns import score_column
from edgephys.report.table import Column, Table, percent, written


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table."""
    rows, target, metrics = record["rows"], record["target"], record["metrics"]
    score = scored(metrics)
    chosen = next(row for row in rows if row["chosen"])
    latency = chosen["cycles_estimate"] * target["clock_ns"]
    return Table(
        title=f"{record['model']} to {target['number']:,} LUT, seed {record['seed']}, {record['epochs']} epochs each",
        columns=(
            Column("price", "price of an adder", text=written("g")),
            Column("lut_estimate", "LUT est."),
            Column("share", "of the start's %", text=percent),
            Column("cycles_estimate", "cycles est."),
            score_column(rows, within="metrics"),
            Column("seconds", "s", text=written(".0f")),
        ),
        rows=rows,
        record=record,
        chosen=lambda row: bool(row["chosen"]),
        remarks=(
            f"{score.name} on the validation {score.unit}. LUT and cycles by alkaid, before synthesis, at "
            f"{target['clock_ns']:g} ns: {chosen['cycles_estimate']} cycles are {latency:g} ns, which no placement has "
            "confirmed.",
            f"On {metrics[score.unit]} test {score.unit}, once: {percent(metrics[score.key])} ± "
            f"{percent(metrics[score.error])} %",
            f"chosen: {record['folder']}",
            *record["unreached"],
        ),
    )
