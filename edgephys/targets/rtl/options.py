"""Options of an RTL project."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from edgephys.core.errors import UsageError
from edgephys.targets.delays import stage_ns
from edgephys.targets.fpga import AUTO, CLOCK_NS, FASTEST_NS, IO, IO_HELP, PART, check_clock
from edgephys.targets.options import option, require_choices
from edgephys.targets.parts import check_part
from edgephys.targets.rollout import HELP, require_state
from edgephys.targets.rtl.prefix import require_prefix

SUFFIX = {"verilog": ".v", "vhdl": ".vhd"}
"""Languages, with the ending of their files."""

LONGEST_II = 4096
AUTO_II = 0
"""Stands for the shortest interval at which the network fits its part."""

ROLLED_OUT = "rtl_rollout"
"""What a verification calls the simulation of a roll-out in hardware."""


@dataclass(frozen=True)
class RtlOptions:
    """State the language, the clock, the part, the pipelining and the input of an RTL project.

    ``cutoff_ns`` is the longest path of one pipeline stage, None for what meets the clock on the part. One that is as
    long as the whole delay leaves a single stage between the input's and the output's registers.
    Units: clock_ns in nanoseconds; cutoff_ns in nanoseconds of alkaid's estimate.
    Raises: UsageError for a value that cannot be.
    """

    language: str = option("verilog", "hardware language", choices=tuple(SUFFIX))
    clock_ns: float = option(CLOCK_NS, "clock period", unit="ns")
    part: str = option(PART, "FPGA part")
    cutoff_ns: float | None = option(
        None, "estimated longest path of a pipeline stage", unit="ns", default_text="what meets the clock on the part"
    )
    io: str = option(AUTO, IO_HELP, choices=IO)
    rollout: int = option(
        0,
        HELP.format(adds="the top module edgephys_rollout around a stream, with the input in block RAM"),
        default_text="0: none",
    )

    ii: int = option(
        1,
        "clocks between two inputs: the longer, the fewer copies of the logic work on rows in turn; auto is the "
        "shortest interval whose estimated LUTs fit the part",
        words={"auto": AUTO_II},
    )
    axi_stream: bool = option(False, "a module edgephys_axis with AXI-Stream ports around the top, with its handshake")
    prefix: str = option(
        "", "begins the names of all modules, so that several models live in one design", default_text="none"
    )
    handshake: bool = option(False, "a reset, and valid and ready on both sides, which an ii above 1 always has")

    def __post_init__(self) -> None:
        require_choices(self)
        if self.ii != AUTO_II and not 1 <= self.ii <= LONGEST_II:
            raise UsageError(f"ii must be 1..{LONGEST_II} clocks, or auto, not {self.ii}")
        check_clock(self.clock_ns)
        if self.cutoff_ns is not None and not FASTEST_NS <= self.cutoff_ns < inf:
            raise UsageError(
                f"cutoff_ns must be {FASTEST_NS:g} or more and finite, not {self.cutoff_ns}; else it is the clock"
            )
        check_part(self.part)
        require_state(self.rollout)
        require_prefix(self.prefix)

    @property
    def has_handshake(self) -> bool:
        """Whether the top module has a reset, and valid and ready on both sides."""
        return self.ii > 1 or self.handshake or self.axi_stream

    @property
    def stage_ns(self) -> float:
        """The longest estimated path of one stage."""
        return stage_ns(self.part, self.clock_ns) if self.cutoff_ns is None else self.cutoff_ns

    @property
    def adds_three(self) -> bool:
        """Whether the part adds three numbers in one row of its LUTs (AMD's)."""
        return self.part.lower().startswith("xc")
