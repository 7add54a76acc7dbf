"""The settings of a training script: what ``--set KEY=VALUE`` changes, with types and defaults."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from edgephys.train.recipe import SCHEDULES, WEIGHT_RANGES, Recipe, owners

CHOICES = {"schedule": SCHEDULES, "weight_range": WEIGHT_RANGES}
"""Words that a setting of training may be."""
OF = {"net": "network", "task": "data", "": "training"}


@dataclass(frozen=True)
class RecipeSetting:
    """State a key of ``--set``: what it belongs to, what may be written and the default, as they are typed."""

    key: str
    of: str
    kind: str
    default: str

    def to_record(self) -> dict[str, str]:
        """Return the setting as plain JSON types."""
        return dataclasses.asdict(self)


def settings_of(recipe: Recipe) -> tuple[RecipeSetting, ...]:
    """Return every setting of a recipe: those of its network, of its data, of its training."""
    parts: Mapping[str, Any] = {"net": recipe.net, "task": recipe.task_settings(), "": recipe}
    owned = owners(recipe)
    keys = [(name, key) for name in parts for key, owner in owned.items() if owner == name]
    return tuple(_setting(recipe, parts[name], name, key) for name, key in keys)


def _setting(recipe: Recipe, part: Any, name: str, key: str) -> RecipeSetting:
    hint = typing.get_type_hints(type(part))[key]
    value = recipe.rate() if key == "learning_rate" else getattr(part, key)
    words = CHOICES.get(key) or tuple(recipe.net.named_values.get(key, ()))
    kind = "|".join(words) if key in CHOICES else "|".join([_kind(hint), *words])
    return RecipeSetting(key, OF[name], kind, _typed(value))


def _kind(hint: Any) -> str:
    """Return what may be written for a type: ``int``, ``true|false``, ``int,int,...``; with ``none`` where it may."""
    if NoneType in typing.get_args(hint):
        inner = next(part for part in typing.get_args(hint) if part is not NoneType)
        return f"{_kind(inner)}|none"
    if typing.get_origin(hint) is tuple:
        item = _kind(typing.get_args(hint)[0])
        return f"{item},{item},..."
    if typing.get_origin(hint) is Mapping:
        return "float"
    return {bool: "true|false", str: "word"}.get(hint, getattr(hint, "__name__", str(hint)))


def _typed(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
