"""The levels of SPI, clock by clock: transfers to levels and back, and a host's line of frames over transfers.

Mode 0, the highest bit first. A transfer whose first byte is 0 reads: from its second byte on the board sends what it
has, or zeros. Any other one carries a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgephys.targets.rtl.board.board import SPI_CLOCKS
from edgephys.targets.rtl.board.framing import CRC, HEAD

Levels = NDArray[np.uint8]
READ = 0
"""First byte of a transfer that reads."""
APART = 4 * SPI_CLOCKS
"""Clocks of the board around a transfer in which chip select is off."""
SCK, MOSI, CS_N = 1, 2, 4
"""Bits of a level by its line."""
HALF = SPI_CLOCKS // 2


def idle(clocks: int) -> Levels:
    """Return the levels while nothing is transferred."""
    return np.full(clocks, CS_N, np.uint8)


def levels(data: bytes) -> Levels:
    """Return the levels of a transfer: bits are put while sck is low, and sampled where it rises."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8)) * MOSI
    half = np.stack([bits, bits | SCK], 1).reshape(-1)
    line = np.repeat(half.astype(np.uint8), HALF)
    ends = np.zeros(SPI_CLOCKS, np.uint8)
    return np.concatenate([idle(APART), ends, line, ends, idle(APART)])


def received(miso: Levels, length: int) -> bytes:
    """Return the bytes on miso during the levels of a transfer of ``length`` bytes: sampled where sck rises."""
    rises = APART + SPI_CLOCKS + HALF + SPI_CLOCKS * np.arange(8 * length)
    return np.packbits(miso[rises]).tobytes()


@dataclass
class SpiLine:
    """Send and read frames over transfers of a host's SPI, as over a serial port (``host.Line``).

    ``transfer`` clocks bytes out with chip select on, and returns as many that came in.
    """

    transfer: Callable[[bytes], bytes]
    frame: bytes = field(default=b"", init=False)

    def write(self, data: bytes) -> None:
        """Send a request in one transfer."""
        self.transfer(data)
        self.frame = b""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of an answer; zeros around it are left out."""
        came = self.transfer(bytes([READ] * (1 + size)))[1:]
        came = came if self.frame else came.lstrip(b"\0")
        self.frame += came
        end = HEAD + int.from_bytes(self.frame[1:HEAD], "little") + CRC
        if len(self.frame) >= max(HEAD, end):
            came = came[: len(came) - (len(self.frame) - end)]
            self.frame = b""
        return came

    def reset_input_buffer(self) -> None:
        """Forget what was read of an answer."""
        self.frame = b""
