"""A board as a record: its part, its clock, and the pins that a top level needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BAUD = 1_000_000
"""Bits a second on the line unless another number is stated: the clocks of all boards are multiples of it."""
LEAST_CLOCKS = 4
WORST_BAUD = 0.02
"""Share by which the bit time may differ from the stated one: half a bit over the ten bits of a byte is 5 %."""

UART, SPI = SHELLS = ("uart", "spi")
"""What carries the frames: a serial line, or SPI with the host as master."""
SPI_PORTS = ("sck", "mosi", "miso", "cs_n")
"""Ports of the top level for SPI: clock, to the board, to the host, and chip select, which is on at 0."""

SPI_CLOCKS = 8
"""Least clocks of the board in one of SPI, whose levels are sampled."""


@dataclass(frozen=True)
class BoardPin:
    """State a ball of the package, what is on it, and the settings of its buffer.

    ``active_low`` holds for a button that is pressed, or a light that is on, at 0.
    """

    site: str
    connects: str
    settings: Mapping[str, str] = field(default_factory=lambda: {"IO_TYPE": "LVCMOS33"})
    active_low: bool = False


@dataclass(frozen=True)
class FpgaBoard:
    """State a board: its part, what nextpnr calls it, its oscillator and its pins.

    ``clk``, ``button`` (resets), ``rx`` (from the host), ``tx`` (to the host) and ``led`` (blinks) are the pins used;
    those of ``high``, by name, must be driven to 1. ``spi`` has the pins of the other shell by the names ``SPI``.
    ``family`` names the tools (``toolchain.TOOLCHAINS``).
    ``source`` names the public constraint file that states where they are, ``load`` the command that writes a
    bitstream into the board.
    Units: clock_mhz in MHz.
    """

    name: str
    title: str
    part: str
    device: str
    package: str
    speed: str
    clock_mhz: float
    clk: BoardPin
    button: BoardPin
    rx: BoardPin
    tx: BoardPin
    led: BoardPin
    source: str
    load: str
    high: Mapping[str, BoardPin] = field(default_factory=dict)
    spi: Mapping[str, BoardPin] = field(default_factory=dict)
    family: str = "ecp5"

    @property
    def pins(self) -> dict[str, BoardPin]:
        """The pins of the serial line's shell by the names of the top level's ports."""
        return self.pins_of(UART)

    def pins_of(self, shell: str) -> dict[str, BoardPin]:
        """Return the pins by the names of the top level's ports.

        Raises: UsageError for a shell that is not known, or whose pins the board does not state.
        """
        from edgephys.core.errors import UsageError

        if shell not in SHELLS:
            raise UsageError(f"shell must be one of {', '.join(SHELLS)}, not '{shell}'")
        if shell == SPI and not self.spi:
            raise UsageError(
                f"{self.name} states no pins for SPI; use --shell {UART}, or a board that `edgephys boards` lists with "
                f"{SPI_PORTS[0]}"
            )
        line = {name: self.spi[name] for name in SPI_PORTS} if shell == SPI else {"rx": self.rx, "tx": self.tx}
        return {"clk": self.clk, "button": self.button, **line, "led": self.led, **self.high}

    @property
    def clock_ns(self) -> float:
        """Period of the oscillator."""
        return 1000 / self.clock_mhz

    def clocks_per_bit(self, baud: int) -> int:
        """Return the clocks of a bit on the line.

        Raises: UsageError for a number of bits a second that the clock cannot keep.
        """
        from edgephys.core.errors import UsageError

        hertz = 1e6 * self.clock_mhz
        clocks = max(1, round(hertz / baud))
        if clocks < LEAST_CLOCKS or abs(hertz / clocks - baud) > WORST_BAUD * baud:
            near = int(hertz // max(LEAST_CLOCKS, clocks))
            raise UsageError(
                f"baud must be a whole part of the clock of {self.name} within {WORST_BAUD:.0%}, and "
                f"{int(hertz // LEAST_CLOCKS):,} or less, not {baud:,}; {near:,} is one"
            )
        return clocks
