"""A board in simulation: its top level, serial line and all, clock by clock with Verilator.

A request's bytes become levels of rx, and the levels of tx bytes; requests are some silence apart, in which the answer
comes. The sources are those of the RTL, or the netlist of the routed design.
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
from edgephys.targets.rtl.board import framing, uart
from edgephys.targets.rtl.board.framing import CRC, HEAD, REQUEST, SILENCE_BITS, LineFrame
from edgephys.targets.rtl.board.top import BENCH, TOP, BoardTop, bench_text
from edgephys.targets.rtl.cell_models import cell_models

WIDTHS = (2, 2)
"""Bits of the bench: rx and the button, tx and the light."""
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
        for start in range(0, len(requests), AT_A_TIME):
            parts += self._answers(requests[start : start + AT_A_TIME])
        return parts

    def _answers(self, requests: Sequence[bytes]) -> list[bytes]:
        clocks, idle = self.top.clocks, self._idle()
        line, ends = [np.ones(RESET_CLOCKS, np.uint8)], [RESET_CLOCKS]
        for request in requests:
            wait = idle if self._is_request(request) else idle + (SILENCE_BITS + uart.BITS) * clocks
            line += [uart.levels(request, clocks), np.ones(wait, np.uint8)]
            ends.append(ends[-1] + len(line[-2]) + len(line[-1]))
        rx = np.concatenate(line)
        tx = (self._clocked(rx)[:, 0] & 1).astype(np.uint8)
        tx[:RESET_CLOCKS] = 1
        bytes_out = uart.received(tx, clocks)
        return [bytes(byte for at, byte in bytes_out if first <= at < last) for first, last in pairwise(ends)]

    def _clocked(self, rx: uart.Levels) -> Words:
        words = rx.astype(np.uint32)[:, None] | np.uint32(2 if self.top.board.button.active_low else 0)
        return verilator.clocked(self.home, words, WIDTHS, RUN_S)

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


def of_rtl(top: BoardTop, sources: Sequence[Path]) -> SimulatedBoard:
    """Return the board with the RTL compiled for simulation; ``sources`` are those of top level and network."""
    return SimulatedBoard(top, _compiled(sources))


def of_routed(top: BoardTop, netlist: Path) -> SimulatedBoard:
    """Return the board with the design that nextpnr routed, compiled for simulation.

    Raises: ToolError for a cell that has no model.
    """
    models = cell_models("ecp5")
    return SimulatedBoard(top, _compiled([routed.verilog(netlist, TOP, models[0]), *models]))


def _compiled(sources: Sequence[Path]) -> Path:
    def write(folder: Path) -> None:
        (folder / f"{BENCH}.v").write_text(bench_text())

    bench = builds.built(builds.content_key([], BENCH, bench_text()), write) / f"{BENCH}.v"
    return verilator.built([*sources, bench], BENCH, WIDTHS, (), BUILD_S)
