"""What the targets for an FPGA share: part, clock, how a network takes its input, and reports of a vendor's tools."""

from __future__ import annotations

from edgephys.core.errors import UsageError
from edgephys.targets.target import EmittedProject, Facts, Target

AUTO, PARALLEL, STREAM = IO = ("auto", "parallel", "stream")
"""How a network takes its input: as its graph suggests, whole at every clock, or a pixel of a field at a time."""
IO_HELP = "how the input arrives (stream: one pixel a clock; auto: a stream where a layer reads neighbouring pixels)"
PART = "xcvu13p-flga2577-2-e"
CLOCK_NS = 5.0
FASTEST_NS, SLOWEST_NS = 0.1, 1000.0
"""Clock periods that a project can have: with shorter ones a network has thousands of stages, and never gets done."""


def check_clock(clock_ns: float) -> None:
    """Raise UsageError for a clock period that no FPGA has."""
    if not FASTEST_NS <= clock_ns <= SLOWEST_NS:
        raise UsageError(f"clock_ns must be {FASTEST_NS:g}..{SLOWEST_NS:.0f}, not {clock_ns}; 5 is 200 MHz")


class FpgaTarget(Target):
    """State what is common to targets whose projects have a part and a clock."""

    has_clock = True

    def platform(self, project: EmittedProject) -> str:
        """Return the part and the clock that the project was emitted for."""
        return f"{project.part}, {project.clock_ns:g} ns clock stated"

    def times_counted_for(self, facts: Facts) -> str:
        """Return the size of the frame that the times of a stream are counted for, and nothing without a stream."""
        if facts.get("io") != STREAM:
            return ""
        height, width = facts["field"]
        return f"; for a frame of {height}x{width} pixels, one a clock"
