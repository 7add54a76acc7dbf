"""Pipelines on a wave network: the command, its table, and the tables that take it."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from pipeline_texts import stage

from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.models import trained as artefact
from edgephys.train import fit as train
from edgephys.train.recipe import Recipe

pytestmark = [pytest.mark.usefixtures("uncompiled"), pytest.mark.slow]

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "waves.h5"
NET = WaveCnn(grid=32, width=3, depth=1, format="cp", bits=6, input_bits=15, input_integer=3)
SHORT = {"epochs": 1, "batch": 16}
STAGES = (
    stage("prune", density=0.6, **SHORT)
    + stage("bitwise", **SHORT)
    + stage("distil", **SHORT, teacher=["{teacher}"], start="weights")
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    recipe = Recipe(
        "wave_small", NET, {32: 2e-3}, epochs=1, batch=16, task=FrameSampling(every=16), validation=0.1, test=0.1
    )
    return artefact.save(train.fit(recipe, SAMPLE), tmp_path_factory.mktemp("waves") / "model")


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """A whole pipeline, called as the command calls it."""
    from edgephys.compress.job import CompressionJob
    from edgephys.compress.pipeline_file import read
    from edgephys.compress.run_pipeline import run

    top = tmp_path_factory.mktemp("runs")
    pipeline = top / "waves.toml"
    pipeline.write_text(STAGES.format(teacher=model))
    job = CompressionJob(model, read(pipeline), SAMPLE, None, top / "small")
    return job, run(job, lambda text: None, lambda name: None, "edgephys compress")


def test_pruning_bitwise_training_and_distillation_run_on_a_wave_network(finished):
    job, table = finished
    assert [row["stage"] for row in table["rows"]] == ["start", "1 prune", "2 bitwise", "3 distil"]
    start, pruned, *_, last = table["rows"]
    assert pruned["nonzero"] <= 0.61 * start["nonzero"] and last["nonzero"] <= pruned["nonzero"]
    assert all(0 < row["metrics"]["relative_l2"] < 1 for row in table["rows"])
    assert table["metrics"]["fields"] == 62
    made = artefact.load(job.out / "model")
    assert made.card.metrics == table["metrics"] and made.model.output_shape == (None, 32, 32, 1)


def test_a_stage_s_row_is_shown_with_the_error_of_the_next_frame(finished, run):
    job, _ = finished
    done = run("compress", job.model, job.out.parent / "waves.toml", "--data", SAMPLE, "--out", job.out)
    assert done.status == 0
    assert "relative L2 error on the validation fields" in done.out and "On 62 test fields, once" in done.out


def test_gains_hold_the_relative_error_of_wave_pipelines(finished, run, tmp_path):
    job, table = finished
    done = run("gains", job.out, "--out", tmp_path / "waves")
    assert done.status == 0
    found = json.loads((tmp_path / "waves.json").read_text())
    (row,) = found["rows"]
    assert row["relative_l2"] == table["metrics"]["relative_l2"] and "accuracy" not in row
    page = (tmp_path / "waves.md").read_text()
    assert "Relative L2 error on the test fields" in page
    assert page.count("| 3 distil |") == 1


def test_a_front_of_wave_networks_has_the_runs_of_least_error(model, run, tmp_path):
    front = tmp_path / "front.toml"
    front.write_text(STAGES.format(teacher=model) + '[knob]\nstage = 1\nkey = "density"\nvalues = [0.5, 0.7]\n')
    ended = run("pareto", model, front, "--data", SAMPLE, "--seeds", "1", "--out", tmp_path / "front")
    assert ended.status == 0, ended.err
    rows = json.loads((tmp_path / "front" / "pareto.json").read_text())["runs"]
    assert len(rows) == 2 and all(0 < row["relative_l2"] < 1 for row in rows)
    best = min(rows, key=lambda row: row["relative_l2"])
    assert best["front"] and best["test"]["relative_l2"] > 0
    page = (tmp_path / "front" / "pareto.md").read_text()
    assert "good in validation relative L2 error, LUTs" in page and "accuracy" not in page.lower()


def test_the_scaling_table_has_the_error_of_a_wave_network(model, run, tmp_path, monkeypatch):
    from edgephys.workflow import firmware
    from edgephys.workflow.steps import TargetRun

    monkeypatch.setattr(firmware, "run_steps", lambda model, options, kind, *rest: TargetRun(kind))
    done = run("scaling", model, "--out", tmp_path / "scaling", "--json")
    assert done.status == 0, done.err
    (row,) = done.json["rows"]
    assert row["relative_l2"] == artefact.load(model).card.metrics["relative_l2"] and "accuracy" not in row
    page = (tmp_path / "scaling.md").read_text()
    assert "| relative L2 error % | float % |" in page and "measured with Keras on held-out test fields" in page


def test_fields_with_nan_are_refused_before_a_folder_is_made(finished, run, tmp_path):
    job, _ = finished
    bad = tmp_path / "bad.h5"
    shutil.copyfile(SAMPLE, bad)
    with h5py.File(bad, "r+") as file:
        file["frames"][3, 2, 1, 0] = np.nan
    ended = run("compress", job.model, job.out.parent / "waves.toml", "--data", bad, "--out", tmp_path / "out")
    assert ended.status == 1 and "run 3, frame 2, point (1, 0): expected finite u" in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()
