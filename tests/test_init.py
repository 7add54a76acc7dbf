"""`edgephys init`: what it writes works with the commands that it prints, and nothing that exists is replaced."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgephys.compress.pipeline_file import read
from edgephys.train.script import script_recipe
from edgephys.train.start import COMMANDS, FILES


def test_it_writes_a_script_data_and_a_pipeline_and_prints_the_commands(run, tmp_path):
    folder = tmp_path / "mine"
    done = run("init", folder)
    assert done.status == 0 and sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    lines = done.out.splitlines()[1:]
    assert lines == [command.format(folder=folder) for command in COMMANDS]
    assert f"{folder}/data.npz" in (folder / "model.py").read_text()
    assert run("init", tmp_path / "other", "--json").json["commands"][0] == f"python {tmp_path}/other/data.py"


def test_what_exists_is_kept(run, tmp_path):
    (tmp_path / "pipeline.toml").write_text("mine")
    ended = run("init", tmp_path)
    assert ended.status == 2 and "pipeline.toml exists and is kept; expected a folder without it" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.toml"]


def test_the_files_are_read_by_the_commands_that_use_them(run, tmp_path):
    run("init", tmp_path / "mine")
    pipeline = read(tmp_path / "mine" / "pipeline.toml")
    assert pipeline.knob is not None and pipeline.stages[0].kind == "frugal"
    assert script_recipe(tmp_path / "mine" / "model.py").net.arguments == ("inputs", "width", "classes", "bits")
    subprocess.run([sys.executable, tmp_path / "mine" / "data.py"], check=True, capture_output=True)
    with np.load(tmp_path / "mine" / "data.npz") as data:
        assert data["x"].shape == (8000, 8) and set(data["y"]) == {0, 1, 2}


@pytest.mark.slow
def test_the_printed_commands_run_in_their_order_and_compression_is_a_trade_off(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in run("init", "mine").out.splitlines()[1:]:
        program, *words = shlex.split(line)
        if program == "python":
            assert subprocess.run([sys.executable, *words], check=False).returncode == 0
        else:
            done = run(*words, *(["--json"] if words[0] in ("train", "compress") else []))
            assert done.status == 0, f"{line}: {done.err}"
    rows = done.json["rows"]
    first, last = rows[0], rows[-1]
    assert first["metrics"]["accuracy"] > 0.75  # trained to its end
    assert last["lut_estimate"] < 0.6 * first["lut_estimate"]
    assert last["metrics"]["accuracy"] > first["metrics"]["accuracy"] - 0.05
    assert Path("mine/runs/small/model/card.json").is_file()
