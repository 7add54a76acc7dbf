"""Columns and rows that several tables share: the score of a model, and published figures below ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgephys.applications.application import Literature, Score
from edgephys.applications.registry import applications, score_in, scored
from edgephys.models.card import Card
from edgephys.report.table import EVERYWHERE, NONE, Column, Row, percent, percents, value_at


def scores(rows: Iterable[Row]) -> list[Score]:
    """Return the scores that rows hold; a row without one adds nothing."""
    return [score for score in map(score_in, rows) if score is not None]


def names(rows: Sequence[Row]) -> str:
    """Return what the scores of rows are called."""
    return " or ".join(dict.fromkeys(score.name for score in scores(rows)))


def units(rows: Sequence[Row]) -> str:
    """Return what the scores of rows are counted on."""
    return " or ".join(dict.fromkeys(score.unit for score in scores(rows)))


def counted(rows: Sequence[Row]) -> str:
    """Return what rows count their scores on, also where they have no score: examples, where no row says more."""
    known = [one.score.unit for one in applications()]
    stated = (unit for row in rows for unit in known if unit in row or f"test_{unit}" in row)
    return " or ".join(dict.fromkeys(stated)) or "examples"


def score_of(rows: Sequence[Row]) -> Score:
    """Return the score of rows that have the same one; the accuracy where no row has any."""
    return next(iter(scores(rows)), scored({"accuracy": 0.0}))


def merit(row: Row) -> float:
    """Return a row's score, or less where less of it is better: the higher, the better."""
    score = scored(row)
    return float(row[score.key]) if score.rising else -float(row[score.key])


def score_column(rows: Sequence[Row], heading: str = "", within: str = "", spread: str = "error") -> Column:
    """Return the column of the score with its error, or another ``spread``; ``within`` is the key that holds both.

    A row without a score has an empty cell.
    """

    def facts(row: Row) -> Any:
        holder = value_at(row, within) if within else row
        return None if holder is None or score_in(holder) is None else holder

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


def auc_columns(rows: Sequence[Row], where: tuple[str, ...] = EVERYWHERE) -> list[Column]:
    """Return the column of the areas under the curves of all classes; none where no row has them."""
    classes = next((row["auc"] for row in rows if row.get("auc")), None)
    return [] if classes is None else [Column("auc", f"AUC {' '.join(classes)}", "%", percents, where=where)]


def published(card: Card) -> Mapping[str, Any] | None:
    """Return the published figures of a card's network; None where its application has none."""
    return next((one.published(card.recipe) for one in applications() if one.recognises(card.net)), None)


def literature(family: str) -> Literature | None:
    """Return the published figures of the application that has a family of networks."""
    known = [one.literature for one in applications() if one.literature is not None]
    return next((one for one in known if family.startswith(one.prefix)), None)


def family_name(family: str) -> str:
    """Return the name of a family of networks in words."""
    known = literature(family)
    return family if known is None else known.family_name(family)


def style_of(family: str, families: Iterable[str], styles: Sequence[str], other: str) -> str:
    """Return the style of a family by its place among ``families``; ``other`` beyond the styles."""
    return dict(zip(families, styles, strict=False)).get(family, other)


def caveats(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the caveats of the published figures that stand below rows."""
    sources = {row["published"].get("source") for row in rows if row.get("published")}
    known = [one.literature for one in applications() if one.literature is not None]
    return tuple(one.caveat for one in known if one.source in sources)


def published_row(facts: Mapping[str, Any], label: str = "*published, other jets*") -> Row:
    """Return the row of a published model with the keys of ours."""
    return {**facts, "model": label, "accuracy": f"{100 * facts['accuracy']:.1f}", "lut_stage": facts["stage"]}
