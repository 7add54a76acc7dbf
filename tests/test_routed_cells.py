"""Routed cells of iCE40 and Gowin stand for what they compute, and what is not described is refused."""

import json

import pytest

from edgephys.core.errors import ToolError
from edgephys.targets.rtl import routed_gowin, routed_ice40
from edgephys.targets.rtl.board.toolchain import least_fmax, only_fmax


def lc(**changes):
    """Return a logic cell of a LUT and its pins."""
    names = ("NEG_CLK", "DFF_ENABLE", "ASYNC_SR", "CARRY_ENABLE", "CIN_CONST", "CIN_SET", "SET_NORESET")
    parameters = dict.fromkeys(names, "0") | {"LUT_INIT": "1100101011110000"} | changes.pop("parameters", {})
    pins = {"I0": [1], "I1": [2], "I2": [3], "I3": [4], "O": [5]} | changes
    return {"type": "ICESTORM_LC", "parameters": parameters, "connections": pins}


def alu(parameters, **pins):
    return {"type": "ALU", "parameters": parameters, "connections": {pin: [bit] for pin, bit in pins.items()}}


def value(cell, levels):
    """Return the output of a table at levels of its nets."""
    at = sum(levels.get(bit, bit == "1") << place for place, bit in enumerate(cell["connections"]["A"]))
    return int(cell["parameters"]["LUT"][::-1][at])


def new_bit():
    return 99


# iCE40 --------------------------------------------------------------------------------------------


def test_a_logic_cell_is_a_table_a_carry_and_a_flip_flop():
    cells = routed_ice40.replaced(
        {"a": lc(COUT=[6], CIN=[7], CLK=[8], CEN=[9], SR=[10], parameters={"DFF_ENABLE": "1", "CARRY_ENABLE": "1"})},
        new_bit,
    )
    assert set(cells) == {"a.COUT", "a.LO", "a.O"}
    assert cells["a.O"]["type"] == "SB_DFFESR"
    assert cells["a.O"]["connections"] == {"C": [8], "D": [99], "E": [9], "R": [10], "Q": [5]}
    for at in range(8):
        levels = {2: at & 1, 3: at >> 1 & 1, 7: at >> 2}
        assert value(cells["a.COUT"], levels) == (sum(levels.values()) >= 2)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lc(parameters={"NEG_CLK": "1"}), "no simulation model of an ICESTORM_LC with a falling clock or ASYNC_SR"),
        (
            {"type": "SB_IO", "parameters": {"PIN_TYPE": "101001"}, "connections": {"PACKAGE_PIN": [1], "D_IN_0": [2]}},
            "no simulation model of an SB_IO of type 101001 with D_IN_0, PACKAGE_PIN",
        ),
    ],
)
def test_a_setting_of_an_ice40_that_is_not_described_is_refused(cell, message):
    with pytest.raises(ToolError, match=message):
        routed_ice40.replaced({"a": cell}, new_bit)


# Gowin --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtracts", [0, 1])
def test_a_bit_of_a_gowin_carry_chain_adds_or_subtracts(subtracts):
    cell = alu({"ALU_MODE": "10"}, I0=1, I1=2, I2=9, I3=3, CIN=4, SUM=5, COUT=6)
    high = {"type": "GOWIN_VCC", "parameters": {}, "connections": {"V": [9]}}
    cells = routed_gowin.replaced({"a": cell, "vcc": high})
    for at in range(8):
        levels = {1: at & 1, 2: at >> 1 & 1, 3: 1 - subtracts, 4: at >> 2}
        total = levels[1] + (levels[2] ^ subtracts) + levels[4]
        assert (value(cells["a.SUM"], levels), value(cells["a.COUT"], levels)) == (total & 1, total >> 1)


@pytest.mark.parametrize("level", [0, 1])
def test_a_carry_of_a_gowin_chain_leaves_it_as_an_output(level):
    (cell,) = routed_gowin.replaced({"a": alu({"ALU_MODE": "C2L"}, CIN=4, I2="1", SUM=5)}).values()
    assert value(cell, {4: level}) == level
    (cell,) = routed_gowin.replaced({"a": alu({"ALU_MODE": "ONE2C"}, I2="1", COUT=5)}).values()
    assert value(cell, {}) == 1


def test_the_first_bit_of_a_chain_that_reads_the_chain_beside_is_refused_until_it_is_corrected(tmp_path):
    parameters = {"RAW_ALU_LUT": f"{routed_gowin.FROM_LOGIC:032b}", "CIN_NETTYPE": "LOGIC"}
    high = {"type": "GOWIN_VCC", "parameters": {}, "connections": {"V": [9]}}
    cells = {"a": alu(parameters, I0=1, I2=9, COUT=2), "vcc": high}
    with pytest.raises(ToolError, match="cell 'a': its output depends on input 4, which has no net"):
        routed_gowin.replaced(cells)
    path = tmp_path / "routed.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    routed_gowin.repair(path)
    corrected = routed_gowin.replaced(json.loads(path.read_text())["modules"]["top"]["cells"])
    assert [value(corrected["a.COUT"], {1: level}) for level in (0, 1)] == [0, 1]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (alu({"ALU_MODE": "1001"}, SUM=1), "no simulation model of an ALU of mode 9"),
        ({"type": "BUFG", "parameters": {}, "connections": {"I": [1], "O": [2]}}, "of a BUFG with an output"),
        (
            {"type": "LUT2", "parameters": {"INIT": "1000"}, "connections": {"I0": [1], "F": [2]}},
            "cell 'a': its output depends on input 1, which has no net",
        ),
    ],
)
def test_a_setting_of_a_gowin_device_that_is_not_described_is_refused(cell, message):
    with pytest.raises(ToolError, match=message):
        routed_gowin.replaced({"a": cell})


# Clocks -------------------------------------------------------------------------------------------


def test_the_clock_of_a_gowin_device_is_the_lower_one_after_placement_and_routing():
    log = (
        "Info: Max frequency for clock 'x': 120.5 MHz (PASS at 50.00 MHz)\nMax frequency for clock 'x': 237.5 MHz (PASS"
    )
    assert least_fmax({}, log, "top") == 120.5
    with pytest.raises(ToolError, match="design 'top': nextpnr timed no path between registers"):
        least_fmax({}, "", "top")


def test_a_design_with_one_clock_has_its_frequency_whatever_its_net_is_called():
    assert only_fmax({"fmax": {"clk$SB_IO_IN_$glb_clk": {"achieved": 13.5}}}, "", "top") == 13.5
    with pytest.raises(ToolError, match=r"timed no path between registers of 'clk' \(clocks: a, b\)"):
        only_fmax({"fmax": {"a": {"achieved": 1}, "b": {"achieved": 2}}}, "", "top")
