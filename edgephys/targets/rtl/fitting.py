"""The shortest initiation interval at which a network fits its part, by alkaid's estimate of its LUTs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgephys.core.errors import UsageError
from edgephys.targets import capacity
from edgephys.targets.rtl.options import AUTO_II, LONGEST_II, RtlOptions

SYNTHESISED = {6: 1.5, 4: 2.5}
"""LUTs that Yosys counts for each one of the estimate, at most, by the inputs of a LUT: of 6 inputs 1.11 to 1.46 over
the tables scaling and ii; of 4 inputs 1.9 to 2.5 over the table boards, the shell of the line included."""
FURTHER = 16
"""Times the interval of the fewest LUTs so far, up to which longer ones are tried."""
FULL = 0.8
"""Share of a part's LUTs up to which a design is called fitting: fuller ones are hard to route."""


def fitted(graph_name: str, options: RtlOptions, estimate: Callable[[RtlOptions], float]) -> RtlOptions:
    """Return options with an interval in place of auto: the shortest power of two whose estimate fits the part.

    ``estimate`` gives the LUTs of options, or raises UsageError for an interval that changes nothing.
    Raises: UsageError for a part whose LUTs are not known, and where no interval makes the network fit.
    """
    if options.ii != AUTO_II:
        return options
    room = capacity.capacity_of(options.part)
    if room is None:
        raise UsageError(
            "ii auto needs a part whose LUTs are known, one of AMD's 7 series to UltraScale+ or Lattice's ECP5, not "
            f"{options.part}; state a number of clocks"
        )
    available = room.lut
    counts: dict[int, float] = {}
    refusal, ii = "", 1
    while ii <= LONGEST_II and ii <= FURTHER * min(counts, key=counts.__getitem__, default=LONGEST_II):
        tried = replace(options, ii=ii)
        try:
            counts[ii] = SYNTHESISED[room.lut_inputs] * estimate(tried)
        except UsageError as refused:
            refusal = f"; others are refused: {refused}"
        if counts.get(ii, float("inf")) <= FULL * available:
            return tried
        ii *= 2
    if not counts:
        raise UsageError(f"ii auto: no interval works for '{graph_name}'{refusal}")
    least = min(counts, key=counts.__getitem__)
    raise UsageError(
        f"'{graph_name}' does not fit {options.part} at any interval: the fewest LUTs, at ii {least}, are some "
        f"{counts[least]:,.0f}, {counts[least] / available:.0%} of its {available:,}, of which {FULL:.0%} may be used; "
        f"choose a larger part, or compress the network{refusal if least == 1 else ''}"
    )
