"""Training on waves: runs are divided whole, the next frame is learned, and the model is emitted and verified."""

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from edgephys.applications import registry
from edgephys.applications.waves import task as advance
from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.core.errors import DataError, UsageError
from edgephys.graph import evaluate
from edgephys.models import trained as artefact
from edgephys.networks.network import Net
from edgephys.train import fit as train
from edgephys.train.recipe import Recipe, with_settings

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "waves.h5"
NET = WaveCnn(grid=32, width=3, depth=1, format="one_way", bits=6, input_bits=15, input_integer=3)
RECIPE = Recipe("wave_small", NET, {32: 2e-3}, epochs=2, batch=16, task=FrameSampling(every=8), test=0.25)


@pytest.fixture(scope="module")
def trained():
    return train.fit(RECIPE, SAMPLE)


@pytest.fixture
def broken(tmp_path):
    """A copy of the sample, to be changed."""

    def copy(change):
        path = tmp_path / "broken.h5"
        path.write_bytes(SAMPLE.read_bytes())
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return copy


def test_the_next_frame_is_what_comes_after_the_ones_that_are_seen(trained):
    read = waves.read(SAMPLE, 2)
    held = advance.fields(read, [1], trained.standardisation, 32)
    form = NET.input
    assert held.inputs.shape == (62, 32, 32, 3) and held.labels.shape == (62, 32, 32, 1)
    assert np.array_equal(held.inputs[5, ..., 1], form.quantise(read.frames[1, 6]))
    assert np.array_equal(held.inputs[5, ..., 2], form.quantise(read.speed[1]))
    assert np.array_equal(held.labels[5, ..., 0], form.quantise(read.frames[1, 7]))


def test_a_run_is_on_one_side_and_training_leaves_times_out():
    task, _ = train.prepare(RECIPE, SAMPLE)
    assert (len(task.validation[0]), len(task.test.inputs)) == (62, 3 * 62)
    assert len(task.train[0]) == sum(len(range(2 + run % 8, 64, 8)) for run in _train_runs())
    sides = [{field[..., 1].tobytes() for field in part[0]} for part in (task.train, task.validation)]
    test = {NET.input.values(field[..., 1]).astype(np.float32).tobytes() for field in task.test.inputs}
    assert not sides[0] & sides[1] and not sides[0] & test and not sides[1] & test


def _train_runs():
    return sorted(map(int, np.random.default_rng(RECIPE.seed).permutation(12)[:8]))


def test_a_network_is_better_than_leaving_the_wave_as_it_is(trained):
    read = waves.read(SAMPLE)
    frames = read.frames
    still = np.linalg.norm(frames[:, 2:] - frames[:, 1:-1], axis=(2, 3)) / np.linalg.norm(frames[:, 2:], axis=(2, 3))
    assert trained.card.metrics["relative_l2"] < 0.7 * still.mean()


def test_the_card_says_how_the_model_came_to_be(trained):
    card = trained.card
    assert card.name == "wave_small_n32_one_way_6bit" and card.classes == []
    assert card.recipe["net"]["format"] == "one_way" and card.recipe["every"] == 8
    assert card.data["fields"] == {"train": 63, "validation": 62, "test": 186}
    assert card.validation["relative_l2"] > 0 and card.metrics["fields"] == 186


@pytest.mark.slow
def test_one_seed_gives_one_model(trained):
    again = train.fit(RECIPE, SAMPLE)
    for ours, theirs in zip(trained.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_a_saved_model_is_the_same_one_and_its_graph_gives_its_frames(trained, tmp_path):
    loaded = artefact.load(artefact.save(trained, tmp_path / "model"))
    held = loaded.held_out
    assert np.array_equal(held.labels, trained.held_out.labels) and len(held.inputs) == 128
    graph = loaded.graph()
    given = NET.input.quantise(loaded.model.predict(NET.input.values(held.inputs).astype(np.float32), verbose=0))
    assert np.array_equal(evaluate.run(graph, held.inputs), given)


def test_a_task_is_made_again_as_it_was(trained):
    once, _ = train.prepare(RECIPE, SAMPLE)
    again = registry.of_card(trained.card).task(trained, SAMPLE)
    for ours, theirs in zip(once.train, again.train, strict=True):
        assert np.array_equal(ours, theirs)
    assert again.test_metrics(trained.model) == trained.card.metrics


def test_a_test_file_of_its_own_leaves_all_other_runs_to_training(tmp_path, trained):
    path = tmp_path / "other.h5"
    path.write_bytes(SAMPLE.read_bytes())
    task, _ = train.prepare(RECIPE, SAMPLE, path)
    assert len(task.test.inputs) == 12 * 62 and len(task.train[0]) > len(train.prepare(RECIPE, SAMPLE)[0].train[0])
    whole = registry.of_card(trained.card).measure(trained, path)
    assert whole["fields"] == 12 * 62 and 0 < whole["relative_l2"] < 1


@pytest.mark.slow
def test_unrolled_it_gives_the_frames_of_a_roll_out_and_learns_them(trained):
    recipe = dataclasses.replace(RECIPE, task=FrameSampling(every=8, unroll=3))
    task, _ = train.prepare(recipe, SAMPLE)
    x, wanted = task.validation
    assert wanted.shape == (60, 32, 32, 3) and np.array_equal(wanted[1:, ..., 0], wanted[:-1, ..., 1])
    model = trained.model
    older, latest, speed = (x[:5, ..., channel] for channel in range(3))
    for frame in np.moveaxis(task.unrolled(model).predict(x[:5], verbose=0), -1, 0):
        following = model.predict(np.stack([older, latest, speed], -1), verbose=0)[..., 0]
        assert np.array_equal(frame, following)
        older, latest = latest, following
    made = train.fit(recipe, SAMPLE)
    assert made.card.recipe["unroll"] == 3 and made.model.output_shape == (None, 32, 32, 1)
    assert not np.array_equal(made.model.get_weights()[0], model.get_weights()[0])


def test_another_grid_is_refused():
    with pytest.raises(DataError, match=r"expected 64 x 64 points, as the network takes, found 32 x 32; set grid, or"):
        train.fit(dataclasses.replace(RECIPE, net=dataclasses.replace(NET, grid=64)), SAMPLE)


def test_amplitudes_that_the_input_does_not_hold_are_refused(broken):
    path = broken(lambda file: file["frames"].__setitem__((3, 4, 5, 6), -4.5))
    with pytest.raises(
        DataError, match=r"frames: expected numbers below 4, what .* holds, found 4\.5; raise input_int"
    ):
        train.fit(RECIPE, path)


def test_fields_with_nan_are_refused(broken):
    path = broken(lambda file: file["frames"].__setitem__((3, 4, 5, 6), np.nan))
    with pytest.raises(DataError, match=r"run 3.*(NaN|finite|nan)"):
        train.fit(RECIPE, path)


def test_too_few_runs_are_refused():
    with pytest.raises(DataError, match=r"the validation split of its 12 runs is empty; give more, or set"):
        train.fit(dataclasses.replace(RECIPE, validation=0.01), SAMPLE)


def test_runs_that_are_too_short_for_what_is_left_out_are_refused():
    with pytest.raises(
        DataError, match=r"expected runs of 103 frames and over, found 64; lower every or unroll, or make"
    ):
        train.fit(dataclasses.replace(RECIPE, task=FrameSampling(every=100)), SAMPLE)


def test_leaving_times_out_of_jets_is_refused():
    from edgephys.applications.jets.networks.deepsets import DeepSets

    recipe = Recipe("small", DeepSets(constituents=4, bits=6), {4: 2e-3}, task=FrameSampling(every=2))
    with pytest.raises(UsageError, match=r"task must be JetReading\(\.\.\.\) for jets, not FrameSampling; change"):
        train.prepare(recipe, SAMPLE)
    with pytest.raises(UsageError, match="--set every=2: expected KEY=VALUE with KEY one of activation_bits, batch,"):
        with_settings(dataclasses.replace(recipe, task=None), ["every=2"])


def test_a_network_without_a_task_is_refused():
    class Other(Net):
        build = label = size = None

    with pytest.raises(UsageError, match="net must be a Tagger or WaveNet or FunctionNet, not Other; see models/"):
        registry.of_network(Other())


def test_the_scale_of_what_are_no_logits_is_1():
    task, _ = train.prepare(RECIPE, SAMPLE)
    assert task.scaled(1.0) is task
    with pytest.raises(UsageError, match="scale must be 1 where answers are not logits, not 2"):
        task.scaled(2.0)


@pytest.mark.slow
def test_the_command_tells_the_error_of_the_next_frame(run, tmp_path):
    words = ["train", SAMPLE.parent.parent / "wave_cnn.py", "--data", SAMPLE, "--out", tmp_path / "model"]
    small = [part for key in ("grid=32", "width=2", "depth=1", "epochs=1", "every=16") for part in ("--set", key)]
    ran = run(*words, *small)
    assert ran.status == 0 and "relative L2 error of the next frame" in ran.out and "test fields" in ran.out
    ran = run("score", tmp_path / "model", "--data", SAMPLE)
    assert ran.status == 0 and "on 744 fields" in ran.out
