"""Columns and rows that several tables share: the score of a model, and published figures below ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgephys.applications.registry import scored
from edgephys.report.table import NONE, Column, Row, percent, value_at


def names(rows: Sequence[Row]) -> str:
    """Return what the scores of rows are called."""
    return " or ".join(dict.fromkeys(scored(row).name for row in rows))


def units(rows: Sequence[Row]) -> str:
    """Return what the scores of rows are counted on."""
    return " or ".join(dict.fromkeys(scored(row).unit for row in rows))


def score_column(rows: Sequence[Row], heading: str = "", within: str = "", spread: str = "error") -> Column:
    """Return the column of the score with its error, or another ``spread``; ``within`` is the key that holds both."""

    def facts(row: Row) -> Any:
        return value_at(row, within) if within else row

    def cell(row: Row) -> str:
        holder = facts(row)
        if holder is None:
            return NONE
        score = scored(holder)
        return f"{percent(holder[score.key])} ± {percent(holder[getattr(score, spread)])}"

    holders = [holder for holder in map(facts, rows) if holder is not None]
    score = scored(holders[0]) if holders else scored({"accuracy": 0.0})
    prefix = f"{within}." if within else ""
    return Column(
        f"{prefix}{score.key}",
        heading or names(holders),
        "%",
        percent,
        lambda row: None if facts(row) is None else facts(row)[scored(facts(row)).key],
        cell,
        f"{prefix}{getattr(score, spread)}",
    )


def published_row(facts: Mapping[str, Any], label: str = "*published, other jets*") -> Row:
    """Return the row of a published model with the keys of ours."""
    return {**facts, "model": label, "accuracy": f"{100 * facts['accuracy']:.1f}", "lut_stage": facts["stage"]}
