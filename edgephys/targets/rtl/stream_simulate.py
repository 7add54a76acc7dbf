"""Simulate a stream of pixels and measure what the clock edges show.

Frames enter one pixel a clock, one after the other. Pixels without meaning follow the last frame, so that its outputs
appear. Measured from the clocks that the design marks as valid:

- *Latency*: clocks from the edge that samples the first pixel of a frame to the edge of its last output, and to the
  edge of its first output.
- *Initiation interval*: clocks between the first outputs of two frames that follow each other without a gap and have
  the same outputs as each frame alone.

All frames also enter with gaps at random clocks, in which every input is noise (``simulate_with_gaps``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers
from edgephys.targets.rtl.bits import of_bits, packed, to_bits, unpacked, width
from edgephys.targets.rtl.testbench import VALID_OUT, Bench, Simulated, accepted, build, ports

FRAMES = 4
"""Frames on which the timing is measured: the first and the last ones, repeated where there are fewer."""
STALLS = 0.4
"""Share of clocks without a pixel where there are gaps."""
CHUNK_BITS = 1 << 28
"""Bits of the outputs that are simulated in one go: bounds the memory."""

Bits = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Frames:
    """Clock frames of a field through a compiled stream; ``patience`` are the clocks to wait for the last pixel."""

    bench: Bench
    pixels: int
    patience: int

    def clocked(self, frames: Bits, stalls: float = 0.0, seed: int = 0) -> tuple[Integers, Integers]:
        """Return the pixels that come out, (frame * pixel, channel), and after which clocks, from the first one's on.

        Shape: frames (frame, pixel, bit).  Raises: MismatchError where others come than went in.
        """
        count = len(frames) * self.pixels
        generator = np.random.default_rng(seed)
        entering = np.concatenate([frames.reshape(count, -1), self._noise(generator, self.patience)])
        valid = np.ones(len(entering), bool)
        if stalls:
            valid = generator.random(int(len(entering) / (1 - stalls))) >= stalls
            valid = np.concatenate([[True], valid, np.ones(len(entering), bool)])
            valid = valid[: np.flatnonzero(valid)[len(entering) - 1] + 1]
        rows = self._noise(generator, len(valid))
        rows[valid] = entering
        start = generator.integers(0, 2, len(valid), np.uint8)
        start[valid] = 0
        start[0] = 1
        words = of_bits(np.column_stack([rows, valid.astype(np.uint8), start]))
        edges = unpacked(self.bench.clocked(words), self.bench.outputs)
        output, mark = self.bench.outputs[0]["node"], edges[VALID_OUT][:, 0].astype(bool)
        clocks = np.flatnonzero(mark)
        if len(clocks) < count or (mark & ~valid).any():
            raise MismatchError(
                f"simulation: {count} pixels went in and {len(clocks)} came out; each must come at a clock that brings "
                f"one, the last {self.patience} after it went in"
            )
        return edges[output][clocks[:count]], clocks[:count]

    def _noise(self, generator: np.random.Generator, count: int) -> Bits:
        return generator.integers(0, 2, (count, width(self.bench.inputs[:1])), np.uint8)


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> Simulated:
    """Return the outputs of a streamed project, and the latency and the interval of a frame.

    Shape: x (frame, row, column, channel), integers in steps.
    Raises: UsageError for a wrong x, ToolError without a simulator, MismatchError where what comes out depends on what
    is given between, before or after a frame's pixels.
    """
    frames_in, frames = _pixels(facts, x), _frames(folder, facts)
    latency, first, interval = _timing(frames, frames_in)
    return Simulated(_outputs(frames, facts, frames_in), latency, interval, first)


def simulate_with_gaps(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return the outputs of frames that enter with gaps at random clocks, in which every input is noise.

    Shape: x (frame, row, column, channel), integers in steps.  Raises: as ``simulate``.
    """
    return _outputs(_frames(folder, facts), facts, _pixels(facts, x), STALLS)


def _outputs(frames: Frames, facts: Mapping[str, Any], frames_in: Bits, stalls: float = 0.0) -> Integers:
    parts = []
    chunk = max(1, CHUNK_BITS // (frames.pixels * (width(frames.bench.outputs) + width(frames.bench.inputs))))
    for start in range(0, len(frames_in), chunk):
        parts.append(frames.clocked(frames_in[start : start + chunk], stalls, start)[0])
    (port,) = facts["output"]
    outputs: Integers = np.concatenate(parts).reshape(len(frames_in), *port["shape"])
    return outputs


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return every layer's integers, (frame, row, column, channel) by layer name.  Raises: as ``simulate``."""
    bench, frames_in = build(folder, facts, probe=True), _pixels(facts, x)
    frames, pixels = frames_in.shape[:2]
    latest = max(port["stage"] for port in facts["probed"])
    clocked: dict[str, list[Integers]] = {port["layer"]: [] for port in facts["probed"]}
    chunk = max(1, CHUNK_BITS // (pixels * width(bench.outputs)))
    for begin in range(0, frames, chunk):
        part = frames_in[begin : begin + chunk]
        count = len(part) * pixels
        rows = np.zeros((count + latest, width(bench.inputs)), np.uint8)
        rows[:count, :-2] = part.reshape(count, -1)
        rows[:, -2] = 1
        rows[0, -1] = 1
        edges = unpacked(bench.clocked(of_bits(rows)), bench.outputs)
        for port in facts["probed"]:
            edge = edges[port["node"]][port["stage"] - 1 :][:count]
            clocked[port["layer"]].append(edge.reshape(len(part), *port["shape"]))
    return {layer: np.concatenate(parts) for layer, parts in clocked.items()}


def _frames(folder: Path, facts: Mapping[str, Any]) -> Frames:
    height, columns = facts["field"]
    return Frames(build(folder, facts), height * columns, int(facts["latency"]))


def _pixels(facts: Mapping[str, Any], x: Integers) -> Bits:
    """Return the bits of pixels, (frame, pixel, bit)."""
    accepted(facts, x)
    (port, *_), _ = ports(facts, False)
    pixels = np.asarray(x).reshape(len(x), -1, *port["shape"])
    flat = pixels.reshape(-1, pixels.shape[-1])
    wide = width([port])
    return to_bits(packed(flat, port["bits"]))[:, :wide].reshape(*pixels.shape[:2], wide)


def _timing(frames: Frames, frames_in: Bits) -> tuple[int, int, int]:
    """Measure a frame's latency, its first pixel's, and the interval, on the first and the last frames."""
    first = np.arange(FRAMES // 2)
    chosen = frames_in[np.concatenate([first, -1 - first[::-1]]) % len(frames_in)]
    together, clocks = frames.clocked(chosen)
    first, last = clocks.reshape(len(chosen), -1)[0, [0, -1]]
    for number, frame in enumerate(chosen):
        alone, own_clocks = frames.clocked(frame[None], seed=1)
        if (own_clocks[[0, -1]] != (first, last)).any():
            raise MismatchError(f"simulation: latency must be one number of clocks, not {first} and {own_clocks[0]}")
        _require_same(together.reshape(len(chosen), *alone.shape)[number], alone, "other frames before and after it")
    _require_same(frames.clocked(chosen, STALLS)[0], together, "gaps between its pixels")
    intervals = set(np.diff(clocks.reshape(len(chosen), -1)[:, 0]).tolist())
    if len(intervals) > 1:
        raise MismatchError(f"simulation: the interval of frames must be one number of clocks, not {sorted(intervals)}")
    return int(last), int(first), int(intervals.pop())


def _require_same(received: Integers, expected: Integers, what: str) -> None:
    if not np.array_equal(received, expected):
        pixel = int(np.flatnonzero((received != expected).any(axis=tuple(range(1, received.ndim))))[0])
        raise MismatchError(f"simulation: a frame comes out changed by {what}, at pixel {pixel} first; report it")
