"""iCEBreaker with an iCE40 UP5K: 1BitSquared's open board for tiny networks; its FTDI chip is a serial port."""

from edgephys.targets.rtl.board.board import BoardPin, FpgaBoard

PLAIN: dict[str, str] = {}
BOARD = FpgaBoard(
    name="icebreaker",
    title="iCEBreaker",
    family="ice40",
    part="iCE40UP5K-SG48I",
    device="up5k",
    package="sg48",
    speed="",
    clock_mhz=12.0,
    clk=BoardPin("35", "oscillator", PLAIN),
    button=BoardPin("10", "user button", {"pullup": "yes"}, active_low=True),
    rx=BoardPin("6", "FTDI", {"pullup": "yes"}),
    tx=BoardPin("9", "FTDI", PLAIN),
    led=BoardPin("37", "green LED", PLAIN, active_low=True),
    spi={
        "cs_n": BoardPin("4", "PMOD 1A, pin 1", {"pullup": "yes"}),
        "mosi": BoardPin("2", "PMOD 1A, pin 2", PLAIN),
        "miso": BoardPin("47", "PMOD 1A, pin 3", PLAIN),
        "sck": BoardPin("45", "PMOD 1A, pin 4", PLAIN),
    },
    source="github.com/icebreaker-fpga/icebreaker-verilog-examples, icebreaker/icebreaker.pcf",
    load="iceprog {bitstream}",
)
