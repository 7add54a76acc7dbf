"""Generated C on a microcontroller, without hardware: compiled for Arm Cortex-M, its size counted, executed by qemu.

Sizes are those of the object file of the model alone, without the start-up code, the vectors and the measuring code.
qemu executes instructions and has no model of clock cycles, wait states or caches; these figures have none either.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ToolError, UsageError
from edgephys.core.figure import Figure, FigureStage
from edgephys.core.fixed import Integers
from edgephys.core.reading import read_json
from edgephys.core.scratch import temporary_folder
from edgephys.targets.c import call_graph, emit

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
class Board:
    """State a board that qemu emulates, and its memory."""

    name: str
    flash_bytes: int
    ram_bytes: int


BOARDS = {
    "cortex-m3": Board("mps2-an385", 4 << 20, 4 << 20),
    "cortex-m4": Board("mps2-an386", 4 << 20, 4 << 20),
    "cortex-m7": Board("mps2-an500", 4 << 20, 4 << 20),
}
"""Arm's MPS2 boards. Most chips have less memory: what fits these boards need not fit a chip."""


@dataclass(frozen=True)
class Footprint:
    """State the memory that a model needs on a microcontroller, from its object file.

    Units: bytes. ``stack_bytes`` is that of the deepest chain of calls, for every input, without the functions of the
    C library that ``library`` names. Input and output belong to the caller and are not counted.
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
        """Code, constants, and the functions of the C library that the code calls."""
        return self.code_bytes + self.constant_bytes + self.library_bytes

    @property
    def ram_bytes(self) -> int:
        """Arena and stack; a model uses no other memory."""
        return self.arena_bytes + self.stack_bytes


@dataclass(frozen=True)
class CompiledModel:
    """Hold a compiled model: the program that runs it, its object file, and the memory that it needs."""

    program: Path
    model: Path
    footprint: Footprint


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


# Compile ------------------------------------------------------------------------------------------


def build(folder: Path, facts: Mapping[str, Any], cpu: str = "cortex-m3", optimise: str = "-Os") -> CompiledModel:
    """Return an emitted model compiled for a processor; the cache depends on the sources and the compiler.

    Raises: UsageError for an unknown processor or optimisation; ProjectError where a source is missing; ModelError
    for a model that keeps state or does not fit the board; ToolError where GCC is missing or refuses the sources.
    """
    if cpu not in BOARDS:
        raise UsageError(f"processor must be one of {', '.join(BOARDS)}, not {cpu!r}")
    if optimise not in OPTIMISE:
        raise UsageError(f"optimisation must be one of {', '.join(OPTIMISE)}, not {optimise!r}")
    sources = emit.sources(folder, facts)
    compiler, size = tools.find(GCC), tools.find(SIZE)
    macros = _macros(facts)
    board = BOARDS[cpu]
    options = (cpu, optimise, *FLAGS, *MODEL_FLAGS, *LIBRARY, *MAIN_FLAGS, *macros, str(board))

    def compile_and_link(folder: Path) -> None:
        for source in sources:
            shutil.copyfile(source, folder / source.name)
        gcc = (*compiler.command, f"-mcpu={cpu}", *FLAGS)
        tools.run([*gcc, *MODEL_FLAGS, optimise, "-c", sources[0].name, "-o", "model.o"], folder, COMPILE_S)
        footprint = _footprint(folder, facts, gcc, size, (cpu, optimise, _version(compiler)))
        _require_fit(footprint, board)
        tools.run([*gcc, *MAIN_FLAGS, *macros, "-I.", f"-I{RUNTIME}", "-c", *map(str, MAINS)], folder, COMPILE_S)
        _link(folder, gcc, footprint, board)
        (folder / "footprint.json").write_text(json.dumps(asdict(footprint)))

    with _errors_name(facts, cpu):
        cached = tools.built(tools.content_key([*sources, RUNTIME], compiler.version, *options), compile_and_link)
    record = read_json(cached / "footprint.json")
    footprint = Footprint(**{**record, "library": tuple(record["library"])})
    return CompiledModel(cached / "program.elf", cached / "model.o", footprint)


def footprint(folder: Path, facts: Mapping[str, Any], cpu: str = "cortex-m3", optimise: str = "-Os") -> Footprint:
    """Return the memory that an emitted model needs.  Raises: as ``build``."""
    return build(folder, facts, cpu, optimise).footprint


@contextmanager
def _errors_name(facts: Mapping[str, Any], cpu: str) -> Iterator[None]:
    """Add the model and the processor to the message of an error."""
    try:
        yield
    except (ModelError, ToolError, MismatchError) as error:
        raise type(error)(f"model '{facts['prefix']}' on {cpu}: {error}") from error


def _version(tool: tools.Tool) -> str:
    """Return the version without the tool's name before it."""
    return tool.version.removeprefix(tool.name).removeprefix("QEMU emulator version").strip()


def _macros(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the macros that tell the main program the model's names, and the sizes that it checks."""
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


def _footprint(
    folder: Path, facts: Mapping[str, Any], gcc: tuple[str, ...], size: tools.Tool, compiled: tuple[str, str, str]
) -> Footprint:
    """Return the memory of model.o; its share of the C library is what linking with the library adds."""
    tools.run([*gcc, "-r", "-nostdlib", "model.o", *LIBRARY, "-o", "joined.o"], folder, COMPILE_S)
    own, joined = (_sections(size, folder, name) for name in ("model.o", "joined.o"))
    state = joined["data"] + joined["bss"]
    if state:
        raise ModelError(f"generated C must keep no state, and it holds {state} bytes in .data and .bss")
    stack = call_graph.deepest((folder / "model.ci").read_text(), f"{facts['prefix']}_run")
    code = own["text"] - own["rodata"]
    library = joined["text"] - own["text"]
    return Footprint(code, own["rodata"], library, facts["arena_bytes"], stack.bytes, stack.unseen, *compiled)


def _sections(size: tools.Tool, folder: Path, name: str) -> dict[str, int]:
    """Return the bytes of text (all read-only sections), of rodata (the constants in text), of data and of bss."""
    total = tools.run([*size.command, name], folder, COMPILE_S).splitlines()[1].split()
    sections = [line.split() for line in tools.run([*size.command, "-A", name], folder, COMPILE_S).splitlines()]
    constants = sum(int(words[1]) for words in sections if words and words[0].startswith(".rodata"))
    return {"text": int(total[0]), "rodata": constants, "data": int(total[1]), "bss": int(total[2])}


def _require_fit(footprint: Footprint, board: Board) -> None:
    """Raise ModelError where the model alone is larger than the board's memory."""
    for kind, needed, available in (
        ("flash", footprint.flash_bytes, board.flash_bytes),
        ("RAM", footprint.ram_bytes, board.ram_bytes),
    ):
        if needed > available:
            raise ModelError(f"needs {needed:,} bytes of {kind}, and {board.name} has {available:,}; make it smaller")


def _link(folder: Path, gcc: tuple[str, ...], footprint: Footprint, board: Board) -> None:
    """Link program.elf; raise ModelError where the model and the main program together do not fit the board."""
    mains = [f"{path.stem}.o" for path in MAINS]
    stack = SPARE_STACK_BYTES + -(-footprint.stack_bytes // 8) * 8
    sizes = {"flash_bytes": board.flash_bytes, "ram_bytes": board.ram_bytes, "stack_bytes": stack}
    link = [f"-Wl,--defsym={name}={number}" for name, number in sizes.items()]
    log = folder / "link.log"
    try:
        command = [*gcc, "-nostartfiles", *link, f"-T{SCRIPT}", "model.o", *mains, "-o", "program.elf"]
        tools.run(command, folder, COMPILE_S, log=log)
    except ToolError as error:
        over = re.search(r"region `(\w+)' overflowed by (\d+) bytes", log.read_text()) if log.is_file() else None
        if over is None:
            raise
        needs = f"needs, with what runs it, {int(over[2]):,} bytes of {over[1]} more than {board.name} has"
        raise ModelError(f"{needs}; make it smaller") from error


# Run ----------------------------------------------------------------------------------------------


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
    shape, x = tuple(facts["input"]["shape"]), np.asarray(x)
    if x.ndim == 0 or x.shape[1:] != shape or not len(x) or not np.issubdtype(x.dtype, np.integer):
        raise MismatchError(f"Cortex-M vectors must be integers (1 or more, *{shape}), not {x.dtype} {x.shape}")
    compiled, qemu = build(folder, facts, cpu, optimise), tools.find(QEMU)
    emulated = ("-machine", BOARDS[cpu].name, "-nodefaults", "-display", "none", "-icount", ICOUNT)
    host = ("-semihosting-config", "enable=on,target=native", "-kernel", str(compiled.program))
    with temporary_folder("cortex") as scratch, _errors_name(facts, cpu):
        words = np.concatenate([np.array([len(x)]), x.reshape(-1)]).astype("<i8")
        (scratch / "x").write_bytes(words.tobytes())
        tools.run([*qemu.command, *emulated, *host], scratch, timeout_s)
        raw = (scratch / "y").read_bytes() if (scratch / "y").is_file() else b""
        outputs, trailer = _parsed(raw, len(x), tuple(facts["output"]["shape"]))
        _, _, _, stack, most, least, idle, _ = trailer
        _require_bound(stack, compiled.footprint)
    instructions = (_instructions(most, idle), _instructions(least, idle))
    return BoardRun(outputs, stack, *instructions, cpu, optimise, _version(qemu))


def run(folder: Path, facts: Mapping[str, Any], x: Integers, cpu: str = "cortex-m3", optimise: str = "-Os") -> Integers:
    """Return the outputs of an emitted model in qemu, in steps of the output's format.  Raises: as ``measure``."""
    return measure(folder, facts, x, cpu, optimise).outputs


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


# Figures ------------------------------------------------------------------------------------------


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
