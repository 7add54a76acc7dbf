"""The front: which runs of a sweep no other run beats, in accuracy, LUTs and cycles at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float, float]
"""Accuracy, LUTs, cycles: the first to be high, the others to be low."""

SYNTHESISED, SIMULATED, ESTIMATED = "synthesised", "simulated", "estimated"


@dataclass(frozen=True)
class Run:
    """Hold one finished run: a knob's value, a seed, and what its last model does and costs.

    ``accuracy`` is that of the validation jets. ``lut`` and ``latency_cycles`` come from synthesis and simulation and
    are None where a run was not measured; ``test`` holds the test figures, None where the test jets were left alone.
    """

    name: str
    value: Any
    seed: int
    accuracy: float
    accuracy_error: float
    jets: int
    weights: int
    nonzero: int
    digits: int
    ebops: int
    lut_estimate: int
    cycles_estimate: int
    lut: int | None
    latency_cycles: int | None
    provenance: Mapping[str, str]
    seconds: float
    pruned: bool
    test: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Front:
    """Hold the runs of a sweep, and by which one each is dominated: None for a member of the front.

    All runs are compared by figures of one stage: by synthesis where all have it, else all by the estimate.
    """

    runs: tuple[Run, ...]
    lut_stage: str
    cycles_stage: str
    dominated_by: tuple[str | None, ...]

    @property
    def members(self) -> tuple[Run, ...]:
        """The runs that no other one dominates."""
        return tuple(run for run, by in zip(self.runs, self.dominated_by, strict=True) if by is None)

    def point(self, run: Run) -> Point:
        """Return what a run is compared by."""
        lut = run.lut if self.lut_stage == SYNTHESISED else run.lut_estimate
        cycles = run.latency_cycles if self.cycles_stage == SIMULATED else run.cycles_estimate
        return run.accuracy, lut or 0, cycles or 0

    def to_record(self) -> dict[str, Any]:
        """Return the stages and a row a run, with its place; test figures of members alone."""
        rows = []
        for run, by in zip(self.runs, self.dominated_by, strict=True):
            _, lut, cycles = self.point(run)
            compared = {"compared_lut": lut, "compared_cycles": cycles}
            place = {"front": by is None, "dominated_by": by, "test": run.test if by is None else None}
            rows.append({**dataclasses.asdict(run), **compared, **place})
        return {"lut_stage": self.lut_stage, "cycles_stage": self.cycles_stage, "runs": rows}


def front(runs: Sequence[Run]) -> Front:
    """Return the front of runs."""
    synthesised = bool(runs) and all(run.lut is not None for run in runs)
    simulated = bool(runs) and all(run.latency_cycles is not None for run in runs)
    stages = (SYNTHESISED if synthesised else ESTIMATED, SIMULATED if simulated else ESTIMATED)
    bare = Front(tuple(runs), *stages, (None,) * len(runs))
    by = dominators([bare.point(run) for run in runs])
    return dataclasses.replace(bare, dominated_by=tuple(None if of is None else runs[of].name for of in by))


def dominates(one: Point, other: Point) -> bool:
    """Say whether a point is nowhere worse than another, and somewhere better."""
    worse = one[0] < other[0] or one[1] > other[1] or one[2] > other[2]
    return not worse and one != other


def dominators(points: Sequence[Point]) -> list[int | None]:
    """Return, for each point, which one that nothing dominates dominates it; None for those that nothing does."""
    best = [all(not dominates(other, point) for other in points) for point in points]
    return [
        None if best[at] else next(of for of, other in enumerate(points) if best[of] and dominates(other, point))
        for at, point in enumerate(points)
    ]
