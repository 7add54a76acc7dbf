"""Frames on a serial line: start byte, number of payload bytes (low, high), payload, CRC-8 of all behind the start.

The same frames are made and read by ``verilog/edgephys_shell.v``; a request is answered before the next one is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.core.errors import ToolError, UsageError
from edgephys.core.fixed import Integers
from edgephys.targets.rtl.bits import packed, unpacked, width

REQUEST, RESULT, ERROR = 0xA5, 0x5A, 0xE5
"""Start bytes of a request with an input, and of its two answers."""
REASONS = {
    1: "no start byte",
    2: "a wrong number of payload bytes",
    3: "a wrong checksum",
    4: "an incomplete frame",
    5: "a byte without a stop bit",
}
"""Reasons for which a request is refused, by the payload of the error."""
HEAD, CRC = 3, 1
"""Bytes of a frame before and behind its payload."""
MOST_BYTES = 65535
POLYNOMIAL = 0x07
SILENCE_BITS = 1024
"""Bit times without a byte after which a frame is incomplete, and a malformed one has ended."""


@dataclass(frozen=True)
class LineFrame:
    """State a frame by its start byte and its payload."""

    kind: int
    payload: bytes

    def to_bytes(self) -> bytes:
        """Return the frame as it is on the line."""
        covered = len(self.payload).to_bytes(2, "little") + self.payload
        return bytes([self.kind]) + covered + bytes([crc8(covered)])

    def require_result(self, length: int) -> bytes:
        """Return the payload of a result of ``length`` bytes; raise ToolError for any other frame."""
        if self.kind == ERROR and len(self.payload) == 1:
            reason = REASONS.get(self.payload[0], f"reason {self.payload[0]}")
            raise ToolError(f"the board refused the frame: {reason}")
        if self.kind != RESULT or len(self.payload) != length:
            raise ToolError(
                f"the board's answer must be a result of {length} bytes, not one of kind {self.kind:#04x} with "
                f"{len(self.payload)}; is the bitstream that of the project?"
            )
        return self.payload


def crc8(data: bytes) -> int:
    """Return the CRC-8 of bytes: polynomial x^8 + x^2 + x + 1, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 & 0xFF) ^ (POLYNOMIAL if crc & 0x80 else 0)
    return crc


def read_frame(data: bytes) -> LineFrame | None:
    """Return the frame that bytes begin with; None where it is not whole yet.  Raises: ToolError for a wrong one."""
    if data and data[0] not in (REQUEST, RESULT, ERROR):
        raise ToolError(f"a frame on the line begins with {data[0]:#04x}, which is no start byte; is the baud right?")
    if len(data) < HEAD:
        return None
    end = HEAD + int.from_bytes(data[1:3], "little")
    if len(data) < end + CRC:
        return None
    if data[end] != crc8(data[1:end]):
        raise ToolError("a frame on the line has a wrong checksum; is the baud right?")
    return LineFrame(data[0], data[HEAD:end])


# Integers ------------------------------------------------------------------------------------------


def bytes_of(port: dict[str, Any]) -> int:
    """Return the bytes that carry a port's bits.  Raises: UsageError for more than a frame holds."""
    count = -(-width([port]) // 8)
    if count > MOST_BYTES:
        raise UsageError(f"an input or output must fit a frame of {MOST_BYTES:,} bytes, not {count:,}; no board has it")
    return count


def payloads(x: Integers, port: dict[str, Any]) -> list[bytes]:
    """Return the bytes of each vector in a port's format.  Shape: x (vector, *shape)."""
    words = packed(x.reshape(len(x), -1), int(port["bits"]))
    return [row.astype("<u4").tobytes()[: bytes_of(port)] for row in words]


def integers(rows: list[bytes], port: dict[str, Any]) -> Integers:
    """Return the integers of payloads, (vector, *shape): the inverse of ``payloads``."""
    import numpy as np

    size = 4 * -(-bytes_of(port) // 4)
    joined = b"".join(row.ljust(size, b"\0") for row in rows)
    return unpacked(np.frombuffer(joined, "<u4").reshape(len(rows), -1), [port])[port["node"]]
