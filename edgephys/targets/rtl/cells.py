"""Counts of a mapped netlist: which primitive cells are LUTs, flip-flops, DSPs and block RAMs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from edgephys.core.errors import ToolError

TARGETS = {
    "xcup": "AMD UltraScale+ (Yosys family xcup), out of context",
    "ecp5": "Lattice ECP5, out of context",
    "ice40": "Lattice iCE40 UltraPlus, out of context",
    "gowin": "Gowin GW5A, out of context",
}

UNITS = {
    "xcup": {
        "lut": "LUT",
        "ff": "FF",
        "dsp": "DSP48E2",
        "bram": "RAMB18",
        "carry": "CARRY4",
        "srl": "SRL",
        "lutram": "LUT as RAM",
    },
    "ecp5": {
        "lut": "LUT4",
        "ff": "FF",
        "dsp": "MULT18X18D",
        "bram": "DP16KD",
        "carry": "CCU2C",
        "srl": "SRL",
        "lutram": "LUT4 as RAM",
    },
    "ice40": {
        "lut": "LUT4",
        "ff": "FF",
        "dsp": "SB_MAC16",
        "bram": "SB_RAM40_4K",
        "carry": "SB_CARRY",
        "srl": "SRL",
        "lutram": "LUT4 as RAM",
    },
    "gowin": {
        "lut": "LUT4",
        "ff": "FF",
        "dsp": "MULTALU27X18",
        "bram": "BSRAM",
        "carry": "ALU",
        "srl": "SRL",
        "lutram": "LUT4 as RAM",
    },
}

LUTS_OF_RAM = {
    "RAM64X1S": 1,
    "RAM64X1D": 2,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM256X1D": 8,
    "RAM512X1S": 8,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
    "RAM32X16DR8": 8,
    "RAM64X8SW": 8,
}
"""LUTs of each RAM that consists of LUTs (UltraScale+ and earlier)."""

# What each primitive adds to the counts. MUXF7 and MUXF8 sit beside the LUTs; two small LUTs that a vendor would pack
# into one LUT6 count as two, an inverter as a LUT1.
PRIMITIVES: dict[str, dict[str, dict[str, int]]] = {
    "xcup": {
        **{name: {"lut": 1} for name in ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "INV")},
        **{name: {"lut": 1, "srl": 1} for name in ("SRL16E", "SRLC16E", "SRLC32E")},
        **{name: {"ff": 1} for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        **{name: {} for name in ("MUXF7", "MUXF8", "MUXF9", "BUFG", "VCC", "GND")},
        "CARRY4": {"carry": 1},
        "CARRY8": {"carry": 2},
        **{name: {"lut": luts, "lutram": luts} for name, luts in LUTS_OF_RAM.items()},
        "DSP48E2": {"dsp": 1},
        "RAMB18E2": {"bram": 1},
        "RAMB36E2": {"bram": 2},
    },
    "ecp5": {
        "LUT4": {"lut": 1},
        "CCU2C": {"lut": 2, "carry": 1},
        "TRELLIS_DPR16X4": {"lut": 4, "lutram": 4},
        "TRELLIS_FF": {"ff": 1},
        "PFUMX": {},
        "L6MUX21": {},
        "VHI": {},
        "VLO": {},
        "MULT18X18D": {"dsp": 1},
        "ALU54B": {},
        "DP16KD": {"bram": 1},
        "PDPW16KD": {"bram": 1},
    },
    "ice40": {
        "SB_LUT4": {"lut": 1},
        "SB_CARRY": {"carry": 1},
        **{f"SB_DFF{kind}": {"ff": 1} for kind in ("", "E", "SR", "SS", "ESR", "ESS", "R", "S", "ER", "ES")},
        "SB_MAC16": {"dsp": 1},
        "SB_RAM40_4K": {"bram": 1},
    },
    "gowin": {
        **{f"LUT{inputs}": {"lut": 1} for inputs in (1, 2, 3, 4)},
        "ALU": {"lut": 1, "carry": 1},
        **{f"DFF{kind}": {"ff": 1} for kind in ("", "E", "R", "RE", "S", "SE", "C", "CE", "P", "PE")},
        **{name: {} for name in ("MUX2_LUT5", "MUX2_LUT6", "MUX2_LUT7", "MUX2_LUT8")},
        **{name: {} for name in ("IBUF", "OBUF", "VCC", "GND")},
    },
}


@dataclass(frozen=True)
class Cells:
    """Count the cells of a netlist.

    Units: carry in four-bit CARRY4 (xcup), two-bit CCU2C (ecp5) or one-bit cells; bram in 18-kbit blocks (ice40: of 4
    kbit); srl and lutram count the LUTs that hold data.
    """

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram: int = 0
    carry: int = 0
    srl: int = 0
    lutram: int = 0

    def __add__(self, other: Cells) -> Cells:
        """Return the sum."""
        return Cells(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Cells)))

    def times(self, copies: int) -> Cells:
        """Return the cells of ``copies`` copies."""
        return Cells(*(getattr(self, f.name) * copies for f in fields(Cells)))


def count(primitives: Mapping[str, int], family: str, module: str) -> Cells:
    """Return the counts of a module's primitives; raise ToolError for one that no table counts."""
    counts = PRIMITIVES[family]
    total = Cells()
    for name, number in primitives.items():
        if name not in counts:
            raise ToolError(f"module '{module}': Yosys left {number} cells '{name}', which no count covers")
        total += Cells(**counts[name]).times(number)
    return total
