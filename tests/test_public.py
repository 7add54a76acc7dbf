"""The table of public files has a row for each file: what it reached, or why it did not come in."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from onnx_models import Model

SCRIPT = Path(__file__).parent.parent / "hls_projects" / "public.py"


def run(*words):
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_folder_of_files_becomes_a_table_with_reasons(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    model = Model((3,))
    model.save(folder / "good.onnx", model.op("MatMul", model.quant("x", 4, 0.5), model.weight("w", (3, 2), 3, False)))
    model = Model((3,))
    model.save(folder / "sine.onnx", model.op("Sin", model.quant("x", 4, 0.5), name="/sin"))
    (folder / "settings.json").write_text("{}")
    done = run(folder, "--out", tmp_path / "table")
    assert done.returncode == 0, done.stderr
    good, sine = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert (good["file"], good["exact_on"]) == ("good.onnx", ["c", "onnx", "rtl", "hls"])
    assert not sine["came_in"]
    assert sine["refusal"].startswith("node '/sin' (Sin): has no exact form in fixed point")
    assert "1 of 2 files come in" in (tmp_path / "table.md").read_text()
    assert run(folder, "--out", tmp_path / "table", "--only", "sine", "--seconds", 200).returncode == 0
    assert json.loads((tmp_path / "table.json").read_text())["rows"][0] == {"limit": 300.0, **good}
    assert (
        "1 of 2 files come in, 1 of them exact on all of c, onnx, rtl, hls; 200 or 300 s"
        in (tmp_path / "table.md").read_text()
    )


def test_a_folder_without_models_is_refused(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "expected .onnx, .keras, .h5 or .json files of models, found none" in done.stderr
