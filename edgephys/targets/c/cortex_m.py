"""Generated C on a microcontroller, without hardware: compiled for Arm Cortex-M, and its size counted.

Sizes are those of the object file of the model alone, without the start-up code, the vectors and the measuring code.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ToolError, UsageError
from edgephys.core.reading import read_json
from edgephys.targets.c import call_graph, emit

GCC, SIZE, QEMU = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
RUNTIME = Path(__file__).parent / "runtime"
SCRIPT = RUNTIME / "cortex_m.ld"
MAINS = (RUNTIME / "cortex_m_main.c", RUNTIME / "cortex_m_start.c")
TEXTS = (*MAINS, SCRIPT, RUNTIME / "semihosting.h")

COMPILE_S = 600.0
SPARE_STACK_BYTES = 64 * 1024
"""Stack beyond that of the model's call graph: for the main program and the C library."""

OPTIMISE = ("-Os", "-O1", "-O2", "-O3")
# No unaligned access, as Cortex-M0 has none: the run traps them. No floating point registers: the C is integer only.
FLAGS = ("-mthumb", "-mfloat-abi=soft", "-mno-unaligned-access", "--specs=nano.specs")
MODEL_FLAGS = ("-std=c99", "-w", "-fmax-errors=1", "-fcallgraph-info=su")
LIBRARY = ("-Wl,--start-group", "-lc_nano", "-lgcc", "-Wl,--end-group")
MAIN_FLAGS = ("-std=gnu11", "-O2", "-ffreestanding", "-Wall", "-Wextra", "-Werror", "-fmax-errors=1")


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
        footprint = _footprint(folder, facts, gcc, size, (cpu, optimise, version_of(compiler)))
        _require_fit(footprint, board)
        tools.run([*gcc, *MAIN_FLAGS, *macros, "-I.", f"-I{RUNTIME}", "-c", *map(str, MAINS)], folder, COMPILE_S)
        _link(folder, gcc, footprint, board)
        (folder / "footprint.json").write_text(json.dumps(asdict(footprint)))

    with errors_name(facts, cpu):
        cached = builds.built(builds.content_key([*sources, RUNTIME], compiler.version, *options), compile_and_link)
    record = read_json(cached / "footprint.json")
    footprint = Footprint(**{**record, "library": tuple(record["library"])})
    return CompiledModel(cached / "program.elf", cached / "model.o", footprint)


def footprint(folder: Path, facts: Mapping[str, Any], cpu: str = "cortex-m3", optimise: str = "-Os") -> Footprint:
    """Return the memory that an emitted model needs.  Raises: as ``build``."""
    return build(folder, facts, cpu, optimise).footprint


@contextmanager
def errors_name(facts: Mapping[str, Any], cpu: str) -> Iterator[None]:
    """Add the model and the processor to the message of an error."""
    try:
        yield
    except (ModelError, ToolError, MismatchError) as error:
        raise type(error)(f"model '{facts['prefix']}' on {cpu}: {error}") from error


def version_of(tool: tools.Tool) -> str:
    """Return the version without the tool's name before it."""
    return tool.version.removeprefix(tool.name).removeprefix("QEMU emulator version").strip()


def _macros(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the macros that tell the main program the model's names, and the sizes that it checks."""
    sizes = {
        "INPUTS": prod(facts["input"]["shape"]),
        "OUTPUTS": prod(facts["output"]["shape"]),
        "ARENA_BYTES": facts["arena_bytes"],
    }
    return (*emit.macros(facts, "MODEL_"), *(f"-D{name}={size}" for name, size in sizes.items()))


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
