"""`edgephys verify` fails with a line that names file, line and rule where the sources cannot be synthesised."""

import pytest
from test_lint_rtl import LATCH, TWICE, broken

from edgephys.report.show import lint_table

NEW = "int *p = new int[2]; delete[] p;"
PRAGMA = "#pragma HLS UNROL"


def broken_hls(folder, text):
    """Write a line into the top function and return its number."""
    (path,) = (folder / "firmware" / "firmware").glob("*_top.cpp")
    mark = "    // hls-fpga-machine-learning insert layers\n"
    before, after = path.read_text().split(mark)
    path.write_text(f"{before}{mark}    {text}\n{after}")
    return f"firmware/{path.name}:{before.count(chr(10)) + 2}"


@pytest.mark.slow
def test_verify_says_which_line_of_the_hls_cannot_be_synthesised(project, run):
    folder = project("hls")
    at = broken_hls(folder, NEW)
    done = run("verify", folder)
    assert done.status == 1
    last = done.err.strip().splitlines()[-1]
    file, line = at.split(":")
    assert f"{file}, line {line}: the word 'p', which we do not emit: nothing was compiled or run" in last


@pytest.mark.slow
def test_verify_says_which_line_of_the_rtl_is_a_latch(project, run):
    folder = project("rtl")
    _, line = broken(folder, LATCH)
    done = run("verify", folder)
    assert done.status == 1
    last = done.err.strip().splitlines()[-1]
    assert f"verilator: src/layer_phi_1.v:{line}: LATCH: Latch inferred" in last
    assert "changed since its emission" in last
    assert "tools that read the sources" in done.out


@pytest.mark.slow
def test_verify_says_where_an_unknown_pragma_stands(project, run):
    folder = project("hls")
    at = broken_hls(folder, PRAGMA)
    done = run("verify", folder)
    assert done.status == 1 and f"{at}: unknown-pragma: " in done.err.strip().splitlines()[-1]


@pytest.mark.slow
def test_verify_says_where_a_multiple_driver_stands(project, run):
    folder = project("rtl")
    broken(folder, TWICE)
    done = run("verify", folder)
    assert done.status == 1
    assert "src/layer_phi_1.v:5: multiple-driver: " in done.err.strip().splitlines()[-1]


@pytest.mark.slow
def test_sources_that_do_not_compile_are_named_by_the_lint(project, run):
    folder = project("rtl")
    _, line = broken(folder, "wire wire;")
    done = run("verify", folder)
    assert done.status == 1
    assert f"src/layer_phi_1.v:{line}: " in done.err.strip().splitlines()[-1]


def test_the_table_says_none_the_first_finding_or_why_a_tool_did_not_run():
    row = {"tool": "t", "version": "1", "findings": [], "skipped": None}
    rows = [row, {**row, "findings": ["a.v:1: latch: q", "b"]}, {**row, "skipped": "t is missing: install t"}]
    table = lint_table({"lint": rows})
    cells = [table.columns[2].cell(entry) for entry in rows]
    assert cells == ["none", "2: a.v:1: latch: q", "not run: t is missing: install t"]
