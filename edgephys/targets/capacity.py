"""What FPGAs hold, to say whether a design fits the part that it is for.

Sources: AMD's product tables of the 7 series (DS180), Zynq 7000 (DS190), UltraScale and UltraScale+ (DS890), Zynq
UltraScale+ (DS891) and Alveo (DS962, DS963, DS965); Lattice's data sheet of ECP5 (FPGA-DS-02012), its LUTs and
flip-flops as nextpnr counts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Capacity:
    """State what a part holds: LUTs of ``lut_inputs`` inputs, flip-flops, 18x18 multipliers, block RAMs of 18 kbit."""

    lut: int
    lut_inputs: int
    ff: int
    dsp: int
    bram: int


ECP5 = {
    "25": Capacity(24_288, 4, 24_288, 28, 56),
    "45": Capacity(43_848, 4, 43_848, 72, 108),
    "85": Capacity(83_640, 4, 83_640, 156, 208),
}
"""Capacity of Lattice's ECP5 by the number of its device."""

LUT6 = {
    "xc7a": {"12t": 8_000, "15t": 10_400, "25t": 14_600, "35t": 20_800, "50t": 32_600, "75t": 47_200, "100t": 63_400,
             "200t": 134_600},
    "xc7k": {"70t": 41_000, "160t": 101_400, "325t": 203_800, "355t": 222_600, "410t": 254_200, "420t": 260_600,
             "480t": 298_600},
    "xc7v": {"585t": 364_200, "2000t": 1_221_600, "x330t": 204_000, "x415t": 257_600, "x485t": 303_600,
             "x550t": 346_400, "x690t": 433_200, "x980t": 612_000, "x1140t": 712_000},
    "xc7z": {"007s": 14_400, "010": 17_600, "012s": 34_400, "014s": 40_600, "015": 46_200, "020": 53_200,
             "030": 78_600, "035": 171_900, "045": 218_600, "100": 277_400},
    "xcku": {"035": 203_128, "040": 242_400, "060": 331_680, "085": 497_520, "095": 537_600, "115": 663_360,
             "3p": 162_720, "5p": 216_960, "9p": 274_080, "11p": 298_560, "13p": 341_280, "15p": 522_720},
    "xcvu": {"095": 537_600, "125": 716_160, "190": 1_074_240, "440": 2_532_960, "3p": 394_080, "7p": 788_160,
             "9p": 1_182_240, "11p": 1_296_000, "13p": 1_728_000, "19p": 4_085_760, "31p": 439_680, "33p": 439_680,
             "35p": 871_680, "37p": 1_303_680},
    "xczu": {"2": 47_232, "3": 70_560, "4": 87_840, "5": 117_120, "7": 230_400, "9": 274_080, "11": 298_560,
             "15": 341_280, "19": 522_720, "21dr": 425_280, "27dr": 425_280, "28dr": 425_280, "29dr": 425_280},
    "xcu": {"50": 871_680, "200": 1_182_240, "250": 1_728_000, "280": 1_303_680},
}  # fmt: skip
"""Tables of 6 inputs by family and device, as the part numbers spell them."""


def lut6(part: str) -> int | None:
    """Return the tables of 6 inputs of a part of AMD; None for one that is not listed.

    The longest family and device that begin a part number count, with no digit behind them.
    """
    name = part.lower()
    fitting = [
        (len(family) + len(device), number)
        for family, devices in LUT6.items()
        for device, number in devices.items()
        if name.startswith(family + device) and not name[len(family) + len(device) :][:1].isdigit()
    ]
    return max(fitting)[1] if fitting else None


def capacity_of(part: str) -> Capacity | None:
    """Return what a part of Lattice's ECP5 holds; None for one that is not listed."""
    device = re.match(r"lfe5u(?:m5g|m)?-(\d+)f", part, re.IGNORECASE)
    return ECP5.get(device[1]) if device else None
