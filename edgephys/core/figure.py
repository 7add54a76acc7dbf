"""Figures with a provenance: stage, tool, version and target, or the reason why there is no value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edgephys.core.errors import ModelError

Value = float | int | str | None
COUNTED = ("cycles", "bits", "bytes", "instructions")
"""Units that have no s after a 1."""


class FigureStage(Enum):
    """How a figure came about, from the weakest statement to the strongest."""

    ESTIMATED = "estimated"
    SIMULATED = "simulated"
    SYNTHESISED = "synthesised"
    SYNTHESISED_BY_VENDOR = "synthesised (vendor)"
    PLACED_BY_VENDOR = "placed (vendor)"
    PLACED_AND_ROUTED = "placed and routed"
    PLACED_AND_ROUTED_BY_VENDOR = "placed and routed (vendor)"
    MEASURED = "measured"


@dataclass(frozen=True)
class Figure:
    """State one value with its unit and where it comes from; without a value, state why.

    Raises: ModelError where the provenance is incomplete, or value and reason contradict each other.
    """

    name: str
    value: Value
    unit: str
    stage: FigureStage
    tool: str
    version: str
    target: str
    why: str | None = None

    def __post_init__(self) -> None:
        """Refuse a figure that does not say where it comes from."""
        if not self.name:
            raise ModelError("figure: name must not be empty")
        if not isinstance(self.stage, FigureStage):
            stages = ", ".join(stage.value for stage in FigureStage)
            raise ModelError(f"figure '{self.name}': stage must be one of {stages}, not {self.stage!r}")
        for field in ("tool", "version", "target"):
            source = getattr(self, field)
            if not isinstance(source, str) or not source.strip():
                raise ModelError(f"figure '{self.name}': {field} must say where it comes from, not {source!r}")
        if self.value is None and not self.why:
            raise ModelError(f"figure '{self.name}': without a value it must say why")
        if self.value is not None and self.why is not None:
            raise ModelError(f"figure '{self.name}': has the value {self.value}, so no reason for its absence")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise ModelError(f"figure '{self.name}': value must be finite, not {self.value}; give None and why")

    def __str__(self) -> str:
        """Return name, value and provenance on one line."""
        return f"{self.name}: {self.text} ({self.provenance})"

    @property
    def text(self) -> str:
        """Value and unit, or 'not measured: ' and the reason."""
        if self.value is None:
            return f"not measured: {self.why}"
        shown = f"{self.value:,}" if isinstance(self.value, int) else self.value
        shown = f"{shown:.4g}" if isinstance(shown, float) else shown
        unit = self.unit.removesuffix("s") if self.value == 1 and self.unit in COUNTED else self.unit
        return f"{shown} {unit}".rstrip()

    @property
    def provenance(self) -> str:
        """Stage, tool, version and target on one line."""
        return f"{self.stage.value}, {self.tool} {self.version}, {self.target}"


def missing(name: str, unit: str, stage: FigureStage, tool: str, version: str, target: str, why: str) -> Figure:
    """Return the figure of something that was not measured."""
    return Figure(name, None, unit, stage, tool, version, target, why)


def to_record(figure: Figure) -> dict[str, Any]:
    """Return a figure as plain JSON types; ``why`` is there only where the value is not."""
    record: dict[str, Any] = {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "stage": figure.stage.value,
        "tool": figure.tool,
        "version": figure.version,
        "target": figure.target,
    }
    if figure.why is not None:
        record["why"] = figure.why
    return record


def from_record(record: dict[str, Any]) -> Figure:
    """Return the figure of a record; raise ModelError where a field is missing or unknown."""
    fields = ("name", "value", "unit", "stage", "tool", "version", "target")
    absent = [field for field in fields if field not in record]
    if absent:
        raise ModelError(f"figure {record.get('name', '?')!r}: the record lacks {', '.join(absent)}")
    try:
        stage = FigureStage(record["stage"])
    except ValueError as error:
        stages = ", ".join(stage.value for stage in FigureStage)
        raise ModelError(
            f"figure {record['name']!r}: stage must be one of {stages}, not {record['stage']!r}"
        ) from error
    return Figure(**{field: record[field] for field in fields} | {"stage": stage, "why": record.get("why")})
