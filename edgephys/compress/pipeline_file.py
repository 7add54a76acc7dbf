"""Read a pipeline's file: TOML -> Pipeline, every key checked before anything runs.

[[stage]]
kind = "bitwise"
lut_cost = 1e-6

[knob]                       # for `edgephys pareto`: which key takes which values
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

from edgephys.compress.stage import Stage
from edgephys.compress.stages.table import STAGES
from edgephys.core.errors import UsageError

PATHS = ("teacher", "script")
"""Keys that name files; they are relative to the pipeline's own."""


@dataclass(frozen=True)
class Step:
    """One stage of a pipeline, and what the file states of it."""

    kind: str
    stage: Stage

    def to_record(self) -> dict[str, Any]:
        """Return kind and all parameters, defaults too."""
        return {"kind": self.kind, **dataclasses.asdict(self.stage)}


@dataclass(frozen=True)
class Knob:
    """The one parameter that walks a front, and its values."""

    stage: int
    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Pipeline:
    """Hold the steps of a pipeline, in order."""

    name: str
    steps: tuple[Step, ...]
    knob: Knob | None = None

    def turned(self, value: Any) -> Pipeline:
        """Return the pipeline with its knob at a value."""
        if self.knob is None:
            raise UsageError(f"pipeline {self.name}: it has no [knob] to turn; state stage, key and values")
        at = self.knob.stage - 1
        step = self.steps[at]
        turned = _step(self.name, self.knob.stage, {**step.to_record(), self.knob.key: value}, Path())
        return dataclasses.replace(self, steps=(*self.steps[:at], turned, *self.steps[at + 1 :]))


def read(path: Path) -> Pipeline:
    """Return the pipeline of a file.

    Raises: UsageError naming file, stage and key of what cannot be, with the valid ones.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such pipeline; compress/ holds them")
    try:
        text = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: expected TOML with [[stage]] tables, found: {error}; is the file cut short?"
        ) from error
    strange = sorted(set(text) - {"stage", "knob"})
    stages = text.get("stage", [])
    if strange or not isinstance(stages, list) or not stages or not all(isinstance(of, dict) for of in stages):
        found = f"the key '{strange[0]}'" if strange else "none"
        raise UsageError(f"{path}: expected [[stage]] tables, one or more, and at most a [knob], found {found}")
    steps = tuple(_step(str(path), number, stated, path.parent) for number, stated in enumerate(stages, 1))
    pipeline = Pipeline(path.stem, steps)
    if "knob" not in text:
        return pipeline
    pipeline = dataclasses.replace(pipeline, knob=_knob(path, text["knob"], steps))
    for value in pipeline.knob.values if pipeline.knob else ():
        pipeline.turned(value)
    return pipeline


def _step(where: str, number: int, stated: Mapping[str, Any], folder: Path) -> Step:
    kind = stated.get("kind")
    if kind not in STAGES:
        raise UsageError(f"{where}: stage {number}: kind must be one of {', '.join(STAGES)}, not {kind!r}")
    made = STAGES[kind]
    hints = typing.get_type_hints(made)
    fields = [field.name for field in dataclasses.fields(made)]
    values = {}
    for key, value in stated.items():
        if key == "kind":
            continue
        if key not in fields:
            raise UsageError(
                f"{where}: stage {number} ({kind}): no key '{key}'; it has {', '.join(fields) or 'no keys'}"
            )
        if not _fits(value, hints[key]):
            raise UsageError(f"{where}: stage {number} ({kind}): {key} must be {_told(hints[key])}, not {value!r}")
        values[key] = _located(key, tuple(value) if isinstance(value, list) else value, folder)
    try:
        return Step(kind, made(**values))
    except UsageError as error:
        raise UsageError(f"{where}: stage {number} ({kind}): {error}") from error


def _located(key: str, value: Any, folder: Path) -> Any:
    if key not in PATHS or not value:
        return value
    return str(folder / value) if isinstance(value, str) else tuple(str(folder / name) for name in value)


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a value of a file is of a field's type; a whole number is a float too."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, parts[0]) for item in value)
    if origin in (Mapping, dict):
        return isinstance(value, dict) and all(_fits(item, parts[1]) for item in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _told(hint: Any) -> str:
    """Name a field's type as a file's author knows it."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_told(part) for part in parts)
    if origin is tuple:
        return f"a list of {_told(parts[0]).split(' ', 1)[-1]}s"
    if origin in (Mapping, dict):
        return f"a table of name = {_told(parts[1])}"
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}.get(hint, "nothing")


def _knob(path: Path, stated: Any, steps: Sequence[Step]) -> Knob:
    keys = ("stage", "key", "values")
    if not isinstance(stated, dict) or set(stated) != set(keys):
        raise UsageError(f"{path}: [knob] must have the keys {', '.join(keys)}, each once")
    number, key, values = (stated[name] for name in keys)
    if not isinstance(number, int) or not 1 <= number <= len(steps):
        raise UsageError(f"{path}: [knob]: stage must be 1..{len(steps)}, not {number!r}")
    fields = [field.name for field in dataclasses.fields(steps[number - 1].stage)]
    if key not in fields:
        raise UsageError(f"{path}: [knob]: stage {number} has no key {key!r}; it has {', '.join(fields)}")
    if not isinstance(values, list) or not values or len(set(map(repr, values))) < len(values):
        raise UsageError(f"{path}: [knob]: values must be a list of different values, not {values!r}")
    return Knob(number, key, tuple(values))
