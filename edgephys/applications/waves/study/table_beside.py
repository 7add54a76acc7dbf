"""Rows of wave networks that were measured earlier: they stand in a table again if the same was measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.core.errors import DataError, UsageError
from edgephys.core.reading import UNREADABLE, fault, read_json

Row = dict[str, Any]

SAME = ("data", "horizon")
"""What two tables must state alike, or their errors are of different things."""


def read(path: Path, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return an earlier table that was measured on the same data, byte for byte, and as far.

    Raises: UsageError where it is no table of wave networks, states no hash of its data, or other data or another
    horizon than ``measured`` does.
    """
    try:
        earlier = dict(read_json(path))
        rows = [(_kind(row), row["growth"]) for row in earlier["rows"]]
        stated = [earlier[name] for name in ("command", "machine", "versions", *SAME)]
    except UNREADABLE as error:
        raise UsageError(
            f"{path}: expected a table of wave networks in JSON, found {fault(error)}; `edgephys waves` writes one"
        ) from error
    if not rows or not stated[-2].get("sha256"):
        raise UsageError(
            f"{path}: expected rows and the hash of the data that they were measured on, found "
            f"{len(rows)} rows and data {json.dumps(stated[-2])}; measure them again"
        )
    for name in SAME:
        expected, received = (_stated(of[name]) for of in (measured, earlier))
        if expected != received:
            raise UsageError(f"{path}: its {name} must be {expected}, as here, not {received}; measure its rows again")
    return earlier


def _stated(of: Mapping[str, Any]) -> str:
    """Return a part of a table to compare; a file may have moved, its bytes may not have changed."""
    return json.dumps({key: value for key, value in of.items() if key != "file"}, sort_keys=True)


def _kind(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("format", "rank", "bits", "grid", "width", "depth", "kernel_size", "seed")
    return (*(row[name] for name in names), row.get("stride", 1))


def joined(rows: Sequence[Row], earlier: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[list[Row], list[Any]]:
    """Return the rows of both tables, each with the number of the run that it was ``measured_by``, and these runs.

    A network that is in both keeps its earlier row, if its errors are the same to the last digit.
    Raises: DataError where they are not.
    """
    runs = list(earlier.get("runs", [_run(earlier)]))
    before = [{**row, "measured_by": row.get("measured_by", 0)} for row in earlier["rows"]]
    known = {_kind(row): row for row in before}
    fresh = []
    for row in rows:
        earlier_row = known.get(_kind(row))
        if earlier_row is None:
            fresh.append({**row, "measured_by": len(runs)})
        else:
            _check_same(row, earlier_row)
    return sorted([*before, *fresh], key=_order), [*runs, _run(run)]


def _run(of: Mapping[str, Any]) -> dict[str, Any]:
    return {name: of[name] for name in ("command", "machine", "versions")}


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["format"] != "full", row["model"], row["seed"]


def _check_same(row: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    errors = [key for key in before if key.startswith(("error_", "test_error", "growth", "parameters"))]
    for key in errors:
        if row[key] != before[key]:
            raise DataError(
                f"{row['model']}, seed {row['seed']}, {key}: expected {before[key]}, as the earlier table states, "
                f"found {row[key]}; another training of it? leave it out, or measure all again"
            )


def most(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return the run that measured most rows: times are compared within one run alone."""
    counts = Counter(int(row.get("measured_by", 0)) for row in rows)
    return counts.most_common(1)[0][0]
