"""The cells of a routed iCE40 as Yosys' own: a logic cell is a LUT, a bit of a carry chain and a flip-flop.

Source: Yosys' models of ICESTORM_LC, SB_IO and the flip-flops (ice40/cells_sim.v). A pin without a net reads 0, but for
an enable, which reads 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgephys.core.errors import ToolError
from edgephys.targets.rtl.routed_cells import Cell, buffer, instance, table

MAJORITY = 0xE8
"""The carry that leaves: 1 where two of I1, I2 and the one that comes are."""
DIRECT_IN, DIRECT_OUT = 0b000001, 0b011001
"""Types of pins without registers, which are only read or only driven."""


def replaced(cells: Mapping[str, Cell], new_bit: Callable[[], int]) -> dict[str, Cell]:
    """Return the cells in place of those of a design; ``new_bit`` returns the number of a net that is not used yet.

    Raises: ToolError for a setting without a description here.
    """
    result: dict[str, Cell] = {}
    for name, cell in cells.items():
        result |= _replaced(name, cell, new_bit)
    return result


def _replaced(name: str, cell: Cell, new_bit: Callable[[], int]) -> dict[str, Cell]:
    kind, pins = cell["type"], {pin: bits[0] for pin, bits in cell["connections"].items() if bits}
    if kind == "ICESTORM_LC":
        return dict(_logic(name, cell["parameters"], pins, new_bit))
    if kind == "SB_GB":
        return {name: buffer(pins["USER_SIGNAL_TO_GLOBAL_BUFFER"], pins["GLOBAL_BUFFER_OUTPUT"])}
    if kind == "SB_IO":
        return {name: _pin(name, cell["parameters"], pins)}
    return {name: cell}


def _logic(
    name: str, parameters: dict[str, str], pins: dict[str, Any], new_bit: Callable[[], int]
) -> Iterator[tuple[str, Cell]]:
    value = {key: int(text.strip(), 2) for key, text in parameters.items()}
    if value["NEG_CLK"] or (value["DFF_ENABLE"] and value["ASYNC_SR"] and "SR" in pins):
        raise ToolError(
            f"cell '{name}': there is no simulation model of an ICESTORM_LC with a falling clock or ASYNC_SR"
        )
    if value["CARRY_ENABLE"] and "COUT" in pins:
        carry = str(value["CIN_SET"]) if value["CIN_CONST"] else pins.get("CIN", "0")
        yield f"{name}.COUT", table(MAJORITY, [pins.get("I1", "0"), pins.get("I2", "0"), carry], pins["COUT"])
    inputs = [pins.get(pin, "0") for pin in ("I0", "I1", "I2", "I3")]
    if not value["DFF_ENABLE"]:
        for pin in ("O", "LO"):
            if pin in pins:
                yield f"{name}.{pin}", table(value["LUT_INIT"], inputs, pins[pin])
        return
    data = pins.get("LO") or new_bit()
    yield f"{name}.LO", table(value["LUT_INIT"], inputs, data)
    sides = {"C": pins["CLK"], "D": data}
    kind = "SB_DFF"
    if "CEN" in pins:
        kind, sides = kind + "E", sides | {"E": pins["CEN"]}
    if "SR" in pins:
        letter = "S" if value["SET_NORESET"] else "R"
        kind, sides = f"{kind}S{letter}", sides | {letter: pins["SR"]}
    if "O" in pins:
        yield f"{name}.O", instance(kind, sides, {"Q": pins["O"]})


def _pin(name: str, parameters: dict[str, str], pins: dict[str, Any]) -> Cell:
    kind = int(parameters["PIN_TYPE"].strip(), 2)
    if kind == DIRECT_IN and pins.keys() == {"PACKAGE_PIN", "D_IN_0"}:
        return buffer(pins["PACKAGE_PIN"], pins["D_IN_0"])
    if kind == DIRECT_OUT and pins.keys() == {"PACKAGE_PIN", "D_OUT_0"}:
        return buffer(pins["D_OUT_0"], pins["PACKAGE_PIN"])
    raise ToolError(
        f"cell '{name}': there is no simulation model of an SB_IO of type {kind:06b} with {', '.join(sorted(pins))}"
    )
