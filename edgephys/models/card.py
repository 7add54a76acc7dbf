"""Model cards: the recipe, the data, the versions and the metrics of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgephys.core.errors import ModelError

CARD = "card.json"
KEYS = ("name", "seed", "classes", "parameters", "metrics", "recipe", "versions", "standardisation")
"""Keys that every card has."""


def read_card(folder: Path, remedy: str = "train again") -> dict[str, Any]:
    """Return the card of a model's folder; raise ModelError where it is missing or damaged."""
    path = folder / CARD
    if not path.is_file():
        raise ModelError(f"{folder}: expected a model's folder with {CARD}; `edgephys train` makes one")
    try:
        card = json.loads(path.read_text())
        missing = set(KEYS) - set(card)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: expected a model card in JSON, found bytes that are no text; {remedy}") from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: expected a model card in JSON, found {error}; {remedy}") from error
    return dict(card)
