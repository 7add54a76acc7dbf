"""A pipeline's table for readers: what every stage cost and what it bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table

from edgephys.report.show import titled

Row = Mapping[str, Any]

HEADINGS = (
    "stage", "accuracy %", "weights", "not zero", "digits", "EBOPs", "LUT est.", "bought", "cycles est.", "s",
)  # fmt: skip
MEASURED = ("LUT", "FF", "cycles", "mismatches")


def headings(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the headings of a table, with those of synthesis where a row has it."""
    return HEADINGS + (MEASURED if any("measured" in row for row in rows) else ())


def cells(row: Row, measured: bool) -> list[str]:
    """Return a row as text, in the order of the headings."""
    metrics = row["metrics"]
    found = [
        row["stage"],
        f"{100 * metrics['accuracy']:.2f} ± {100 * metrics['accuracy_error']:.2f}",
        *(f"{row[name]:,}" for name in ("weights", "nonzero", "digits", "ebops", "lut_estimate")),
        _bought(row),
        str(row["cycles_estimate"]),
        f"{row['seconds']:.0f}",
    ]
    if measured:
        of = row.get("measured", {})
        found += [
            "–" if of.get(key) is None else f"{of[key]:,}" for key in ("lut", "ff", "latency_cycles", "mismatches")
        ]
    return found


def _bought(row: Row) -> str:
    if "bought_lut" not in row:
        return "–"
    bought = row["bought_lut"]
    if bought <= 0:
        return "no LUT" if bought == 0 else f"no LUT: {-bought:,} more"
    return f"{bought:,} ({100 * bought / (row['lut_estimate'] + bought):.0f} %)"


def shown(table: Mapping[str, Any]) -> Group:
    """Return a pipeline's table for a terminal."""
    rows = table["rows"]
    grid = Table(box=box.SIMPLE)
    for heading in headings(rows):
        grid.add_column(heading, justify="left" if heading == "stage" else "right")
    for row in rows:
        grid.add_row(*cells(row, any("measured" in of for of in rows)))
    metrics = table["metrics"]
    share, error = 100 * metrics["accuracy"], 100 * metrics["accuracy_error"]
    told = (
        "accuracy on the validation jets; LUT and cycles by alkaid, before synthesis, at 5 ns.\n"
        f"On {metrics['jets']} test jets, once: {share:.2f} ± {error:.2f} %"
    )
    return Group(titled(f"{table['model']}, {table['pipeline']}, seed {table['seed']}", grid), told)
