"""OrangeCrab r0.2.1 with an ECP5-25F; a serial adapter of 3.3 V is connected to pins 0 and 1 of its header."""

from edgephys.targets.rtl.board.board import BoardPin, FpgaBoard

BOARD = FpgaBoard(
    name="orangecrab_25f",
    title="OrangeCrab 25F",
    part="LFE5U-25F-8MG285C",
    device="25k",
    package="CSFBGA285",
    speed="8",
    clock_mhz=48.0,
    clk=BoardPin("A9", "oscillator"),
    button=BoardPin("J17", "the button", {"IO_TYPE": "SSTL135_I"}, active_low=True),
    rx=BoardPin("N17", "header, pin 0", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
    tx=BoardPin("M18", "header, pin 1"),
    led=BoardPin("M3", "green LED", active_low=True),
    spi={
        "sck": BoardPin("B9", "header, pin 6"),
        "mosi": BoardPin("N16", "header, MOSI"),
        "miso": BoardPin("N15", "header, MISO"),
        "cs_n": BoardPin("B10", "header, pin 5", {"IO_TYPE": "LVCMOS33", "PULLMODE": "UP"}),
    },
    source="github.com/orangecrab-fpga/orangecrab-examples, verilog/orangecrab_r0.2.1.pcf",
    load="dfu-util --alt 0 -D {bitstream}",
)
