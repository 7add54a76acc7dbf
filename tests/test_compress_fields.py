"""Compression of networks on fields: convolutions of every format are layers like others."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from compress_tasks import FIELDS, model_of, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.applications.task import Distillation
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.compress import digits
from edgephys.compress.cost import CircuitCost
from edgephys.compress.gains import adder_bits
from edgephys.compress.learned_widths import learnable, learned
from edgephys.compress.local_rank import local_rank
from edgephys.compress.model_structure import fan_in, kernel_integers, kernel_layers, requantised
from edgephys.compress.registry import stage_classes
from edgephys.compress.stages.codebook import gradient_norms
from edgephys.compress.stages.distil import Distil
from edgephys.compress.stages.prune import Prune
from edgephys.compress.stages.shrink import Shrink, channels, dead_channels, shrink
from edgephys.compress.stages.sparse_momentum import SparseMomentum
from edgephys.compress.stages.spectrum import Spectrum
from edgephys.compress.stages.untie import Untie
from edgephys.core.errors import UsageError
from edgephys.core.rounding import Rounding
from edgephys.graph import evaluate
from edgephys.graph.ops import Requantise
from edgephys.models import trained as artefact
from edgephys.models.card import Card
from edgephys.models.files.keras import lower
from edgephys.models.standardise import Standardisation
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import kernel_of, matrix

NET = FIELDS["wave cp"]
WIDER = WaveCnn(grid=4, width=5, depth=2, format="one_way", bits=6)


@pytest.fixture(scope="module")
def model():
    return model_of(NET)


def test_an_output_is_made_of_its_formats_weights(model):
    found = {layer.name: fan_in(layer) for layer in kernel_layers(model)}
    assert found == {
        **{"stage_1_mix": 3, "stage_1_down": 3, "stage_1_across": 3, "stage_1_join": 2},
        **{"last_mix": 3, "last_down": 3, "last_across": 3, "last_join": 2},
    }


def test_a_depthwise_kernel_gets_another_quantiser(model):
    made = requantised(model.get_layer("stage_1_down"), 4, 1)
    made.build((None, 5, 5, 2))
    kernel_of(made).assign(np.full(kernel_of(made).shape, 0.8))
    assert kernel_integers(made).ravel().tolist() == [3] * 6  # of steps of 1/4


def test_the_price_of_digits_is_what_the_graph_counts(model):
    """Of data that are known to need fewer bits than their format has, the graph counts these."""
    layers = {layer.name: layer for layer in kernel_layers(model)}
    counted = adder_bits(lower(model, NET.input, "m"))
    circuit = CircuitCost(model, NET.input.bits, {})
    for name, layer in layers.items():
        held = tf.constant(digits.count(kernel_integers(layer)), tf.float32)
        price = float(tf.reduce_sum(held * circuit.price(layer)[:, None]))
        assert price == counted[name] or (0.8 * price <= counted[name] < price and name.startswith("last")), name


def test_singular_values_of_a_depthwise_kernel_are_those_of_its_matrix(model):
    told = Spectrum(epochs=0).apply(model, task_of(NET), 1).notes["layers"]["stage_1_down"]
    layer = model.get_layer("stage_1_down")
    whole = matrix(layer, kernel_integers(layer)) * 2.0**-5
    assert told["singular_values"] == pytest.approx(np.linalg.svd(whole)[1], abs=1e-5)


def test_sparse_kernels_start_with_the_variance_of_what_an_output_reads():
    net = WaveCnn(grid=4, width=64, depth=1, format="one_way", kernel_size=31)
    made = SparseMomentum(density=1.0, epochs=1, batch=1000, learning_rate=1e-9).apply(
        model_of(net), task_of(net, 4), 1
    )
    for layer in ("stage_1_down", "stage_1_across"):
        assert np.var(kernel_of(made.model.get_layer(layer)).numpy()) == pytest.approx(2 / 31, rel=0.15)


def test_the_widths_that_are_learned_are_not_those_of_the_output(model):
    assert set(learned(learnable(model, "tensor", NET.input))) == {
        "input_quantised",
        "stage_1_relu",
        *(f"{stage}_{part}_quantised" for stage in ("stage_1", "last") for part in ("mix", "down", "across")),
    }


def test_roundings_behind_a_bias_and_a_skip_are_free(model):
    made = Untie().apply(model, task_of(NET), 1)
    graph = lower(made.model, NET.input, "m")
    free = {of.layer for of in graph.nodes if isinstance(of.op, Requantise) and of.fixed.rounding is Rounding.RND}
    assert free == {"stage_1_join", "next"} and made.notes == {"free_roundings": 2, "roundings": 8}


# Channels -----------------------------------------------------------------------------------------


def outputs(model):
    x = task_of(WIDER).test.inputs
    return evaluate.run(lower(model, WIDER.input, "m"), x)


def test_a_depthwise_channel_is_the_one_that_it_reads():
    found = channels(model_of(WIDER))
    for stage in ("stage_1", "stage_2", "last"):
        parts = [found.of[f"{stage}_{part}"].tolist() for part in ("mix", "down", "across")]
        assert parts[0] == parts[1] == parts[2]
    assert set(found.of["last_mix"].tolist()) <= found.fixed


def test_what_is_always_zero_or_never_read_leaves_and_every_output_stays():
    model = model_of(WIDER)
    for name, index in (("stage_1_down", (..., 2, 0)), ("stage_2_mix", (..., 4, slice(None)))):
        kernel = kernel_of(model.get_layer(name)).numpy()
        kernel[index] = 0  # the third channel becomes 0 but for its bias, the fifth is read by nobody
        kernel_of(model.get_layer(name)).assign(kernel)
    layer = model.get_layer("stage_1_across")
    layer.bias.assign(np.array([0.1, -0.2, 0.0, 0.4, 0.5]))
    made = Shrink().apply(model, task_of(WIDER), 1)
    assert made.notes["units_left"] == {
        **{f"stage_1_{part}": 3 for part in ("mix", "down", "across")},
        **{f"stage_2_{part}": 5 for part in ("mix", "down", "across")},
        **{f"last_{part}": 1 for part in ("mix", "down", "across")},
    }
    assert (outputs(made.model) == outputs(model)).all() and len(np.unique(outputs(model))) > 50


def test_removing_channels_is_zeroing_what_reads_them():
    model = model_of(WIDER)
    gone = channels(model).of["stage_1_mix"][[1, 3]]
    assert not dead_channels(model)
    small = shrink(model, set(gone.tolist()))
    kernel = kernel_of(model.get_layer("stage_2_mix"))
    zeroed = kernel.numpy()
    zeroed[:, :, [1, 3]] = 0
    kernel.assign(zeroed)
    assert (outputs(small) == outputs(model)).all()
    assert kernel_of(small.get_layer("stage_1_down")).shape == (3, 1, 3, 1)


def test_units_are_pruned_with_their_depthwise_filters():
    made = Prune(scope="neuron", density=0.4, epochs=0).apply(model_of(WIDER), task_of(WIDER), 1)
    assert made.notes["units"]["stage_1_mix"] == made.notes["units"]["stage_1_down"] == 2


# The task -----------------------------------------------------------------------------------------


def test_the_loss_of_frames_is_the_share_of_their_power(model):
    task = task_of(NET)
    x, wanted = task.train
    given = model.predict(x, verbose=0)
    assert float(task.loss(wanted, given, None)) == pytest.approx(((given - wanted) ** 2).sum() / (wanted**2).sum())
    assert task.validation_score(model) == task.validation_metrics(model)["relative_l2"]
    assert task.better(0.1, 0.2) and not task.better(0.2, 0.2)
    tested = task.test_metrics(model)
    golden = NET.input.values(evaluate.run(lower(model, NET.input, "m"), task.test.inputs))
    errors = golden - NET.input.values(task.test.labels)
    sizes = (NET.input.values(task.test.labels) ** 2).sum((1, 2, 3))
    assert tested["relative_l2"] == pytest.approx(np.mean(((errors**2).sum((1, 2, 3)) / sizes) ** 0.5))
    assert tested["fields"] == 64


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Networks of other formats that read the same fields, and one that reads a larger field."""
    top = tmp_path_factory.mktemp("teachers")

    def saved(name, net):
        names = ("u-1", "u0", "speed")
        ready = Standardisation(names, (net.input,) * 3, (0,) * 3, (1,) * 3, (0,) * 3, net.input)
        held = task_of(net, 8).test
        card = {"name": name, "recipe": {"script": "wave_cnn"}, "seed": 1, "classes": [], "metrics": {}}
        card |= {"parameters": 1, "versions": {}, "standardisation": ready.to_record()}
        return str(artefact.save(artefact.Trained(model_of(net, len(name)), held, Card.of_record(card)), top / name))

    return [
        saved("full", FIELDS["wave full"]),
        saved("cp", NET),
        saved("large", dataclasses.replace(NET, grid=6)),
        saved("coarse", dataclasses.replace(NET, input_bits=8)),
    ]


@pytest.mark.slow
def test_several_teachers_of_frames_answer_with_their_mean(teachers):
    task = task_of(NET, 16)
    taught = task.with_teachers(teachers[:2], 2.0, 0.5)
    answers = [artefact.load(Path(folder)).model.predict(task.train[0], verbose=0) for folder in teachers[:2]]
    assert np.allclose(taught.distillation.outputs, np.mean(answers, axis=0), atol=1e-6)
    assert task.with_teachers((), 2.0, 0.5) is task


@given(st.floats(0, 1), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_the_loss_of_a_distillation_is_the_shares_of_two_squared_errors(share, seed):
    task = dataclasses.replace(task_of(NET, 8), distillation=Distillation(np.zeros(1), 1.0, share))
    wanted, found, taught = np.random.default_rng(seed).normal(size=(3, 2, 5, 5, 1)).astype(np.float32)
    power = np.square(task.train[1].astype(float)).mean()
    expected = (share * np.square(found - taught) + (1 - share) * np.square(found - wanted)).mean() / power
    assert float(task.loss(wanted, found, taught)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("place", "words"), [(2, r"not \(6, 6, 3\) in"), (3, r"not \(5, 5, 3\) in fixed<8,")])
def test_a_teacher_of_other_fields_is_refused_in_one_line(teachers, place, words):
    told = r"^teacher .*: it must read fields of \(5, 5, 3\) in .* as the model that it teaches, " + words
    with pytest.raises(UsageError, match=told):
        task_of(NET, 8).with_teachers([teachers[place]], 2.0, 0.5)


def test_a_student_of_another_format_learns_from_its_teacher(model, teachers):
    asked = ("grid=5", "width=3", "depth=1", "format=one_way", "bits=6", "kernel_size=3")
    asked += (f"input_bits={NET.input_bits}", f"input_integer={NET.input_integer}")
    stage = Distil(epochs=2, batch=8, teacher=(teachers[0],), script="models/wave_cnn.py", settings=asked)
    made = stage.apply(model, task_of(NET, 32), 1)
    assert [layer.name for layer in kernel_layers(made.model)][:3] == ["stage_1_mix", "stage_1_down", "stage_1_across"]
    assert made.notes["parameters"] == made.model.count_params() < model.count_params()


@pytest.mark.parametrize(
    ("script", "asked", "words"),
    [
        ("models/jet_deepsets.py", (), "it must read fields, as the task does; choose a script whose net is a WaveNet"),
        ("models/wave_cnn.py", ("grid=6",), "its grid must be the task's, 5, not 6; change it in settings"),
        ("models/wave_cnn.py", ("grid=5", "frames=3"), "its frames must be the task's, 2, not 3; change it"),
    ],
)
def test_a_student_of_other_inputs_is_refused(model, script, asked, words):
    with pytest.raises(UsageError, match=rf"student of .*: {words}"):
        Distil(script=script, settings=asked).apply(model, task_of(NET, 8), 1)


@pytest.mark.slow
def test_the_epoch_of_the_least_error_is_kept():
    task = task_of(NET, 128)
    finetune = stage_classes()["finetune"](epochs=3, batch=16, learning_rate=3e-3)
    seen = []
    made = finetune.apply(model_of(NET), task, 1, lambda epoch, of, told: seen.append(told["val_relative_l2"]))
    assert made.notes["validation_relative_l2"] == pytest.approx(min(seen), abs=1e-5)
    assert task.validation_score(made.model) == pytest.approx(min(seen), abs=1e-6)


@pytest.mark.slow
def test_gradients_and_local_ranks_of_convolutions_are_told_by_layer(model):
    assert set(gradient_norms(model, task_of(NET), 8, 1)) == {layer.name for layer in kernel_layers(model)}
    ranks = local_rank(model, task_of(NET).validation[0][:4])
    assert ranks["stage_1_mix"] <= 50 and ranks["last_join"] <= 25
    assert isinstance(model.get_layer("stage_1_down"), keras.layers.DepthwiseConv2D)
