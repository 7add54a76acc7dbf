"""The registry of compression stages: the class that each ``kind`` of a pipeline's file names.

A file in ``compress/stages`` registers its own stage; any other module can register more, before a pipeline is read.
An installed package can name modules that register stages as entry points of the group ``edgephys.stages``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TypeVar

from edgephys.compress import stages
from edgephys.compress.stage import Stage
from edgephys.core.errors import UsageError

S = TypeVar("S", bound=type[Stage])

GROUP = "edgephys.stages"

_CLASSES: dict[str, type[Stage]] = {}


def register(kind: str) -> Callable[[S], S]:
    """Return a decorator that makes a stage's class known under the name that a pipeline's file uses.

    Raises: UsageError where another class has that name.
    """

    def add(stage_class: S) -> S:
        former = _CLASSES.get(kind)
        if former is not None and (former.__module__, former.__qualname__) != (
            stage_class.__module__,
            stage_class.__qualname__,
        ):
            raise UsageError(
                f"stage kind '{kind}': expected a free name for {stage_class.__qualname__}, "
                f"{former.__module__}.{former.__qualname__} has it; choose another"
            )
        stage_class.kind = kind
        _CLASSES[kind] = stage_class
        return stage_class

    return add


def stage_classes() -> Mapping[str, type[Stage]]:
    """Return all registered stages by kind; imports those of this package and of entry points."""
    for module in pkgutil.iter_modules(stages.__path__, f"{stages.__name__}."):
        importlib.import_module(module.name)
    for entry in entry_points(group=GROUP):
        entry.load()
    return MappingProxyType(dict(sorted(_CLASSES.items())))
