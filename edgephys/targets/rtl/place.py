"""nextpnr: place and route on a Lattice ECP5, for the clock that a real device would reach."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.core.figure import Figure, FigureStage
from edgephys.core.reading import read_json
from edgephys.targets.rtl.cells import UNITS
from edgephys.targets.rtl.synth import MAP
from edgephys.targets.rtl.yosys import Limits, read_verilog, require_word, run_yosys

PARTS = {
    "12k": "LFE5U-12F-6BG381C",
    "25k": "LFE5U-25F-6BG381C",
    "45k": "LFE5U-45F-6BG381C",
    "85k": "LFE5U-85F-6BG381C",
}
"""Part numbers of nextpnr's devices, in its default speed grade."""

LOG, ROUTED = "nextpnr.log", "routed.json"
"""What nextpnr prints, and the design after routing, in its own cells."""


class NoRoomError(ToolError):
    """A design needs more cells than its device has: ``needs`` says so in words, ``luts`` are the LUTs."""

    def __init__(self, where: str, needs: str, luts: int) -> None:
        super().__init__(f"{where}: it needs {needs}")
        self.needs = needs
        self.luts = luts


# The cells that nextpnr counts, by our names. TRELLIS_COMB is a LUT4, or one bit of a carry chain.
USED = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram": "DP16KD"}


@dataclass(frozen=True)
class Placed:
    """State the clock that a placed and routed design reaches, and the cells that it uses.

    Units: fmax in MHz between registers (pins are out of context); bram in 18-kbit blocks; seconds
    of tool time when it was built. ``available`` are the cells of the device, ``netlist`` is the routed design as
    nextpnr writes it.
    """

    fmax_mhz: float
    lut: int
    ff: int
    dsp: int
    bram: int
    available: dict[str, int]
    target: str
    clock_ns: float
    seed: int
    seconds: float
    tool: str
    version: str
    netlist: Path

    def figures(self) -> tuple[Figure, ...]:
        """Return clock and counts with their provenance; the counts have other names than those of synthesis."""

        def figure(name: str, value: float, unit: str, of: str = "") -> Figure:
            provenance = (FigureStage.PLACED_AND_ROUTED, self.tool, self.version, self.target + of)
            return Figure(name, value, unit, *provenance)

        counts = (figure(f"{name}_ecp5", getattr(self, name), UNITS["ecp5"][name], self._share(name)) for name in USED)
        return (figure("fmax_mhz", self.fmax_mhz, "MHz"), *counts)

    def _share(self, name: str) -> str:
        """Return in words how much of a resource the device has, and the share that is used."""
        held = self.available.get(name)
        return f"; {getattr(self, name) / held:.1%} of {held:,}" if held else ""


def place(
    sources: Sequence[Path],
    top: str,
    device: str = "85k",
    clock_ns: float = 5.0,
    seed: int = 1,
    timeout_s: float = 1800.0,
    clock: str = "clk",
) -> Placed:
    """Synthesise Verilog for ECP5, place and route it out of context, and return what nextpnr reports.

    Units: clock_ns is the aim of the router, not the result; timeout_s limits each of the tools.
    Raises: ToolError where a tool fails, is killed or runs out of time, or where the design does not fit.
    """
    if device not in PARTS:
        raise ToolError(f"device must be one of {', '.join(PARTS)}, not {device!r}")
    if not clock_ns > 0:
        raise ToolError(f"clock_ns must be over 0, not {clock_ns}")
    require_word(top)
    nextpnr = tools.find("nextpnr-ecp5")
    netlist = mapped(sources, top, timeout_s)
    options = (f"--{device}", "--freq", f"{1000 / clock_ns:.6g}", "--seed", str(seed), "--out-of-context")
    paths = ("--json", "netlist.json", "--report", "report.json", "--write", ROUTED, "--timing-allow-fail")
    key = builds.content_key([netlist], nextpnr.version, *options, *paths)

    def build(folder: Path) -> None:
        start = time.monotonic()
        inside = folder / "netlist.json"  # nextpnr is WebAssembly and sees its own folder only
        shutil.copyfile(netlist, inside)
        route(nextpnr, [*options, *paths], folder, timeout_s, (top, f"ECP5-{device}"), USED["lut"])
        inside.unlink()
        (folder / "seconds.json").write_text(json.dumps(time.monotonic() - start))

    home = builds.built(key, build)
    report = read_json(home / "report.json")
    return Placed(
        fmax_mhz=fmax_mhz(report, clock, top),
        **cells(report, "used"),
        available=cells(report, "available"),
        target=f"Lattice ECP5-{device}, out of context, aimed at {clock_ns:g} ns, seed {seed}",
        clock_ns=clock_ns,
        seed=seed,
        seconds=float(read_json(home / "seconds.json")),
        tool="nextpnr-ecp5",
        version=nextpnr.version,
        netlist=home / ROUTED,
    )


def cells(report: Mapping[str, Any], which: str) -> dict[str, int]:
    """Return the cells by our names that are used, or available, in nextpnr's report."""
    return {name: int(report["utilization"][cell][which]) for name, cell in USED.items()}


def mapped(sources: Sequence[Path], top: str, timeout_s: float, family: str = "ecp5") -> Path:
    """Return Yosys' mapped netlist, from the cache where the same sources were mapped before."""
    yosys = tools.find("yosys")
    files = sorted(sources)
    script = read_verilog(files) + MAP[family].format(top=top) + "write_json netlist.json\n"
    key = builds.content_key(files, yosys.version, "netlist", MAP[family], top)

    def build(folder: Path) -> None:
        run_yosys(yosys, folder, script, top, Limits(timeout_s))

    return builds.built(key, build) / "netlist.json"


def route(
    nextpnr: tools.Tool, options: Sequence[str], folder: Path, timeout_s: float, where: tuple[str, str], lut: str
) -> None:
    """Run a nextpnr in a folder; ``where`` are the design and its device in errors, ``lut`` is nextpnr's name of a LUT.

    Raises: NoRoomError for a design that the device cannot hold; ToolError where nextpnr fails.
    """
    log, (top, device) = folder / LOG, where
    try:
        tools.run([*nextpnr.command, *options], folder, timeout_s, log=log, name=nextpnr.name)
    except ToolError as error:
        over = [row for row in _table(log.read_text()) if row[1] > row[2]] if log.exists() else []
        if over:
            needs = ", ".join(f"{used:,} of {available:,} {name}" for name, used, available in over)
            luts = next((used for name, used, _ in _table(log.read_text()) if name == lut), 0)
            raise NoRoomError(f"design '{top}' does not fit {device}", needs, luts) from error
        raise ToolError(f"design '{top}': {error}") from error


def _table(log: str) -> list[tuple[str, int, int]]:
    """Return (cell, used, available) of each cell in nextpnr's table."""
    rows = re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)", log, re.MULTILINE)
    return [(name, int(used), int(there)) for name, used, there in rows]


def fmax_mhz(report: Mapping[str, Any], clock: str, top: str) -> float:
    """Return the frequency that the net of the port ``clock`` reaches.

    nextpnr may call it $glbnet$clk, and $glbnet$clk$TRELLIS_IO_IN behind the buffer of a pin.
    """
    for net, reached in report["fmax"].items():
        if net.removeprefix("$glbnet$").removesuffix("$TRELLIS_IO_IN") == clock:
            return float(reached["achieved"])
    clocks = ", ".join(report["fmax"]) or "none"
    raise ToolError(f"design '{top}': nextpnr timed no path between registers of '{clock}' (clocks: {clocks})")
