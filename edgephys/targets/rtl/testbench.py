"""Compile an emitted project for simulation, and clock input words through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import ProjectError, UsageError
from edgephys.core.fixed import Fixed, Integers
from edgephys.targets.emit_again import emit_again
from edgephys.targets.fpga import STREAM
from edgephys.targets.rtl import ghdl, verilator
from edgephys.targets.rtl.bits import Words, packed, width
from edgephys.targets.rtl.stream import AXES

ENGINES = {"verilog": verilator, "vhdl": ghdl}
BUILD_S = 7200.0
RUN_S = 3600.0
VALID_IN, START, VALID_OUT = "valid_in", "start", "valid_out"
READY_OUT, RESET, TAKEN, GIVEN = "ready_out", "reset", "taken", "given"

Ports = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Simulated:
    """Hold the outputs in steps, (vector, *output shape), and the measured timing in clocks.

    The latency is that of the whole output; ``first_cycles`` is the latency of the first pixel of a stream.
    """

    outputs: Integers
    latency_cycles: int
    ii: int
    first_cycles: int | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """Hold a compiled top and clock vectors through it."""

    language: str
    home: Path
    inputs: Ports
    outputs: Ports

    def clocked(self, words: Words) -> Words:
        """Return the output words, (clock, word), after each edge that samples a row of ``words``."""
        widths = width(self.inputs), width(self.outputs)
        outputs: Words = ENGINES[self.language].clocked(self.home, words, widths, RUN_S)
        return outputs

    def streamed(self, words: Words, latency: int, ii: int) -> Words:
        """Return the output words of vectors that enter every ``ii`` clocks, read ``latency`` clocks later."""
        idle = np.repeat(words[-1:], latency, axis=0)
        every = self.clocked(np.concatenate([np.repeat(words, ii, axis=0), idle]))
        return every[latency::ii][: len(words)]


def build(folder: Path, facts: Mapping[str, Any], probe: bool = False) -> Bench:
    """Return the compiled top of a project, or its probe, from the cache where the same content was compiled before."""
    paths, top = list(facts["sources"]), facts["top"]
    if probe:
        paths = [path for path in paths if Path(path).stem != top] + [facts["probe_source"]]
        top = facts["probe"]
    elif "bench" in facts:
        paths, top = [*paths, facts["bench_source"]], facts["bench"]
    return _compiled(folder, facts, paths, top, ports(facts, probe))


def build_rollout(folder: Path, facts: Mapping[str, Any]) -> Bench:
    """Return the compiled roll-out of a project, from the cache where the same content was compiled before."""
    rollout = facts["rollout"]
    paths = [*facts["sources"], rollout["bench_source"]]
    return _compiled(folder, facts, paths, rollout["bench"], (rollout["input"], rollout["output"]))


def _compiled(
    folder: Path, facts: Mapping[str, Any], paths: Sequence[str], top: str, ends: tuple[Ports, Ports]
) -> Bench:
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        raise ProjectError(f"project {folder}: {missing[0]} is missing; {emit_again(folder, 'rtl')}")
    widths = width(ends[0]), width(ends[1])
    repeated = [block["module"] for block in facts["blocks"] if block["module"] and block["copies"] > 1]
    language = facts["language"]
    home = ENGINES[language].built([folder / path for path in paths], top, widths, repeated, BUILD_S)
    return Bench(language, home, *ends)


def ports(facts: Mapping[str, Any], probe: bool) -> tuple[Ports, Ports]:
    """Return the input and output ports of a top at one clock: for a stream one pixel and its control bits."""
    inputs, outputs = facts["input"], facts["probed"] if probe else facts["output"]
    if "ii" in facts:
        return [*inputs, *map(_bit, (VALID_IN, READY_OUT, RESET))], [*outputs, *map(_bit, (TAKEN, GIVEN))]
    if facts.get("io") != STREAM:
        return inputs, outputs
    marks = [] if probe else [_bit(VALID_OUT)]
    return [*map(_pixel, inputs), _bit(VALID_IN), _bit(START)], [*map(_pixel, outputs), *marks]


def _pixel(port: Mapping[str, Any]) -> dict[str, Any]:
    return {**port, "shape": port["shape"][AXES:]}


def _bit(name: str) -> dict[str, Any]:
    return {"node": name, "shape": [1], "bits": 1, "signed": False, "fraction": 0}


def accepted(facts: Mapping[str, Any], x: Integers) -> Words:
    """Return the words of inputs, (vector, word).  Raises: UsageError for what the input's format does not hold."""
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
