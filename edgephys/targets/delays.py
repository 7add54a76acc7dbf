"""Longest path of a pipeline stage, in the delays of alkaid's estimate, that meets a clock on a part after routing.

alkaid's delays are those of UltraScale+, which no open tool routes: there a stage gets the whole clock. Lattice's ECP5
is calibrated against nextpnr at speed grade 6: a path that is estimated at t ns needs a clock of FIXED_NS + SLOPE * t.
Six depths of a small tagger (hls_projects/results/pipelining) were routed for 0.97 to 1.05 times as long.
"""

from __future__ import annotations

import re

ECP5 = re.compile(r"lfe5u", re.IGNORECASE)
FIXED_NS = 6.0
SLOPE = 2.3
SHORTEST = 0.1
"""Share of the clock that a stage gets at least: a clock below what is fixed is met by no stage."""


def stage_ns(part: str, clock_ns: float) -> float:
    """Return the longest estimated path of a stage for a clock on a part.  Units: nanoseconds."""
    if not ECP5.match(part):
        return clock_ns
    return max((clock_ns - FIXED_NS) / SLOPE, SHORTEST * clock_ns)
