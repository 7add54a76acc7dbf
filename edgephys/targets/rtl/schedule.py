"""Schedule blocks: one clock for the whole design, with no stage lost at the border of a block.

Times are in ns of alkaid's estimate. Each block starts when the slowest block that it reads ends. All stages have
equal length, and a block may start and end within a stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

SLACK = 1e-6
"""Times that differ by less than this, in periods, count as equal: sums of estimates are not exact."""


@dataclass(frozen=True)
class StageSpan:
    """State when a block works: from ``start_ns``, in stages ``first`` to ``last``, counted from 1."""

    start_ns: float
    first: int
    last: int


@dataclass(frozen=True)
class Schedule:
    """Hold the number of stages, the length of each, and the stages of every block."""

    stages: int
    period_ns: float
    delay_ns: float
    slots: Mapping[str, StageSpan]

    def stage_of(self, name: str, time_ns: float) -> int:
        """Return the stage in which a value of a block is ready, ``time_ns`` after the start of the block."""
        slot = self.slots[name]
        stage = ceil((slot.start_ns + time_ns) / self.period_ns - SLACK) if self.period_ns else 1
        return min(max(stage, slot.first), slot.last)


def plan(latencies_ns: Mapping[str, float], reads: Mapping[str, Sequence[str]], stage_ns: float) -> Schedule:
    """Return the schedule of blocks, which are in an order in which each reads only earlier ones.

    Units: ns.  Shape: as many stages of at most ``stage_ns`` as the longest path needs, and at least 1.
    """
    start: dict[str, float] = {}
    for name in latencies_ns:
        start[name] = max((start[source] + latencies_ns[source] for source in reads[name]), default=0.0)
    delay = max((start[name] + latency for name, latency in latencies_ns.items()), default=0.0)
    stages = max(1, ceil(delay / stage_ns - SLACK))
    period = delay / stages
    slots = {name: _slot(start[name], latency, period, stages) for name, latency in latencies_ns.items()}
    return Schedule(stages, period, delay, slots)


def _slot(start: float, latency: float, period: float, stages: int) -> StageSpan:
    if period == 0:
        return StageSpan(start, 1, 1)
    last = min(max(1, ceil((start + latency) / period - SLACK)), stages)
    if latency == 0:  # wires only: they need no stage of their own
        return StageSpan(start, last, last)
    return StageSpan(start, min(floor(start / period + SLACK) + 1, last), last)
