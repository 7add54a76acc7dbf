"""Part numbers: refuse one that no vendor's tool knows, before anything is written."""

from __future__ import annotations

import re

from edgephys.core.errors import UsageError

FAMILIES = {
    r"xc7[akvzs]\w+-?\w*": "AMD 7 series and Zynq 7000 (xc7k325tffg900-2)",
    r"xcku\d+p?-[a-z0-9]+(-\w+)*": "AMD Kintex UltraScale and UltraScale+ (xcku115-flvb2104-2-i)",
    r"xcvu\d+p?-[a-z0-9]+(-\w+)*": "AMD Virtex UltraScale and UltraScale+ (xcvu13p-flga2577-2-e)",
    r"xczu\d+(eg|ev|cg|dr)?-[a-z0-9]+(-\w+)*": "AMD Zynq UltraScale+ (xczu7ev-ffvc1156-2-e)",
    r"xcau\d+p-[a-z0-9]+(-\w+)*": "AMD Artix UltraScale+ (xcau25p-ffvb676-2-e)",
    r"xcu\d+-[a-z0-9]+(-\w+)*": "AMD Alveo (xcu250-figd2104-2L-e)",
    r"xcv[cmeph]\d+-[a-z0-9]+(-\w+)*": "AMD Versal (xcvc1902-vsva2197-2MP-e-S)",
    r"lfe5u(m5g|m)?-\d+f?(-\w+)*": "Lattice ECP5 (LFE5UM5G-85F-8BG381C)",
    r"mpf\d+ts?l?s?(-\w+)*": "Microchip PolarFire (MPF300TS-1FCG1152I)",
}
"""A pattern of each family's part numbers, with the family's name and an example."""


AMD = "AMD"
"""Begins the names of the families that Vitis and Vivado know."""


def check_part(part: str, tool: str | None = None) -> None:
    """Check that a part number belongs to a known family; of AMD where ``tool`` names one of AMD's tools.

    Raises: UsageError naming valid examples.
    """
    family = next((family for pattern, family in FAMILIES.items() if re.fullmatch(pattern, part, re.IGNORECASE)), None)
    if family is None:
        examples = "; ".join(FAMILIES.values())
        raise UsageError(f"part '{part}': no family that we know has such a number; valid are {examples}")
    if tool is not None and not family.startswith(AMD):
        raise UsageError(
            f"part '{part}': {tool} must have a part of AMD, such as xcvu13p-flga2577-2-e, not of "
            f"{family.partition(' (')[0]}; emit --to rtl, or choose another part"
        )
