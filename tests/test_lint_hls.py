"""Emitted HLS is checked against the vendors' published rules: each rule catches a small source that breaks it."""

import pytest

from edgephys.core.errors import ToolError
from edgephys.targets.hls import lint, syntax
from edgephys.targets.hls.pragmas import KNOWN
from edgephys.targets.hls.synthesis_rules import RULES

FACTS = {"top": "top", "backend": "Vitis"}
HEADERS = ("ap_fixed.h", "ap_int.h", "hls_math.h", "hls_stream.h")
TOP = """#include <assert.h>
BEFORE
void top(int x[4], int y[4]) {
    #pragma HLS INTERFACE ap_vld port=x,y
    int n = x[0];
    BODY
    for (int i = 0; i < 4; i++) {
        #pragma HLS UNROLL
        y[i] = x[i] + n;
    }
}
"""
LINE = 6
"""Line of BODY where nothing stands before the top function."""
TREE = "struct A { virtual int f() { return 1; } }; "
SUM = "template <int n> int sum(int x) { return sum<n - 1>(x); }\ntemplate <> int sum<0>(int x) { return x; }"
LATE = "int late(int n) { return n ? late(n - 1) : 0; }"

BAD = {
    "dynamic-memory": ("", "int *p = new int[4]; n = p[0];"),
    "dynamic-memory delete": ("", "delete[] x;"),
    "dynamic-memory malloc": ("#include <stdlib.h>", "n = *(int *)malloc(4);"),
    "dynamic-memory array": ("", "int p[n]; p[0] = 1; n = p[0];"),
    "loop-bound": ("", "while (n > 3) n--;"),
    "loop-bound do": ("", "do { n--; } while (n > 3);"),
    "loop-bound for": ("", "for (int i = 0; i < x[1]; i++) n++;"),
    "loop-bound endless": ("", "for (;;) { if (n++ > 9) break; }"),
    "loop-bound restarted": ("", "for (int i = 0; i < 9; i++) { if (n) i = 0; }"),
    "loop-bound not stepped": ("", "for (int i = 0; i < 9;) { if (n--) break; }"),
    "loop-bound goto": ("", "again: if (n--) goto again;"),
    "exception": ("", "if (n) throw 1;"),
    "exception try": ("", "try { n++; } catch (...) {}"),
    "run-time-type": ("#include <typeinfo>", "n = typeid(n).hash_code() != 0;"),
    "container": ("#include <vector>", "std::vector<int> v; (void)v;"),
    "system-call": ("#include <stdio.h>", 'printf("%d", n);'),
    "assembly": ("", 'asm("nop");'),
    "function-pointer": ("int f(int a) { return a; }", "int (*g)(int) = f; n = g(n);"),
    "virtual-function": (TREE, "A a; n = a.f();"),
    "recursion": (LATE, "n = late(n);"),
    "missing-body": ("int nowhere(int);", "n = nowhere(n);"),
    "unknown-pragma": ("", "#pragma HLS UNROL"),
    "unknown-pragma option": ("", "#pragma HLS ARRAY_PARTITION variabel=x complete"),
    "unknown-pragma vendor": ("", "#pragma HSL UNROLL"),
    "pragma-place": ("", "#pragma HLS UNROLL"),
    "pragma-place interface": ("int f(int a) { \n #pragma HLS INTERFACE ap_vld port=a\n return a; }", "n = f(n);"),
    "pragma-place outside": ("#pragma HLS PIPELINE", ""),
    "pragma-place loop": ("", "#pragma hls_unroll yes\n n++;"),
    "pragma-variable": ("", "#pragma HLS ARRAY_PARTITION variable=z complete"),
}
"""By rule, and what it is tried on: what stands before the top function, and in it."""


@pytest.fixture
def checked(tmp_path):
    """Return what the lint finds in a top function."""
    (tmp_path / "firmware" / "ap_types").mkdir(parents=True)
    for name in HEADERS:
        (tmp_path / "firmware" / "ap_types" / name).touch()

    def findings(before="", body="", source=TOP, facts=FACTS):
        text = source.replace("BEFORE", before).replace("BODY", body)
        (tmp_path / "firmware" / "top.cpp").write_text(text)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        return list(lint._findings(tmp_path, facts, scratch))

    return findings


def test_a_plain_top_function_has_no_findings(checked):
    assert checked() == []


@pytest.mark.parametrize("name", BAD)
def test_a_source_that_breaks_a_rule_is_named_by_file_line_and_rule(name, checked):
    before, body = BAD[name]
    findings = checked(before, body)
    rule = name.split()[0]
    assert any(f": {rule}: " in line for line in findings), findings
    assert all(line.startswith("firmware/top.cpp:") for line in findings)
    if body and not before and "\n" not in body:
        assert any(line.startswith(f"firmware/top.cpp:{LINE}: {rule}: ") for line in findings), findings


def test_every_rule_is_tried():
    tried = {name.split()[0] for name in BAD} | {"interface"}
    assert {rule.name for rule in RULES} <= tried
    assert {"unknown-pragma", "pragma-place", "pragma-variable"} <= tried


def test_a_parameter_without_an_interface_is_a_finding(checked):
    (line,) = checked(source=TOP.replace("port=x,y", "port=x"))
    assert line == "firmware/top.cpp:3: interface: the parameter y of top has no #pragma HLS INTERFACE"


def test_catapult_is_told_which_function_is_the_top(checked, tmp_path):
    for name in ("ac_channel.h", "ac_fixed.h", "ac_int.h"):
        path = tmp_path / "firmware" / "ac_types" / "include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    facts = {"top": "top", "backend": "Catapult"}
    assert checked("#pragma hls_design top", facts=facts) == []
    (line,) = checked(facts=facts)
    assert "interface: no #pragma hls_design top stands before top" in line


def test_what_is_not_synthesised_is_not_checked(checked):
    assert checked(LATE, "") == []  # never called
    assert checked("#include <stdio.h>", '\n#ifndef __SYNTHESIS__\n printf("x");\n#endif\n') == []
    assert checked("int idle(int a) {\n #pragma HLS NONE\n return a; }", "") == []


def test_what_the_vendors_synthesise_is_not_a_finding(checked):
    assert checked("", "assert(n < 4);") == []
    assert checked("", "do { n++; } while (0);") == []
    assert checked("", "const int m = 2 * 3; for (int i = m; i > 0 && n; i -= 2) n++;") == []
    assert checked(SUM, "n = sum<3>(n);") == []
    assert checked("", "#pragma hls_unroll yes\n for (int i = 0; i < 4; i++) n++;") == []


def test_a_source_that_is_no_c_plus_plus_is_a_finding(checked, tmp_path):
    with pytest.raises(syntax.ParseError, match="expected ';'") as error:
        checked("", "n = 1")
    assert error.value.place == syntax.SourceLine("firmware/top.cpp", LINE)
    assert lint.of_project(tmp_path, FACTS).findings == (f"firmware/top.cpp:{LINE}: syntax: {error.value}",)


def test_a_top_function_that_is_missing_is_a_finding(checked):
    with pytest.raises(syntax.ParseError, match="expected the top function top, found none"):
        checked(source="int x;\n")


def test_without_a_compiler_the_lint_says_what_to_install(checked, tmp_path, monkeypatch):
    def missing(name):
        raise ToolError(f"{name} is missing: install a C++ compiler (Debian: g++)")

    monkeypatch.setattr(lint.processes, "find", missing)
    skipped = lint.of_project(tmp_path, FACTS)
    assert skipped.skipped == "g++ is missing: install a C++ compiler (Debian: g++)" and not skipped.findings


def test_headers_that_libclang_cannot_read_are_said_and_are_no_finding(checked, tmp_path, monkeypatch):
    checked()

    def unread(*_):
        raise syntax.ParseError(None, "unknown type name '__bf16'")

    monkeypatch.setattr(lint.syntax, "read", unread)
    skipped = lint.of_project(tmp_path, FACTS)
    assert skipped.skipped == "libclang cannot read the headers of this g++: unknown type name '__bf16'"


def test_pragmas_of_the_table_are_spelled_as_the_vendors_spell_them():
    assert all(name.isupper() or name.startswith("hls_") for name in KNOWN)


@pytest.mark.slow
def test_the_emitted_sources_of_a_small_tagger_break_no_rule(projects):
    from edgephys.project import read

    emitted = read(projects / "hls").emitted
    (linted,) = read(projects / "hls").target.lint(emitted)
    assert linted.tool == "libclang" and linted.findings == () and linted.skipped is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "backend"),
    [
        *(("zoo/jet_interaction_n8_4bit", backend) for backend in ("Vitis", "Vivado", "Catapult")),
        *(("waves/cp12_8bit", backend) for backend in ("Vitis", "Vivado")),  # Catapult streams no field
    ],
)
def test_the_emitted_sources_of_shipped_networks_break_no_rule(name, backend, run, tmp_path):
    from edgephys.project import read

    assert run("emit", f"models/{name}", "--to", "hls", "--backend", backend, "--out", tmp_path / "p").status == 0
    project = read(tmp_path / "p")
    (linted,) = project.target.lint(project.emitted)
    assert linted.findings == () and linted.skipped is None
