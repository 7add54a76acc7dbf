"""Put model cards into one table: the score of each model, over the seeds that were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.applications.registry import scored
from edgephys.core import machine
from edgephys.core.errors import ModelError
from edgephys.core.reading import fitting
from edgephys.models.card import Card, doubt, read_card
from edgephys.report.columns import auc_columns, caveats, names, published, published_row, score_column, units
from edgephys.report.table import Column, Row, Table, percent


def tabulate(folders: Sequence[Path], command: str) -> dict[str, Any]:
    """Return the record: a row a model, its scores over seeds, their mean and spread.

    A card whose digests are missing, or are of other files, has no row, nor has that of a model that was imported
    without answers; ``left_out`` says why.
    Raises: ModelError for a folder without a card, a card without a score, two cards of one model and seed, or no row.
    """
    left_out: dict[str, str] = {}
    cards: dict[str, dict[int, Card]] = {}
    for folder in folders:
        card = read_card(folder)
        seeds = cards.setdefault(card.name, {})
        seed = card.seed or 0
        if seed in seeds:
            raise ModelError(f"{folder}: {card.name} with seed {seed} is there twice; name each once")
        seeds[seed] = card
        if (why := _unscored(card) or doubt(card, folder)) is not None:
            left_out[str(folder)] = why
            del seeds[seed]
    rows = []
    for name, seeds in ((name, seeds) for name, seeds in cards.items() if seeds):
        with fitting(f"model '{name}'", "a card with the figures of a table", ModelError):
            rows.append(_row(name, [seeds[seed] for seed in sorted(seeds)]))
    if not rows:
        name, why = next(iter(left_out.items()), ("cards", "no model was named"))
        raise ModelError(f"{name}: no row in the table: {why}")
    rows.sort(key=lambda row: (row.get("constituents") or row.get("grid") or 0, row["model"]))
    return {"command": command, "machine": machine.name(), "rows": rows, "left_out": left_out}


def _unscored(card: Card) -> str | None:
    """Return why an imported model has no score; None where it has one."""
    if card.imported is None or card.metrics:
        return None
    return "it was imported without answers; `edgephys import --data` takes x and y"


def _row(name: str, cards: Sequence[Card]) -> dict[str, Any]:
    net, score = cards[0].net, scored(cards[0].metrics)
    metrics = [card.metrics for card in cards]
    scores = [facts[score.key] for facts in metrics]
    return {
        "model": name,
        **{key: net[key] for key in ("constituents", "grid") if key in net},
        "seeds": [card.seed for card in cards],
        "accuracies" if score.key == "accuracy" else f"{score.key}_of_seeds": scores,
        score.key: float(np.mean(scores)),
        f"{score.key}_spread": float(np.std(scores, ddof=1)) if len(cards) > 1 else None,
        score.error: float(np.mean([facts[score.error] for facts in metrics])),
        "auc": {
            label: float(np.mean([facts["auc"][label] for facts in metrics])) for label in metrics[0].get("auc", {})
        },
        "parameters": cards[0].parameters,
        f"test_{score.unit}": metrics[0].get(score.unit),
        "published": published(cards[0]),
    }


def table(record: Mapping[str, Any]) -> Table:
    """Declare the table of model cards; areas under curves and published figures only where a row has them."""
    rows = record["rows"]
    score = scored(rows[0])
    left_out = tuple(f"{folder}: left out: {why}" for folder, why in record.get("left_out", {}).items())
    return Table(
        title=f"Models: {names(rows)} on held-out test {units(rows)}",
        columns=(
            Column("model", "model", left=True),
            Column("seeds", "seeds"),
            score_column(rows),
            Column(f"{score.key}_spread", "spread over seeds", "%", percent, _spread),
            *auc_columns(rows),
            Column("parameters", "parameters"),
            Column(f"test_{score.unit}", f"test {units(rows)}", value=lambda row: row[f"test_{scored(row).unit}"]),
        ),
        rows=rows,
        record=record,
        notes=(
            "±: binomial for accuracy, else the standard error. Spread: standard deviation over seeds.",
            *caveats(rows),
            *left_out,
        ),
        remarks=left_out,
        beneath=lambda row: published_row(row["published"]) if row["published"] else None,
    )


def _spread(row: Row) -> float | None:
    spread: float | None = row[f"{scored(row).key}_spread"]
    return spread
