"""What FPGAs hold, to say whether a design fits the part that it is for.

Sources: AMD's product tables of the 7 series (DS180), Zynq 7000 (DS190), UltraScale and UltraScale+ (DS890), Zynq
UltraScale+ (DS891) and Alveo (DS962, DS963, DS965); Lattice's data sheets of ECP5 (FPGA-DS-02012), its LUTs and
flip-flops as nextpnr counts them, and of iCE40 UltraPlus (FPGA-DS-02008); nextpnr's counts for Gowin's GW5AST-138C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LUT6_INPUTS = 6


@dataclass(frozen=True)
class Capacity:
    """State what a part holds: LUTs of ``lut_inputs`` inputs, flip-flops, DSPs, block RAMs of 18 kbit (iCE40: 4)."""

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
OTHERS = {
    "ice40up5k": Capacity(5_280, 4, 5_280, 8, 30),
    "gw5ast-lv138": Capacity(138_240, 4, 138_240, 298, 340),
}
"""Capacity of parts of other vendors by how their numbers begin."""

AMD: dict[str, dict[str, tuple[int, int, int]]] = {
    "xc7a": {
        "12t": (8_000, 40, 40), "15t": (10_400, 45, 50), "25t": (14_600, 80, 90), "35t": (20_800, 90, 100),
        "50t": (32_600, 120, 150), "75t": (47_200, 180, 210), "100t": (63_400, 240, 270),
        "200t": (134_600, 740, 730),
    },
    "xc7k": {
        "70t": (41_000, 240, 270), "160t": (101_400, 600, 650), "325t": (203_800, 840, 890),
        "355t": (222_600, 1_440, 1_430), "410t": (254_200, 1_540, 1_590), "420t": (260_600, 1_680, 1_670),
        "480t": (298_600, 1_920, 1_910),
    },
    "xc7v": {
        "585t": (364_200, 1_260, 1_590), "2000t": (1_221_600, 2_160, 2_584), "x330t": (204_000, 1_120, 1_500),
        "x415t": (257_600, 2_160, 1_760), "x485t": (303_600, 2_800, 2_060), "x550t": (346_400, 2_880, 2_360),
        "x690t": (433_200, 3_600, 2_940), "x980t": (612_000, 3_600, 3_000), "x1140t": (712_000, 3_360, 3_760),
    },
    "xc7z": {
        "007s": (14_400, 66, 100), "010": (17_600, 80, 120), "012s": (34_400, 120, 144), "014s": (40_600, 170, 214),
        "015": (46_200, 160, 190), "020": (53_200, 220, 280), "030": (78_600, 400, 530),
        "035": (171_900, 900, 1_000), "045": (218_600, 900, 1_090), "100": (277_400, 2_020, 1_510),
    },
    "xcku": {
        "035": (203_128, 1_700, 1_080), "040": (242_400, 1_920, 1_200), "060": (331_680, 2_760, 2_160),
        "085": (497_520, 4_100, 3_240), "095": (537_600, 768, 3_360), "115": (663_360, 5_520, 4_320),
        "3p": (162_720, 1_368, 720), "5p": (216_960, 1_824, 960), "9p": (274_080, 2_520, 1_824),
        "11p": (298_560, 2_928, 1_200), "13p": (341_280, 3_528, 1_488), "15p": (522_720, 1_968, 1_968),
    },
    "xcvu": {
        "095": (537_600, 768, 3_456), "125": (716_160, 1_200, 5_040), "190": (1_074_240, 1_800, 7_560),
        "440": (2_532_960, 2_880, 5_040), "3p": (394_080, 2_280, 1_440), "7p": (788_160, 4_560, 2_880),
        "9p": (1_182_240, 6_840, 4_320), "11p": (1_296_000, 9_216, 4_032), "13p": (1_728_000, 12_288, 5_376),
        "19p": (4_085_760, 3_840, 4_320), "31p": (439_680, 2_880, 1_344), "33p": (439_680, 2_880, 1_344),
        "35p": (871_680, 5_952, 2_688), "37p": (1_303_680, 9_024, 4_032),
    },
    "xczu": {
        "2": (47_232, 240, 300), "3": (70_560, 360, 432), "3t": (72_000, 576, 288), "4": (87_840, 728, 256),
        "5": (117_120, 1_248, 288),
        "7": (230_400, 1_728, 624), "9": (274_080, 2_520, 1_824), "11": (298_560, 2_928, 1_200),
        "15": (341_280, 3_528, 1_488), "19": (522_720, 1_968, 1_968), "21dr": (425_280, 4_272, 2_160),
        "27dr": (425_280, 4_272, 2_160), "28dr": (425_280, 4_272, 2_160), "29dr": (425_280, 4_272, 2_160),
    },
    "xcu": {
        "50": (871_680, 5_952, 2_688), "200": (1_182_240, 6_840, 4_320), "250": (1_728_000, 12_288, 5_376),
        "280": (1_303_680, 9_024, 4_032),
    },
}  # fmt: skip
"""LUTs, DSPs and block RAMs by family and device, as the part numbers spell them. A LUT has two flip-flops."""


def capacity_of(part: str) -> Capacity | None:
    """Return what a part holds; None for one that is not listed.

    The longest family and device that begin a part number count, with no digit behind them.
    """
    name = part.lower()
    ecp5 = re.match(r"lfe5u(?:m5g|m)?-(\d+)f", name)
    if ecp5:
        return ECP5.get(ecp5[1])
    for beginning, capacity in OTHERS.items():
        if name.startswith(beginning):
            return capacity
    fitting = [
        (len(family) + len(device), held)
        for family, devices in AMD.items()
        for device, held in devices.items()
        if name.startswith(family + device) and not name[len(family) + len(device) :][:1].isdigit()
    ]
    if not fitting:
        return None
    lut, dsp, bram = max(fitting)[1]
    return Capacity(lut, 6, 2 * lut, dsp, bram)


def lut6(part: str) -> int | None:
    """Return the LUTs of 6 inputs of a part; None for one that is not listed, or whose LUTs have fewer inputs."""
    held = capacity_of(part)
    return held.lut if held is not None and held.lut_inputs == LUT6_INPUTS else None
