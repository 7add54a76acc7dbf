"""A pipeline's run: what each stage cost and bought, one look at the test jets, and a kill that changes nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import SAMPLE
from pipeline_texts import stage

pytestmark = pytest.mark.slow

QUICK = stage("frugal", epochs=2, batch=256, lut_cost=1e-6) + stage("untie")


@pytest.fixture(scope="module")
def trained(few_jets, tmp_path_factory):
    """A small tagger that was trained for an epoch."""
    from edgephys.applications.jets.networks.mlp import Mlp
    from edgephys.models import trained as artefact
    from edgephys.train.fit import Recipe, fit

    net = Mlp(constituents=4, layers=(6, 5), bits=6)
    recipe = Recipe(script="small", net=net, learning_rate={8: 5e-3}, epochs=1, batch=256)
    return artefact.save(fit(recipe, few_jets), tmp_path_factory.mktemp("start") / "small")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline") / "quick.toml"
    path.write_text(QUICK)
    return path


@pytest.fixture(scope="module")
def finished(trained, pipeline, few_jets, run, tmp_path_factory):
    """A run from beginning to end."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = run("compress", trained, pipeline, "--data", few_jets, "--out", out, "--json")
    assert done.status == 0, done.err
    return out, done.json


def start(trained, pipeline, data, out):
    words = ["compress", trained, pipeline, "--data", data, "--out", out, "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "edgephys.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def weights_of(folder):
    from edgephys.models import trained as artefact

    return [weight.tobytes() for weight in artefact.load(folder).model.get_weights()]


def test_every_stage_has_a_row_that_says_what_it_bought(finished):
    out, table = finished
    assert [row["stage"] for row in table["rows"]] == ["start", "1 frugal", "2 untie"]
    first, second, third = table["rows"]
    assert second["bought_lut"] == first["lut_estimate"] - second["lut_estimate"]
    assert second["digits"] < first["digits"] and second["nonzero"] <= second["weights"] == first["weights"]
    assert third["bought_lut"] > 0 and third["digits"] == second["digits"]
    assert json.loads((out / "compression.json").read_text()) == table


def test_the_last_model_holds_the_test_figures_and_how_it_came_to_be(finished, trained):
    out, table = finished
    card = json.loads((out / "model" / "card.json").read_text())
    start_card = json.loads((trained / "card.json").read_text())
    assert card["metrics"] == table["metrics"] and card["metrics"]["jets"] == start_card["metrics"]["jets"]
    assert [row["stage"] for row in card["compression"]] == ["start", "1 frugal", "2 untie"]
    assert card["name"] == f"{start_card['name']}_quick"
    assert all(row["metrics"]["jets"] == start_card["data"]["jets"]["validation"] for row in table["rows"])


@pytest.mark.slow
def test_a_run_that_was_killed_ends_in_the_same_weights(finished, trained, pipeline, few_jets, tmp_path):
    out = tmp_path / "killed"
    running = start(trained, pipeline, few_jets, out)
    while running.poll() is None and not (out / "1_frugal").exists():
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (out / "model").exists()
    again = start(trained, pipeline, few_jets, out)
    _, told = again.communicate()
    assert again.returncode == 0 and "1_frugal: done before" in told
    assert weights_of(out / "model") == weights_of(finished[0] / "model")


def test_a_second_run_does_nothing_anew_and_other_stages_are_run_anew(
    run, finished, trained, pipeline, few_jets, tmp_path
):
    out = shutil.copytree(finished[0], tmp_path / "copy")
    again = run("compress", trained, pipeline, "--data", few_jets, "--out", out)
    assert again.status == 0 and "1_frugal: done before" in again.err and "2_untie: done before" in again.err
    other = tmp_path / "other.toml"
    other.write_text(QUICK + stage("untie"))
    longer = run("compress", trained, other, "--data", few_jets, "--out", out)
    assert longer.status == 0 and "2_untie: done before" in longer.err and "3_untie: as it is" in longer.err
    assert "no LUT" in longer.out


@pytest.mark.slow
def test_runs_side_by_side_share_the_stages_in_which_they_are_equal(finished, trained, pipeline, few_jets, tmp_path):
    from edgephys.compress.job import CompressionJob
    from edgephys.compress.pipeline_file import read
    from edgephys.compress.run_pipeline import run

    out = shutil.copytree(finished[0], tmp_path / "runs" / "whole").parent
    longer = tmp_path / "longer.toml"
    longer.write_text(QUICK + stage("shrink"))
    said = []
    for name, seed in (("longer", 1), ("other_seed", 2)):
        job = CompressionJob(
            trained, read(longer), few_jets, None, out / name, seed, score_test=False, share_stages=True
        )
        table = run(job, said.append, lambda stage: lambda *_: None, "edgephys pareto")
        if seed == 1:
            assert table["rows"][:3] == finished[1]["rows"]
            card = json.loads((out / name / "2_untie" / "card.json").read_text())
            assert card["name"] == "small_n4_6bit_longer_2_untie"
            assert weights_of(out / name / "2_untie") == weights_of(out / "whole" / "2_untie")
    assert [text for text in said if "taken" in text] == ["1_frugal: taken from whole", "2_untie: taken from whole"]


@pytest.mark.slow
def test_measured_stages_are_simulated_and_synthesised(run, finished, trained, pipeline, few_jets, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "measured")
    table = run("compress", trained, pipeline, "--data", few_jets, "--out", out, "--measure", "--json").json
    for row in table["rows"]:
        assert row["measured"]["mismatches"] == 0 and row["measured"]["lut_stage"].startswith("synthesised")
    assert table["rows"][-1]["measured"]["lut"] < table["rows"][0]["measured"]["lut"]


def test_a_folder_that_is_not_a_pipelines_is_left_alone(run, trained, pipeline, few_jets, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("dear")
    refused = run("compress", trained, pipeline, "--data", few_jets, "--out", tmp_path / "letters")
    assert refused.status == 2 and "is not a pipeline's of ours" in refused.err


def test_a_missing_teacher_is_named(run, trained, few_jets, tmp_path):
    path = tmp_path / "taught.toml"
    path.write_text(stage("finetune", teacher=["nobody"]))
    refused = run("compress", trained, path, "--data", few_jets, "--out", tmp_path / "out")
    assert refused.status == 2 and "nobody: no such model; paths are relative to the pipeline's file" in refused.err


def test_a_float_model_is_refused_in_one_line(run, pipeline, tmp_path):
    refused = run("compress", "models/zoo/jet_deepsets_n8_float", pipeline, "--data", SAMPLE, "--out", tmp_path / "out")
    assert refused.status == 1 and refused.err.strip().count("\n") <= 1
