"""The LUTs of a routed ECP5 as Yosys' own cells: tables and multiplexers, which simulate and compile fast.

A TRELLIS_COMB is a LUT4, or one bit of a carry chain, with a multiplexer behind it. A netlist has thousands of them,
each with parameters of its own, for each of which a simulator would make a module of its own from the cell's model.
Source: Yosys' model of TRELLIS_COMB (ecp5/common_sim.vh), and for pins without a net nextpnr's documentation of the
ECP5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgephys.targets.rtl.routed_cells import Cell, mux, table

LOGIC, CARRY = ("", "LOGIC"), "CCU2"
"""Modes in which a TRELLIS_COMB has no state."""
ENTRIES = range(16)


def is_lut(cell: Cell) -> bool:
    """Tell whether a cell is a TRELLIS_COMB without a state."""
    mode = cell.get("parameters", {}).get("MODE", "").strip()
    return bool(cell["type"] == "TRELLIS_COMB" and (mode in LOGIC or mode == CARRY))


def replaced(name: str, cell: Cell, new_bit: Callable[[], int]) -> dict[str, Cell]:
    """Return Yosys' cells in place of a TRELLIS_COMB; ``new_bit`` returns the number of a net that is not used yet."""
    return dict(_cells(name, cell, new_bit))


def _cells(name: str, cell: Cell, new_bit: Callable[[], int]) -> Iterator[tuple[str, Cell]]:
    pins: dict[str, list[Any]] = cell["connections"]
    init = int(cell["parameters"]["INITVAL"].strip(), 2)
    inputs = [bit for pin in "ABCD" for bit in pins.get(pin) or ["1"]]
    out = (pins.get("F") or [new_bit()])[0]
    if cell["parameters"].get("MODE", "").strip() == CARRY:
        carry = (pins.get("FCI") or ["0"])[0]
        joined = cell["parameters"].get("CCU2_INJECT1", "NO").strip() == "NO"
        yield f"{name}.F", table(_sum(init, joined), [*inputs, carry], out)
        if pins.get("FCO"):
            yield f"{name}.FCO", table(_carry(init, joined), [*inputs, carry], pins["FCO"][0])
    else:
        yield f"{name}.F", table(init, inputs, out)
    if pins.get("OFX"):
        of_luts = pins.get("FXA") or pins.get("FXB")  # a multiplexer of multiplexers is known by its pins
        low, high = ("FXA", "FXB") if of_luts else (None, "F1")
        first = (pins.get(low) or ["0"])[0] if low else out
        yield f"{name}.OFX", mux(first, (pins.get(high) or ["0"])[0], (pins.get("M") or ["0"])[0], pins["OFX"][0])


def _sum(init: int, joined: bool) -> int:
    """Return the table of a carry chain's output: the LUT, inverted where a carry comes in."""
    return init | ((init ^ 0xFFFF if joined else init) << 16)


def _carry(init: int, joined: bool) -> int:
    """Return the table of the carry that leaves: where the LUT is 1 the one that came in, else what two inputs say."""
    generated = sum(1 << entry for entry in ENTRIES if joined and not init >> entry & 1 and init >> (entry & 3) & 1)
    return generated | ((generated | init) << 16)
