"""Run a program that was compiled with checks of its memory accesses and its arithmetic, and say which one failed.

The checks are gcc's address and undefined-behaviour sanitisers: every buffer has guards on both sides, and the program
ends at the first access outside of one.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ToolError
from edgephys.core.scratch import temporary_folder
from edgephys.targets.emit_again import emit_again

CHECKS = ("-fsanitize=address,undefined", "-fno-sanitize=null,object-size", "-fno-sanitize-recover=all")
"""Without two that take long to compile and see wrong pointers, as the address sanitiser does."""
FLAGS = ("-g1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", *CHECKS)
"""With every caller in the report. The optimisation is the target's choice, between time to compile and to run."""
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=0:redzone=2048:max_redzone=2048",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
"""Guards of 2048 bytes, the widest there are."""
LOG = "checks.log"
FIXED_S = 10.0
"""Time of a program that does nothing."""

ELEMENTS = 1 << 15
"""Most input integers that are run so: bounds the time."""
FEWEST = 16

VERBS = {"READ": "reads", "WRITE": "writes"}
SIDES = {"to the left of": "before", "to the right of": "past", "after": "past", "inside of": "inside"}
FRAME = re.compile(r"^\s+#\d+ 0x[0-9a-f]+ in (.+?) (\S+?):(\d+)", re.MULTILINE)


def most(inputs: int) -> int:
    """Return how many vectors of so many integers are run with the checks."""
    return max(FEWEST, ELEMENTS // inputs)


def run(command: Sequence[str], folder: Path, timeout_s: float, sources: Collection[str]) -> str:
    """Run a program in ``folder`` and return its output.

    Raises: MismatchError for a check that failed, with the access and the innermost line in a file of a name among
    ``sources``; ToolError as ``processes.run``.
    """
    try:
        words = [*at_fixed_addresses(), *command]
        return tools.run(words, folder, timeout_s, ENVIRONMENT, log=folder / LOG, name=Path(command[0]).name)
    except ToolError as error:
        text = (folder / LOG).read_text() if (folder / LOG).is_file() else ""
        failed = _access(text) or _arithmetic(text)
        if failed is None:
            raise
        raise MismatchError(f"{_place(text, sources)}{failed}; report it, or {emit_again()}") from error


@cache
def at_fixed_addresses() -> tuple[str, ...]:
    """Return the words before a command whose program gets the same addresses each time; none where that is refused.

    The address sanitiser of gcc 12 needs a range of addresses for itself. Where Linux draws 32 bits of an address at
    random (vm.mmap_rnd_bits), a library lies in that range in one run of four, and the program ends before its first
    line, with no report.
    """
    program = shutil.which("setarch")
    if program is None:
        return ()
    words = (program, platform.machine(), "-R")
    with temporary_folder("addresses") as folder:
        try:
            tools.run([*words, "true"], folder, FIXED_S)
        except ToolError:
            return ()
    return words


def _arithmetic(text: str) -> str | None:
    """Return what the undefined-behaviour sanitiser objects to."""
    failed = re.search(r"runtime error: (.*)", text)
    return None if failed is None else failed[1]


def _access(text: str) -> str | None:
    """Return the access that the address sanitiser stopped, and how far from which buffer it is."""
    kind = re.search(r"ERROR: AddressSanitizer: ([\w-]+)", text)
    if kind is None:
        return None
    access = re.search(r"^(READ|WRITE) of size (\d+)", text, re.MULTILINE)
    does = kind[1] if access is None else f"{VERBS[access[1]]} {_bytes(access[2])}"
    where = _buffer(text)
    return f"{does} {where}" if where else f"{does} outside of every buffer"


def _buffer(text: str) -> str | None:
    sides = "|".join(["before", *SIDES])
    near = re.search(rf"located (\d+) bytes ({sides}) (?:(\d+)-byte region|global variable '([^']+)')", text)
    if near is not None:
        owner = re.search(r" in (\w+)_buffer\b", text[near.end() :])
        name = near[4] or ("buffer" if owner is None else owner[1])
        size = f" of {_bytes(near[3])}" if near[3] else ""
        return f"{_bytes(near[1])} {SIDES.get(near[2], near[2])} its {name}{size}"
    local = re.search(r"'([^']+)'(?: \(line \d+\))? <== Memory access at offset \d+ (\w+) this variable", text)
    if local is None:
        return None
    return f"{'before' if local[2].startswith('under') else 'past'} the end of its array {local[1]}"


def _bytes(count: str) -> str:
    return f"{count} byte{'s' * (count != '1')}"


def _place(text: str, sources: Collection[str]) -> str:
    """Return the innermost line of the sources, with its function."""
    for function, path, line in FRAME.findall(text):
        if Path(path).name in sources:
            return f"{Path(path).name}:{line}, {function.split('(')[0]}: "
    return ""
