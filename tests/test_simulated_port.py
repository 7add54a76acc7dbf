"""`run-board simulated` compares a project with the RTL of its board's top level, and needs no board."""

import pytest

from edgephys import project
from edgephys.core.errors import ToolError
from edgephys.core.reading import sha256
from edgephys.models.frameworks import load
from edgephys.targets.rtl.board import host
from edgephys.targets.rtl.board.framing import REQUEST, RESULT, LineFrame
from edgephys.targets.rtl.options import RtlOptions
from edgephys.workflow.board import RESULT as BOARD_RESULT
from edgephys.workflow.simulated_port import served

PART = "LFE5U-85F-6BG381C"


@pytest.fixture
def board_project(model, tmp_path):
    """A project as `edgephys board` leaves one, with a bitstream of a few bytes: the simulation does not read it."""
    options = RtlOptions(part=PART, clock_ns=40.0, ii=4, handshake=True)
    emitted = project.emit(load(model), options, tmp_path / "out", vectors=20)
    bit = tmp_path / "out" / "board.bit"
    bit.write_bytes(b"bits")
    record = {"board": "ulx3s_85f", "baud": 1_000_000, "bitstream": bit.name, "sha256": sha256(bit).hex()}
    project.write_result(emitted, BOARD_RESULT, record, emitted.state())
    return emitted


@pytest.mark.slow
def test_the_simulated_board_computes_the_golden_integers(board_project, run):
    done = run("run-board", "simulated", "--project", board_project.folder, "--vectors", 12)
    assert done.status == 0, done.err
    assert "ulx3s_85f on simulated: 12 vectors, 0 mismatches, 0 requests sent again" in done.out


@pytest.mark.slow
def test_a_project_whose_sources_changed_has_no_bitstream_any_more(board_project, run):
    source = next(board_project.firmware.glob("src/layer_logits*.v"))
    text = source.read_text()
    source.write_text(text.replace("op_1 ", "op_2 ", 1) if "op_1 " in text else text + "// changed\n")
    ended = run("run-board", "simulated", "--project", board_project.folder, "--vectors", 2)
    assert ended.status == 1 and "`edgephys board MODEL" in ended.err


def test_a_port_answers_each_whole_frame_and_closes():
    with served(lambda request: LineFrame(RESULT, request[3:-1][::-1]).to_bytes()) as port:
        line = host.opened(port, 1_000_000)
        try:
            for payload in (b"ab", b"xyz"):
                line.write(LineFrame(REQUEST, payload).to_bytes())
                wanted = LineFrame(RESULT, payload[::-1]).to_bytes()
                answer = b""
                while len(answer) < len(wanted):
                    answer += line.read(len(wanted) - len(answer))
                assert answer == wanted
        finally:
            line.close()
    with pytest.raises(ToolError, match="cannot be opened"):
        host.opened(port, 1_000_000)


def test_a_project_without_a_bitstream_is_refused(c_project, run):
    ended = run("run-board", "simulated", "--project", c_project)
    assert ended.status == 1 and "expected a project with a bitstream; `edgephys board MODEL` makes one" in ended.err
