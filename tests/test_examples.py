"""The tutorials run, and end with what they say that the reader holds."""

import json
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_lines import NOTEBOOKS, TOP
from cortex_m_model import needs_tools
from test_docs_pages import shortened, workplace

__all__ = ["workplace"]
EXAMPLES = TOP / "examples"
WAVES = {"every=2": "every=16", "epochs=30": "epochs=1", "epochs=4": "epochs=1", "width=8": "width=2"}
NOTES = runpy.run_path(str(TOP / "docs" / "run_notebook.py"))


def run_notebook(name, run, shorter=lambda line: line):
    """Run a notebook whose commands run in this process, and return its names and what it printed."""

    def command(line):
        done = run(*shlex.split(shorter(line))[1:])
        assert done.status == 0, f"{line}: {done.err}"
        return done.out

    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text())
    names = NOTES["run"](notebook, command)
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", ())]
    return names, "".join(text for out in outputs for text in out["text"])


@pytest.mark.slow
def test_jets_in_ten_minutes_ends_with_two_verified_projects(run, workplace):
    names, printed = run_notebook("jets", run, shortened)
    assert names["figures"]["lut"].value > 0 and "synthesised, yosys" in printed
    for project in ("tagger_rtl", "tagger_c"):
        record = json.loads(Path("hls_projects", project, "results", "verify.json").read_text())
        assert record["mismatches"] == 0


@pytest.mark.slow
def test_half_the_luts_are_saved_with_little_loss_and_the_result_is_verified(run, workplace):
    jets = Path("models/samples/jets.h5")
    jets.unlink()
    jets.symlink_to(TOP / jets)
    names, _ = run_notebook("compress_to_half", run)
    start, end = names["start"], names["end"]
    assert end["lut_estimate"] < 0.5 * start["lut_estimate"]
    assert end["metrics"]["accuracy"] > start["metrics"]["accuracy"] - 0.02
    assert json.loads(Path("hls_projects/half_rtl/results/verify.json").read_text())["mismatches"] == 0


@pytest.mark.slow
def test_the_board_tutorial_ends_with_a_bitstream_and_a_session_without_a_mismatch(run, workplace):
    _, printed = run_notebook(
        "board", run, lambda line: line.replace("epochs=10", "epochs=1").replace("phi=8,8", "phi=4")
    )
    assert "0 mismatches on 8 vectors" in printed
    assert "ulx3s_85f on simulated: 20 vectors, 0 mismatches" in printed
    assert Path("hls_projects/board_tagger/board/ulx3s_85f.bit").stat().st_size > 10_000


@pytest.mark.slow
def test_the_waves_end_with_a_verified_rollout(run, workplace):
    def shorter(line):
        for text, short in WAVES.items():
            line = line.replace(text, short)
        return line

    names, _ = run_notebook("waves", run, shorter)
    assert names["figures"]["step_cycles"].value > 0
    record = json.loads(Path("hls_projects/wave_rtl/results/verify.json").read_text())
    assert record["mismatches"] == 0 and "rtl_rollout" in record["targets"]


@pytest.mark.slow
@needs_tools
def test_the_microcontroller_example_counts_both_styles(model, tmp_path, capsys):
    sizes = runpy.run_path(str(EXAMPLES / "microcontroller.py"))["main"](str(model), tmp_path)
    assert {"auto", "loops"} == set(sizes) and all(size["instructions"] > 0 for size in sizes.values())
    assert "auto: 0 mismatches" in capsys.readouterr().out


@pytest.mark.slow
def test_a_network_of_brevitas_is_exact_and_scores_as_in_pytorch(run, workplace):
    generator = np.random.default_rng(1)
    y = generator.integers(0, 3, 5000)
    np.savez("mine.npz", x=(generator.normal(0, 0.7, (5000, 4)) + 2 * np.eye(3, 4)[y]).astype(np.float32), y=y)
    for line in (
        "import examples/brevitas_mlp.onnx --data mine.npz --out runs/brevitas",
        "emit runs/brevitas --to rtl --out hls_projects/brevitas_rtl --vectors 500",
        "verify hls_projects/brevitas_rtl",
    ):
        done = run(*line.split())
        assert done.status == 0, done.err
    card = json.loads(Path("runs/brevitas/card.json").read_text())
    assert card["metrics"]["accuracy"] > 0.9


@pytest.mark.slow
def test_the_script_for_brevitas_writes_a_file_that_comes_in(run, workplace):
    pytest.importorskip("brevitas", reason="PyTorch takes several GB and is in no extra; the file that it wrote is")
    runpy.run_path("examples/pytorch_brevitas.py")["main"](Path("brevitas_mlp.onnx"))
    assert run("import", "brevitas_mlp.onnx", "--data", "mine.npz", "--out", "runs/brevitas").status == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_says_at_its_end_what_the_reader_holds(path):
    cells = json.loads(path.read_text())["cells"]
    assert path.stat().st_size < 20_000 and cells[-1]["cell_type"] == "markdown"
    assert "What you hold now" in "".join(cells[-1]["source"])


def test_lines_for_the_shell_run_and_what_fails_says_so(capsys):
    notebook = {"cells": [{"cell_type": "code", "source": ["a = 1\n", "!echo one \\\n", "    two\n", "b = a\n"]}]}
    names = NOTES["run"](notebook)
    assert names["b"] == 1 and notebook["cells"][0]["outputs"][0]["text"] == ["one two\n"]
    with pytest.raises(RuntimeError, match=r"^exit 3: expected status 0, got 3"):
        NOTES["shell"]("exit 3")
