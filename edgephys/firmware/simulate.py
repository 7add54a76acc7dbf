"""Simulate an emitted RTL project and measure what the clock edges show.

Latency and initiation interval are read off simulated clock edges, never computed from the stages:

- *Step response*: hold vector A until the outputs rest, switch to B between two edges, and count. The
  latency is the number of clock periods from the edge that samples B to the edge after which the
  outputs are f(B). They must go from f(A) to f(B) in that one edge, for every pair, in the same time.
- *Initiation interval*: stream the same vectors, a new one every ``ii`` clocks, for ii = 1, 2, ...; the
  first ii at which every output, ``latency`` later, equals the one at rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.errors import MismatchError, ProjectError, UsageError
from edgephys.firmware import ghdl, verilator
from edgephys.firmware.bits import Words, packed, unpacked, width
from edgephys.fixed import Fixed, Integers

ENGINES = {"verilog": verilator, "vhdl": ghdl}
BUILD_S = 7200.0
RUN_S = 3600.0
STEPS = 24
"""Vectors held until the outputs rest: 23 step responses."""
HOLDS = (32, 256, 2048)
"""Clocks for which an input is held, one after the other until the outputs rest in the latter half."""
CHUNK = 1 << 16
"""Vectors simulated in one go: bounds the memory."""

Ports = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Simulated:
    """Hold the outputs in steps, (vector, *output shape), and the measured timing in clocks."""

    outputs: Integers
    latency_cycles: int
    ii: int


@dataclass(frozen=True, eq=False)
class Bench:
    """Hold a compiled top and clock vectors through it."""

    language: str
    home: Path
    taken: Ports
    given: Ports

    def clocked(self, words: Words) -> Words:
        """Return the output words, (clock, word), after each edge that samples a row of ``words``."""
        widths = width(self.taken), width(self.given)
        found: Words = ENGINES[self.language].clocked(self.home, words, widths, RUN_S)
        return found

    def streamed(self, words: Words, latency: int, ii: int) -> Words:
        """Return the output words of vectors given one every ``ii`` clocks, read ``latency`` clocks later."""
        idle = np.repeat(words[-1:], latency, axis=0)
        every = self.clocked(np.concatenate([np.repeat(words, ii, axis=0), idle]))
        return every[latency::ii][: len(words)]


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> Simulated:
    """Return the project's outputs for ``x`` and its measured latency and initiation interval.

    Shape: x (vector, *input shape), integers in steps.
    Raises: UsageError for a wrong x, ToolError without a simulator, MismatchError where the outputs do
    not follow the inputs with one latency.
    """
    words = _accepted(facts, x)
    bench = build(folder, facts)
    latency, ii = _timing(bench, words)
    outputs = _stream(bench, words, latency, ii)
    return Simulated(outputs[bench.given[0]["node"]], latency, ii)


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return every layer's integers, (vector, *shape) by layer name: those of the layer's last node.

    The same modules under a top with every layer's edge as a port, compiled for this alone.
    Raises: as ``simulate``.
    """
    words = _accepted(facts, x)
    bench = build(folder, facts, probe=True)
    nodes = _stream(bench, words, *_timing(bench, words))
    return {port["layer"]: nodes[port["node"]] for port in bench.given}


def build(folder: Path, facts: Mapping[str, Any], probe: bool = False) -> Bench:
    """Return a project's top, or its probe, compiled where no build of the same content is cached."""
    paths = list(facts["sources"])
    if probe:
        paths = [path for path in paths if Path(path).stem != facts["top"]] + [facts["probe_source"]]
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise ProjectError(f"project {folder}: {missing[0]} is missing; emit the project again")
    given = facts["probed"] if probe else facts["output"]
    widths = width(facts["input"]), width(given)
    top = facts["probe"] if probe else facts["top"]
    repeated = [block["module"] for block in facts["blocks"] if block["module"] and block["copies"] > 1]
    language = facts["language"]
    home = ENGINES[language].built([folder / path for path in paths], top, widths, repeated, BUILD_S)
    return Bench(language, home, facts["input"], given)


def _accepted(facts: Mapping[str, Any], x: Integers) -> Words:
    (port,) = facts["input"]
    shape = tuple(port["shape"])
    x = np.asarray(x)
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape or not np.issubdtype(x.dtype, np.integer):
        expected = f"(vector, {', '.join(map(str, shape))})"
        raise UsageError(f"simulation input must be integers {expected}, not {x.dtype} {x.shape}")
    if not len(x):
        raise UsageError("simulation input must hold 1 vector or more, not 0")
    fixed = Fixed(port["signed"], port["bits"], port["bits"] - port["fraction"])
    if not fixed.holds(int(x.min()), int(x.max())):
        raise UsageError(f"simulation input must be {fixed.low}..{fixed.high} in steps, not {x.min()}..{x.max()}")
    return packed(x.reshape(len(x), -1), fixed.bits)


def _timing(bench: Bench, words: Words) -> tuple[int, int]:
    """Measure latency and initiation interval on the first vectors and on random ones.

    What does not come to rest is held longer: a latency beyond the hold never passes for a shorter one,
    as the stream would then be that of other vectors.
    """
    (port,) = bench.taken
    noise = np.random.default_rng(0).integers(0, 1 << port["bits"], (STEPS // 2, prod(port["shape"])))
    steps = np.concatenate([words[: STEPS - len(noise)], packed(noise, port["bits"])])
    for clocks in HOLDS[:-1]:
        try:
            return _measured(bench, steps, clocks)
        except MismatchError:
            continue
    return _measured(bench, steps, HOLDS[-1])


def _measured(bench: Bench, steps: Words, clocks: int) -> tuple[int, int]:
    held = bench.clocked(np.repeat(steps, clocks, axis=0)).reshape(len(steps), clocks, -1)
    rest = held[:, -1]
    if not (held[:, clocks // 2 :] == rest[:, None]).all():
        raise MismatchError(f"simulation: the outputs do not rest within {clocks} clocks of a held input")
    latency = _latency(held)
    for ii in range(1, latency + 2):
        if (bench.streamed(steps, latency, ii) == rest).all():
            return latency, ii
    raise MismatchError(f"simulation: no initiation interval of 1..{latency + 1} clocks gives the outputs at rest")


def _latency(held: Words) -> int:
    """Return the clocks from the edge that samples a vector to that which gives its output, one for all steps."""
    found: set[int] = set()
    for before, after in pairwise(held):
        old, new = before[-1], after[-1]
        if (old == new).all():
            continue  # a step that cannot be seen
        first = int((after == new).all(axis=1).argmax())
        if not (after[first:] == new).all() or not (after[:first] == old).all():
            raise MismatchError("simulation: after a step of the inputs the outputs show a third value")
        found.add(first)
    if not found:
        raise MismatchError("simulation: latency cannot be measured, all inputs give one output; train the model")
    if len(found) > 1:
        raise MismatchError(f"simulation: latency must be one number of clocks, not {sorted(found)}")
    return found.pop()


def _stream(bench: Bench, words: Words, latency: int, ii: int) -> dict[str, Integers]:
    parts = []
    for start in range(0, len(words), CHUNK):
        parts.append(unpacked(bench.streamed(words[start : start + CHUNK], latency, ii), bench.given))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
