"""Time several things in turns: in every round each runs for a short slice, in a random order.

What else the machine does during a round then affects all of them alike, and a ratio within a round is more certain
than the two times.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ToolError, UsageError

MOST_CALLS = 20_000
"""Calls in one slice, at most."""
WARM_UP = 0.1
"""Calls before a slice that are not counted, as a share of its calls."""

RACE_ROUNDS = 9
RACE_SEED = 1
RACE_SLICE_S = 0.1
CORES_MAX = 1.2
"""Processor time over wall time above which more than one core worked."""


@dataclass(frozen=True)
class Slot:
    """State what is timed, at which batch size, and its calls in a slice."""

    name: str
    batch: int
    calls: int


@dataclass(frozen=True, eq=False)
class Slice:
    """Hold the time of every call of a slice, and the wall time and the processor time of the whole slice.

    Units: nanoseconds.  Shape: ns (call,).
    """

    ns: NDArray[np.int64]
    wall_ns: int
    cpu_ns: int


Time = Callable[[str, int, int], Slice]
"""Times something: its name, the batch size and the number of calls."""


def call_times(
    call: Callable[[Any], Any], feeds: Sequence[Any], calls: int, clock: Callable[[], int] = time.perf_counter_ns
) -> NDArray[np.int64]:
    """Return the time of each call in nanoseconds; the calls cycle through ``feeds``."""
    count = len(feeds)
    times = [0] * calls
    for number in range(calls):
        feed = feeds[number % count]
        start = clock()
        call(feed)
        times[number] = clock() - start
    return np.array(times, np.int64)


def slice_of(times: Callable[[int], Any], calls: int, warm_up: int) -> Slice:
    """Return the slice of ``times(calls)``, after ``warm_up`` calls; no garbage is collected meanwhile."""
    if warm_up:
        times(warm_up)
    gc.collect()
    gc.disable()
    try:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        ns = times(calls)
        cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
    finally:
        gc.enable()
    return Slice(np.asarray(ns, np.int64), max(1, wall), cpu)


def calibrate(timer: Time, name: str, batch: int, slice_s: float, least: int) -> int:
    """Return how many calls fill ``slice_s``: at least ``least``, at most MOST_CALLS.

    The calls made for this also warm up.
    """
    calls, spent = 1, 0.0
    while True:
        ns = timer(name, batch, calls).ns
        spent += float(ns.sum()) * 1e-9
        if spent >= slice_s / 2 or calls >= MOST_CALLS:
            break
        calls *= 2
    call_s = max(1e-9, float(np.median(ns)) * 1e-9)  # the median: a call that was interrupted does not count
    return int(np.clip(slice_s / call_s, least, MOST_CALLS))


def interleave(
    slots: Sequence[Slot], rounds: int, seed: int, timer: Time, say: Callable[[int], None] = lambda number: None
) -> tuple[dict[tuple[str, int], list[Slice]], dict[str, str]]:
    """Return the slices by name and batch size, one a round; and, by name, why something could not be timed.

    What raises a ToolError is not timed again; the others are.
    """
    generator = np.random.default_rng(seed)
    slices: dict[tuple[str, int], list[Slice]] = {(slot.name, slot.batch): [] for slot in slots}
    failures: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for place in generator.permutation(len(slots)):
            slot = slots[place]
            if slot.name in failures:
                continue
            try:
                slices[slot.name, slot.batch].append(timer(slot.name, slot.batch, slot.calls))
            except ToolError as error:
                failures[slot.name] = str(error)
        say(number)
    return {key: rows for key, rows in slices.items() if key[0] not in failures}, failures


# Functions of this process --------------------------------------------------------------------------


@dataclass(frozen=True)
class CallTime:
    """State the processor time of one call, median and range over rounds, and its wall time, the median.

    Units: seconds.  ``cores`` is processor time over wall time, the median: 1 on a core that does nothing else.
    """

    seconds: float
    lowest: float
    highest: float
    wall: float
    cores: float
    rounds: int


def race(functions: Mapping[str, Callable[[], object]], rounds: int = RACE_ROUNDS) -> dict[str, CallTime]:
    """Return the time of a call of each function, timed in turns.

    Raises: UsageError without rounds; ToolError where a function fails, or more than one core worked.
    """
    if rounds < 1:
        raise UsageError(f"timing: rounds must be 1 or more, not {rounds}")

    def timer(name: str, batch: int, calls: int) -> Slice:
        function = functions[name]
        return slice_of(
            lambda count: call_times(lambda _: function(), (None,), count, time.perf_counter_ns),
            calls,
            int(WARM_UP * calls),
        )

    slots = [Slot(name, 1, calibrate(timer, name, 1, RACE_SLICE_S, 1)) for name in functions]
    slices, failures = interleave(slots, rounds, RACE_SEED, timer)
    for name, why in failures.items():
        raise ToolError(f"timing, {name}: {why}")
    return {slot.name: _call_time(slot.name, slices[slot.name, 1]) for slot in slots}


def _call_time(name: str, slices: Sequence[Slice]) -> CallTime:
    cpu, wall = ([getattr(part, clock) * 1e-9 / len(part.ns) for part in slices] for clock in ("cpu_ns", "wall_ns"))
    cores = median(part.cpu_ns / part.wall_ns for part in slices)
    if cores > CORES_MAX:
        raise ToolError(
            f"timing, {name}: expected one core at work, found {cores:.1f}; run it as a command of its own, where "
            "nothing was loaded before"
        )
    return CallTime(median(cpu), min(cpu), max(cpu), median(wall), cores, len(slices))
