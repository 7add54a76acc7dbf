"""The host's side of a board: open the serial port, send vectors as frames, read the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from edgephys.core.errors import ToolError, not_installed
from edgephys.core.fixed import Integers
from edgephys.targets.rtl.board import framing
from edgephys.targets.rtl.board.framing import CRC, HEAD, REQUEST, LineFrame

AGAIN = 2
"""Times that a request is sent again after an answer that a disturbed line explains."""
ANSWER_S = 2.0
"""Seconds within which an answer must be there."""
READ_S = 0.05


class Line(Protocol):
    """What is used of a serial port."""

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer after a short wait."""

    def write(self, data: bytes) -> Any:
        """Send bytes."""

    def reset_input_buffer(self) -> None:
        """Forget bytes that came and were not read."""


def opened(port: str, baud: int) -> Any:
    """Return an open serial port, which its user closes.

    Raises: ToolError where pyserial is not installed, or the port cannot be opened.
    """
    try:
        import serial
    except ImportError as error:
        raise not_installed("a board on a serial port", error, "board") from error
    try:
        return serial.Serial(port, baud, timeout=READ_S)
    except (serial.SerialException, ValueError, OSError) as error:
        reason = str(error).rpartition("] ")[2]
        raise ToolError(
            f"port '{port}' cannot be opened: {reason}; `python -m serial.tools.list_ports` lists those that there are"
        ) from error


def outputs(
    line: Line, x: Integers, ports: tuple[dict[str, Any], dict[str, Any]], progress: Callable[[int, int], None]
) -> tuple[Integers, int]:
    """Return the outputs of inputs that are sent over a line, and how many requests were sent again.

    Shape: x (vector, *input shape), integers in steps; ``ports`` are the network's input and output.
    Raises: ToolError where no answer comes, or answers stay wrong.
    """
    rows, again = [], 0
    length = framing.bytes_of(ports[1])
    for number, payload in enumerate(framing.payloads(x, ports[0])):
        for left in reversed(range(AGAIN + 1)):
            try:
                rows.append(_answer(line, LineFrame(REQUEST, payload)).require_result(length))
                break
            except ToolError as error:
                if not left:
                    raise ToolError(f"vector {number}: {error}") from error
                again += 1
                _settled(line)
        progress(number + 1, len(x))
    return framing.integers(rows, ports[1]), again


def _answer(line: Line, request: LineFrame) -> LineFrame:
    """Send a request and return the frame that answers it."""
    line.write(request.to_bytes())
    data, end = b"", time.monotonic() + ANSWER_S
    while time.monotonic() < end:
        data += line.read(max(1, HEAD + CRC - len(data)) if len(data) < HEAD else _rest(data))
        frame = framing.read_frame(data)
        if frame is not None:
            return frame
    came = f"{len(data)} bytes of an answer" if data else "no answer"
    raise ToolError(
        f"{came} within {ANSWER_S:g} s; is the board on this port, with the project's bitstream, and is the baud right?"
    )


def _rest(data: bytes) -> int:
    return max(1, HEAD + int.from_bytes(data[1:3], "little") + CRC - len(data))


def _settled(line: Line) -> None:
    """Wait until nothing comes any more, and forget what came: the board is behind a malformed frame then."""
    while line.read(1024):
        pass
    line.reset_input_buffer()
