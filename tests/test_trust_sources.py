"""A received source can only compute: whatever else it holds is refused before it is compiled or run."""

import json
import re

import every_target
import numpy as np
import pytest
from received import renewed

from edgephys.core.errors import EdgephysError, ProjectError
from edgephys.core.fixed import Fixed
from edgephys.graph.build import Builder
from edgephys.project import read
from edgephys.targets.registry import TARGETS

C_ATTACKS = {
    "system": ("int system(const char *); ", "'system'"),
    "constructor": ("__attribute__((constructor)) static void small_x(void) { }", "'__attribute__'"),
    "assembly": ("static void small_x(void) { __asm__(1); }", "'__asm__'"),
    "keyword asm": ("static void small_x(void) { asm(1); }", "'asm'"),
    "include": ("#include <stdlib.h>", "directive '#include <stdlib.h>'"),
    "quoted include": ('#include "/etc/passwd"', "directive"),
    "a macro for a word": ("#define SMALL_F system", "directive"),
    "a macro that declares": ("#define SMALL_ARENA_X () ", "directive"),
    "pragma": ("#pragma GCC poison x", "directive"),
    "digraph": ("%:include <stdio.h>", "another spelling"),
    "trigraph": ("??=include <stdio.h>", "another spelling"),
    "continued line": ("#define SMALL_H \\\n system", "a backslash"),
    "hidden directive": ("/* */ #include <stdio.h>", "the character #"),
    "extern": ("extern int x;", "'extern'"),
    "function type": ("typedef int F(const char *); F f;", "a typedef"),
    "pointer to a function": ("static int (*f)(const char *);", "'int'|pointer to a function"),
    "call of an element": ("static void small_x(int *a) { a[0](1); }", "a call of an element"),
    "call of an expression": ("static void small_x(int a) { (a)(1); }", "a call of an expression"),
    "builtin": ("static void small_x(void) { __builtin_trap(); }", "'__builtin_trap'"),
    "other letters": ("int sÿstem;", "the byte 0x"),
    "open comment": ("/* ", "comment without an end"),
}


@pytest.mark.parametrize("attack", C_ATTACKS)
def test_c_that_could_do_more_than_compute_is_refused_before_it_is_compiled(received, run, attack, monkeypatch):
    from edgephys.targets.c import emit as of_c

    monkeypatch.setattr(of_c, "compiled", lambda *words: pytest.fail("it was compiled"))
    text, message = C_ATTACKS[attack]
    folder = received("c")
    path = folder / "firmware" / "small.c"
    path.write_text(path.read_text() + text + "\n")
    renewed(folder)
    ended = run("verify", folder)
    assert ended.status == 1 and "which we do not emit: nothing was compiled or run" in ended.err, ended.err
    assert "small.c, line " in ended.err
    assert re.search(message, ended.err), ended.err


@pytest.mark.parametrize("style", ["auto", "unrolled"])
def test_constants_of_over_32_bits_are_no_call_of_something_else_and_are_exact(style, tmp_path):
    builder = Builder("wide")
    flow = builder.scale("s", builder.input("x", (3,), Fixed(True, 8, 8)), np.array([3, -(1 << 33) - 5, 77]), 0)
    flow = builder.dense("d", flow, np.array([[1, 2], [(1 << 12) + 1, -3], [5, 1 << 13]]), 0)
    graph = builder.finish(builder.bias("b", flow, np.array([1 << 40, -(1 << 35)]), 0))
    x = np.random.default_rng(0).integers(-128, 128, (50, 3))
    every_target.assert_equal("c", graph, lambda graph: x, tmp_path, style=style)
    assert "INT64_C" in (tmp_path / "wide.c").read_text()


def test_a_header_beside_the_c_source_would_stand_before_the_compilers_and_is_refused(received, run):
    folder = received("c")
    (folder / "firmware" / "stdint.h").write_text("int system(const char *);")
    assert "stdint.h is no file that we emit" in run("verify", folder).err


def test_what_has_changed_is_said_before_the_scan_refuses(received, run):
    folder = received("c")
    path = folder / "firmware" / "small.c"
    path.write_text(path.read_text() + "#include <stdlib.h>\n")
    said = run("verify", folder).err
    assert said.index("changed since its emission: firmware/small.c") < said.index("nothing was compiled or run")


HLS_ATTACKS = {
    "system": ("static int b1 = system(w2);", "'system'"),
    "constructor": ("struct config1 { config1() { std::remove(w2); } };", "'remove'"),
    "a file": ("std::ofstream n1;", "'ofstream'"),
    "a text": ('static const n1_t w1 = nnet::load_weights_from_txt<a, 1>(w2, "/etc/passwd");', "the text"),
    "include": ("#include <fstream>", "directive"),
    "assembly": ("asm(w1);", "'asm'"),
    "attribute": ("[[gnu::constructor]] void n1();", "'gnu'"),
    "pragma": ("#pragma GCC x", "directive"),
    "define": ("#define layer2_t system", "directive"),
}


@pytest.mark.parametrize("attack", HLS_ATTACKS)
def test_hls_that_could_do_more_than_compute_is_refused(received, run, attack):
    text, message = HLS_ATTACKS[attack]
    folder = received("hls")
    path = folder / "firmware" / "firmware" / "parameters.h"
    path.write_text(path.read_text() + text + "\n")
    ended = run("verify", folder)
    assert ended.status == 1 and "parameters.h, line " in ended.err and message in ended.err, ended.err


@pytest.mark.parametrize(
    "name", ["nnet_utils/nnet_dense.h", "ap_types/ap_fixed.h", "nnet_utils/nnet_edgephys.h", "array"]
)
def test_a_header_of_an_hls_project_is_hls4mls_ours_or_refused(received, run, name):
    folder = received("hls")
    path = folder / "firmware" / "firmware" / name
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    ended = run("verify", folder)
    assert f"{name} is neither what we emit nor a header of the installed hls4ml" in ended.err, ended.err
    (folder / "firmware" / "array").write_text("")
    path.unlink()
    assert "array is neither" in run("verify", folder).err


VERILOG_ATTACKS = {
    "system task": ("initial $system(1);", "'$system(1);'"),
    "c code": ("always @(*) $c(1);", "'$c(1);'"),
    "file": ("reg [7:0] m [3:0]; initial $readmemh(1, m);", "$readmemh"),
    "include": ("`include x", "'`include x'"),
    "define": ("`define x y", "'`define x y'"),
    "attribute": ("(* keep *) wire z;", "'(*'"),
    "import": ("import x::*;", "'import'"),
    "text": ('parameter X = "a";', "'\"'"),
    "other name": ("wire \\a+b ;", "'\\'"),
    "comment for a tool": ("/*verilator public_flat*/", "the comment"),
    "initial": ("initial begin end", "'initial'"),
}


@pytest.mark.parametrize("attack", VERILOG_ATTACKS)
def test_verilog_that_could_do_more_than_compute_is_refused(received, run, attack):
    text, message = VERILOG_ATTACKS[attack]
    folder = received("rtl")
    path = folder / "firmware" / read(folder).facts["sources"][-1]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], text, lines[-1], ""]))
    for words in (("verify", folder), ("report", folder, "--no-synth")):
        ended = run(*words)
        assert ended.status == 1 and f"{path.name}, line {len(lines)}: " in ended.err and message in ended.err, (
            ended.err
        )


VHDL_ATTACKS = {
    "file": "file f: text;",
    "library": "library std;",
    "use": "use std.textio.all;",
    "attribute": 'attribute foreign of x: function is "VHPIDIRECT x";',
    "text": 'constant x: string := "abc";',
    "other name": "signal \\a b\\: bit;",
    "directive": "`if x",
    "external name": "alias x is <<signal .a: bit>>;",
}


@pytest.mark.parametrize("attack", VHDL_ATTACKS)
def test_vhdl_that_could_do_more_than_compute_is_refused(tmp_path, attack):
    import rtl_graphs

    from edgephys.targets.rtl.options import RtlOptions

    target = TARGETS["rtl"]
    facts = target.emit(rtl_graphs.tagger(2, 2), tmp_path, RtlOptions(language="vhdl"))
    target.scan(tmp_path, facts)
    path = tmp_path / facts["sources"][-1]
    path.write_text(path.read_text() + VHDL_ATTACKS[attack] + "\n")
    with pytest.raises(ProjectError, match=rf"{path.name}, line \d+: .*which we do not emit"):
        target.scan(tmp_path, facts)


@pytest.mark.parametrize("kind", ["onnx", "qonnx"])
def test_an_onnx_model_with_operators_of_other_packages_or_outside_data_is_refused(model, tmp_path, kind, run):
    import onnx

    made = run("emit", model, "--to", kind, "--out", tmp_path / "p")
    assert made.status == 0, made.err
    path = tmp_path / "p" / "firmware" / "model.onnx"
    whole = path.read_bytes()

    def refused(change):
        proto = onnx.load_from_string(whole)
        change(proto)
        path.write_bytes(proto.SerializeToString())
        return run("verify", tmp_path / "p").err

    assert "operator 'Quant' of the package 'os.path'" in refused(
        lambda proto: proto.graph.node.append(onnx.helper.make_node("Quant", ["a"], ["b"], domain="os.path"))
    )

    def outside(proto):
        proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL

    assert "with its data in another file, which we do not emit: nothing was run" in refused(outside)
    assert "functions of its own" in refused(lambda proto: proto.functions.append(onnx.FunctionProto(name="f")))


@pytest.mark.parametrize("seed", range(6))
def test_the_scan_takes_what_is_emitted_for_random_graphs(seed, tmp_path):
    import random_graphs

    from edgephys.targets.registry import options_of

    graph = random_graphs.random_graph(seed)
    for number, (name, values) in enumerate(
        [("c", {}), ("onnx", {}), ("qonnx", {}), ("rtl", {}), ("rtl", {"language": "vhdl"}), ("hls", {})]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            facts = TARGETS[name].emit(graph, folder, options_of(name, values))
        except EdgephysError:
            continue  # no exact form on this target
        TARGETS[name].scan(folder, json.loads(json.dumps(facts)))
