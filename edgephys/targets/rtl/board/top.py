"""The sources around an emitted network on a board: its top level, the shell on the serial line, and constraints."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from edgephys.core.errors import UsageError
from edgephys.targets.rtl.board.board import SPI, SPI_CLOCKS, UART, FpgaBoard
from edgephys.targets.rtl.board.framing import SILENCE_BITS, bytes_of
from edgephys.targets.rtl.board.toolchain import toolchain_of

TOP, BENCH = "edgephys_board", "edgephys_board_bench"
STATIC = Path(__file__).parent / "verilog"
"""Folder of the shell, which is the same for every network and board."""

TOP_TEXT = """\
// {board}: {network} behind {line}
`timescale 1ns / 1ps

module {name} (input wire clk, input wire button, {ports}, output wire led{high});
  // After configuration registers hold 0: the reset lasts until the count is through, and again after the button.
  reg [7:0] started = 8'd0;
  reg [1:0] pressed = 2'd0;
  reg [{beat_top}:0] beat = {beat_bits}'d0;
  wire reset = !started[7];
  always @(posedge clk) begin
    pressed <= {{pressed[0], {button}}};
    if (pressed[1]) started <= 8'd0;
    else if (reset) started <= started + 8'd1;
    beat <= beat + 1'b1;
  end
  assign led = {led};
{driven}
  wire valid_in, ready_in, valid_out, ready_out;
  wire [{in_top}:0] in_bits;
  wire [{out_top}:0] out_bits;
  wire [7:0] byte_in, byte_out;
  wire byte_valid, byte_broken, byte_send, byte_ready;
{bytes}
  edgephys_shell #(.IN_BITS({in_bits}), .OUT_BITS({out_bits}), .SILENCE({silence})) shell (
    .clk(clk), .reset(reset), .data(byte_in), .valid(byte_valid), .broken(byte_broken), .put(byte_out),
    .putting(byte_send), .ready(byte_ready), .valid_in(valid_in), .ready_in(ready_in), .in_bits(in_bits),
    .valid_out(valid_out), .ready_out(ready_out), .out_bits(out_bits)
  );
  {network} network (
    .clk(clk), .reset(reset), .valid_in(valid_in), .ready_in(ready_in), .in_bits(in_bits),
    .valid_out(valid_out), .ready_out(ready_out), .out_bits(out_bits)
  );
endmodule
"""
BYTES = {
    UART: """\
  edgephys_uart_receiver #(.CLOCKS({clocks})) receiver (
    .clk(clk), .reset(reset), .rx(rx), .data(byte_in), .valid(byte_valid), .broken(byte_broken)
  );
  edgephys_uart_sender #(.CLOCKS({clocks})) sender (
    .clk(clk), .reset(reset), .data(byte_out), .send(byte_send), .ready(byte_ready), .tx(tx)
  );""",
    SPI: """\
  edgephys_spi spi (
    .clk(clk), .reset(reset), .sck(sck), .mosi(mosi), .miso(miso), .cs_n(cs_n), .data_in(byte_in),
    .valid(byte_valid), .broken(byte_broken), .data_out(byte_out), .send(byte_send), .ready(byte_ready)
  );""",
}
"""What turns the levels of pins into bytes and back, by the shell."""
PORTS = {
    UART: "input wire rx, output wire tx",
    SPI: "input wire sck, input wire mosi, output wire miso, input wire cs_n",
}
BENCH_TEXT = """\
// {top} as it is simulated: levels of the line and the button come in, levels of the line and the light go out
`timescale 1ns / 1ps

module {name} (input wire clk, input wire [{last}:0] in_bits, output wire [1:0] out_bits);
  {top} dut (.clk(clk), {line}, .button(in_bits[{last}]), .led(out_bits[1]));
endmodule
"""
LEVELS = {UART: (("rx",), "tx"), SPI: (("sck", "mosi", "cs_n"), "miso")}
"""Inputs of the line in the order of the bench's bits, and its output, by the shell."""
BLINKS_S = 0.5


@dataclass(frozen=True)
class BoardTop:
    """State the top level of a network on a board: the ports of the network, and the clocks of a bit on the line."""

    board: FpgaBoard
    facts: Mapping[str, Any]
    baud: int
    shell: str = UART

    def __post_init__(self) -> None:
        self.board.clocks_per_bit(self.baud)
        self.board.pins_of(self.shell)
        if "ii" not in self.facts:
            raise UsageError(
                "a board takes a whole input, with valid and ready; a field that is streamed a pixel a clock has none"
            )
        for port in (self.input, self.output):
            bytes_of(port)

    @property
    def input(self) -> dict[str, Any]:
        """The network's input port."""
        return dict(self.facts["input"][0])

    @property
    def output(self) -> dict[str, Any]:
        """The network's output port."""
        return dict(self.facts["output"][0])

    @property
    def clocks(self) -> int:
        """Clocks of a bit on the line."""
        return self.board.clocks_per_bit(self.baud)

    @property
    def line(self) -> str:
        """What carries the frames, in words."""
        if self.shell == SPI:
            return f"SPI, mode 0, of at most {self.board.clock_mhz / SPI_CLOCKS:g} MHz"
        return f"a serial line of {self.baud:,} bits a second, 8N1"

    def text(self) -> str:
        """Return the top level."""
        board = self.board
        bits = {name: prod(port["shape"]) * port["bits"] for name, port in (("in", self.input), ("out", self.output))}
        beat = int(1e6 * board.clock_mhz * BLINKS_S).bit_length()
        return TOP_TEXT.format(
            name=TOP,
            board=board.title,
            network=self.facts["top"],
            line=self.line,
            ports=PORTS[self.shell],
            bytes=BYTES[self.shell].format(clocks=self.clocks),
            button=f"{'!' if board.button.active_low else ''}button",
            high="".join(f", output wire {name}" for name in board.high),
            driven="".join(f"  assign {name} = 1'b1;\n" for name in board.high),
            led=f"{'!' if board.led.active_low else ''}beat[{beat - 1}]",
            beat_top=beat - 1,
            beat_bits=beat,
            in_bits=bits["in"],
            out_bits=bits["out"],
            in_top=bits["in"] - 1,
            out_top=bits["out"] - 1,
            silence=self.clocks * SILENCE_BITS,
        )

    def constraints(self) -> str:
        """Return pins and clock in the format of the family's nextpnr."""
        return toolchain_of(self.board).constraints(self.board, self.board.pins_of(self.shell))

    @property
    def pins_file(self) -> str:
        """Name of the file of constraints."""
        return f"{self.board.name}{toolchain_of(self.board).pins_suffix}"

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write top level, shell and constraints into a folder, and return the Verilog sources."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{TOP}.v").write_text(self.text())
        (folder / self.pins_file).write_text(self.constraints())
        copies = [Path(shutil.copyfile(path, folder / path.name)) for path in sorted(STATIC.glob("*.v"))]
        return (folder / f"{TOP}.v", *copies)


def bench_text(shell: str) -> str:
    """Return the module around the top level that a simulation clocks: the line's inputs, then the button."""
    inputs, output = LEVELS[shell]
    pins = [f".{name}(in_bits[{place}])" for place, name in enumerate(inputs)] + [f".{output}(out_bits[0])"]
    return BENCH_TEXT.format(top=TOP, name=BENCH, last=len(inputs), line=", ".join(pins))
