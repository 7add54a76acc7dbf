"""The rival is given exactly what the net sees, and what it lacks is said in one line; nothing is installed here."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from edgephys.applications.jets.task import of_trained
from edgephys.core import processes as tools
from edgephys.core.errors import ToolError, UsageError
from edgephys.targets.rtl import synth
from edgephys.targets.rtl.cells import Cells

SCRIPT = Path(__file__).parent.parent / "compress" / "rival" / "rival.py"
WORDS = ["--model", "m", "--data", "d", "--beta", "1e-6"]


@pytest.fixture(scope="module")
def rival():
    spec = importlib.util.spec_from_file_location("rival", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained():
    from small_model import NET, trained

    made = trained()
    recipe = {"net": dataclasses.asdict(NET), "validation": 0.1, "test": 0.3, "seed": 1}
    return dataclasses.replace(made, card=dataclasses.replace(made.card, recipe=recipe))


@pytest.fixture(scope="module")
def task(trained, few_jets):
    return of_trained(trained, few_jets)


def test_the_jets_are_those_that_the_net_sees(rival, trained, task, tmp_path):
    rival.export(trained, task, rival.arguments(WORDS), tmp_path)
    with np.load(tmp_path / "jets.npz") as jets:
        for name, (x, y) in {"train": task.train, "validation": task.validation}.items():
            np.testing.assert_array_equal(jets[f"{name}_x"], x)
            np.testing.assert_array_equal(jets[f"{name}_y"], y)
        steps = jets["test_x"] * 2.0**task.input.fraction
        np.testing.assert_array_equal(steps, task.test.inputs)
        np.testing.assert_array_equal(jets["test_y"], task.test.labels)


def test_the_settings_are_those_of_the_net_and_of_our_circuits(rival, trained, task, tmp_path):
    rival.export(trained, task, rival.arguments([*WORDS, "--seed", "3"]), tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["shape"], settings["phi"], settings["rho"]) == ([4, 3], [6, 5], [5])
    assert settings["input"] == [1, task.input.bits, task.input.integer]
    assert (settings["beta"], settings["seed"], settings["cutoff_ns"]) == (1e-6, 3, 5.0)
    assert settings["solver"] == {"hard_dc": 2, "binary_lut": False}


def test_fewer_jets_are_drawn_with_their_labels(rival, task):
    drawn = rival.arrays(task, 50, seed=1)
    assert drawn["train_x"].shape[0] == drawn["train_y"].shape[0] == 50
    x, y = task.train
    for jet, label in zip(drawn["train_x"], drawn["train_y"], strict=True):
        same = np.flatnonzero((x == jet).all((1, 2)))
        assert label in y[same]


def test_a_missing_environment_is_refused_in_one_line(rival, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        rival.main([*WORDS, "--work", str(tmp_path), "--no-install"])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.count("\n") == 1 and "no environment of requirements.txt" in said and "--no-install" in said


def test_an_environment_of_other_pins_is_not_taken(rival, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    (tmp_path / "requirements.sha256").write_text("another")
    with pytest.raises(ToolError, match=r"no environment of requirements\.txt as it is now"):
        rival.interpreter(tmp_path, make=False)


def test_a_half_that_cannot_start_is_an_error(rival, tmp_path):
    with pytest.raises(ToolError, match=r"hgq2_half\.py cannot start"):
        rival.result_of(tmp_path / "no_python", tmp_path, 10)


def test_a_missing_synthesiser_is_said(rival, tmp_path, monkeypatch):
    def missing(name):
        raise ToolError(f"{name} is missing: pip install pyosys")

    monkeypatch.setattr(tools, "find", missing)
    with pytest.raises(ToolError, match="yosys is missing"):
        rival.synthesised(tmp_path, "rival_top", rival.arguments(WORDS))


def test_a_beta_of_nothing_is_refused(rival):
    with pytest.raises(UsageError, match="--beta must be above 0, not 0"):
        rival.arguments([*WORDS[:-1], "0"])


def test_a_net_that_is_no_deep_sets_is_refused(rival, trained, task):
    net = {"constituents": 4, "features": ["pt"], "layers": [5]}
    other = dataclasses.replace(trained, card=dataclasses.replace(trained.card, recipe={"net": net}))
    with pytest.raises(rival.ModelError, match="the rival is built as a Deep Sets"):
        rival.settings_of(other, task, rival.arguments(WORDS))


def test_a_run_of_the_same_settings_takes_the_place_of_its_row(rival, trained, task, tmp_path):
    made = dict.fromkeys(
        ("accuracy", "validation_accuracy", "ebops", "delay_estimate_ns", "latency_cycles", "mismatches", "vectors"), 1
    )
    made |= {"lut_estimate": 900, "train_seconds": 2, "widths": {}, "versions": {"hgq2": "0"}}
    cells = synth.Synthesised(Cells(lut=1000, ff=50), {}, 1.0, True, "xcup", "yosys", "0.70")
    table = tmp_path / "rival.json"
    for beta, counted in (("1e-6", None), ("2e-6", None), ("1e-6", cells)):
        settings = rival.settings_of(trained, task, rival.arguments([*WORDS[:-1], beta]))
        rival.add_row(table, rival.row_of(settings, made, counted, 4))
    first, second = json.loads(table.read_text())["rows"]
    assert (first["beta"], first["lut"], first["lut_stage"], first["ff"]) == (2e-6, 900, "estimated", None)
    assert (second["beta"], second["lut"], second["ff"], second["pipeline"]) == (1e-6, 1000, 50, "hgq2")
    assert second["accuracy_error"] == 0.0 and second["family"] == "jet_deepsets"
    assert second["lut_stage"] == "synthesised" and second["versions"]["yosys"] == "0.70"
