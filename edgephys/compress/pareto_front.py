"""The Pareto front of a sweep: the runs that no other run beats in score, LUTs and cycles at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgephys.applications.registry import scored

Point = tuple[float, float, float]
"""Merit, LUTs, cycles: the first should be high, the others low."""

SYNTHESISED, SIMULATED, ESTIMATED = "synthesised", "simulated", "estimated"


@dataclass(frozen=True)
class SweepRun:
    """Hold one finished run: the knob's value, the seed, and the figures and costs of its last model.

    ``metrics`` holds the score on the validation data, its error and the number of examples, under the names of the
    model's card. ``lut`` and ``latency_cycles`` come from synthesis and simulation, None where a run was not measured;
    ``test`` holds the test figures, None where the test data were not used.
    """

    name: str
    value: Any
    seed: int
    metrics: Mapping[str, Any]
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

    @property
    def score(self) -> float:
        """Score on the validation data."""
        return float(self.metrics[scored(self.metrics).key])

    @property
    def merit(self) -> float:
        """The score, or less where less of it is better: the higher, the better."""
        return self.score if scored(self.metrics).rising else -self.score

    def to_record(self) -> dict[str, Any]:
        """Return all fields in one table, those of ``metrics`` too."""
        fields = dataclasses.asdict(self)
        metrics = fields.pop("metrics")
        return {"name": self.name, "value": self.value, "seed": self.seed, **metrics, **fields}


@dataclass(frozen=True)
class ParetoFront:
    """Hold the runs of a sweep and the name of the run that dominates each; None for a member of the front.

    All runs are compared by figures of one stage: by synthesis where all have it, else all by the estimate.
    """

    runs: tuple[SweepRun, ...]
    lut_stage: str
    cycles_stage: str
    dominated_by: tuple[str | None, ...]

    @property
    def members(self) -> tuple[SweepRun, ...]:
        """The runs that no other one dominates."""
        return tuple(run for run, by in zip(self.runs, self.dominated_by, strict=True) if by is None)

    def point(self, run: SweepRun) -> Point:
        """Return the figures by which a run is compared."""
        lut = run.lut if self.lut_stage == SYNTHESISED else run.lut_estimate
        cycles = run.latency_cycles if self.cycles_stage == SIMULATED else run.cycles_estimate
        return run.merit, lut or 0, cycles or 0

    def to_record(self) -> dict[str, Any]:
        """Return the stages and one row a run, with its place; test figures of members alone."""
        rows = []
        for run, by in zip(self.runs, self.dominated_by, strict=True):
            _, lut, cycles = self.point(run)
            compared = {"compared_lut": lut, "compared_cycles": cycles}
            place = {"front": by is None, "dominated_by": by, "test": run.test if by is None else None}
            rows.append({**run.to_record(), **compared, **place})
        return {"lut_stage": self.lut_stage, "cycles_stage": self.cycles_stage, "runs": rows}


def pareto_front(runs: Sequence[SweepRun]) -> ParetoFront:
    """Return the front of runs."""
    synthesised = bool(runs) and all(run.lut is not None for run in runs)
    simulated = bool(runs) and all(run.latency_cycles is not None for run in runs)
    stages = (SYNTHESISED if synthesised else ESTIMATED, SIMULATED if simulated else ESTIMATED)
    undecided = ParetoFront(tuple(runs), *stages, (None,) * len(runs))
    by = dominators([undecided.point(run) for run in runs])
    names = tuple(None if index is None else runs[index].name for index in by)
    return dataclasses.replace(undecided, dominated_by=names)


def dominates(one: Point, other: Point) -> bool:
    """Tell whether a point is nowhere worse than another, and better in one figure."""
    worse = one[0] < other[0] or one[1] > other[1] or one[2] > other[2]
    return not worse and one != other


def dominators(points: Sequence[Point]) -> list[int | None]:
    """Return, for each point, the index of a point on the front that dominates it; None for those on the front."""
    best = [all(not dominates(other, point) for other in points) for point in points]
    return [
        None if best[at] else next(of for of, other in enumerate(points) if best[of] and dominates(other, point))
        for at, point in enumerate(points)
    ]
