"""Simulate a roll-out in hardware: load the input, run steps, read the state, and measure what the clock edges show.

Each field is loaded pixel after pixel in a random order, the channels of the state and the others in turns. Then runs
of different numbers of steps follow, also one right after another (``RUNS``), and all channels are read. Every input is
noise at clocks at which it must not matter: during a run nothing can be started or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers
from edgephys.targets.rollout import RUNS, STEPS
from edgephys.targets.rtl.bits import of_bits, packed, to_bits, unpacked, width
from edgephys.targets.rtl.testbench import Bench, accepted, build_rollout

CELL_CLOCKS = 1 << 33
"""LUTs times clocks in one simulation, which bound the fields: a few seconds."""
CHUNK_CLOCKS = 1 << 20
"""Clocks that are simulated in one go: bounds the memory."""

Bits = NDArray[np.uint8]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RolledOut:
    """Hold the input after each of ``STEPS``, (field, reading, row, column, channel), and the measured clocks.

    ``step_cycles`` are the clocks of a further step, ``run_cycles`` those of a run of one step.
    """

    states: Integers
    step_cycles: int
    run_cycles: int


@dataclass(frozen=True, eq=False)
class _Stimulus:
    """Hold what is clocked, (clock, bit), the clocks at which a run is on, and those that read pixels, in order."""

    bits: Bits
    busy: Flags
    done: Flags
    reads: NDArray[np.int64]


def most(facts: Mapping[str, Any]) -> int:
    """Return on how many fields a roll-out is simulated at most."""
    return max(2, int(CELL_CLOCKS // (max(1.0, facts["lut_estimate"]) * _field_clocks(facts))))


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> RolledOut:
    """Return the states of fields after runs of a roll-out in hardware.

    Shape: x (field, row, column, channel), integers in steps.
    Raises: UsageError for a wrong x, ToolError without a simulator, MismatchError where a run takes another time than
    stated.
    """
    accepted(facts, x)
    bench, rollout = build_rollout(folder, facts), facts["rollout"]
    chunk = max(1, CHUNK_CLOCKS // _field_clocks(facts))
    states, generator = [], np.random.default_rng(0)
    measured: set[tuple[int, int]] = set()
    for start in range(0, len(x), chunk):
        part = x[start : start + chunk]
        stimulus = _Clocks(facts, bench, generator).stimulus(part)
        edges = unpacked(bench.clocked(of_bits(stimulus.bits)), bench.outputs)
        busy, done = (edges[name][:, 0].astype(bool) for name in ("busy", "done"))
        measured.add(_measured(busy))
        if not (np.array_equal(busy, stimulus.busy) and np.array_equal(done, stimulus.done)):
            further, run = _measured(busy)
            raise MismatchError(
                f"simulation: a run of a roll-out must take {rollout['last_step_cycles']} clocks and "
                f"{rollout['step_cycles']} more for each further step, not {run} and {further}, and end with done"
            )
        read = edges["read_data"][stimulus.reads]
        states.append(read.reshape(len(part), len(RUNS), *x.shape[1:]))
    ((further, run),) = measured
    return RolledOut(np.concatenate(states), further, run)


def _field_clocks(facts: Mapping[str, Any]) -> int:
    """Return about how many clocks a field takes: to load it twice, to run, and to read it."""
    pixels, step = int(prod(facts["field"])), int(facts["rollout"]["step_cycles"])
    return pixels * (2 + len(RUNS)) + step * (STEPS[-1] + len(RUNS) + 1)


def _measured(busy: Flags) -> tuple[int, int]:
    """Return the clocks of a further step, and of a run of one step, from the first two runs: of 1 and of 3 steps."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], busy, [False]]).astype(np.int8)))
    lengths = np.diff(edges)[::2]
    (one,), (three,) = RUNS[:2]
    return (int(lengths[1] - lengths[0]) // (three - one), int(lengths[0])) if len(lengths) > 1 else (0, 0)


class _Clocks:
    """Write the inputs of a roll-out, clock after clock."""

    def __init__(self, facts: Mapping[str, Any], bench: Bench, generator: np.random.Generator) -> None:
        self.pixels, self.rollout, self.ports = prod(facts["field"]), facts["rollout"], bench.inputs
        self.generator = generator

    def stimulus(self, x: Integers) -> _Stimulus:
        """Return what is clocked for fields: a reset, a run of no steps, and then field after field."""
        parts = [self._idle(1, {"reset": 1}), self._idle(1, {"start": 1, "steps": 0})]
        busy, done = [False, False], [False, True]
        reads: list[int] = []
        for field in x.reshape(len(x), self.pixels, x.shape[-1]):
            loaded = list(self._loaded(field))
            parts += loaded
            busy += [False] * sum(map(len, loaded))
            done += [False] * sum(map(len, loaded))
            for runs in RUNS:
                for steps in runs:
                    parts.append(self._run(steps))
                    busy += [True] * (len(parts[-1]) - 1) + [False]
                    done += [False] * (len(parts[-1]) - 1) + [True]
                reads += range(len(busy), len(busy) + self.pixels)
                parts.append(self._idle(self.pixels, {"read_pixel": np.arange(self.pixels)}))
                busy += [False] * self.pixels
                done += [False] * self.pixels
        return _Stimulus(np.concatenate(parts), np.array(busy), np.array(done), np.array(reads))

    def _loaded(self, field: Integers) -> Iterator[Bits]:
        channels, state = field.shape[-1], self.rollout["state"]
        for chosen in (range(state), range(state, channels)):
            order = self.generator.permutation(self.pixels)
            data = np.array(field[order])
            others = [channel for channel in range(channels) if channel not in chosen]
            data[:, others] = self.generator.permuted(data[:, others], axis=0)
            mask = sum(1 << channel for channel in chosen)
            yield self._idle(self.pixels, {"write": mask, "write_pixel": order, "write_data": data})

    def _run(self, steps: int) -> Bits:
        """Return the clock of a start, and noise until the clock after the run."""
        clocks = self.rollout["last_step_cycles"] + (steps - 1) * self.rollout["step_cycles"]
        noise = self._rows(clocks, {"reset": 0})
        return np.concatenate([self._idle(1, {"start": 1, "steps": steps}), noise])

    def _idle(self, count: int, values: Mapping[str, Any]) -> Bits:
        return self._rows(count, {"reset": 0, "start": 0, "write": 0, **values})

    def _rows(self, count: int, values: Mapping[str, Any]) -> Bits:
        """Return clocks with values of ports, (clock,) or (clock, element) or one for all; the others are noise."""
        rows = self.generator.integers(0, 2, (count, width(self.ports)), np.uint8)
        low = 0
        for port in self.ports:
            wide, size = width([port]), prod(port["shape"])
            if port["node"] in values:
                filled = np.asarray(values[port["node"]], np.int64)
                filled = np.broadcast_to(filled.reshape(-1, size) if filled.ndim else filled, (count, size))
                rows[:, low : low + wide] = to_bits(packed(filled, port["bits"]))[:, :wide]
            low += wide
        return rows
