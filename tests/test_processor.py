"""Projects for processors through the command line: emitted, verified, reported, broken."""

import re
import shutil
from pathlib import Path

import pytest

KINDS = ("c", "onnx", "qonnx")


@pytest.fixture(scope="module")
def made(model, run, tmp_path_factory):
    top = tmp_path_factory.mktemp("processors")
    for kind in KINDS:
        emitted = run("emit", model, "--to", kind, "--out", top / kind)
        assert emitted.status == 0, emitted.err
    return top


@pytest.fixture
def copy(made, tmp_path):
    return lambda kind: Path(shutil.copytree(made / kind, tmp_path / kind))


def figures_of(run, folder):
    return {figure["name"]: figure for figure in run("report", folder, "--json").json["figures"]}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "checked"), [("c", "c"), ("onnx", "onnxruntime"), ("qonnx", "qonnx")])
def test_a_project_for_a_processor_verifies_and_its_report_says_what_ran_it(run, copy, kind, checked):
    folder = copy(kind)
    ended = run("verify", folder, "--json")
    assert ended.status == 0, ended.err
    assert set(ended.json["targets"]) >= {"golden", "plain", "keras", checked} and ended.json["mismatches"] == 0
    found = figures_of(run, folder)
    assert found["mismatches"]["value"] == 0 and found["mismatches"]["stage"] == "measured"
    assert found["mismatches"]["tool"] == ended.json["targets"][checked]["tool"]
    assert "lut" not in found and "latency_cycles" not in found  # a processor has none
    assert all(figure["target"] and (figure["value"] is None) == ("why" in figure) for figure in found.values())


def test_the_report_of_c_gives_its_memory_and_that_of_a_microcontroller(run, copy):
    folder = copy("c")
    found = figures_of(run, folder)
    assert (folder / "results" / "memory.png").read_bytes().startswith(b"\x89PNG")
    arena, bound, alone = (found[f"arena_{name}bytes"]["value"] for name in ("", "bound_", "no_sharing_"))
    assert bound <= arena < alone
    if found["flash_bytes"]["value"] is None:
        assert "missing: install" in found["flash_bytes"]["why"]
    else:
        assert found["flash_bytes"]["tool"] == "arm-none-eabi-gcc"
        assert found["ram_bytes"]["value"] >= arena and found["instructions"]["stage"] == "simulated"


def test_a_latency_that_nobody_measured_says_by_which_command(run, copy):
    found = figures_of(run, copy("onnx"))
    assert found["p50_us"]["value"] is None and "run `edgephys bench" in found["p50_us"]["why"]
    assert found["operators"]["value"] > 0 and "Gemm" in found["operators"]["target"]


def test_a_constant_changed_in_the_c_source_is_named_by_its_layer(run, copy):
    folder = copy("c")
    (source,) = (folder / "firmware").glob("*.c")
    text = source.read_text()
    head, layer, rest = re.split(r"(/\* layer phi_2:.*?\n}\n)", text, maxsplit=1, flags=re.DOTALL)
    source.write_text(head + layer.replace("sum =", "sum = 40 +") + rest)
    ended = run("verify", folder, "--json")
    assert ended.status == 1 and "targets" in ended.json, ended.err
    assert ended.json["targets"]["c"]["first"]["layer"] == "phi_2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "c", "--clock-ns", "5"), "--clock-ns goes with --to hls or rtl, not with --to c; leave it out"),
        (("--to", "rtl", "--style", "loops"), "--style goes with --to c or onnx, not with --to rtl"),
        (("--to", "c", "--style", "qdq"), "style must be one of auto, unrolled, loops, not 'qdq'"),
        (("--to", "onnx", "--style", "loops"), "style must be qdq or float, not 'loops'"),
        (("--to", "c", "--prefix", "1x"), "prefix must be lower-case letters"),
        (("--to", "onnx", "--opset", "9"), "opset must be 21"),
    ],
)
def test_an_option_of_another_target_or_out_of_range_is_refused(run, model, tmp_path, words, message):
    ended = run("emit", model, "--out", tmp_path / "p", *words)
    assert ended.status == 2 and message in " ".join(ended.err.split())
    assert not (tmp_path / "p").exists()


def test_a_qonnx_project_comes_back_as_a_model_and_goes_to_another_target(run, made, tmp_path):
    ended = run("import", made / "qonnx" / "firmware" / "model.onnx", "--out", tmp_path / "m", "--count", 50, "--json")
    assert ended.status == 0, ended.err
    assert ended.json["outputs_compared"] == 250 and ended.json["mismatches"] == 0
    assert run("emit", tmp_path / "m", "--to", "c", "--out", tmp_path / "p").status == 0
    checked = run("verify", tmp_path / "p", "--json")
    assert checked.status == 0 and set(checked.json["targets"]) >= {"golden", "plain", "file", "c"}
    found = figures_of(run, tmp_path / "p")
    assert found["accuracy"]["value"] is None and "no labels came with it" in found["accuracy"]["why"]


def test_a_file_that_is_no_onnx_is_refused_on_one_line(run, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"\x00\x01 nothing")
    ended = run("import", tmp_path / "x.onnx", "--out", tmp_path / "m")
    lines = [line for line in ended.err.splitlines() if line.startswith("edgephys: ")]
    assert ended.status == 1 and len(lines) == 1 and "x.onnx" in lines[0]
    assert not (tmp_path / "m").exists()
