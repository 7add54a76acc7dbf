"""Part numbers: refuse one that no vendor's tool knows, before anything is written."""

from __future__ import annotations

import re

from edgephys.core.errors import UsageError

_AMD = r"(-[a-z]+\d+(-(?P<speed>\d)[a-z]*(-\w)*)?)?"
"""Package, speed grade with what qualifies it, and grades of temperature and steps, each of which may be left out."""
FAMILIES = {
    r"xc7[akvzs]\w+(-(?P<speed>\d)\w*)?": "AMD 7 series and Zynq 7000 (xc7k325tffg900-2)",
    r"xcku\d+p?" + _AMD: "AMD Kintex UltraScale and UltraScale+ (xcku115-flvb2104-2-i)",
    r"xcvu\d+p?" + _AMD: "AMD Virtex UltraScale and UltraScale+ (xcvu13p-flga2577-2-e)",
    r"xczu\d+(eg|ev|cg|dr)?" + _AMD: "AMD Zynq UltraScale+ (xczu7ev-ffvc1156-2-e)",
    r"xcau\d+p" + _AMD: "AMD Artix UltraScale+ (xcau25p-ffvb676-2-e)",
    r"xcu\d+" + _AMD: "AMD Alveo (xcu250-figd2104-2L-e)",
    r"xcv[cmeph]\d+" + _AMD: "AMD Versal (xcvc1902-vsva2197-2MP-e-S)",
    r"lfe5u(m5g|m)?-\d+f?(-(?P<speed>\d)\w*)?": "Lattice ECP5 (LFE5UM5G-85F-8BG381C)",
    r"ice40up[35]k(-\w+)?(?P<speed>(?!))?": "Lattice iCE40 UltraPlus (iCE40UP5K-SG48I)",
    r"gw5ast?-[el]v\d+(\w*?(c(?P<speed>\d)/i\d)?)?": "Gowin Arora V (GW5AST-LV138PG484AC1/I0)",
    r"mpf\d+ts?l?s?(-(?P<speed>\d)?\w+)?": "Microchip PolarFire (MPF300TS-1FCG1152I)",
}
"""A pattern of each family's part numbers, with the family's name and an example; package and speed may be left out."""
SPEEDS = {"AMD": "123", "Lattice": "678", "Gowin": "12", "Microchip": "1"}
"""Speed grades that each vendor's families have."""


AMD = "AMD"
"""Begins the names of the families that Vitis and Vivado know."""


def check_part(part: str, tool: str | None = None) -> None:
    """Check that a part number belongs to a known family, and its speed grade if it states one.

    Where ``tool`` names one of AMD's tools, it must be of AMD, and state package and speed grade.

    Raises: UsageError naming valid examples.
    """
    matches = ((re.fullmatch(pattern, part, re.IGNORECASE), name) for pattern, name in FAMILIES.items())
    match, family = next(((match, name) for match, name in matches if match), (None, ""))
    if match is None:
        examples = "; ".join(FAMILIES.values())
        raise UsageError(f"part '{part}': no family that we know has such a number; valid are {examples}")
    example, speeds = family.partition(" (")[2].rstrip(")"), SPEEDS[family.split()[0]]
    if match["speed"] is not None and match["speed"] not in speeds:
        raise UsageError(
            f"part '{part}': {family.partition(' (')[0]} has the speed grades {', '.join(speeds)}, not "
            f"{match['speed']}; such as {example}"
        )
    if tool is not None and not family.startswith(AMD):
        raise UsageError(
            f"part '{part}': {tool} must have a part of AMD, such as xcvu13p-flga2577-2-e, not of "
            f"{family.partition(' (')[0]}; emit --to rtl, or choose another part"
        )
    if tool is not None and match["speed"] is None:
        raise UsageError(f"part '{part}': {tool} must have its package and speed grade, such as {example}")
