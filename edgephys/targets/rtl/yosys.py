"""Run Yosys: scripts, limits, and errors that name the module."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.core.names import real_path, require_identifier, require_plain


@dataclass(frozen=True)
class Limits:
    """Limit one run of Yosys: seconds, and gigabytes of address space."""

    timeout_s: float = 1800.0
    memory_gb: float = 8.0


def read_verilog(files: Iterable[Path], option: str = "") -> str:
    """Return the Yosys commands that read Verilog files, one command for each file."""
    paths = [real_path(path) for path in files]
    for path in paths:
        try:
            require_plain("path", str(path))
        except ValueError as error:
            raise ToolError(f"yosys takes no file of this name: {error}; move the project to another folder") from error
    return "".join(f'read_verilog {option}"{path}"\n' for path in paths)


def require_word(module: str) -> None:
    """Raise ToolError for the name of a module that would not be one word of a script."""
    try:
        require_identifier("module", module)
    except ValueError as error:
        raise ToolError(f"yosys takes no module of this name: {error}") from error


def run_yosys(yosys: tools.Tool, folder: Path, script: str, module: str, limits: Limits) -> str:
    """Run a Yosys script in ``folder`` and return its log; errors name the module."""
    (folder / "script.ys").write_text(script)
    try:
        return tools.run(
            [*yosys.command, "script.ys"],
            folder,
            limits.timeout_s,
            yosys.environment,
            name="yosys",
            memory_gb=limits.memory_gb,
        )
    except ToolError as error:
        shows = ("bad_alloc", "was killed", "ABC", "allocate memory")  # how lack of memory shows
        short = any(word in str(error) for word in shows)
        limit = f"; its memory limit is {limits.memory_gb:g} GB" if short else ""
        raise ToolError(f"module '{module}': {error}{limit}") from error
