"""Tang Mega 138K with a GW5AST-138C: Sipeed's board; its debugger is a serial port of the host."""

from edgephys.targets.rtl.board.board import BoardPin, FpgaBoard

BOARD = FpgaBoard(
    name="tang_mega_138k",
    title="Tang Mega 138K",
    family="gowin",
    part="GW5AST-LV138PG484AC1/I0",
    device="GW5AST-138C",
    package="PBGA484A",
    speed="C1/I0",
    clock_mhz=50.0,
    clk=BoardPin("V22", "oscillator", {"IO_TYPE": "LVCMOS33", "PULL_MODE": "NONE"}),
    button=BoardPin("F4", "KEY1", {"IO_TYPE": "LVCMOS15", "PULL_MODE": "DOWN"}),
    rx=BoardPin("V14", "debugger", {"IO_TYPE": "LVCMOS33", "PULL_MODE": "UP"}),
    tx=BoardPin("U15", "debugger", {"IO_TYPE": "LVCMOS33", "PULL_MODE": "UP", "DRIVE": "8"}),
    led=BoardPin("V13", "LED", {"IO_TYPE": "LVCMOS33", "PULL_MODE": "UP", "DRIVE": "4"}, active_low=True),
    source="github.com/sipeed/TangMega-138K-example, ddr_memory/ddr_memory_test_uart/src/ddr3_1v4_hs.cst",
    load="openFPGALoader --board tangmega138k {bitstream}",
)
