"""Read a training script: a recipe of ours, or a function of the user's that returns a Keras model."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgephys.core.errors import EdgephysError, UsageError
from edgephys.networks.function import of_function
from edgephys.train.recipe import Recipe

DEFAULTS: Mapping[str, Any] = {"learning_rate": 1e-3, "batch": 128}
"""Settings of a function's training that are other than those of a recipe."""
LIBRARIES = re.compile(r"^\s*(?:import|from)\s+(?:keras|qkeras|tensorflow)\b", re.MULTILINE)


def script_recipe(script: Path) -> Recipe:
    """Return the recipe of a training script.

    It states ``RECIPE = Recipe(...)``; or it has one function whose name is or ends with "model", which returns a Keras
    model, and perhaps a table ``RECIPE = {"epochs": 20}`` of settings.
    Raises: UsageError where it has neither, or for what goes wrong in it.
    """
    if not script.is_file():
        raise UsageError(
            f"{script}: no such training script; models/ holds them, such as models/jet_deepsets.py, and "
            "`edgephys init` writes one of your own"
        )
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise UsageError(f"{script}: expected a Python file; models/ holds training scripts")
    if LIBRARIES.search(script.read_text(errors="replace")):
        import edgephys.networks.backend  # noqa: F401  Keras takes the first backend that is chosen
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except EdgephysError:
        raise
    except (Exception, SystemExit) as error:  # whatever the script does wrong is the script's, not ours
        raise UsageError(f"{script}: {type(error).__name__} when it was read: {error}; mend the script") from error
    recipe = getattr(module, "RECIPE", {})
    if isinstance(recipe, Recipe):
        return recipe
    functions = [
        function
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and name.endswith("model")
    ]
    if len(functions) != 1 or not isinstance(recipe, Mapping):
        names = ", ".join(function.__name__ for function in functions) or "no function"
        raise UsageError(
            f"{script}: expected RECIPE = Recipe(...) or one function 'model' that returns a Keras model, found "
            f"{type(recipe).__name__ if 'RECIPE' in vars(module) else 'no RECIPE'} and {names}; see "
            "models/jet_deepsets.py and examples/my_model.py"
        )
    return _of_function(script, functions[0], recipe)


def _of_function(script: Path, function: Any, stated: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a function with stated settings."""
    settings = {field.name for field in dataclasses.fields(Recipe)} - {"script", "net", "task"}
    if unknown := sorted(set(map(str, stated)) - settings):
        raise UsageError(
            f"{script}: RECIPE must state settings of training, found '{unknown[0]}'; those are "
            f"{', '.join(sorted(settings))}"
        )
    values: dict[str, Any] = {**DEFAULTS, **stated}
    rate = values["learning_rate"]
    values["learning_rate"] = rate if isinstance(rate, Mapping) else {0: rate}
    try:
        return Recipe(script.stem, of_function(function, settings), **values)
    except (TypeError, AttributeError) as error:
        raise UsageError(f"{script}: RECIPE must state numbers and words, found others ({error})") from error
