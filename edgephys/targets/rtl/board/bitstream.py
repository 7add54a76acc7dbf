"""From Verilog to a bitstream: Yosys, nextpnr with the board's pins, and the packer of the board's family."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.reading import read_json
from edgephys.targets.capacity import Capacity, capacity_of
from edgephys.targets.rtl import place
from edgephys.targets.rtl.board.board import FpgaBoard
from edgephys.targets.rtl.board.toolchain import Toolchain, toolchain_of
from edgephys.targets.rtl.board.top import TOP
from edgephys.targets.rtl.cells import UNITS, Cells, count

MOST = {"lut": 0.9, "ff": 0.9, "dsp": 1.0, "bram": 1.0}
"""Shares of a part's resources above which routing is not tried."""
NETLIST = "netlist.json"


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
    family = board.family
    netlist = place.mapped(sources, TOP, timeout_s, family)
    types = Counter(cell["type"] for cell in read_json(netlist)["modules"][TOP]["cells"].values())
    cells = count({name: number for name, number in types.items() if name != "$scopeinfo"}, family, TOP)
    room = capacity_of(board.part)
    for name, most in MOST.items() if room is not None else ():
        used, held = getattr(cells, name), getattr(room, name)
        if used > most * held:
            of = f", of which {most:.0%} can be routed" if most < 1 else ""
            needs = f"{used:,} {UNITS[family][name]}, {used / held:.0%} of the {held:,} of {board.part}{of}"
            raise place.NoRoomError(f"the design does not fit {board.name}", needs, cells.lut)
    return netlist, cells


def build(
    sources: Sequence[Path], constraints: Path, board: FpgaBoard, seed: int = 1, timeout_s: float = 3000.0
) -> BoardBuild:
    """Return the bitstream of a top level, from the cache where the same sources were built before.

    The clock that is reached may be slower than the board's: the caller compares.
    Raises: as ``synthesised``; ToolError where nextpnr or the packer fail or run out of time.
    """
    chain = toolchain_of(board)
    nextpnr, packer = tools.find(chain.nextpnr), tools.find(chain.packer)
    netlist, cells = synthesised(sources, board, timeout_s)
    files = ("--report", "report.json", "--write", place.ROUTED, "--timing-allow-fail")
    options = (*chain.route(board, seed), *files)
    pack = chain.pack(board)
    key = builds.content_key([netlist, constraints], nextpnr.version, packer.version, *options, *pack)

    def make(folder: Path) -> None:
        start = time.monotonic()
        shutil.copyfile(netlist, folder / NETLIST)  # WebAssembly sees its own folder only
        shutil.copyfile(constraints, folder / chain.pins_file)
        place.route(nextpnr, options, folder, timeout_s, (TOP, board.part), chain.used["lut"][0])
        if chain.repair is not None:
            chain.repair(folder / place.ROUTED)
        tools.run([*packer.command, *pack], folder, timeout_s, name=packer.name)
        for name in {NETLIST, chain.config} - {place.ROUTED}:
            (folder / name).unlink()
        (folder / "seconds.json").write_text(json.dumps(time.monotonic() - start))

    home = builds.built(key, make)
    report = read_json(home / "report.json")
    versions = {tool.name: tool.version for tool in (tools.find("yosys"), nextpnr, packer)}
    return BoardBuild(
        chain.fmax(report, (home / place.LOG).read_text(), TOP),
        _counted(chain, report, "used", cells),
        _counted(chain, report, "available", capacity_of(board.part)),
        home / chain.bitstream_file,
        home / place.ROUTED,
        float(read_json(home / "seconds.json")),
        versions,
    )


def _counted(chain: Toolchain, report: Mapping[str, Any], which: str, other: Cells | Capacity | None) -> Cells:
    """Return the cells that nextpnr counts, and those of ``other`` that it does not."""
    counts = {name: chain.count(report, name, which) for name in MOST}
    return Cells(**{name: getattr(other, name, 0) if count is None else count for name, count in counts.items()})
