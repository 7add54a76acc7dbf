"""Simulate a multiplexed network through its handshake, and measure what the clock edges show.

At which clocks inputs are taken does not depend on their values. So a first run, of noise, shows these clocks for a
pattern of ``valid_in`` and ``ready_out``; a second one gives the inputs at them and noise at all others.

- *Latency*: clocks from the edge that takes an input to the one after which its output is valid; it must be one number.
- *Initiation interval*: clocks between two inputs that are taken where both sides are always ready.

All inputs also enter where both sides wait at random clocks (``simulate_with_gaps``).
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
from edgephys.targets.rtl.bits import of_bits, to_bits, unpacked, width
from edgephys.targets.rtl.testbench import GIVEN, TAKEN, Bench, Simulated, accepted, build

FRAMES = 24
"""Inputs on which the timing is measured: the first and the last ones."""
WAITING = 0.4
"""Share of clocks at which a side waits, where there are gaps."""
RESET = 2
"""Clocks of reset before the first input."""
CHUNK_BITS = 1 << 28
"""Bits that are simulated in one go: bounds the memory."""

Bits = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Handshake:
    """Clock inputs through a compiled top; ``latency`` are the clocks that an output takes at most without waits."""

    bench: Bench
    ii: int
    latency: int

    def clocked(self, inputs: Bits, waiting: float = 0.0, seed: int = 0) -> tuple[Integers, Integers, Integers]:
        """Return the outputs, and the clocks at which inputs were taken and at which outputs were handed over.

        Shape: inputs (vector, bit).  Raises: MismatchError where others come out than went in.
        """
        generator = np.random.default_rng(seed)
        valid, ready = self._pattern(len(inputs), waiting, generator)
        rows = generator.integers(0, 2, (len(valid), inputs.shape[1]), np.uint8)
        entered = np.flatnonzero(self.edges(rows, valid, ready)[TAKEN][:, 0])
        if len(entered) < len(inputs):
            raise MismatchError(
                f"simulation: of {len(inputs)} inputs {len(entered)} are taken within {len(valid)} clocks"
            )
        rows[entered[: len(inputs)]] = inputs
        edges = self.edges(rows, valid, ready)
        again = np.flatnonzero(edges[TAKEN][:, 0])
        left = np.flatnonzero(edges[GIVEN][:, 0])
        if not np.array_equal(entered, again):
            raise MismatchError("simulation: at which clocks inputs are taken depends on their values; report it")
        if len(left) < len(inputs):
            raise MismatchError(f"simulation: {len(inputs)} inputs went in and {len(left)} outputs came out")
        output = self.bench.outputs[0]["node"]
        return edges[output][left[: len(inputs)]], entered[: len(inputs)], left[: len(inputs)]

    def _pattern(
        self, count: int, waiting: float, generator: np.random.Generator
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return valid_in and ready_out, by clock, that let as many inputs through."""
        clocks = RESET + 2 * self.latency + self.ii * count + 1
        if not waiting:
            return np.ones(clocks, bool), np.ones(clocks, bool)
        clocks = int((clocks + count / waiting) / (1 - waiting) * 1.5) + 100
        valid, ready = (generator.random(clocks) >= waiting for _ in range(2))
        return np.concatenate([valid, np.ones(clocks, bool)]), np.concatenate([ready, np.ones(clocks, bool)])

    def edges(self, rows: Bits, valid: NDArray[np.bool_], ready: NDArray[np.bool_]) -> dict[str, Integers]:
        """Return all outputs after each clock edge, behind a reset."""
        reset = np.zeros(len(rows), np.uint8)
        reset[:RESET] = 1
        words = of_bits(np.column_stack([rows, valid.astype(np.uint8), ready.astype(np.uint8), reset]))
        return unpacked(self.bench.clocked(words), self.bench.outputs)


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> Simulated:
    """Return the outputs of a multiplexed project, its latency and its interval.

    Shape: x (vector, *input shape), integers in steps.
    Raises: UsageError for a wrong x, ToolError without a simulator, MismatchError where latency or interval vary.
    """
    inputs, handshake = _bits(facts, x), _handshake(folder, facts)
    ends = np.concatenate([inputs[: FRAMES // 2], inputs[-FRAMES // 2 :]])
    _, entered, left = handshake.clocked(ends)
    latencies, intervals = set((left - entered - 1).tolist()), set(np.diff(entered).tolist()) or {handshake.ii}
    if len(latencies) > 1 or len(intervals) > 1:
        raise MismatchError(
            f"simulation: latency and interval must be one number of clocks each, not {sorted(latencies)} and "
            f"{sorted(intervals)}"
        )
    return Simulated(_outputs(handshake, facts, inputs), latencies.pop(), intervals.pop())


def simulate_with_gaps(folder: Path, facts: Mapping[str, Any], x: Integers) -> Integers:
    """Return the outputs where inputs come, and outputs are handed over, at random clocks.  Raises: as ``simulate``."""
    return _outputs(_handshake(folder, facts), facts, _bits(facts, x), WAITING)


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return every layer's integers, (vector, *shape) by layer name.  Raises: as ``simulate``."""
    inputs = _bits(facts, x)
    latest = max(port["stage"] for port in facts["probed"])
    handshake = Handshake(build(folder, facts, probe=True), facts["ii"], latest)
    layers: dict[str, list[Integers]] = {port["layer"]: [] for port in facts["probed"]}
    chunk = max(1, CHUNK_BITS // (facts["ii"] * width(handshake.bench.outputs)))
    for start in range(0, len(inputs), chunk):
        part = inputs[start : start + chunk]
        rows = np.zeros((RESET + 2 * latest + facts["ii"] * len(part) + 1, part.shape[1]), np.uint8)
        first = RESET + latest + 1
        rows[first : first + facts["ii"] * len(part)] = np.repeat(part, facts["ii"], axis=0)
        valid = np.zeros(len(rows), bool)
        valid[first :: facts["ii"]][: len(part)] = True
        edges = handshake.edges(rows, valid, np.ones(len(rows), bool))
        entered = np.flatnonzero(edges[TAKEN][:, 0])
        if len(entered) < len(part):
            raise MismatchError(f"simulation: of {len(part)} inputs {len(entered)} are taken; report it")
        for port in facts["probed"]:
            layers[port["layer"]].append(edges[port["node"]][entered + port["stage"]])
    return {layer: np.concatenate(parts) for layer, parts in layers.items()}


def _handshake(folder: Path, facts: Mapping[str, Any]) -> Handshake:
    return Handshake(build(folder, facts), int(facts["ii"]), int(facts["latency"]))


def _outputs(handshake: Handshake, facts: Mapping[str, Any], inputs: Bits, waiting: float = 0.0) -> Integers:
    chunk = max(1, CHUNK_BITS // (4 * handshake.ii * (inputs.shape[1] + width(handshake.bench.outputs))))
    parts = []
    for start in range(0, len(inputs), chunk):
        parts.append(handshake.clocked(inputs[start : start + chunk], waiting, start)[0])
    (port,) = facts["output"]
    outputs: Integers = np.concatenate(parts).reshape(len(inputs), *port["shape"])
    return outputs


def _bits(facts: Mapping[str, Any], x: Integers) -> Bits:
    """Return the bits of inputs, (vector, bit)."""
    words = accepted(facts, x)
    return to_bits(words)[:, : width(facts["input"])]
