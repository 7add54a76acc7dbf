"""Simulate an emitted RTL project and measure what the clock edges show.

Latency and initiation interval are read off simulated clock edges, never computed from the stages:

- *Step response*: hold vector A until the outputs rest, switch to B between two edges, and count. The
  latency is the number of clock periods from the edge that samples B to the edge after which the
  outputs are f(B). They must go from f(A) to f(B) in that one edge, for every pair, in the same time.
- *Initiation interval*: stream the same vectors, a new one every ``ii`` clocks, for ii = 1, 2, ...; the
  first ii at which every output, ``latency`` later, equals the one at rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.errors import MismatchError, ProjectError, ToolError, UsageError
from edgephys.firmware import harness, tools
from edgephys.fixed import Integers

BUILD_S = 3600.0
RUN_S = 3600.0
STEPS = 24
"""Vectors held until the outputs rest: 23 step responses."""
LONGEST = 4096
"""Clocks in which the outputs must rest."""
CHUNK = 1 << 16
"""Vectors packed and simulated at a time: bounds the memory."""

Words = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Simulated:
    """Hold the outputs in steps, (vector, *output shape), and the measured timing in clocks."""

    outputs: Integers
    latency_cycles: int
    ii: int


def simulate(folder: Path, facts: Mapping[str, Any], x: Integers) -> Simulated:
    """Return the project's outputs for ``x`` and its measured latency and initiation interval.

    Shape: x (vector, *input shape), integers in steps.
    Raises: UsageError for a wrong x, ToolError without a simulator, MismatchError where the outputs do
    not follow the inputs with one latency.
    """
    words = _accepted(facts, x)
    program = build(folder, facts, facts["top"])
    latency, ii = _timing(program, facts, words)
    outputs = _stream(program, facts, facts["output"], words, latency, ii)
    return Simulated(outputs[facts["output"][0]["node"]], latency, ii)


def probe(folder: Path, facts: Mapping[str, Any], x: Integers) -> dict[str, Integers]:
    """Return every layer's integers, (vector, *shape) by layer name: those of the layer's last node.

    The same modules under a top with every layer's edge as a port, compiled for this alone.
    Raises: as ``simulate``.
    """
    words = _accepted(facts, x)
    program = build(folder, facts, facts["probe"])
    ports = facts["probed"]
    latency, ii = _timing(program, {**facts, "output": ports}, words)
    nodes = _stream(program, facts, ports, words, latency, ii)
    return {port["layer"]: nodes[port["node"]] for port in ports}


def build(folder: Path, facts: Mapping[str, Any], top: str) -> Path:
    """Return the simulator of a project's top, compiled where no build of the same content is cached."""
    sources = [folder / path for path in facts["sources"]]
    if top == facts["probe"]:
        sources = [path for path in sources if path.stem != facts["top"]] + [folder / facts["probe_source"]]
    missing = [path for path in sources if not path.is_file()]
    if missing:
        raise ProjectError(f"project {folder}: {missing[0].relative_to(folder)} is missing; emit it again")
    return harness.built(facts, sources, top, BUILD_S)


# Bits -------------------------------------------------------------------------------------------


def _accepted(facts: Mapping[str, Any], x: Integers) -> Words:
    (port,) = facts["input"]
    shape, bits, signed = tuple(port["shape"]), port["bits"], port["signed"]
    x = np.asarray(x)
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape or not np.issubdtype(x.dtype, np.integer):
        raise UsageError(f"simulation input must be integers (vector, *{shape}), not {x.dtype} {x.shape}")
    if not len(x):
        raise UsageError("simulation input must hold 1 vector or more, not 0")
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if x.min() < low or x.max() > high:
        raise UsageError(f"simulation input must be {low}..{high} in steps, not {x.min()}..{x.max()}")
    return packed(x.reshape(len(x), -1), bits)


def packed(x: Integers, bits: int) -> Words:
    """Return (vector, word): each row's integers side by side, ``bits`` each, lowest first, in 32-bit words."""
    width = x.shape[1] * bits
    words = np.empty((len(x), -(-width // 32)), np.uint32)
    for start in range(0, len(x), CHUNK):
        part = x[start : start + CHUNK].astype(np.int64)
        bit = ((part[:, :, None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(part), -1)
        padded = np.pad(bit, ((0, 0), (0, words.shape[1] * 32 - width)))
        words[start : start + CHUNK] = np.packbits(padded, axis=1, bitorder="little").view("<u4")
    return words


def unpacked(words: Words, ports: list[dict[str, Any]]) -> dict[str, Integers]:
    """Return each port's integers, (vector, *shape) by node name: the inverse of ``packed``."""
    found = {p["node"]: np.empty((len(words), *p["shape"]), np.int64) for p in ports}
    for start in range(0, len(words), CHUNK):
        part = np.ascontiguousarray(words[start : start + CHUNK])
        bit = np.unpackbits(part.view(np.uint8), axis=1, bitorder="little")
        offset = 0
        for port in ports:
            size, bits = prod(port["shape"]), port["bits"]
            field = bit[:, offset : offset + size * bits].reshape(len(part), size, bits).astype(np.int64)
            value = (field << np.arange(bits)).sum(-1)
            value -= (value >> (bits - 1) << bits) if port["signed"] else 0
            found[port["node"]][start : start + CHUNK] = value.reshape(len(part), *port["shape"])
            offset += size * bits
    return found


# Clocks -----------------------------------------------------------------------------------------


def _clocked(program: Path, words: Words, outputs: int) -> Words:
    """Return the output words, (clock, word), after each edge that samples a row of ``words``."""
    with tempfile.TemporaryDirectory(prefix="edgephys-sim-") as scratch:
        given, got = Path(scratch) / "in.bin", Path(scratch) / "out.bin"
        given.write_bytes(np.ascontiguousarray(words, "<u4").tobytes())
        tools.run([str(program), str(given), str(got)], Path(scratch), RUN_S)
        found = np.frombuffer(got.read_bytes(), "<u4")
    if found.size != len(words) * outputs:
        raise ToolError(f"simulation: {len(words)} clocks must give {len(words) * outputs} words, not {found.size}")
    return found.reshape(len(words), outputs)


def _output_words(ports: list[dict[str, Any]]) -> int:
    return -(-sum(prod(port["shape"]) * port["bits"] for port in ports) // 32)


def _timing(program: Path, facts: Mapping[str, Any], words: Words) -> tuple[int, int]:
    """Measure latency and initiation interval on the first vectors and on random ones."""
    (port,) = facts["input"]
    size, bits = prod(port["shape"]), port["bits"]
    noise = np.random.default_rng(0).integers(0, 1 << bits, (STEPS // 2, size))
    steps = np.concatenate([words[: STEPS - len(noise)], packed(noise, bits)])
    outputs = _output_words(facts["output"])
    hold = 32
    while True:
        held = _clocked(program, np.repeat(steps, hold, axis=0), outputs).reshape(len(steps), hold, outputs)
        if (held[:, hold // 2 :] == held[:, -1:]).all():
            break
        hold *= 4
        if hold > LONGEST:
            raise MismatchError(f"simulation: the outputs do not rest within {LONGEST} clocks of a held input")
    latency = _latency(held)
    for ii in range(1, latency + 2):
        streamed = _streamed(program, steps, outputs, latency, ii)
        if (streamed == held[:, -1]).all():
            return latency, ii
    raise MismatchError(f"simulation: no initiation interval of 1..{latency + 1} clocks gives the outputs at rest")


def _latency(held: Words) -> int:
    """Return the clocks from the edge that samples a vector to that which gives its output, one for all steps."""
    found = set()
    for before, after in zip(held[:-1], held[1:], strict=True):
        old, new = before[-1], after[-1]
        if (old == new).all():
            continue  # a step that cannot be seen
        arrived = (after == new).all(axis=1)
        first = int(arrived.argmax())
        if not arrived[first:].all() or not (after[:first] == old).all():
            raise MismatchError(f"simulation: the outputs show a third value within {len(after)} clocks of a step")
        found.add(first)
    if not found:
        raise MismatchError("simulation: latency cannot be measured, all inputs give one output; is the model trained?")
    if len(found) > 1:
        raise MismatchError(f"simulation: latency must be one number of clocks, not {sorted(found)}")
    return found.pop()


def _streamed(program: Path, words: Words, outputs: int, latency: int, ii: int) -> Words:
    idle = np.repeat(words[-1:], latency, axis=0)
    given = np.concatenate([np.repeat(words, ii, axis=0), idle])
    return _clocked(program, given, outputs)[latency :: ii][: len(words)]


def _stream(
    program: Path, facts: Mapping[str, Any], ports: list[dict[str, Any]], words: Words, latency: int, ii: int
) -> dict[str, Integers]:
    parts = []
    for start in range(0, len(words), CHUNK):
        part = words[start : start + CHUNK]
        got = _streamed(program, part, _output_words(ports), latency, ii)
        if len(got) != len(part):
            raise ToolError(f"simulation: {len(part)} vectors must give as many outputs, not {len(got)}")
        parts.append(unpacked(got, ports))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
