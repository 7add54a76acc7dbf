"""Options of an HLS project."""

from __future__ import annotations

from dataclasses import dataclass

from edgephys.targets.fpga import AUTO, CLOCK_NS, IO, IO_HELP, PART, check_clock
from edgephys.targets.options import option, require_choices
from edgephys.targets.parts import check_part
from edgephys.targets.rollout import HELP, require_state

BACKENDS = ("Vitis", "Vivado", "Catapult")
"""Backends whose project compiles here for C simulation, in the Graph's exact types."""

AMD_BACKENDS = ("Vitis", "Vivado")
"""Backends that synthesise for AMD's parts alone."""


@dataclass(frozen=True)
class HlsOptions:
    """State the vendor's flow, the part, the clock and the input of an HLS project.

    Units: clock_ns in nanoseconds.
    Raises: UsageError for a value that cannot be.
    """

    backend: str = option("Vitis", "hls4ml backend", choices=BACKENDS)
    part: str = option(PART, "FPGA part")
    clock_ns: float = option(CLOCK_NS, "clock period", unit="ns")
    io: str = option(AUTO, IO_HELP, choices=IO)
    rollout: int = option(
        0, HELP.format(adds="TOP_rollout.cpp, a top function around a stream"), default_text="0: none"
    )

    def __post_init__(self) -> None:
        require_choices(self)
        require_state(self.rollout)
        check_part(self.part, self.backend if self.backend in AMD_BACKENDS else None)
        check_clock(self.clock_ns)
