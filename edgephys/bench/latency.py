"""Latency, throughput and ratios from the slices of a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.timing import Slice

PERCENTILES = (50, 90, 99)
SPREAD = (5, 95)
"""Percentiles over rounds that state the spread of a ratio."""
LEAST_CALLS = 100
"""Calls that a 99th percentile needs at least."""
LEAST_ROUNDS = 3


def summary(slices: Sequence[Slice], batch: int) -> dict[str, Any]:
    """Return percentiles over the calls of all rounds, and inputs per second at the median.

    Every call counts, slow ones too; a percentile of too few calls is None. ``cpu_us`` is the mean processor time of a
    call; ``core_share`` is the share of the core's time that the target had.
    """
    wall_ns, cpu_ns = (sum(getattr(part, name) for part in slices) for name in ("wall_ns", "cpu_ns"))
    ns = np.concatenate([part.ns for part in slices])
    p50, p90, p99 = (float(value) for value in np.percentile(ns, PERCENTILES) * 1e-3)
    return {
        "p50_us": p50,
        "p90_us": p90 if len(ns) >= LEAST_CALLS // 10 else None,
        "p99_us": p99 if len(ns) >= LEAST_CALLS else None,
        "per_second": batch * 1e6 / p50,
        "rounds": len(slices),
        "calls": len(ns),
        "cpu_us": cpu_ns * 1e-3 / len(ns),
        "core_share": cpu_ns / wall_ns,
    }


def ratio(reference: Sequence[Slice], medians_ns: Sequence[float]) -> dict[str, float]:
    """Return how many times faster than the reference a target is: the median over rounds, and its spread.

    ``medians_ns`` are the target's, one a round.
    """
    ratios = [theirs / ours for theirs, ours in zip(medians(reference), medians_ns, strict=True)]
    low, middle, high = (float(value) for value in np.percentile(ratios, (SPREAD[0], 50, SPREAD[1])))
    return {"ratio": middle, "ratio_low": low, "ratio_high": high}


def medians(slices: Sequence[Slice]) -> list[float]:
    """Return the median of each slice, in nanoseconds."""
    return [float(np.median(part.ns)) for part in slices]
