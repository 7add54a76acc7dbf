"""From Verilog to a bitstream for an ECP5: Yosys, nextpnr with the board's pins, ecppack."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.reading import read_json
from edgephys.targets.capacity import capacity_of
from edgephys.targets.rtl import place
from edgephys.targets.rtl.board.board import FpgaBoard
from edgephys.targets.rtl.board.top import TOP
from edgephys.targets.rtl.cells import UNITS, Cells, count

MOST = {"lut": 0.9, "ff": 0.9, "dsp": 1.0, "bram": 1.0}
"""Shares of a part's resources above which routing is not tried."""
CONFIG, BITSTREAM, CONSTRAINTS, NETLIST = "board.config", "board.bit", "board.lpf", "netlist.json"


@dataclass(frozen=True)
class BoardBuild:
    """State a bitstream, the routed design that it is of, and what nextpnr reports.

    Units: fmax_mhz in MHz between registers; bram in 18-kbit blocks; seconds of tool time when it was built.
    """

    fmax_mhz: float
    cells: Cells
    available: Cells
    bitstream: Path
    netlist: Path
    seconds: float
    tools: dict[str, str]


def synthesised(sources: Sequence[Path], board: FpgaBoard, timeout_s: float) -> tuple[Path, Cells]:
    """Return Yosys' netlist of the top level, and its cells.

    Raises: NoRoomError for a design of more cells than the part has; ToolError where Yosys fails or is too slow.
    """
    netlist = place.mapped(sources, TOP, timeout_s)
    types = Counter(cell["type"] for cell in read_json(netlist)["modules"][TOP]["cells"].values())
    cells = count({name: number for name, number in types.items() if name != "$scopeinfo"}, "ecp5", TOP)
    room = capacity_of(board.part)
    for name, most in MOST.items() if room is not None else ():
        used, held = getattr(cells, name), getattr(room, name)
        if used > most * held:
            of = f", of which {most:.0%} can be routed" if most < 1 else ""
            needs = f"{used:,} {UNITS['ecp5'][name]}, {used / held:.0%} of the {held:,} of {board.part}{of}"
            raise place.NoRoomError(f"the design does not fit {board.name}", needs, cells.lut)
    return netlist, cells


def build(
    sources: Sequence[Path], constraints: Path, board: FpgaBoard, seed: int = 1, timeout_s: float = 3000.0
) -> BoardBuild:
    """Return the bitstream of a top level, from the cache where the same sources were built before.

    The clock that is reached may be slower than the board's: the caller compares.
    Raises: as ``synthesised``; ToolError where nextpnr or ecppack fail or run out of time.
    """
    nextpnr, packer = tools.find("nextpnr-ecp5"), tools.find("ecppack")
    netlist, _ = synthesised(sources, board, timeout_s)
    device = (f"--{board.device}", "--package", board.package, "--speed", board.speed, "--seed", str(seed))
    files = ("--json", NETLIST, "--lpf", CONSTRAINTS, "--textcfg", CONFIG, "--report", "report.json")
    options = (*device, *files, "--write", place.ROUTED, "--timing-allow-fail")
    pack = ("--compress", CONFIG, BITSTREAM)
    key = builds.content_key([netlist, constraints], nextpnr.version, packer.version, *options, *pack)

    def make(folder: Path) -> None:
        start = time.monotonic()
        shutil.copyfile(netlist, folder / NETLIST)  # WebAssembly sees its own folder only
        shutil.copyfile(constraints, folder / CONSTRAINTS)
        place.route([*nextpnr.command, *options], folder, timeout_s, TOP, board.device)
        tools.run([*packer.command, *pack], folder, timeout_s, name=packer.name)
        for name in (NETLIST, CONFIG):
            (folder / name).unlink()
        (folder / "seconds.json").write_text(json.dumps(time.monotonic() - start))

    home = builds.built(key, make)
    report = read_json(home / "report.json")
    used, available = place.cells(report, "used"), place.cells(report, "available")
    versions = {tool.name: tool.version for tool in (tools.find("yosys"), nextpnr, packer)}
    return BoardBuild(
        place.fmax_mhz(report, "clk", TOP),
        Cells(**used),
        Cells(**available),
        home / BITSTREAM,
        home / place.ROUTED,
        float(read_json(home / "seconds.json")),
        versions,
    )
