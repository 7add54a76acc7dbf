"""Run a model that is compiled for Arm Cortex-M in qemu, and count its stack and instructions.

qemu executes instructions and has no model of clock cycles, wait states or caches; these figures have none either.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ToolError
from edgephys.core.figure import Figure, FigureStage
from edgephys.core.fixed import Integers
from edgephys.core.scratch import temporary_folder
from edgephys.targets.c.cortex_m import BOARDS, GCC, QEMU, Footprint, build, errors_name, version_of
from edgephys.targets.vectors import require_vectors

RUN_S = 60.0

# Each instruction takes 2**10 ns of qemu's virtual time, in which the boards' 25 MHz timer counts 25.6 ticks.
ICOUNT = "shift=10"
TICK_NS, INSTRUCTION_NS = 40, 1024
NOT_COUNTED = 0xFFFFFFFF
TRAILER = struct.Struct("<8I")
MAGIC = 0x45444745


@dataclass(frozen=True, eq=False)
class BoardRun:
    """Hold the outputs in steps, and what qemu counted.

    ``stack_bytes`` reaches to the deepest word that any call changed. ``instructions`` are those of the slowest vector,
    ``least_instructions`` those of the fastest; None where they exceed the range of the board's timer (1.6e8).
    Shape: outputs (vector, *output shape).
    """

    outputs: Integers
    stack_bytes: int
    instructions: int | None
    least_instructions: int | None
    cpu: str
    optimise: str
    version: str


def measure(
    folder: Path,
    facts: Mapping[str, Any],
    x: Integers,
    cpu: str = "cortex-m3",
    optimise: str = "-Os",
    timeout_s: float = RUN_S,
) -> BoardRun:
    """Run an emitted model in qemu and return its outputs, stack and instructions.

    Shape: x (vector, *input shape), outputs (vector, *output shape).  Exact: integers in and out.
    Raises: as ``build``; MismatchError for no vectors in, or outputs that are short or damaged; ToolError where
    the program faults, writes outside its memory, or is still running after ``timeout_s`` seconds.
    """
    x = require_vectors("Cortex-M", x, facts["input"]["shape"])
    compiled, qemu = build(folder, facts, cpu, optimise), tools.find(QEMU)
    emulated = ("-machine", BOARDS[cpu].name, "-nodefaults", "-display", "none", "-icount", ICOUNT)
    host = ("-semihosting-config", "enable=on,target=native", "-kernel", str(compiled.program))
    with temporary_folder("cortex") as scratch, errors_name(facts, cpu):
        words = np.concatenate([np.array([len(x)]), x.reshape(-1)]).astype("<i8")
        (scratch / "x").write_bytes(words.tobytes())
        tools.run([*qemu.command, *emulated, *host], scratch, timeout_s)
        raw = (scratch / "y").read_bytes() if (scratch / "y").is_file() else b""
        outputs, trailer = _parsed(raw, len(x), tuple(facts["output"]["shape"]))
        _, _, _, stack, most, least, idle, _ = trailer
        _require_bound(stack, compiled.footprint)
    instructions = (_instructions(most, idle), _instructions(least, idle))
    return BoardRun(outputs, stack, *instructions, cpu, optimise, version_of(qemu))


def verify(
    folder: Path,
    facts: Mapping[str, Any],
    x: Integers,
    golden: Integers,
    cpu: str = "cortex-m3",
    optimise: str = "-Os",
) -> BoardRun:
    """Run an emitted model in qemu and compare its outputs with the golden model's.

    Raises: as ``measure``; MismatchError naming the first vector that differs.
    """
    ran = measure(folder, facts, x, cpu, optimise)
    if ran.outputs.shape != golden.shape:
        raise MismatchError(f"golden outputs must be {ran.outputs.shape}, not {golden.shape}")
    different = np.argwhere(ran.outputs != golden)
    if len(different):
        at = tuple(int(index) for index in different[0])
        raise MismatchError(
            f"model '{facts['prefix']}' on {cpu}: vector {at[0]}, output {at[1:]}: golden model {golden[at]}, "
            f"qemu {ran.outputs[at]}; {len(different)} of {golden.size} integers differ"
        )
    return ran


def _parsed(raw: bytes, vectors: int, shape: tuple[int, ...]) -> tuple[Integers, tuple[int, ...]]:
    """Return outputs and trailer of a file that the program wrote; raise MismatchError where it is incomplete."""
    size = 8 * vectors * prod(shape)
    if len(raw) != size + TRAILER.size:
        raise MismatchError(f"qemu wrote {len(raw)} bytes; {size + TRAILER.size} are expected of {vectors} vectors")
    trailer = TRAILER.unpack(raw[size:])
    if trailer[:2] != (MAGIC, vectors):
        raise MismatchError(f"qemu's outputs end in {trailer[0]:#x} and {trailer[1]} vectors, not {vectors}")
    if trailer[2] != zlib.crc32(raw[:size]):
        raise MismatchError(f"qemu's outputs have the checksum {zlib.crc32(raw[:size]):#x}, not {trailer[2]:#x}")
    return np.frombuffer(raw[:size], "<i8").astype(np.int64).reshape(vectors, *shape), trailer


def _require_bound(stack_bytes: int, footprint: Footprint) -> None:
    """Raise ToolError where a run used more stack than the call graph proves: then the proof is wrong."""
    if not footprint.library and stack_bytes > footprint.stack_bytes:
        raise ToolError(f"the stack reached {stack_bytes} bytes, over the {footprint.stack_bytes} of the call graph")


def _instructions(ticks: int, idle: int) -> int | None:
    """Return the instructions of a call from the timer's ticks; ``idle`` are the ticks of an empty call."""
    if ticks == NOT_COUNTED:
        return None
    return 1 + round((ticks - idle) * TICK_NS / INSTRUCTION_NS)


def figures(footprint: Footprint, ran: BoardRun) -> tuple[Figure, ...]:
    """Return sizes, counted in the object file, and instructions, counted in qemu.

    Without calls of the C library the RAM is proven for every input, else it contains the deepest stack of the run.
    """
    compiled = (FigureStage.MEASURED, GCC, footprint.version, f"{footprint.cpu}, {footprint.optimise}, object file")
    where = f"{ran.cpu} ({BOARDS[ran.cpu].name}), {ran.optimise}, {len(ran.outputs)} vectors, the slowest counts"
    simulated = (FigureStage.SIMULATED, QEMU, ran.version, where)
    stack = max(footprint.stack_bytes, ran.stack_bytes)
    why = None if ran.instructions is not None else "more instructions than the board's timer counts"
    return (
        Figure("flash_bytes", footprint.flash_bytes, "bytes", *compiled),
        Figure("flash_code_bytes", footprint.code_bytes, "bytes", *compiled),
        Figure("flash_constants_bytes", footprint.constant_bytes, "bytes", *compiled),
        Figure("flash_library_bytes", footprint.library_bytes, "bytes", *compiled),
        Figure("ram_bytes", footprint.arena_bytes + stack, "bytes", *(simulated if footprint.library else compiled)),
        Figure("ram_arena_bytes", footprint.arena_bytes, "bytes", *compiled),
        Figure("stack_bound_bytes", footprint.stack_bytes, "bytes", *compiled),
        Figure("stack_reached_bytes", ran.stack_bytes, "bytes", *simulated),
        Figure("instructions", ran.instructions, "instructions", *simulated, why),
    )
