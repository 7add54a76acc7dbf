"""Emitted RTL is read by Verilator, Yosys, Icarus and GHDL: each catches a source that is broken on purpose."""

import shutil

import pytest

from edgephys.core.errors import ProjectError, ToolError
from edgephys.project import read
from edgephys.targets.lint import cached
from edgephys.targets.rtl import lint, verilator

LATCH = "reg latched; always @* if (model_inp[0]) latched = model_inp[1];"
LATCHES = [
    "process (clk) begin if clk = '1' then waits <= clk; end if; end process;",
    "process (clk) begin if rising_edge(clk) then waits <= clk; end if; waits <= clk; end process;",
    "waits <= clk when clk = '1';",
]
"""Lines of VHDL from which GHDL 2.0 makes latches without a word."""
TWICE = "wire [1:0] twice; assign twice = model_inp[1:0]; assign twice[0] = model_inp[2];"
UNDRIVEN = "wire nothing; wire [1:0] two; shift_adder #(1,1,0,0,2,0,0,0) op_x (nothing,model_inp[0],two);"
BODY = "    // verilator lint_off UNUSEDSIGNAL\n"
"""Stands once in the first stage of a layer, before its wires."""


def broken(folder, text):
    """Write a line into a layer that is instantiated for each row, and return the project and the line's number."""
    path = folder / "firmware" / "src" / "layer_phi_1.v"
    before, after = path.read_text().split(BODY, 1)
    path.write_text(f"{before}{BODY}    {text}\n{after}")
    return read(folder), before.count("\n") + 2


@pytest.mark.slow
def test_the_emitted_modules_of_a_small_tagger_have_no_findings(projects):
    project = read(projects / "rtl")
    lints = project.target.lint(project.emitted)
    assert [entry.tool for entry in lints] == ["verilator", "yosys", "iverilog"]
    assert [entry.findings for entry in lints] == [(), (), ()]
    assert all(entry.skipped is None for entry in lints[:2])


@pytest.mark.slow
def test_a_latch_is_named_by_file_line_and_rule(project):
    copy, line = broken(project("rtl"), LATCH)
    said, synthesised, _ = copy.target.lint(copy.emitted)
    assert said.findings[0].startswith(f"src/layer_phi_1.v:{line}: LATCH: Latch inferred for signal")
    assert synthesised.findings == (f"src/layer_phi_1.v:{line}: latch: layer_phi_1_stage_1.latched",)


def test_a_multiple_driver_is_named_by_file_line_and_rule(project):
    copy, _ = broken(project("rtl"), TWICE)
    findings = lint._yosys(copy.firmware, copy.facts).findings
    assert findings == ("src/layer_phi_1.v:5: multiple-driver: layer_phi_1_stage_1.model_inp",)  # aliased to the input


def test_a_wire_without_a_driver_is_a_finding(project):
    copy, line = broken(project("rtl"), UNDRIVEN)
    (finding,) = lint._yosys(copy.firmware, copy.facts).findings
    assert finding == f"src/layer_phi_1.v:{line}: no-driver: layer_phi_1_stage_1.nothing"


@pytest.mark.slow
def test_what_no_tool_can_read_is_a_finding_of_each(project):
    copy, line = broken(project("rtl"), "wire wire;")
    for entry in copy.target.lint(copy.emitted):
        if entry.skipped is None:
            assert entry.findings[0].startswith(f"src/layer_phi_1.v:{line}: "), entry


def test_icarus_reads_the_connections_of_the_top(project):
    if shutil.which("iverilog") is None:
        pytest.skip("no Icarus")
    folder = project("rtl")
    path = folder / "firmware" / "src" / "edgephys_top.v"
    path.write_text(path.read_text().replace(".model_inp(", ".no_port(", 1))
    copy = read(folder)
    findings = lint._icarus(copy.firmware, copy.facts).findings
    assert findings and findings[0].startswith("src/edgephys_top.v:") and "no_port" in findings[0]


def test_a_tool_that_is_not_installed_is_skipped_with_what_to_install(project, monkeypatch):
    copy, real = read(project("rtl")), lint.processes.find

    def find(name):
        if name in ("iverilog", "ghdl"):
            raise ToolError(f"{name} is missing: install {name}")
        return real(name)

    monkeypatch.setattr(lint.processes, "find", find)
    for entry in (lint._icarus(copy.firmware, copy.facts), lint._ghdl(copy.firmware, copy.facts)):
        assert entry.skipped == f"{entry.tool} is missing: install {entry.tool}" and entry.findings == ()


def test_a_tool_that_is_stopped_is_skipped_and_read_again(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))

    def stopped(_):
        raise ToolError("yosys was stopped after 600 s; give it more time or a smaller design")

    def failed(_):
        raise ToolError("yosys was killed by SIGKILL: it printed nothing")

    entry = cached("yosys", "0", [], ["stopped"], stopped)
    assert entry.skipped.startswith("yosys was stopped after 600 s") and entry.findings == ()
    assert cached("yosys", "0", [], ["stopped"], lambda _: ["a.v:1: latch: q"]).findings == ("a.v:1: latch: q",)
    with pytest.raises(ToolError, match="killed by SIGKILL"):
        cached("yosys", "0", [], ["killed"], failed)


def test_every_waived_warning_has_a_reason():
    for table in (verilator.WAIVED, lint.WAIVED_VHDL):
        assert all(len(reason.split()) > 5 for reason in table.values())


@pytest.mark.slow
def test_vhdl_passes_the_synthesis_of_ghdl_and_a_wait_does_not(model, run, tmp_path):
    if shutil.which("ghdl") is None:
        pytest.skip("no GHDL")
    folder = tmp_path / "vhdl"
    assert run("emit", model, "--to", "rtl", "--language", "vhdl", "--out", folder).status == 0
    project = read(folder)
    (entry,) = project.target.lint(project.emitted)
    assert entry.tool == "ghdl synthesis" and entry.findings == () and entry.skipped is None
    path = folder / "firmware" / "src" / "layer_pool.vhd"
    text = path.read_text()
    begin = text.index("begin\n", text.index("architecture")) + len("begin\n")
    head = text[:begin].replace("begin\n", "  signal waits : std_logic;\nbegin\n")
    path.write_text(f"{head}  process begin waits <= '1'; wait for 1 ns; end process;\n{text[begin:]}")
    entry = lint._ghdl(folder / "firmware", project.facts)
    assert entry.findings and "wait" in entry.findings[0] and "src/layer_pool.vhd:" in entry.findings[0]
    for latch in LATCHES:
        path.write_text(f"{head}  {latch}\n{text[begin:]}")
        with pytest.raises(ProjectError, match=r"src/layer_pool.vhd, line \d+: '(process|when).*which we do not emit"):
            _ = read(folder).emitted


@pytest.mark.slow
def test_a_stream_of_pixels_has_no_findings(run, tmp_path):
    assert run("emit", "models/waves/cp12_8bit", "--to", "rtl", "--out", tmp_path / "p").status == 0
    project = read(tmp_path / "p")
    for entry in (lint._yosys, lint._icarus):
        assert entry(project.firmware, project.facts).findings == ()
