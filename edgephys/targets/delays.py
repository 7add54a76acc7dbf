"""Longest path of a pipeline stage, in the delays of alkaid's estimate, that meets a clock on a part after routing.

alkaid's delays are those of UltraScale+, which no open tool routes: there a stage gets the whole clock. Lattice's ECP5
is calibrated against nextpnr at speed grade 6: a path that is estimated at t ns needs a clock of FIXED_NS + SLOPE * t.
Six depths of a small tagger (hls_projects/results/pipelining) were routed for 0.97 to 1.05 times as long.
"""

from __future__ import annotations

import re

CALIBRATED = (
    (re.compile(r"lfe5u", re.IGNORECASE), 6.0, 2.3),
    (re.compile(r"ice40up", re.IGNORECASE), 10.0, 5.0),
    (re.compile(r"gw5a", re.IGNORECASE), 3.0, 1.0),
)
"""Pattern of part numbers, nanoseconds that are fixed, and nanoseconds for each estimated one."""
SHORTEST = 0.1
"""Share of the clock that a stage gets at least: a clock below what is fixed is met by no stage."""


def stage_ns(part: str, clock_ns: float) -> float:
    """Return the longest estimated path of a stage for a clock on a part.  Units: nanoseconds."""
    for pattern, fixed_ns, slope in CALIBRATED:
        if pattern.match(part):
            return max((clock_ns - fixed_ns) / slope, SHORTEST * clock_ns)
    return clock_ns
