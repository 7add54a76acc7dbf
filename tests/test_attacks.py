"""Faults as an emitter could make them, in the sources of a small network: verification fails, and says where."""

import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgephys import project as projects_of
from edgephys.core.errors import MismatchError, ToolError
from edgephys.graph import stimuli
from edgephys.models import frameworks
from edgephys.targets import registry, sanitiser
from edgephys.targets.onnx.model_file import FILE

C = "small_n4_4bit.c"
HLS = "firmware/small_n4_4bit_top.cpp"


@pytest.fixture(scope="module")
def processors(model, tmp_path_factory):
    """The small model emitted to C and ONNX."""
    folder = tmp_path_factory.mktemp("processors")
    for kind in ("c", "onnx"):
        projects_of.emit(frameworks.load(model), registry.options_of(kind, {}), folder / kind)
    return folder


@pytest.fixture
def emitted(projects, processors, tmp_path):
    """A copy of an emitted project, to be changed."""

    def copy(kind):
        home = processors if (processors / kind).is_dir() else projects
        return Path(shutil.copytree(home / kind, tmp_path / kind))

    return copy


def change(folder, file, old, new):
    path = folder / "firmware" / file
    text, number = re.subn(old, lambda match: match.expand(new), path.read_text(), count=1)
    assert number == 1
    path.write_text(text)


def words(ended):
    return " ".join(ended.err.split())


def other_run(folder, name):
    """Return the outputs of one further run of a project on vectors that were generated for it."""
    project = projects_of.read(folder)
    (other,) = [run for run in project.target.other_runs(project.emitted, False) if run.name == name]
    return other.run(stimuli.make(project.graph)[: other.most]).outputs


# The top bit of a feature -----------------------------------------------------------------------


def drop_top_bit(folder, kind):
    """Read features in 11 of their 12 bits: between -4 and 4, as those of most jets are."""
    if kind == "c":
        change(folder, C, r"= (input\[3 \* r \+ n\]);", r"= (int16_t)(n ? (int16_t)((uint16_t)\1 << 5) >> 5 : \1);")
    elif kind == "rtl":
        change(folder, "src/layer_phi_1.v", r"= model_inp\[23:12\]", "= {model_inp[22], model_inp[22:12]}")
    elif kind == "hls":
        read = "for (int i = 0; i < 12; i++) if (i % 3) x[i] = ap_fixed<11, 3>(x[i]);"
        change(folder, HLS, r"// hls-fpga-machine-learning insert layers", read)
    else:
        path = folder / "firmware" / FILE
        emitted = onnx.load(path)
        source = emitted.graph.input[0].name
        for node in emitted.graph.node:
            node.input[:] = ["bounded" if name == source else name for name in node.input]
        emitted.graph.initializer.append(numpy_helper.from_array(np.float32(-4), "lowest"))
        emitted.graph.initializer.append(numpy_helper.from_array(np.float32(4 - 2**-8), "highest"))
        emitted.graph.node.insert(0, helper.make_node("Clip", [source, "lowest", "highest"], ["bounded"]))
        onnx.save(emitted, path)


@pytest.mark.parametrize(
    "kind", ["c", "onnx", pytest.param("rtl", marks=pytest.mark.slow), pytest.param("hls", marks=pytest.mark.slow)]
)
def test_a_feature_without_its_top_bit_is_a_mismatch(run, emitted, kind):
    folder = emitted(kind)
    drop_top_bit(folder, kind)
    ended = run("verify", folder, "--json")
    assert ended.status == 1
    target = ended.json["targets"][projects_of.read(folder).target.checked]
    assert target["mismatches"] > 1000
    assert target["first"]["layer"] == "phi_1"
    assert re.search(r"layer 'phi_1' differs first: (generated )?vector \d+", words(ended))


# What an optimisation hides ---------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0, 2])
def test_a_bias_that_full_optimisation_ignores_is_a_mismatch_without(run, emitted, factor):
    folder = emitted("onnx")
    path = folder / "firmware" / FILE
    model = onnx.load(path)
    (bias,) = [node for node in model.graph.node if list(node.output) == ["logits_bias_bias"]]
    (scale,) = [entry for entry in model.graph.initializer if entry.name == bias.input[1]]
    scaled = (numpy_helper.to_array(scale) * factor).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(scaled, "wrong"))
    bias.input[1] = "wrong"
    onnx.save(model, path)
    ended = run("verify", folder, "--json")
    differ = {name: target["mismatches"] > 0 for name, target in ended.json["targets"].items() if "onnx" in name}
    assert (ended.status, differ) == (
        1,
        {
            "onnxruntime": False,
            "onnxruntime_layers": False,
            "onnxruntime_disable_all": True,
            "onnxruntime_enable_basic": True,
            "onnxruntime_enable_extended": False,
            "onnxruntime_enable_layout": False,
        },
    )
    assert "onnxruntime_disable_all: layer 'logits' differs first: vector" in words(ended)


# Accesses outside of memory ---------------------------------------------------------------------


REMEDY = "; report it, or emit the project again: `edgephys emit MODEL --to TARGET --out PROJECT`"
ARENA = rf"its arena of 48 bytes{REMEDY}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"bytes \+ 20\b", "bytes - 16", rf"^{C}:\d+, small_\w+_pool: writes 1 byte 16 bytes before {ARENA}$"),
        (r"bytes \+ 24\b", "bytes + 28", rf"^{C}:\d+, small_\w+_phi_1: writes 1 byte 0 bytes past {ARENA}$"),
        (r"(int n = 0; n) < 3;", r"\1 <= 3;", r"_constituents: reads 2 bytes 0 bytes past its input of 24 bytes; "),
        (
            r"(int n = 0; n) < 5(; n\+\+\) \{\s+int32_t sum = 0;\s+for \(int k)",
            r"\1 <= 5\2",
            r"_rho_1: index 25 out of bounds for type 'int8_t \[25\]'; ",
        ),
        (r"\boutput\[n\]", "output[n + 1]", r"_logits: writes 2 bytes 0 bytes past its output of 10 bytes; "),
        (
            r"\(bytes \+ 0\)",
            "(bytes + 1)",
            r"_constituents: store to misaligned address 0x\w+ for type 'int16_t', which ",
        ),
        (r"int32_t y\[20\]", "int32_t y[19]", r"_phi_2: index 19 out of bounds for type 'int32_t \[19\]'; "),
        (r"sum \+ -80\b", "sum * 99999999 + -80", r"_phi_2: signed integer overflow: -?\d+ \* 99999999 "),
    ],
    ids=["before", "past", "input", "table", "output", "alignment", "array", "overflow"],
)
def test_c_that_leaves_its_memory_or_its_integers_is_stopped_and_the_line_named(emitted, old, new, message):
    folder = emitted("c")
    change(folder, C, old, new)
    with pytest.raises(MismatchError, match=message):
        other_run(folder, "c_sanitised")


def test_verify_says_which_line_writes_before_the_arena_where_no_output_differs(run, emitted):
    folder = emitted("c")
    change(folder, C, r"bytes \+ 20\b", "bytes - 16")
    ended = run("verify", folder, "--json")
    assert (ended.status, ended.json["mismatches"]) == (1, 0)
    (stated,) = ended.json["failures"]
    assert re.match(rf"c_sanitised: {C}:\d+, small_\w+_pool: writes 1 byte 16 bytes before its arena", stated)
    assert stated in words(ended) and f"changed since its emission: firmware/{C}" in words(ended)
    assert run("report", folder, "--json").status == 0


def test_a_program_that_an_access_ends_is_run_with_checks(run, emitted):
    folder = emitted("c")
    change(folder, C, r"bytes \+ 24\b", "bytes + 4294967296")
    ended = run("verify", folder)
    assert ended.status == 1 and re.search(rf"{C}:\d+, small_\w+_phi_1: (writes 1 byte|SEGV)", words(ended))


@pytest.mark.slow
def test_hls_with_an_array_one_row_too_short_is_stopped_and_the_layer_named(emitted):
    folder = emitted("hls")
    change(folder, HLS, r"layer3_out\[4\*6\]", "layer3_out[3*6]")
    with pytest.raises(MismatchError, match=r"^small_n4_4bit_top.cpp:\d+, small_\w+: writes 2 bytes past the end of "):
        other_run(folder, "csim_sanitised")


@pytest.mark.slow
def test_verify_says_which_line_of_hls_writes_past_its_array_where_no_output_differs(run, emitted):
    folder = emitted("hls")
    change(folder, HLS, r"layer3_out\[4\*6\]", "layer3_out[3*6]")
    ended = run("verify", folder, "--json")
    assert (ended.status, ended.json["mismatches"]) == (1, 0)
    assert "csim_sanitised: small_n4_4bit_top.cpp:" in words(
        ended
    ) and "its array layer3_out; report it, or emit" in words(ended)


REPORT = """
==7==ERROR: AddressSanitizer: {kind} on address 0x1 at pc 0x2 bp 0x3 sp 0x4
{access} at 0x1 thread T0
    #0 0x1 in scaled(int*) /any/where/layers.h:7:3
    #1 0x2 in top(int*, int*) /any/where/top.cpp:12
{place}
"""


@pytest.mark.parametrize(
    ("kind", "access", "place", "message"),
    [
        (
            "heap-buffer-overflow",
            "READ of size 8",
            "0x1 is located 4 bytes after 1-byte region\n    #0 0x5 in malloc\n    #1 0x6 in arena_buffer x.c:3",
            "top.cpp:12, top: reads 8 bytes 4 bytes past its arena of 1 byte",
        ),
        (
            "global-buffer-overflow",
            "WRITE of size 1",
            "0x1 is located 2 bytes before global variable 'w2' defined in 'w2.h:1' (0x7) of size 8",
            "top.cpp:12, top: writes 1 byte 2 bytes before its w2",
        ),
        (
            "stack-buffer-overflow",
            "WRITE of size 4",
            "    [32, 72) 'layer3' (line 30) <== Memory access at offset 72 overflows this variable",
            "top.cpp:12, top: writes 4 bytes past the end of its array layer3",
        ),
        (
            "SEGV",
            "",
            "",
            "top.cpp:12, top: SEGV outside of every buffer",
        ),
    ],
)
def test_the_report_of_a_sanitiser_is_told_in_one_line(kind, access, place, message, tmp_path):
    (tmp_path / "report").write_text(REPORT.format(kind=kind, access=access, place=place))
    command = ["sh", "-c", "cat report; exit 1"]
    with pytest.raises(MismatchError, match=f"^{re.escape(message + REMEDY)}$"):
        sanitiser.run(command, tmp_path, 10, ["top.cpp"])


def test_a_program_that_fails_for_another_reason_stays_a_failed_tool(tmp_path):
    with pytest.raises(ToolError, match=r"^sh ended with status 3: no file$"):
        sanitiser.run(["sh", "-c", "echo no file; exit 3"], tmp_path, 10, ["top.cpp"])


# Widths -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_verilog_that_reads_an_edge_one_bit_short_is_a_mismatch(run, emitted):
    folder = emitted("rtl")
    change(folder, "src/layer_rho_1.v", r"(op_33 \(v8\[6:0\]),v4\[6:0\]", r"\1,v4[6:1]")
    ended = run("verify", folder, "--json")
    assert ended.status == 1
    assert ended.json["targets"]["rtl"]["first"]["layer"] == "rho_1"
