"""Generated C on a microcontroller without hardware: compiled for Arm Cortex-M, executed by qemu, weighed.

What is weighed is the object file of the model alone, never the start-up, the vectors or the measuring around it.
qemu executes instructions and knows nothing of clock cycles, wait states or caches: neither do these figures.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.figure import Figure, Stage
from edgephys.core.fixed import Integers
from edgephys.targets.c import call_graph

GCC, SIZE, QEMU = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
RUNTIME = Path(__file__).parent / "runtime"
SCRIPT = RUNTIME / "cortex_m.ld"
MAINS = (RUNTIME / "cortex_m_main.c", RUNTIME / "cortex_m_start.c")
TEXTS = (*MAINS, SCRIPT, RUNTIME / "semihosting.h")

COMPILE_S = 600.0
RUN_S = 60.0
SPARE_STACK_BYTES = 64 * 1024
"""Stack beyond that of the model's call graph: for the main program and the C library."""

OPTIMISE = ("-Os", "-O1", "-O2", "-O3")
# No unaligned access, as Cortex-M0 has none: the run traps them. No floating point registers: the C is integer only.
FLAGS = ("-mthumb", "-mfloat-abi=soft", "-mno-unaligned-access", "--specs=nano.specs")
MODEL_FLAGS = ("-std=c99", "-w", "-fmax-errors=1", "-fcallgraph-info=su")
LIBRARY = ("-Wl,--start-group", "-lc_nano", "-lgcc", "-Wl,--end-group")
MAIN_FLAGS = ("-std=gnu11", "-O2", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-fmax-errors=1")

# Each instruction takes 2**10 ns of qemu's virtual time, in which the boards' 25 MHz timer counts 25.6 ticks.
ICOUNT = "shift=10"
TICK_NS, INSTRUCTION_NS = 40, 1024
NOT_COUNTED = 0xFFFFFFFF
TRAILER = struct.Struct("<8I")
MAGIC = 0x45444745


@dataclass(frozen=True)
class Machine:
    """Name a board that qemu has, and the memory that a program finds there."""

    board: str
    flash_bytes: int
    ram_bytes: int


MACHINES = {
    "cortex-m3": Machine("mps2-an385", 4 << 20, 4 << 20),
    "cortex-m4": Machine("mps2-an386", 4 << 20, 4 << 20),
    "cortex-m7": Machine("mps2-an500", 4 << 20, 4 << 20),
}
"""Arm's MPS2 boards: their memory is larger than that of most chips, so that fitting here is not fitting there."""


@dataclass(frozen=True)
class Footprint:
    """State what a model occupies in a microcontroller, from its object file.

    Units: bytes. ``stack_bytes`` is that of the deepest chain of calls, for every input, and leaves out the
    functions of the C library that ``library`` names; input and output belong to the caller and are in no sum.
    """

    code_bytes: int
    constant_bytes: int
    library_bytes: int
    arena_bytes: int
    stack_bytes: int
    library: tuple[str, ...]
    cpu: str
    optimise: str
    version: str

    @property
    def flash_bytes(self) -> int:
        """Code, constants and what the code needs of the C library."""
        return self.code_bytes + self.constant_bytes + self.library_bytes

    @property
    def ram_bytes(self) -> int:
        """Arena and stack: a model has no other memory."""
        return self.arena_bytes + self.stack_bytes


@dataclass(frozen=True)
class Built:
    """Hold a compiled model: the program that runs it, the object file that is weighed, and its weight."""

    program: Path
    model: Path
    footprint: Footprint


@dataclass(frozen=True, eq=False)
class Ran:
    """Hold the outputs in steps, (vector, *output shape), and what qemu saw of the model meanwhile.

    ``stack_bytes`` is the deepest word that any call changed. ``instructions`` are those of the slowest vector and
    ``least_instructions`` those of the fastest, None where there are more than the board's timer counts (1.6e8).
    """

    outputs: Integers
    stack_bytes: int
    instructions: int | None
    least_instructions: int | None
    buffer_bytes: int
    cpu: str
    optimise: str
    version: str


# Compile ------------------------------------------------------------------------------------------


def build(folder: Path, facts: Mapping[str, Any], cpu: str = "cortex-m3", optimise: str = "-Os") -> Built:
    """Return an emitted model compiled for a processor, from the cache where its content is there.

    Raises: UsageError for an unknown processor or optimisation; ProjectError where a source is missing; ModelError
    for a model that keeps state or does not fit the board; ToolError where GCC is missing or refuses the sources.
    """
    _checked(cpu, optimise)
    sources = [folder / f"{facts['prefix']}{ending}" for ending in (".h", ".c")]
    for source in sources:
        if not source.is_file():
            raise ProjectError(f"{folder}: {source.name} is missing; emit the project again")
    compiler, size = tools.find(GCC), tools.find(SIZE)
    names = _names(facts)
    machine = MACHINES[cpu]
    key = tools.content_key(
        [*sources, RUNTIME],
        compiler.version,
        cpu,
        optimise,
        *FLAGS,
        *MODEL_FLAGS,
        *LIBRARY,
        *MAIN_FLAGS,
        *names,
        str(machine),
    )

    def make(home: Path) -> None:
        for source in sources:
            shutil.copyfile(source, home / source.name)
        gcc = (*compiler.command, f"-mcpu={cpu}", *FLAGS)
        tools.run([*gcc, *MODEL_FLAGS, optimise, "-c", sources[1].name, "-o", "model.o"], home, COMPILE_S)
        footprint = _weighed(home, facts, gcc, size, (cpu, optimise, _version(compiler)))
        _fits(footprint, machine)
        tools.run([*gcc, *MAIN_FLAGS, *names, "-I.", f"-I{RUNTIME}", "-c", *map(str, MAINS)], home, COMPILE_S)
        _linked(home, gcc, footprint, machine)
        (home / "footprint.json").write_text(json.dumps(asdict(footprint)))

    with _named(facts, cpu):
        home = tools.built(key, make)
    record = json.loads((home / "footprint.json").read_text())
    return Built(home / "program.elf", home / "model.o", Footprint(**{**record, "library": tuple(record["library"])}))


def footprint(folder: Path, facts: Mapping[str, Any], cpu: str = "cortex-m3", optimise: str = "-Os") -> Footprint:
    """Return what an emitted model occupies.  Raises: as ``build``."""
    return build(folder, facts, cpu, optimise).footprint


def _checked(cpu: str, optimise: str) -> None:
    if cpu not in MACHINES:
        raise UsageError(f"processor must be one of {', '.join(MACHINES)}, not {cpu!r}")
    if optimise not in OPTIMISE:
        raise UsageError(f"optimisation must be one of {', '.join(OPTIMISE)}, not {optimise!r}")


@contextmanager
def _named(facts: Mapping[str, Any], cpu: str) -> Iterator[None]:
    """Say of an error which model and processor it is about."""
    try:
        yield
    except (ModelError, ToolError, MismatchError) as error:
        raise type(error)(f"model '{facts['prefix']}' on {cpu}: {error}") from error


def _version(tool: tools.Tool) -> str:
    """Return the version without the tool's name before it."""
    return tool.version.removeprefix(tool.name).removeprefix("QEMU emulator version").strip()


def _names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the macros by which the main program knows a model, and what it must find there."""
    prefix, upper = facts["prefix"], facts["prefix"].upper()
    macros = {
        "MODEL_HEADER": f'"{prefix}.h"',
        "MODEL_RUN": f"{prefix}_run",
        "MODEL_INPUT": f"{prefix}_input_t",
        "MODEL_OUTPUT": f"{prefix}_output_t",
        "MODEL_INPUTS": f"{upper}_INPUTS",
        "MODEL_OUTPUTS": f"{upper}_OUTPUTS",
        "MODEL_ARENA_BYTES": f"{upper}_ARENA_BYTES",
        "INPUTS": prod(facts["input"]["shape"]),
        "OUTPUTS": prod(facts["output"]["shape"]),
        "ARENA_BYTES": facts["arena_bytes"],
    }
    return tuple(f"-D{name}={text}" for name, text in macros.items())


def _weighed(
    home: Path, facts: Mapping[str, Any], gcc: tuple[str, ...], size: tools.Tool, made: tuple[str, str, str]
) -> Footprint:
    """Return what model.o occupies, and what it takes from the C library: joined with that, less itself."""
    tools.run([*gcc, "-r", "-nostdlib", "model.o", *LIBRARY, "-o", "joined.o"], home, COMPILE_S)
    own, joined = (_sections(size, home, name) for name in ("model.o", "joined.o"))
    state = joined["data"] + joined["bss"]
    if state:
        raise ModelError(f"generated C must keep no state, and it holds {state} bytes in .data and .bss")
    stack = call_graph.deepest((home / "model.ci").read_text(), f"{facts['prefix']}_run")
    code = own["text"] - own["rodata"]
    library = joined["text"] - own["text"]
    return Footprint(code, own["rodata"], library, facts["arena_bytes"], stack.bytes, stack.unseen, *made)


def _sections(size: tools.Tool, home: Path, name: str) -> dict[str, int]:
    """Return bytes by kind: text is all that is only read, of which rodata are the constants; data; bss."""
    total = tools.run([*size.command, name], home, COMPILE_S).splitlines()[1].split()
    listed = [line.split() for line in tools.run([*size.command, "-A", name], home, COMPILE_S).splitlines()]
    constants = sum(int(words[1]) for words in listed if words and words[0].startswith(".rodata"))
    return {"text": int(total[0]), "rodata": constants, "data": int(total[1]), "bss": int(total[2])}


def _fits(footprint: Footprint, machine: Machine) -> None:
    """Raise ModelError where the model alone is larger than the board's memory."""
    for kind, needed, there in (
        ("flash", footprint.flash_bytes, machine.flash_bytes),
        ("RAM", footprint.ram_bytes, machine.ram_bytes),
    ):
        if needed > there:
            raise ModelError(f"needs {needed:,} bytes of {kind}, and {machine.board} has {there:,}; make it smaller")


def _linked(home: Path, gcc: tuple[str, ...], footprint: Footprint, machine: Machine) -> None:
    """Link program.elf; raise ModelError where the model fits the board only without what runs it."""
    mains = [f"{path.stem}.o" for path in MAINS]
    stack = SPARE_STACK_BYTES + -(-footprint.stack_bytes // 8) * 8
    sizes = {"flash_bytes": machine.flash_bytes, "ram_bytes": machine.ram_bytes, "stack_bytes": stack}
    link = [f"-Wl,--defsym={name}={number}" for name, number in sizes.items()]
    log = home / "link.log"
    try:
        command = [*gcc, "-nostartfiles", *link, f"-T{SCRIPT}", "model.o", *mains, "-o", "program.elf"]
        tools.run(command, home, COMPILE_S, log=log)
    except ToolError as error:
        over = re.search(r"region `(\w+)' overflowed by (\d+) bytes", log.read_text()) if log.is_file() else None
        if over is None:
            raise
        needs = f"needs, with what runs it, {int(over[2]):,} bytes of {over[1]} more than {machine.board} has"
        raise ModelError(f"{needs}; make it smaller") from error


# Run ----------------------------------------------------------------------------------------------


def measure(
    folder: Path,
    facts: Mapping[str, Any],
    x: Integers,
    cpu: str = "cortex-m3",
    optimise: str = "-Os",
    timeout_s: float = RUN_S,
) -> Ran:
    """Return what an emitted model computes in qemu, with the stack and the instructions that it took.

    Shape: x (vector, *input shape), outputs (vector, *output shape).  Exact: integers in and out.
    Raises: as ``build``; MismatchError for no vectors in, or outputs that are short or damaged; ToolError where
    the program faults, writes outside its memory, or is still running after ``timeout_s`` seconds.
    """
    shape, given = tuple(facts["input"]["shape"]), np.asarray(x)
    if given.ndim == 0 or given.shape[1:] != shape or not len(given) or not np.issubdtype(given.dtype, np.integer):
        raise MismatchError(f"Cortex-M vectors must be integers (1 or more, *{shape}), not {given.dtype} {given.shape}")
    built, qemu = build(folder, facts, cpu, optimise), tools.find(QEMU)
    machine = ("-machine", MACHINES[cpu].board, "-nodefaults", "-display", "none", "-icount", ICOUNT)
    host = ("-semihosting-config", "enable=on,target=native", "-kernel", str(built.program))
    with tempfile.TemporaryDirectory(prefix="edgephys-cortex-") as name, _named(facts, cpu):
        scratch = Path(name)
        words = np.concatenate([np.array([len(given)]), given.reshape(-1)]).astype("<i8")
        (scratch / "x").write_bytes(words.tobytes())
        tools.run([*qemu.command, *machine, *host], scratch, timeout_s)
        raw = (scratch / "y").read_bytes() if (scratch / "y").is_file() else b""
        outputs, trailer = _parsed(raw, len(given), tuple(facts["output"]["shape"]))
        _, _, _, stack, most, least, idle, buffers = trailer
        _agrees(stack, built.footprint)
    counted = (_instructions(most, idle), _instructions(least, idle))
    return Ran(outputs, stack, *counted, buffers, cpu, optimise, _version(qemu))


def run(folder: Path, facts: Mapping[str, Any], x: Integers, cpu: str = "cortex-m3", optimise: str = "-Os") -> Integers:
    """Return what an emitted model computes in qemu, in steps of the output's format.  Raises: as ``measure``."""
    return measure(folder, facts, x, cpu, optimise).outputs


def verify(
    folder: Path,
    facts: Mapping[str, Any],
    x: Integers,
    golden: Integers,
    cpu: str = "cortex-m3",
    optimise: str = "-Os",
) -> Ran:
    """Run an emitted model in qemu against the golden model's outputs.

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
    """Return outputs and trailer of a file that the program wrote; raise MismatchError where it is not whole."""
    size = 8 * vectors * prod(shape)
    if len(raw) != size + TRAILER.size:
        raise MismatchError(f"qemu wrote {len(raw)} bytes; {size + TRAILER.size} are expected of {vectors} vectors")
    trailer = TRAILER.unpack(raw[size:])
    if trailer[:2] != (MAGIC, vectors):
        raise MismatchError(f"qemu's outputs end in {trailer[0]:#x} and {trailer[1]} vectors, not {vectors}")
    if trailer[2] != zlib.crc32(raw[:size]):
        raise MismatchError(f"qemu's outputs have the checksum {zlib.crc32(raw[:size]):#x}, not {trailer[2]:#x}")
    return np.frombuffer(raw[:size], "<i8").astype(np.int64).reshape(vectors, *shape), trailer


def _agrees(stack_bytes: int, footprint: Footprint) -> None:
    """Raise ToolError where a run reached deeper than the proven stack: then the proof is wrong."""
    if not footprint.library and stack_bytes > footprint.stack_bytes:
        raise ToolError(f"the stack reached {stack_bytes} bytes, over the {footprint.stack_bytes} of the call graph")


def _instructions(ticks: int, idle: int) -> int | None:
    """Return the instructions of a call from the timer's ticks; ``idle`` is that of one which only returns."""
    if ticks == NOT_COUNTED:
        return None
    return 1 + round((ticks - idle) * TICK_NS / INSTRUCTION_NS)


# Figures ------------------------------------------------------------------------------------------


def figures(weight: Footprint, ran: Ran) -> tuple[Figure, ...]:
    """Return size and work of a model with their provenance: sizes counted in its object file, work seen in qemu.

    The RAM is a proof for every input where the C library is not called, else the deepest stack of the run counts.
    """
    compiled = (Stage.MEASURED, GCC, weight.version, f"{weight.cpu}, {weight.optimise}, object file")
    seen = f"{ran.cpu} ({MACHINES[ran.cpu].board}), {ran.optimise}, {len(ran.outputs)} vectors, the slowest counts"
    simulated = (Stage.SIMULATED, QEMU, ran.version, seen)
    stack = max(weight.stack_bytes, ran.stack_bytes)
    why = None if ran.instructions is not None else "more instructions than the board's timer counts"
    return (
        Figure("flash_bytes", weight.flash_bytes, "bytes", *compiled),
        Figure("flash_code_bytes", weight.code_bytes, "bytes", *compiled),
        Figure("flash_constants_bytes", weight.constant_bytes, "bytes", *compiled),
        Figure("flash_library_bytes", weight.library_bytes, "bytes", *compiled),
        Figure("ram_bytes", weight.arena_bytes + stack, "bytes", *(simulated if weight.library else compiled)),
        Figure("ram_arena_bytes", weight.arena_bytes, "bytes", *compiled),
        Figure("stack_bound_bytes", weight.stack_bytes, "bytes", *compiled),
        Figure("stack_reached_bytes", ran.stack_bytes, "bytes", *simulated),
        Figure("instructions", ran.instructions, "instructions", *simulated, why),
    )
