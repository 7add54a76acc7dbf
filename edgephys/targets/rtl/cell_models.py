"""Vendor-neutral simulation models of the cells in a netlist, as one Verilog file for any simulator.

Most models are Yosys' own. Yosys has none of multipliers and block RAMs: those in ``models/`` are ours, each of just
what Yosys makes of a product or of a line of pixels, and stop the simulation where a cell is set to anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import ToolError

FILES = {
    "xcup": "xilinx/cells_sim.v",
    "ecp5": "ecp5/cells_sim.v",
    "ice40": "ice40/cells_sim.v",
    "gowin": "gowin/cells_sim.v",
}
"""Models of each family, below the folder that Yosys shares."""
OWN = Path(__file__).parent / "models"
"""Folder of our models, a file of each family that needs some."""
MODULE = re.compile(r"^module (\w+)", re.MULTILINE)
# NO_INCLUDES leaves out a second copy of the included files, which has cells of other names only.
# The bits of a carry chain depend on each other, and Verilator takes a vector of them for a loop unless it is split.
SPLIT = "`verilator_config\n" + "".join(
    f'split_var -module "{module}" -var "{port}"\n' for module in ("CARRY4",) for port in ("CO", "O", "S", "DI")
)
REPAIRS = {"ecp5": (("wire FCO = ", "assign FCO = "),)}
"""Texts of the models that are wrong in Yosys 0.70, and right: the carry of TRELLIS_COMB never left its cell."""


def cell_models(family: str) -> tuple[Path, Path]:
    """Return the models with their included files in place, and what Verilator is told about them."""
    source = tools.wheel_folder("yosys") / "share" / FILES[family]
    text = "`define NO_INCLUDES\n" + _with_includes(source)
    for wrong, right in REPAIRS.get(family, ()):
        text = text.replace(wrong, right)
    file = OWN / f"{family}.v"
    own = file.read_text() if file.exists() else ""
    for name in MODULE.findall(own):  # Yosys has an empty module of some of them
        text = re.sub(rf"^\(\* blackbox \*\)\s*module {name}\b.*?^endmodule$", "", text, flags=re.MULTILINE | re.DOTALL)
    text += own

    def build(folder: Path) -> None:
        (folder / "cells.v").write_text(text)
        (folder / "cells.vlt").write_text(SPLIT)

    home = builds.built(builds.content_key([], "cell models", text, SPLIT), build)
    return home / "cells.v", home / "cells.vlt"


def require_models(models: Path, cells: Iterable[str], module: str) -> None:
    """Raise ToolError for a cell that has no model: it would simulate as an empty module."""
    described = re.findall(r"^(\(\* *blackbox.*\*\)\s*)?module +\\?(\w+)", models.read_text(), re.MULTILINE)
    known = {name for blackbox, name in described if not blackbox}
    unknown = sorted(set(cells) - known)
    if unknown:
        raise ToolError(
            f"module '{module}': there is no simulation model of its cells {', '.join(unknown)}; verify without "
            f"--netlist"
        )


def _with_includes(path: Path) -> str:
    def included(match: re.Match[str]) -> str:
        return _with_includes(path.parent / match[1])

    return re.sub(r'^`include "([^"]+)".*$', included, path.read_text(), flags=re.MULTILINE)
