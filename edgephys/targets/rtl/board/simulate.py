"""A board in simulation: its top level, line and all, clock by clock with Verilator.

A request's bytes become levels of the line, and the levels of the line bytes; requests are some silence apart, in which
the answer comes; over SPI it is read in a transfer of its own. The sources are those of the RTL, or the netlist of the
routed design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgephys.core import builds
from edgephys.core.errors import MismatchError, ToolError
from edgephys.core.fixed import Integers
from edgephys.targets.rtl import routed, verilator
from edgephys.targets.rtl.bits import Words
from edgephys.targets.rtl.board import framing, spi, uart
from edgephys.targets.rtl.board.board import SPI
from edgephys.targets.rtl.board.framing import CRC, HEAD, REQUEST, SILENCE_BITS, LineFrame
from edgephys.targets.rtl.board.top import BENCH, LEVELS, TOP, BoardTop, bench_text
from edgephys.targets.rtl.cell_models import cell_models

RESET_CLOCKS = 200
BUILD_S, RUN_S = 7200.0, 3600.0
AT_A_TIME = 64
"""Requests in one run of the simulator: bounds the memory."""


@dataclass(frozen=True, eq=False)
class SimulatedBoard:
    """Hold a compiled top level, and answer requests as the board would."""

    top: BoardTop
    home: Path

    def answers(self, requests: Sequence[bytes]) -> list[bytes]:
        """Return the bytes on tx after each request, from a reset on."""
        parts = []
        answer = self._over_spi if self.top.shell == SPI else self._over_uart
        for start in range(0, len(requests), AT_A_TIME):
            parts += answer(requests[start : start + AT_A_TIME])
        return parts

    def transferred(self, transfers: Sequence[bytes], waits: Sequence[int]) -> list[bytes]:
        """Return the bytes on miso in transfers over SPI, with the clocks that are waited behind each, from a reset."""
        line, clock = [spi.idle(RESET_CLOCKS)], RESET_CLOCKS
        starts: list[int] = []
        for data, wait in zip(transfers, waits, strict=True):
            starts.append(clock)
            line += [spi.levels(data), spi.idle(wait)]
            clock += len(line[-2]) + wait
        levels = np.concatenate(line)
        miso = (self._clocked(levels)[:, 0] & 1).astype(np.uint8)
        return [spi.received(miso[start:], len(data)) for start, data in zip(starts, transfers, strict=True)]

    def _over_spi(self, requests: Sequence[bytes]) -> list[bytes]:
        longest = HEAD + max(1, framing.bytes_of(self.top.output)) + CRC
        read = bytes([spi.READ] * (1 + longest))
        transfers = [part for request in requests for part in (request, read)]
        waits = [wait for request in requests for wait in (self._wait(request), 0)]
        answers = self.transferred(transfers, waits)[1::2]
        return [_frame(came[1:].lstrip(b"\0")) for came in answers]

    def _wait(self, request: bytes) -> int:
        silence = 0 if self._is_request(request) else (SILENCE_BITS + uart.BITS) * self.top.clocks
        return self._idle() + silence

    def _over_uart(self, requests: Sequence[bytes]) -> list[bytes]:
        clocks = self.top.clocks
        line, ends = [np.ones(RESET_CLOCKS, np.uint8)], [RESET_CLOCKS]
        for request in requests:
            line += [uart.levels(request, clocks), np.ones(self._wait(request), np.uint8)]
            ends.append(ends[-1] + len(line[-2]) + len(line[-1]))
        rx = np.concatenate(line)
        tx = (self._clocked(rx)[:, 0] & 1).astype(np.uint8)
        tx[:RESET_CLOCKS] = 1
        bytes_out = uart.received(tx, clocks)
        return [bytes(byte for at, byte in bytes_out if first <= at < last) for first, last in pairwise(ends)]

    def _clocked(self, line: uart.Levels) -> Words:
        """Return the bench's outputs at levels of the line, a bit of each input, with the button not pressed."""
        widths = bench_widths(self.top)
        released = np.uint32(1 << widths[0] - 1 if self.top.board.button.active_low else 0)
        return verilator.clocked(self.home, line.astype(np.uint32)[:, None] | released, widths, RUN_S)

    def _is_request(self, data: bytes) -> bool:
        payload = data[HEAD:-CRC]
        return len(payload) == framing.bytes_of(self.top.input) and data == LineFrame(REQUEST, payload).to_bytes()

    def _idle(self) -> int:
        """Return the clocks in which a request is computed and its answer sent, and some more."""
        answer = HEAD + framing.bytes_of(self.top.output) + CRC + 2
        facts = self.top.facts
        return int(facts["latency"]) + int(facts["ii"]) + uart.BITS * self.top.clocks * answer

    def outputs(self, x: Integers) -> Integers:
        """Return the outputs of inputs that are sent as frames.

        Shape: x (vector, *input shape), integers in steps.
        Raises: MismatchError where an answer is no result.
        """
        frames = [LineFrame(REQUEST, payload).to_bytes() for payload in framing.payloads(x, self.top.input)]
        rows, length = [], framing.bytes_of(self.top.output)
        for number, answer in enumerate(self.answers(frames)):
            try:
                frame = framing.read_frame(answer)
                if frame is None or len(answer) != HEAD + length + CRC:
                    raise ToolError(f"{len(answer)} bytes came, {HEAD + length + CRC} were due")
                rows.append(frame.require_result(length))
            except ToolError as error:
                raise MismatchError(f"simulation of {self.top.board.name}, vector {number}: {error}") from error
        return framing.integers(rows, self.top.output)


def _frame(data: bytes) -> bytes:
    """Return the frame that bytes begin with; all of them where it is not whole."""
    return data[: HEAD + int.from_bytes(data[1:HEAD], "little") + CRC]


def bench_widths(top: BoardTop) -> tuple[int, int]:
    """Return the bits that go in, those of the line and the button, and come out: the line and the light."""
    return len(LEVELS[top.shell][0]) + 1, 2


def of_rtl(top: BoardTop, sources: Sequence[Path]) -> SimulatedBoard:
    """Return the board with the RTL compiled for simulation; ``sources`` are those of top level and network."""
    return SimulatedBoard(top, _compiled(top, sources))


def of_routed(top: BoardTop, netlist: Path) -> SimulatedBoard:
    """Return the board with the design that nextpnr routed, compiled for simulation.

    Raises: ToolError for a cell that has no model.
    """
    family = top.board.family
    models = cell_models(family)
    return SimulatedBoard(top, _compiled(top, [routed.verilog(netlist, TOP, models[0], family), *models]))


def _compiled(top: BoardTop, sources: Sequence[Path]) -> Path:
    text = bench_text(top.shell)

    def write(folder: Path) -> None:
        (folder / f"{BENCH}.v").write_text(text)

    bench = builds.built(builds.content_key([], BENCH, text), write) / f"{BENCH}.v"
    return verilator.built([*sources, bench], BENCH, bench_widths(top), (), BUILD_S)
