"""A model is built for a board at the first interval that works, tabulated, and compared with the board at a port."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from board_shell import PtyBoard, malformed, shell

from edgephys import project
from edgephys.core.errors import MismatchError, ProjectError, ToolError, UsageError, UselessIntervalError
from edgephys.graph import evaluate
from edgephys.models.frameworks import load
from edgephys.targets.capacity import capacity_of
from edgephys.targets.delays import stage_ns
from edgephys.targets.rtl.board import bitstream, framing, host, simulate
from edgephys.targets.rtl.board.bitstream import BoardBuild
from edgephys.targets.rtl.board.board import BAUD
from edgephys.targets.rtl.board.framing import ERROR, REQUEST, LineFrame
from edgephys.targets.rtl.board.registry import board_of
from edgephys.targets.rtl.board.top import TOP, BoardTop
from edgephys.targets.rtl.cells import Cells
from edgephys.targets.rtl.place import NoRoomError
from edgephys.workflow import board as flow
from edgephys.workflow.board import BoardPlan

ULX3S = board_of("ulx3s_85f")

# The interval -------------------------------------------------------------------------------------


@pytest.fixture
def builder(monkeypatch, tmp_path):
    """Replace Yosys and nextpnr by ``builder.of(ii)``, which returns LUTs and MHz; the simulation finds no mismatch."""

    class Builder:
        built, mismatches = [], 0

        def of(self, ii):
            return 1000, 60.0

    fake = Builder()
    bit, routed = tmp_path / "board.bit", tmp_path / "routed.json"
    bit.write_bytes(b"bits")

    def build(sources, constraints, board, seed=1, timeout_s=0.0):
        top = next(path for path in sources if path.name == f"{TOP}.v")
        manifest = json.loads((top.parents[1] / project.MANIFEST).read_text())
        fake.built.append((manifest["options"]["ii"], manifest["options"]["cutoff_ns"]))
        lut, fmax = fake.of(manifest["options"]["ii"])
        if lut > bitstream.MOST["lut"] * capacity_of(board.part).lut:
            raise NoRoomError("does not fit", f"{lut:,} LUTs", lut)
        cells = Cells(lut=lut)
        return BoardBuild(fmax, cells, Cells(lut=83_640, ff=1, dsp=1, bram=1), bit, routed, 1.0, {"yosys": "0"})

    fake.built = []
    monkeypatch.setattr(bitstream, "build", build)
    monkeypatch.setattr(flow, "_simulated", lambda model, plan, top, routed: (plan.vectors, fake.mismatches))
    return fake


def built(model, out, board=ULX3S, **plan):
    return flow.build(load(model), BoardPlan(board, **plan), out, False, lambda text: None)


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
        raise UselessIntervalError(f"ii {options.ii} changes nothing in 'small'")

    monkeypatch.setattr(emit, "estimate", useless)
    with pytest.raises(UsageError, match="no interval from 1024 on works; others are refused: ii 4096 changes nothing"):
        built(model, tmp_path / "out", ii=1024)


ONE_A_FAMILY = [ULX3S, board_of("icebreaker"), board_of("tang_mega_138k")]


@pytest.mark.parametrize("board", ONE_A_FAMILY, ids=lambda board: board.name)
@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ToolError("nextpnr was killed by SIGKILL")])
def test_a_build_that_fails_leaves_the_former_bitstream_whole(failure, board, builder, model, tmp_path):
    built(model, tmp_path / "out", board)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fails(ii):
        raise failure

    builder.of = fails
    with pytest.raises(type(failure)):
        built(model, tmp_path / "out", board)
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
flow.build(load(Path(sys.argv[1])), flow.BoardPlan(board_of(sys.argv[4])), Path(sys.argv[2]), False, print)
"""


@pytest.mark.slow
@pytest.mark.parametrize("board", ONE_A_FAMILY, ids=lambda board: board.name)
def test_a_build_that_is_killed_leaves_the_former_bitstream_whole(board, builder, model, tmp_path):
    record = built(model, tmp_path / "out", board)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(model), str(tmp_path / "out"), str(tmp_path / "mark"), board.name]
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
    monkeypatch.setattr(bitstream.place, "mapped", lambda sources, top, timeout_s, family: netlist)
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
    assert row["latency_ns_routed"] == pytest.approx(1000 * record["latency_cycles"] / 60)
    assert row["latency_ns"] == pytest.approx(40 * record["latency_cycles"])
    text = (tmp_path / "table.md").read_text()
    assert "| ulx3s_85f |" in text and "through the routed netlist's pins in simulation" in text


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


def test_a_bitstream_with_spi_is_refused_at_a_serial_port(builder, model, run, tmp_path):
    built(model, tmp_path / "out", shell="spi")
    done = run("run-board", "/dev/none", "--project", tmp_path / "out")
    assert done.status == 2
    assert "its bitstream speaks SPI; run-board needs one with a serial line: build it with `edgephys board" in done.err
    assert "run-board" not in (tmp_path / "out" / "board" / "README.md").read_text()


def test_every_held_out_vector_is_sent_and_compared(on_board, run):
    opened, compute = on_board
    with PtyBoard(shell(compute)) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--json")
    assert done.status == 0, done.err
    assert done.json == {"board": "ulx3s_85f", "vectors": 200, "sent_again": 0, "mismatches": 0}
    with PtyBoard(shell(compute)) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--vectors", 5)
    assert "5 vectors, 0 mismatches, 0 requests sent again" in done.out


@pytest.mark.slow
def test_the_host_and_the_simulated_top_level_agree_over_a_pseudo_terminal(on_board, run, tmp_path):
    opened, _ = on_board
    top = BoardTop(ULX3S, opened.facts, BAUD)
    sources = [*top.write(tmp_path / "board"), *(opened.firmware / name for name in opened.facts["sources"])]
    simulated = simulate.of_rtl(top, sources)
    with PtyBoard(lambda data: simulated.answers([data])[0]) as board:
        done = run("run-board", board.port, "--project", opened.folder, "--vectors", 20, "--json")
    assert done.status == 0, done.err
    assert done.json["mismatches"] == 0 and done.json["sent_again"] == 0


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


TINY = ["icebreaker:uart", "icebreaker:spi", "tang_mega_138k:uart"]


@pytest.mark.slow
@pytest.mark.parametrize("case", TINY)
def test_a_tiny_model_becomes_a_bitstream_on_each_family(case, model, run, tmp_path):
    name, line = case.split(":")
    done = run("board", model, "--board", name, "--shell", line, "--ii", 8, "--out", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    record, board = done.json, board_of(name)
    assert (record["shell"], record["vectors"], record["mismatches"]) == (line, 128, 0)
    assert record["clock_mhz_routed"] >= board.clock_mhz and 0 < record["lut"] < record["available"]["lut"]
    room = capacity_of(board.part)
    assert record["available"] == {"lut": room.lut, "ff": room.ff, "dsp": room.dsp, "bram": room.bram}
    assert record["bitstream_bytes"] > 50_000 and record["ff"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker", "tang_mega_138k"])
def test_a_changed_lut_of_a_routed_design_is_seen_in_its_simulation(name, model, tmp_path, monkeypatch):
    whole = simulate.of_routed

    def changed(top, netlist):
        design = json.loads(netlist.read_text())
        (module,) = design["modules"].values()
        cells = [cell for cell in module["cells"].values() if cell["connections"].get("SUM") or cell["type"] == "LUT4"]
        cells = cells or [cell for cell in module["cells"].values() if "1" in cell["parameters"].get("LUT_INIT", "")]
        for cell in cells:
            key = next(key for key in ("LUT_INIT", "INIT", "RAW_ALU_LUT", "ALU_MODE") if key in cell["parameters"])
            if key != "ALU_MODE":
                bits = cell["parameters"][key]
                cell["parameters"][key] = bits[:-4] + "".join("10"[int(bit)] for bit in bits[-4:])
        other = tmp_path / "changed.json"
        other.write_text(json.dumps(design))
        return whole(top, other)

    monkeypatch.setattr(simulate, "of_routed", changed)
    with pytest.raises(MismatchError):
        built(model, tmp_path / "out", board_of(name), ii=8, vectors=4)
    assert not (tmp_path / "out").exists()


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
