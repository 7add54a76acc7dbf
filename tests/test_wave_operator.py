"""The wave operator as users meet it: trained, started from floats, in the tables, emitted and fed with its frames."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgephys.applications.task import Shares
from edgephys.applications.waves import task as advance
from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.channels import centre, channels, reached_from, read_before
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.networks.wave_operator import WaveOperator
from edgephys.applications.waves.study import roll_out
from edgephys.core.errors import DataError
from edgephys.models import trained as artefact
from edgephys.models.standardise import Standardisation
from edgephys.train import fit as train
from edgephys.train.recipe import Recipe

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "waves.h5"
NET = WaveOperator(grid=32, width=2, kernel_size=3, knots=5)


def ready_of(net):
    count = len(net.names)
    return Standardisation(net.names, (net.input,) * count, (0,) * count, (1,) * count, (0,) * count, net.input)


def recipe(**changes):
    net = WaveOperator(**{"grid": 32, "width": 2, "kernel_size": 3, "knots": 5, **changes})
    task = FrameSampling(every=8, unroll=2)
    return Recipe("wave_operator", net, {32: 2e-3}, epochs=1, batch=32, task=task, validation=0.1, test=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An operator of 8 bits that started from a float one, both hardly trained."""
    top = tmp_path_factory.mktemp("operator")
    first = train.fit(recipe(bits=None), SAMPLE)
    return artefact.save(train.fit(recipe(), SAMPLE, start=first), top / "eight")


def test_a_field_lies_within_walls_that_have_the_speed_of_the_nearest_point():
    runs, ready = waves.read(SAMPLE, 1), ready_of(NET)
    x = channels(ready, runs.frames[0, 3:5], runs.speed[0], 34)
    assert x.shape == (34, 34, 3)
    assert np.array_equal(centre(np.moveaxis(x, -1, 0), 32)[1], NET.input.quantise(runs.frames[0, 4]))
    inside, wall = np.zeros((34, 34), bool), NET.input.quantise(runs.speed[0])
    inside[1:-1, 1:-1] = True
    assert not x[~inside][:, :2].any() and (x[~inside][:, 2] < 0).all() and (x[inside][:, 2] > 0).all()
    assert x[0, 5, 2] == -wall[0, 4] and x[33, 33, 2] == -wall[31, 31]


def test_a_network_with_a_stride_reads_frames_so_far_apart_and_reaches_as_far():
    net = WaveOperator(grid=32, width=2, kernel_size=3, knots=5, stride=3)
    runs, ready = waves.read(SAMPLE, 1), ready_of(net)
    assert net.names == ("u-3", "u0", "medium") and net.label == "n32_s3f2_8bit"
    every = advance.fields(runs, [0], ready, 34, FrameSampling(every=5, unroll=4))
    frames = NET.input.quantise(runs.frames[0])
    first = centre(np.moveaxis(every.inputs[0], -1, 0), 32)
    assert np.array_equal(first[:2], frames[[0, 3]])
    reached = centre(np.moveaxis(every.labels[0], -1, 0), 32)
    assert np.array_equal(reached, frames[[6, 9, 12, 15]])
    horizon, count = roll_out.Horizon(10, (4, 9)), 4
    roll_out.check(runs, horizon, ready)
    assert roll_out.calls(horizon, ready) == count
    assert np.array_equal(read_before(runs.frames, 4, ready), runs.frames[:, [0, 3]])
    assert np.array_equal(reached_from(runs.frames, 4, ready, count), runs.frames[:, [6, 9, 12, 15]])
    errors = np.arange(count)[None] + 1.0
    assert roll_out.each_frame(errors, horizon, ready).tolist() == [[1, 1, 1, 2, 2, 2, 3, 3, 3, 4]]
    with pytest.raises(DataError, match="runs of 66 frames and over to roll 50 out, 4 seen before frame 4, found 64"):
        roll_out.check(runs, roll_out.Horizon(50, (4, 15)), ready)
    with pytest.raises(DataError, match="4 seen before frame 3"):
        roll_out.check(runs, roll_out.Horizon(50, (3,)), ready)


def test_a_file_of_another_grid_is_refused_in_training():
    with pytest.raises(DataError, match="expected 24 x 24 points, as the network takes, found 32 x 32; set grid"):
        advance.prepare(WaveOperator(grid=24), FrameSampling(), Shares(0.1, 0.1, 1), SAMPLE)


def test_a_file_that_does_not_lie_in_the_middle_of_the_walls_is_refused():
    with pytest.raises(DataError, match="expected 33 x 33 points, as the network takes, found 32 x 32"):
        advance.read(ready_of(NET), 33, SAMPLE)


@pytest.mark.slow
def test_the_field_stays_0_in_walls(folder):
    trained = artefact.load(folder)
    of = waves.read(SAMPLE, 2)
    frames = roll_out.roll_out(trained.model, roll_out.first_frames(trained, of, 5), 4)
    assert np.abs(frames[..., 1:-1, 1:-1]).max() > 0
    assert not frames[..., 0, :].any() and not frames[..., :, 33].any()


@pytest.mark.slow
def test_it_is_a_row_of_the_tables_proven_stable(folder, tmp_path, monkeypatch, run):
    from edgephys.applications.waves.study import table

    monkeypatch.setattr(table, "FAR", 12)
    done = run("waves", folder, "--data", SAMPLE, "--steps", 3, "--starts", "2", "--out", tmp_path / "w", "--json")
    assert done.status == 0, done.err
    (row,) = json.loads((tmp_path / "w.json").read_text())["rows"]
    assert (row["format"], row["width"], row["stable_proven"], row["error_1000_bounded"]) == ("operator", 2, True, True)
    assert row["macs"] == 2 * 2 * 9 * 34**2 and row["parameters"] == 2 * 9 + 2 * 5
    assert run("dispersion", folder, "--out", tmp_path / "d").status == 0


@pytest.mark.slow
def test_programs_are_fed_with_their_own_frames_and_compared_with_the_golden_model(folder, tmp_path, run):
    out = tmp_path / "operator_c"
    assert run("emit", folder, "--to", "c", "--out", out, "--vectors", 4).status == 0
    words = ("rollout", out, "--data", SAMPLE, "--steps", 5, "--starts", "2,9", "--fields", 3)
    done = run(*words, "--json")
    assert done.status == 0, done.err
    (row,) = done.json["rows"]
    assert (row["target"], row["fields"], row["mismatches"], row["first_mismatch"]) == ("c", 3, 0, None)
    (source,) = (out / "firmware").glob("*.c")
    text = source.read_text()
    wrong = re.sub(r"(int8_t \w+\[\d+\] = {\s+)(-?\d+)", lambda entry: f"{entry[1]}{int(entry[2]) + 40}", text)
    assert wrong != text
    source.write_text(wrong)
    done = run(*words)
    assert done.status == 1 and "integers differ from the golden model's in 5 steps, from step " in done.err


@pytest.mark.slow
def test_a_network_that_advances_two_frames_at_once_is_rolled_out_over_the_same_time(folder, tmp_path, run):
    fast = artefact.save(train.fit(recipe(stride=2), SAMPLE), tmp_path / "fast")
    done = run("waves", folder, fast, "--data", SAMPLE, "--steps", 10, "--starts", 4, "--out", tmp_path / "t")
    assert done.status == 0, done.err
    rows = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert [row["stride"] for row in rows] == [1, 2] and [len(row["growth"]) for row in rows] == [10, 10]
    grown = rows[1]["growth"]
    assert grown[0::2] == grown[1::2] and len(set(grown)) == 5  # each call reaches two frames
    assert "operator, 2 frames at once" in (tmp_path / "t.md").read_text()
    done = run("dispersion", fast)
    assert done.status == 2 and "takes networks that advance one frame at a time, this one advances 2" in done.err
    out = tmp_path / "fast_c"
    assert run("emit", fast, "--to", "c", "--out", out, "--vectors", 4).status == 0
    done = run("rollout", out, "--data", SAMPLE, "--steps", 5, "--starts", "4,9", "--fields", 3, "--json")
    assert done.status == 0 and done.json["rows"][0]["mismatches"] == 0, done.err


def test_a_project_of_no_wave_network_is_refused(tmp_path, run):
    out = tmp_path / "jets_c"
    model = SAMPLE.parents[1] / "zoo" / "jet_mlp_n8_4bit"
    assert run("emit", model, "--to", "c", "--out", out, "--vectors", 4).status == 0
    done = run("rollout", out, "--data", SAMPLE)
    assert done.status == 2 and "expected a network that advances a wave, found jet_mlp_n8_4bit" in done.err
