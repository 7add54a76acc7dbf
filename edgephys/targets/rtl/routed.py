"""The netlist after place and route, as Verilog that the cells' simulation models understand.

On an ECP5 nextpnr's cells follow conventions that Yosys' models of them do not have: a LUT input without a net reads 1
(``routed_luts``), a flip-flop whose parameter SD is 0 takes its data from pin M, and a constant pin of a multiplier or
a block RAM is a parameter, such as C0MUX for pin C0; INV is the inverse of the pin, and a pin without a net reads 1
(nextpnr's documentation of the ECP5 architecture).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from edgephys.core import builds
from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.core.reading import read_json
from edgephys.targets.rtl import routed_gowin, routed_ice40
from edgephys.targets.rtl.cell_models import require_models
from edgephys.targets.rtl.routed_cells import Cell, buffer
from edgephys.targets.rtl.routed_luts import is_lut, replaced
from edgephys.targets.rtl.yosys import Limits, run_yosys

WIRES: dict[tuple[str, str], dict[str, str]] = {
    ("TRELLIS_IO", "INPUT"): {"B": "O"},
    ("TRELLIS_IO", "OUTPUT"): {"I": "B"},
    ("DCCA", ""): {"CLKI": "CLKO"},
    ("TRELLIS_RAMW", ""): {
        **{"D0": "WADO0", "B0": "WADO1", "C0": "WADO2", "A0": "WADO3"},
        **{"C1": "WDO0", "A1": "WDO1", "D1": "WDO2", "B1": "WDO3"},
    },
}
"""Inputs and outputs of cells that only pass signals on: buffers of pins and clocks, the writing side of LUTs that are
a memory."""
PLACEHOLDER = "RAMW_BLOCK"
"""Mode of a LUT that stands for the place of a memory's writing side, and does nothing."""
WRITE = "read_json cells.json\nwrite_verilog -noattr netlist.v\n"


def verilog(routed: Path, top: str, models: Path, family: str = "ecp5") -> Path:
    """Return the Verilog of a design that nextpnr routed, with the top's own name.

    Raises: ToolError for a cell that has no model.
    """
    yosys = tools.find("yosys")

    def build(folder: Path) -> None:
        (design,) = read_json(routed)["modules"].values()
        bits = (bit for cell in design["cells"].values() for net in cell["connections"].values() for bit in net)
        new_bit = partial(next, count(1 + max((bit for bit in bits if isinstance(bit, int)), default=1)))
        cells = FAMILIES[family](design["cells"], new_bit)
        kinds = {cell["type"] for cell in cells.values() if not cell["type"].startswith("$")}
        require_models(models, kinds, top)
        design["cells"] = cells
        (folder / "cells.json").write_text(json.dumps({"modules": {top: design}}))
        run_yosys(yosys, folder, WRITE, top, Limits())
        (folder / "cells.json").unlink()

    return (
        builds.built(builds.content_key([routed, models], yosys.version, "routed 5", family, WRITE, top), build)
        / "netlist.v"
    )


def _ecp5(cells: Mapping[str, Cell], new_bit: Callable[[], int]) -> dict[str, Cell]:
    """Return the cells in place of those of an ECP5."""
    result: dict[str, Cell] = {}
    for name, cell in cells.items():
        if is_lut(cell):
            result |= replaced(name, cell, new_bit)
        elif cell["parameters"].get("MODE", "").strip() != PLACEHOLDER:
            result |= _wires(name, cell) or {name: _explicit(cell)}
    return result


FAMILIES: dict[str, Callable[[Mapping[str, Cell], Callable[[], int]], dict[str, Cell]]] = {
    "ecp5": _ecp5,
    "ice40": routed_ice40.replaced,
    "gowin": lambda cells, _: routed_gowin.replaced(cells),
}
"""What stands for the cells of each family's design."""


def _wires(name: str, cell: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return Yosys' buffers in place of a cell that only passes signals on; none for any other cell.

    Raises: ToolError for one with other pins, such as a pin of both directions, or a clock that can be switched off.
    """
    kind, direction = cell["type"], cell["parameters"].get("DIR", "").strip()
    if not any(kind == known for known, _ in WIRES):
        return {}
    pins = {pin: bits for pin, bits in cell["connections"].items() if bits}
    passed = WIRES.get((kind, direction), {})
    if not pins.keys() <= passed.keys() | set(passed.values()):
        raise ToolError(f"cell '{name}': there is no simulation model of a {kind} {direction} with {', '.join(pins)}")
    return {
        f"{name}.{result}": buffer(pins.get(source, ["1"])[0], pins[result][0])
        for source, result in passed.items()
        if result in pins
    }


def _explicit(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell in which all is stated that nextpnr leaves to convention."""
    parameters, pins = cell["parameters"], cell["connections"]
    sources: dict[str, list[Any]] = {}
    if cell["type"] == "TRELLIS_COMB":
        sources = {pin: ["1"] for pin in "ABCD" if not pins.get(pin)}
        muxes = tuple(parameters.get(name, "").strip() for name in ("MODE", "WREMUX", "WCKMUX"))
        if muxes == ("DPRAM", "WRE", "WCK"):
            del parameters["WCKMUX"]  # a memory with other ones keeps the parameter, which the model refuses
    elif cell["type"] == "TRELLIS_FF" and parameters.pop("SD", "1").strip() == "0":
        sources = {"DI": pins["M"]}
    elif cell["type"] == "DP16KD":
        sources = _pins_of_memory(parameters, pins)
    elif cell["type"] == "MULT18X18D":
        constant = [name for name, value in parameters.items() if name.endswith("MUX") and value.strip() in ("0", "1")]
        sources = {name.removesuffix("MUX"): [parameters.pop(name).strip()] for name in constant}
    pins |= sources
    cell["port_directions"] |= dict.fromkeys(sources, "input")
    return cell


def _pins_of_memory(parameters: dict[str, Any], pins: dict[str, list[Any]]) -> dict[str, list[str]]:
    """Remove the parameters of a block RAM's constant pins, and return these pins with their constants.

    The clocks' parameters stay, and so does that of an inverted pin with a net, which the model refuses.
    """
    sources = {}
    for name in [name for name in parameters if name.endswith("MUX") and not name.startswith("CLK")]:
        pin, value = name.removesuffix("MUX"), parameters[name].strip()
        if value in ("0", "1") or not pins.get(pin):
            sources[pin] = [value if value in ("0", "1") else "0" if value == "INV" else "1"]
        if value != "INV" or pin in sources:
            del parameters[name]
    return sources
