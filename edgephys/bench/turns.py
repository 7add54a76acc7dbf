"""Targets take turns: in every round each is timed for a short slice, in a random order, and ratios stay in a round.

What disturbs the machine for a while so disturbs all targets alike, and a ratio says more than its two latencies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ToolError, UsageError

PERCENTILES = (50, 90, 99)
SPREAD = (5, 95)
"""Percentiles over rounds between which a ratio is stated."""
LEAST_CALLS = 100
"""Calls that a 99th percentile needs at least."""
MOST_CALLS = 20_000
"""Calls in one slice, at most."""
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Slot:
    """Name what is timed: a target at a batch, with its calls in a slice."""

    target: str
    batch: int
    calls: int


@dataclass(frozen=True, eq=False)
class Slice:
    """Hold the time of every call in a slice, and of the slice as a whole: by the clock and the processor's.

    Units: nanoseconds.  Shape: ns (call,).
    """

    ns: NDArray[np.int64]
    wall_ns: int
    cpu_ns: int


Time = Callable[[str, int, int], Slice]
"""Times a target: its name, the batch and how many calls."""


def calibrate(time: Time, target: str, batch: int, budget_s: float, least: int) -> int:
    """Return how many calls fill ``budget_s``: at least ``least``, at most MOST_CALLS.

    The calls made to find out also warm the target up.
    """
    calls, spent = 1, 0.0
    while True:
        ns = time(target, batch, calls).ns
        spent += float(ns.sum()) * 1e-9
        if spent >= budget_s / 2 or calls >= MOST_CALLS:
            break
        calls *= 2
    one = max(1e-9, float(np.median(ns)) * 1e-9)  # of the median call: one that was held up tells nothing
    return int(np.clip(budget_s / one, least, MOST_CALLS))


def interleave(
    slots: Sequence[Slot], rounds: int, seed: int, time: Time, say: Callable[[int], None]
) -> tuple[dict[Slot, list[Slice]], dict[str, str]]:
    """Return each slot's slices, one a round, and why a target fell out; one that fails leaves the others their turns.

    Raises: UsageError for fewer than LEAST_ROUNDS rounds, of which no spread can be told.
    """
    if rounds < LEAST_ROUNDS:
        raise UsageError(f"--rounds must be {LEAST_ROUNDS} or more, not {rounds}: a spread is over rounds")
    generator = np.random.default_rng(seed)
    slices: dict[Slot, list[Slice]] = {slot: [] for slot in slots}
    failed: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for place in generator.permutation(len(slots)):
            slot = slots[place]
            if slot.target in failed:
                continue
            try:
                slices[slot].append(time(slot.target, slot.batch, slot.calls))
            except ToolError as error:
                failed[slot.target] = str(error)
        say(number)
    return {slot: found for slot, found in slices.items() if slot.target not in failed}, failed


def summary(slices: Sequence[Slice], batch: int) -> dict[str, Any]:
    """Return percentiles over all calls of all rounds, and inputs a second at the median.

    Every call counts, slow ones too; a percentile of too few calls is None. ``cpu_us`` is the processor's time of a
    call, on average, which does not count the time that others had the core: ``core_share`` is what was not theirs.
    """
    wall_ns, cpu_ns = (sum(getattr(found, name) for found in slices) for name in ("wall_ns", "cpu_ns"))
    ns = np.concatenate([found.ns for found in slices])
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

    ``medians_ns`` are the target's, a round each: over 1 is faster than the reference.
    """
    times = [of / ours for of, ours in zip(medians(reference), medians_ns, strict=True)]
    low, middle, high = (float(value) for value in np.percentile(times, (SPREAD[0], 50, SPREAD[1])))
    return {"ratio": middle, "ratio_low": low, "ratio_high": high}


def medians(slices: Sequence[Slice]) -> list[float]:
    """Return the median of each slice, in ns."""
    return [float(np.median(found.ns)) for found in slices]


def rates(slices: Mapping[Slot, Sequence[Slice]]) -> dict[tuple[str, int], Sequence[Slice]]:
    """Return slices by target and batch."""
    return {(slot.target, slot.batch): found for slot, found in slices.items()}
