"""Read a pipeline's file: TOML -> Pipeline, with every key checked before anything runs.

[[stage]]
kind = "bitwise"
lut_cost = 1e-6

[knob]                       # for `edgephys pareto`: the key that is varied, and its values
stage = 1
key = "lut_cost"
values = [3e-7, 1e-6, 3e-6]
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgephys
from edgephys.compress.registry import stage_classes
from edgephys.compress.stage import Stage
from edgephys.core.errors import UsageError
from edgephys.core.names import real_path
from edgephys.core.reading import UNREADABLE, fault, read_text

SCRIPTS = real_path(edgephys.__file__).parent.parent / "models"
"""Folder of the training scripts that come with edgephys."""


@dataclass(frozen=True)
class Knob:
    """The one parameter that a sweep varies, and its values; ``stage`` counts from 1."""

    stage: int
    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Pipeline:
    """Hold the stages of a pipeline, in order."""

    name: str
    stages: tuple[Stage, ...]
    knob: Knob | None = None

    def with_knob_at(self, value: Any) -> Pipeline:
        """Return the pipeline with its knob's parameter set to a value.

        Raises: UsageError where there is no knob, or the stage refuses the value.
        """
        if self.knob is None:
            raise UsageError(
                f"pipeline {self.name}: it has no [knob] to turn; state stage, key and values, as `edgephys init` does"
            )
        at = self.knob.stage - 1
        stage = _stage(self.name, self.knob.stage, {**self.stages[at].to_record(), self.knob.key: value}, Path())
        return dataclasses.replace(self, stages=(*self.stages[:at], stage, *self.stages[at + 1 :]))


def read(path: Path, scripts: Sequence[Path] = ()) -> Pipeline:
    """Return the pipeline of a file.

    A script that it names is run: it must be one of ``SCRIPTS``, or among ``scripts``.
    Raises: UsageError naming the file, the stage and the key that is wrong, with the valid ones.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such pipeline; compress/ holds them, and `edgephys init` writes one")
    try:
        text = tomllib.loads(read_text(path))
    except UNREADABLE as error:
        raise UsageError(
            f"{path}: expected TOML with [[stage]] tables, found: {fault(error)}; is the file cut short?"
        ) from error
    unknown = sorted(set(text) - {"stage", "knob"})
    tables = text.get("stage", [])
    if unknown or not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        received = f"the key '{unknown[0]}'" if unknown else "none"
        raise UsageError(f"{path}: expected [[stage]] tables, one or more, and at most a [knob], found {received}")
    stages = tuple(_stage(str(path), number, table, path.parent) for number, table in enumerate(tables, 1))
    _require_known_scripts(path, stages, scripts)
    if "knob" not in text:
        return Pipeline(path.stem, stages)
    knob = _knob(path, text["knob"], stages)
    pipeline = Pipeline(path.stem, stages, knob)
    for value in knob.values:
        _require_known_scripts(path, pipeline.with_knob_at(value).stages, scripts)
    return pipeline


def _require_known_scripts(path: Path, stages: Sequence[Stage], scripts: Sequence[Path]) -> None:
    allowed = {real_path(script) for script in scripts}
    for number, stage in enumerate(stages, 1):
        for key in stage.scripts:
            script = real_path(getattr(stage, key))
            if getattr(stage, key) and script not in allowed and script.parent != SCRIPTS:
                raise UsageError(
                    f"{path}: stage {number} ({stage.kind}): {key} '{getattr(stage, key)}' is a program that would be "
                    f"run, and is not in {SCRIPTS}; read it, then name it: --run-script {getattr(stage, key)}"
                )


def _stage(where: str, number: int, table: Mapping[str, Any], folder: Path) -> Stage:
    kind, classes = table.get("kind"), stage_classes()
    if not isinstance(kind, str) or kind not in classes:
        raise UsageError(f"{where}: stage {number}: kind must be one of {', '.join(classes)}, not {kind!r}")
    stage_class, where = classes[kind], f"{where}: stage {number} ({kind})"
    hints = typing.get_type_hints(stage_class)
    fields = [field.name for field in dataclasses.fields(stage_class)]
    parameters = {}
    for key, value in table.items():
        if key == "kind":
            continue
        if key not in fields:
            raise UsageError(f"{where}: no key '{key}'; it has {', '.join(fields) or 'no keys'}")
        if not _fits(value, hints[key]):
            raise UsageError(f"{where}: {key} must be {_type_name(hints[key])}, not {value!r}")
        value = tuple(value) if isinstance(value, list) else value
        parameters[key] = _located(value, folder) if key in stage_class.paths else value
    try:
        return stage_class(**parameters)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _located(value: Any, folder: Path) -> Any:
    """Return a path or several, relative to the folder of the pipeline's file; an empty one stays empty."""
    if isinstance(value, str):
        return str(folder / value) if value else value
    return tuple(str(folder / name) for name in value)


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value of a file is of a field's type; a whole number is a float too."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, parts[0]) for item in value)
    if origin in (Mapping, dict):
        return isinstance(value, dict) and all(_fits(item, parts[1]) for item in value.values())
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return False
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _type_name(hint: Any) -> str:
    """Return a field's type in the words of a file's author."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(part) for part in parts)
    if origin is tuple:
        return f"a list of {_type_name(parts[0]).split(' ', 1)[-1]}s"
    if origin in (Mapping, dict):
        return f"a table of name = {_type_name(parts[1])}"
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}.get(hint, "nothing")


def _knob(path: Path, table: Any, stages: Sequence[Stage]) -> Knob:
    keys = ("stage", "key", "values")
    if not isinstance(table, dict) or set(table) != set(keys):
        raise UsageError(f"{path}: [knob] must have the keys {', '.join(keys)}, each once")
    number, key, values = (table[name] for name in keys)
    if not isinstance(number, int) or not 1 <= number <= len(stages):
        raise UsageError(f"{path}: [knob]: stage must be 1..{len(stages)}, not {number!r}")
    fields = [field.name for field in dataclasses.fields(stages[number - 1])]
    if key not in fields:
        raise UsageError(f"{path}: [knob]: stage {number} has no key {key!r}; it has {', '.join(fields)}")
    if not isinstance(values, list) or not values or len(set(map(repr, values))) < len(values):
        raise UsageError(f"{path}: [knob]: values must be a list of different values, not {values!r}")
    return Knob(number, key, tuple(values))
