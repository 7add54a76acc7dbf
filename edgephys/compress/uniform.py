"""Read the uniform models of a network from a scaling table: the models that a front is shown beside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgephys.applications.registry import of_card
from edgephys.core.errors import ProjectError
from edgephys.models.card import Card

KEYS = ("model", "bits", "accuracy", "accuracy_error", "lut", "lut_stage", "lut_estimate", "latency_cycles")


def uniform(path: Path, card: Card) -> list[dict[str, Any]]:
    """Return the rows of a model's own network in a scaling table, the widest first; LUTs only if synthesised.

    Raises: ProjectError where there is no such table.
    """
    try:
        table = json.loads(path.read_text())["rows"]
        rows = [{key: row[key] for key in KEYS} for row in table if _network(row) == _network_of(card)]
        rows = [row if row["lut_stage"].startswith("synthesised") else {**row, "lut": None} for row in rows]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProjectError(
            f"{path}: expected a table of `edgephys scaling` in JSON, found {error!r}; make it or leave --beside out"
        ) from error
    return sorted(rows, key=lambda row: -int(row["bits"]))


def _network(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["family"], row["n"], row["features"], row["parameters"]


def _network_of(card: Card) -> tuple[Any, ...]:
    application = of_card(card)
    return card.recipe.get("script"), application.size(card.net), application.input_width(card.net), card.parameters
