"""How a network is trained, as data: a training script states it, the command line changes any key of it."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from edgephys.applications import registry
from edgephys.applications.application import TaskSettings
from edgephys.applications.task import Shares
from edgephys.core.errors import UsageError
from edgephys.networks.network import Net

TRUTH = {"true": True, "1": True, "false": False, "0": False}
"""Words of truth values."""

SCHEDULES = ("plateau", "cosine")
"""Learning rates: the paper's, times a factor where the validation loss no longer falls; or half a cosine down to 0,
which stops quantised weights that swing between two steps."""

WEIGHT_RANGES = ("unit", "fitted")
"""Weights in [-1, 1), as published; or, after a float start, each layer's in a power of two that holds most of them."""


@dataclass(frozen=True)
class Recipe:
    """State how a network is trained. Source of the defaults: arXiv 2402.01876 (methods, training).

    ``learning_rate`` is stated by the size of the network's input. ``task`` holds what the network's application needs
    beside that; None stands for its defaults.
    """

    script: str
    net: Net
    learning_rate: Mapping[int, float]
    epochs: int = 100
    batch: int = 1024
    schedule: str = "plateau"
    weight_range: str = "unit"
    plateau_factor: float = 0.8
    plateau_patience: int = 10
    stop_patience: int = 20
    validation: float = 0.1
    test: float = 0.3
    seed: int = 1
    task: TaskSettings | None = None

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule}")
        if self.weight_range not in WEIGHT_RANGES:
            raise UsageError(f"weight_range must be one of {', '.join(WEIGHT_RANGES)}, not {self.weight_range}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be 0..{2**32 - 1}, not {self.seed}")
        if not all(math.isfinite(rate) and 0 < rate <= 1 for rate in self.learning_rate.values()):
            raise UsageError(f"learning_rate must be above 0 and at most 1, not {self.rate()}")
        if not 0 < self.plateau_factor < 1 or self.plateau_patience < 1 or self.stop_patience < 1:
            raise UsageError("plateau_factor must be between 0 and 1, plateau_patience and stop_patience 1 and over")
        if self.epochs < 0:
            raise UsageError(f"epochs must be 0 and over, not {self.epochs}")
        if self.batch < 1:
            raise UsageError(f"batch must be 1 and over, not {self.batch}")
        if not (0 < self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise UsageError(
                f"validation must be above 0, test 0 and over, their sum below 1, not {self.validation}, {self.test}"
            )

    @property
    def name(self) -> str:
        """Name of the trained model: <script>_n<N>_<bits>bit or ..._float."""
        return "_".join(filter(None, (self.script, self.net.label)))

    def rate(self) -> float:
        """Return the learning rate of the nearest stated size."""
        return self.learning_rate[min(self.learning_rate, key=lambda size: abs(size - self.net.size))]

    def task_settings(self) -> TaskSettings:
        """Return what the application needs of the recipe.

        Raises: UsageError for a network without an application, and for the settings of another application.
        """
        application = registry.of_network(self.net)
        settings = application.settings() if self.task is None else self.task
        if type(settings) is not application.settings:
            raise UsageError(
                f"task must be {application.settings.__name__}(...) for {application.name}, not "
                f"{type(settings).__name__}; change the recipe"
            )
        return settings

    def to_record(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types; the application's settings stand among its keys."""
        record = dataclasses.asdict(self) | {"learning_rate": self.rate()}
        del record["task"]
        return record | dataclasses.asdict(self.task_settings())


def completed(recipe: Recipe, data: Path) -> tuple[Recipe, tuple[str, ...]]:
    """Return a recipe with what its network leaves to the data, and what its user should know.

    Raises: as the application's ``completed``.
    """
    shares = Shares(recipe.validation, recipe.test, recipe.seed)
    net, notes = registry.of_network(recipe.net).completed(recipe.net, shares, data)
    return dataclasses.replace(recipe, net=net), notes


def owners(recipe: Recipe) -> dict[str, str]:
    """Return what each key of a setting belongs to: "" is the recipe itself, "net" and "task" are its parts."""
    parts: dict[str, Any] = {"net": recipe.net, "task": recipe.task_settings()}
    keys = {field.name: "" for field in dataclasses.fields(recipe) if field.name not in ("script", *parts)}
    for name, part in parts.items():
        settled = {"weight_integers", *getattr(part, "settled", ())}  # by layer: training fits them
        keys |= {field.name: name for field in dataclasses.fields(part) if field.name not in settled}
    return keys


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return the recipe with ``key=value`` settings of the recipe, its network or its application.

    Raises: UsageError naming the valid keys, or the type that a value must have.
    """
    parts: dict[str, Any] = {"net": recipe.net, "task": recipe.task_settings()}
    owned = owners(recipe)
    changes: dict[str, dict[str, Any]] = {name: {} for name in ("", *parts)}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in owned:
            raise UsageError(
                f"--set {setting}: expected KEY=VALUE with KEY one of {', '.join(sorted(owned))}; "
                "`edgephys settings SCRIPT` lists types and defaults"
            )
        owner = parts.get(owned[key], recipe)
        named = recipe.net.named_values.get(key, {})
        changes[owned[key]][key] = (
            named[text] if text in named else _parse(key, text, typing.get_type_hints(type(owner))[key])
        )
    changed = {name: dataclasses.replace(part, **changes[name]) for name, part in parts.items() if changes[name]}
    return dataclasses.replace(recipe, **changed, **changes[""])


def _parse(key: str, text: str, kind: Any) -> Any:
    """Read a setting as its field's type: a number, a word, a list of them, or 'none' where it may be left out.

    A width may be 'float', which is none.
    """
    optional = NoneType in typing.get_args(kind)
    if optional:
        kind = next(part for part in typing.get_args(kind) if part is not NoneType)
    if optional and (text == "none" or (text == "float" and kind is int)):
        return None
    item, *_ = typing.get_args(kind) or (kind,)
    try:
        if typing.get_origin(kind) is tuple:
            return tuple(item(part) for part in text.replace("-", ",").split(",")) if text else ()
        if typing.get_origin(kind) is Mapping:
            return {0: float(text)}
        return TRUTH[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        wanted = {tuple: "a list of numbers such as 32,32,32", Mapping: "float", bool: "true or false"}.get(
            typing.get_origin(kind) or kind, item.__name__
        )
        raise UsageError(f"--set {key}={text}: expected {wanted}, found {text!r}") from None
