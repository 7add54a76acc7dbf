"""Time things on one core of a machine that does other work too: they take turns, and waiting does not count."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median

from edgephys.core.errors import ToolError, UsageError

ROUNDS = 9
LAP_S = 0.1
"""A contestant is called as often a round as fills so many seconds."""
CORES_MAX = 1.2
"""Processor time over wall time above which it was not one core that worked."""


@dataclass(frozen=True)
class Lap:
    """State how long one call took: processor time of this process, median and range over rounds; wall time, median.

    Units: seconds.  ``cores`` is processor time over wall time, the median: 1 on a core that does nothing else.
    """

    seconds: float
    lowest: float
    highest: float
    wall: float
    cores: float
    rounds: int


@contextmanager
def one_core() -> Iterator[int]:
    """Keep this thread, and all that it starts, on one core; hand over which.

    Libraries take as many threads as they see cores when they are loaded: load them within.
    Raises: ToolError where the system cannot.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise ToolError(f"timing: one core of its own needs Linux, found {platform.system()}; measure there")
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def require_one_core() -> None:
    """Check that no thread of this process may run elsewhere than the others.

    Raises: ToolError where one may: it was started before ``one_core``.
    """
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    cores = set().union(*(os.sched_getaffinity(thread) for thread in threads))
    if len(cores) > 1:
        raise ToolError(
            f"timing: expected one core for all {len(threads)} threads, found {len(cores)} cores; run it as a command "
            "of its own, where nothing was loaded before"
        )


def race(contestants: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, Lap]:
    """Call each once unmeasured, then once a round in turns, so that what else the machine does meets all alike.

    Raises: UsageError without rounds; ToolError where more than one core worked, which makes no times to compare.
    """
    if rounds < 1:
        raise UsageError(f"timing: rounds must be 1 or more, not {rounds}")
    calls = {name: _calls(work) for name, work in contestants.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            taken[name].append(_timed(work, calls[name]))
    return {name: _lap(name, times) for name, times in taken.items()}


def _calls(work: Callable[[], object]) -> int:
    """Warm up, and return how many calls fill a lap."""
    work()
    own, _ = _timed(work, 1)
    return max(1, ceil(LAP_S / max(own, 1e-6)))


def _timed(work: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return processor and wall time of one call, the mean over some."""
    wall, own = time.perf_counter(), time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - own) / calls, (time.perf_counter() - wall) / calls


def _lap(name: str, times: list[tuple[float, float]]) -> Lap:
    own, wall = [of[0] for of in times], [of[1] for of in times]
    cores = median(mine / whole for mine, whole in times)
    if cores > CORES_MAX:
        raise ToolError(
            f"timing, {name}: expected one core at work, found {cores:.1f}; run it as a command of its own, where "
            "nothing was loaded before"
        )
    return Lap(median(own), min(own), max(own), median(wall), cores, len(times))


def machine() -> str:
    """Name the machine: its processor as the system calls it, cores, Python."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    processor = next(named, platform.processor() or "processor not named")
    return f"{platform.machine()}, {processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
