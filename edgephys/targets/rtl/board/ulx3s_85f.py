"""ULX3S with an ECP5-85F: Radiona's open board; its FTDI chip is a serial port of the host."""

from edgephys.targets.rtl.board.board import BoardPin, FpgaBoard

BOARD = FpgaBoard(
    name="ulx3s_85f",
    title="ULX3S 85F",
    part="LFE5U-85F-6BG381C",
    device="85k",
    package="CABGA381",
    speed="6",
    clock_mhz=25.0,
    clk=BoardPin("G2", "oscillator", {"IO_TYPE": "LVCMOS33", "PULLMODE": "NONE"}),
    button=BoardPin("R1", "button FIRE1", {"IO_TYPE": "LVCMOS33", "PULLMODE": "DOWN"}),
    rx=BoardPin("M1", "FTDI, US1", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
    tx=BoardPin("L4", "FTDI, US1", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP", "DRIVE": "4"}),
    led=BoardPin("B2", "LED D0", {"IO_TYPE": "LVCMOS33", "PULLMODE": "NONE", "DRIVE": "4"}),
    high={"wifi_gpio0": BoardPin("L2", "WiFi module, which restarts the board at 0")},
    spi={
        "sck": BoardPin("B11", "header J1, GP0", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
        "mosi": BoardPin("C11", "header J1, GN0", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
        "miso": BoardPin("A10", "header J1, GP1", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP", "DRIVE": "4"}),
        "cs_n": BoardPin("A11", "header J1, GN1", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
    },
    source="github.com/emard/ulx3s, doc/constraints/ulx3s_v20.lpf",
    load="openFPGALoader --board ulx3s {bitstream}",
)
