"""The cells of a routed Gowin device as Yosys' own: LUTs, their multiplexers, and the bits of carry chains.

A bit of a carry chain has a LUT of A, B, C and D. Its output is that LUT, inverted where a carry comes in; the carry
that leaves is the one that came where the LUT is 1, else entry A + 2 B of the same 16.
Source: Project Apicula, doc/alu.md; Yosys' models of the other cells (gowin/cells_sim.v).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgephys.core.errors import ToolError
from edgephys.core.reading import read_json
from edgephys.targets.rtl.routed_cells import Cell, buffer, mux, table

LUT = re.compile(r"LUT([1-4])")
BUFFERS = ("IBUF", "OBUF")
WITHOUT_LOGIC = ("GSR", "PINCFG", "SPINE_SELECT", "BUFG")
"""Cells of resets, settings and clocks that drive no net of a design: nextpnr gives the clock its net's own name."""
CONSTANTS = {"GOWIN_GND": ("G", "0"), "GOWIN_VCC": ("V", "1")}
MODES = {"2": 0x609A, "C2L": 0x0000, "ONE2C": 0x000F}
"""The 16 entries of the modes that Yosys and nextpnr make: add or subtract, the carry as an output, a carry of 1."""
FROM_LOGIC, OF_A = 0x505A, 0x000A
"""Entries of a chain's first bit whose carry is a signal: as nextpnr 0.11 writes them, the carry is A or the one of
the cell beside, which may be that of another chain; and those whose carry is A."""


def repair(routed: Path) -> None:
    """Correct the first bits of chains in a routed design, which is rewritten: its bitstream would compute wrongly.

    Source: nextpnr, commit 6030081a15, "gowin: fix carry-in adapter table for CIN from logic".
    """
    design = read_json(routed)
    for module in design["modules"].values():
        for cell in module["cells"].values():
            parameters = cell["parameters"]
            if cell["type"] == "ALU" and parameters.get("CIN_NETTYPE", "").strip() == "LOGIC":
                entries = parameters.get("RAW_ALU_LUT", "").strip()
                if entries and int(entries, 2) == FROM_LOGIC and not cell["connections"].get("CIN"):
                    parameters["RAW_ALU_LUT"] = f"{OF_A:032b}"
    routed.write_text(json.dumps(design))


def replaced(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the cells in place of those of a design.

    Raises: ToolError for a setting without a description here.
    """
    constants = {
        bit: level
        for cell in cells.values()
        for pin, level in [CONSTANTS.get(cell["type"], ("", ""))]
        for bit in cell["connections"].get(pin, ())
    }
    result: dict[str, Cell] = {}
    for name, cell in cells.items():
        pins = {pin: bits[0] for pin, bits in cell["connections"].items() if bits}
        if cell["type"] not in CONSTANTS:
            pins = {pin: constants.get(bit, bit) for pin, bit in pins.items()}
        result |= _replaced(name, cell, pins)
    return result


def _replaced(name: str, cell: Cell, pins: dict[str, Any]) -> dict[str, Cell]:
    kind = cell["type"]
    lut = LUT.fullmatch(kind)
    if lut:
        entries = int(cell["parameters"]["INIT"].strip(), 2)
        inputs = [pins.get(f"I{number}") for number in range(int(lut[1]))]
        return {name: _table(name, entries, inputs, pins["F"])} if "F" in pins else {}
    if kind.startswith("MUX2_LUT"):
        return {name: mux(pins["I0"], pins["I1"], pins["S0"], pins["O"])} if "O" in pins else {}
    if kind in BUFFERS:
        return {name: buffer(pins["I"], pins["O"])}
    if kind in CONSTANTS:
        pin, bit = CONSTANTS[kind]
        return {name: buffer(bit, pins[pin])} if pin in pins else {}
    if kind == "ALU":
        return dict(_carry(name, cell["parameters"], pins))
    if kind in WITHOUT_LOGIC:
        if pins.get("O"):
            raise ToolError(f"cell '{name}': there is no simulation model of a {kind} with an output")
        return {}
    return {name: cell}


def _table(name: str, entries: int, inputs: list[Any], out: Any) -> Cell:
    """Return a LUT without the inputs that have no net.  Raises: ToolError where its output depends on one."""
    ones = sum(1 << place for place, bit in enumerate(inputs) if bit == "1")
    fixed = sum(1 << place for place, bit in enumerate(inputs) if bit in ("0", "1"))
    reached = [at for at in range(1 << len(inputs)) if at & fixed == ones]
    for place, bit in enumerate(inputs):
        if bit is None and any((entries >> at ^ entries >> (at ^ 1 << place)) & 1 for at in reached):
            raise ToolError(f"cell '{name}': its output depends on input {place}, which has no net")
    return table(entries, [bit or "0" for bit in inputs], out)


def _carry(name: str, parameters: dict[str, str], pins: dict[str, Any]) -> Iterator[tuple[str, Cell]]:
    """Yield the sum and the carry of a bit; nothing for a cell that only fills a chain's place."""
    if not pins:
        return
    entries, mode = (parameters.get(key, "").strip() for key in ("RAW_ALU_LUT", "ALU_MODE"))
    mode = str(int(mode, 2)) if mode and not mode.strip("01") else mode
    if not entries and mode not in MODES:
        raise ToolError(f"cell '{name}': there is no simulation model of an ALU of mode {mode}")
    init = (int(entries, 2) if entries else MODES[mode]) & 0xFFFF
    first = {"GND": "0", "VCC": "1"}.get(parameters.get("CIN_NETTYPE", "").strip())
    carry = pins.get("CIN", first)
    inputs = [pins.get(f"I{number}") for number in range(4)] + [carry]
    if "SUM" in pins:
        yield f"{name}.SUM", _table(name, init | (init ^ 0xFFFF) << 16, inputs, pins["SUM"])
    if "COUT" in pins:
        leaves = sum(1 << at for at in range(32) if ((at >> 4) if init >> (at & 15) & 1 else init >> (at & 3) & 1))
        yield f"{name}.COUT", _table(name, leaves, inputs, pins["COUT"])
