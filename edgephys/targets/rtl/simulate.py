"""Simulate an emitted RTL project and measure what the clock edges show.

Latency and initiation interval are read off simulated clock edges, never computed from the stages:

- *Step response*: hold vector A until the outputs rest, switch to B between two edges, and count. The
  latency is the number of clock periods from the edge that samples B to the edge after which the
  outputs are f(B). They must go from f(A) to f(B) in that one edge, for every pair, in the same time.
  Where all vectors have one output, no step shows: then the clocks count from the start of the simulation.
- *Initiation interval*: stream the same vectors, a new one every ``ii`` clocks, for ii = 1, 2, ...; the
  first ii at which every output, ``latency`` later, equals the one at rest.

A stream of pixels is clocked in another way (``stream_simulate``).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl import multiplex_simulate, stream_simulate
from edgephys.targets.rtl.bits import Words, packed, unpacked
from edgephys.targets.rtl.testbench import Bench, Simulated, accepted, build

STEPS = 24
"""Vectors that are each held until the outputs are stable: 23 step responses."""
HOLDS = (32, 256, 2048)
"""Clocks for which an input is held, tried in turn until the outputs are stable in the second half."""
CHUNK = 1 << 16
"""Vectors in one simulation, to limit the memory."""


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> Simulated:
    """Return the project's outputs for ``x`` and its measured latency and initiation interval.

    Shape: x (vector, *input shape), integers in steps.
    Raises: UsageError for a wrong x, ToolError without a simulator, MismatchError where the outputs do
    not follow the inputs with one latency.
    """
    if facts.get("io") == STREAM:
        return stream_simulate.simulate(folder, facts, x)
    if "ii" in facts:
        return multiplex_simulate.simulate(folder, facts, x)
    words = accepted(facts, x)
    bench = build(folder, facts)
    latency, ii = _timing(bench, words)
    outputs = _stream(bench, words, latency, ii)
    return Simulated(outputs[bench.outputs[0]["node"]], latency, ii)


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return every layer's integers, (vector, *shape) by layer name: those of the layer's last node.

    The same modules are compiled under another top, which has the edge of every layer as a port.
    Raises: as ``simulate``.
    """
    if facts.get("io") == STREAM:
        return stream_simulate.probe(folder, facts, x)
    if "ii" in facts:
        return multiplex_simulate.probe(folder, facts, x)
    words = accepted(facts, x)
    bench = build(folder, facts, probe=True)
    nodes = _stream(bench, words, *_timing(bench, words))
    return {port["layer"]: nodes[port["node"]] for port in bench.outputs}


def _timing(bench: Bench, words: Words) -> tuple[int, int]:
    """Measure latency and initiation interval on the first and the last vectors, whose outputs are all returned.

    Where the outputs are not stable, the input is held longer. A latency beyond the hold cannot be mistaken for a
    shorter one, because the streamed outputs would then be those of other vectors.
    """
    steps = np.concatenate([words[: STEPS // 2], words[-STEPS // 2 :]])
    if len(words) < STEPS:
        steps = np.concatenate([words, _noise(bench, STEPS - len(words))])
    if len(words) > STEPS and (others := _with_steps(bench, words)) is not None:
        steps = others
    for clocks in HOLDS[:-1]:
        try:
            return _measured(bench, steps, clocks)
        except MismatchError:
            continue
    return _measured(bench, steps, HOLDS[-1])


def _noise(bench: Bench, count: int) -> Words:
    """Return random words, which stand in for steps where there are few vectors; their outputs are not compared."""
    (port,) = bench.inputs
    noise = np.random.default_rng(0).integers(0, 1 << port["bits"], (count, prod(port["shape"])))
    return packed(noise, port["bits"])


def _measured(bench: Bench, steps: Words, clocks: int) -> tuple[int, int]:
    held = bench.clocked(np.repeat(steps, clocks, axis=0)).reshape(len(steps), clocks, -1)
    rest = held[:, -1]
    if not (held[:, clocks // 2 :] == rest[:, None]).all():
        raise MismatchError(f"simulation: the outputs do not rest within {clocks} clocks of a held input")
    latency = _latency(held)
    if latency is None:
        latency = _since_start(held[0])
    for ii in range(1, latency + 2):
        if (bench.streamed(steps, latency, ii) == rest).all():
            return latency, ii
    raise MismatchError(f"simulation: no initiation interval of 1..{latency + 1} clocks gives the outputs at rest")


def _with_steps(bench: Bench, words: Words) -> Words | None:
    """Return vectors with other outputs than the one before, where the first and the last vectors have one output.

    None where these have several, or all vectors have one. No vector may change its output in longer than the shortest
    hold.
    """
    clocks = HOLDS[0]

    def at_rest(vectors: Words) -> Words:
        return bench.clocked(np.repeat(vectors, clocks, axis=0))[clocks - 1 :: clocks]

    ends = at_rest(np.concatenate([words[: STEPS // 2], words[-STEPS // 2 :]]))
    if (ends != ends[0]).any():
        return None
    for start in range(0, len(words), CHUNK // clocks):
        part = words[start : start + CHUNK // clocks]
        others = part[(at_rest(part) != ends[0]).any(axis=1)][: STEPS // 2]
        if len(others):
            return np.stack([np.broadcast_to(words[0], others.shape), others], 1).reshape(-1, words.shape[1])
    return None


def _since_start(held: Words) -> int:
    """Return the clocks from the start of the simulation after which the output of a held vector stays."""
    changing = np.flatnonzero((held != held[-1]).any(axis=1))
    return int(changing[-1]) + 1 if changing.size else 0


def _latency(held: Words) -> int | None:
    """Return the clocks from the edge that samples a vector to that which gives its output, one for all steps.

    None where all outputs at rest are one.
    """
    latencies: set[int] = set()
    for before, after in pairwise(held):
        old, new = before[-1], after[-1]
        if (old == new).all():
            continue  # a step that cannot be seen
        first = int((after == new).all(axis=1).argmax())
        if not (after[first:] == new).all() or not (after[:first] == old).all():
            raise MismatchError("simulation: after a step of the inputs the outputs show a third value")
        latencies.add(first)
    if len(latencies) > 1:
        raise MismatchError(f"simulation: latency must be one number of clocks, not {sorted(latencies)}")
    return latencies.pop() if latencies else None


def _stream(bench: Bench, words: Words, latency: int, ii: int) -> dict[str, Integers]:
    parts = []
    for start in range(0, len(words), CHUNK):
        parts.append(unpacked(bench.streamed(words[start : start + CHUNK], latency, ii), bench.outputs))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
