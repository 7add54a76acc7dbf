"""Nested sub-networks: several sizes of one training, of which the one that is emitted really is smaller."""

import dataclasses

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of

from edgephys.compress.model_structure import kernel_layers
from edgephys.compress.stages.nested import Nested, SubnetworkDraws, nested, units_outside
from edgephys.compress.stages.shrink import shrink
from edgephys.core.errors import UsageError
from edgephys.networks.backend import tf

pytestmark = pytest.mark.slow

FRACTIONS = (0.25, 0.5, 1.0)
UNITS = {
    "mlp": {"hidden_1": 6, "hidden_2": 5, "logits": 5},
    "deepsets": {"phi_1": 6, "phi_2": 5, "logits": 5},
    "interaction": {
        "receiver": 4,
        "sender": 4,
        "effect_2": 3,
        "object_1": 4,
        "classifier_1": 5,
        "logits": 5,
    },
    "linear_interaction": {"phi_1": 5, "every": 4, "own": 4, "object_1": 3, "rho_1": 5, "logits": 5},
}


def units(model):
    return {layer.name: layer.units for layer in kernel_layers(model)}


@pytest.fixture(scope="module", params=sorted(NETS))
def named(request):
    return request.param, model_of(NETS[request.param]), task_of(NETS[request.param])


# Sub-networks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.01, *FRACTIONS])
def test_every_hidden_layer_keeps_its_fraction_of_units_and_1_or_more(named, fraction):
    name, model, _ = named
    small = units(shrink(model, units_outside(model, fraction)))
    of = UNITS[name]
    assert small == {
        layer: count if layer == "logits" else max(1, round(fraction * count)) for layer, count in of.items()
    }


def test_a_sub_network_holds_the_first_units_and_the_weights_between_them(named):
    name, model, _ = named
    small = shrink(model, units_outside(model, 0.5))
    for layer in kernel_layers(small):
        kernel, whole = layer.kernel.numpy(), model.get_layer(layer.name).kernel.numpy()
        columns = kernel.shape[-1]
        if layer.use_bias:
            assert np.array_equal(layer.bias, model.get_layer(layer.name).bias[:columns])
        if (name, layer.name) == ("interaction", "object_1"):  # reads the input, then the effects
            assert np.array_equal(kernel, whole[[0, 1, 2, 3, 4]][:, :columns])
        else:
            assert np.array_equal(kernel, whole[: len(kernel), :columns])


def test_a_size_of_the_nest_is_its_smaller_model(named):
    _, model, task = named
    silent = [units_outside(model, fraction) for fraction in FRACTIONS]
    draws = SubnetworkDraws(1, len(FRACTIONS))
    whole, x = nested(model, silent, draws), task.validation[0]
    for size, gone in enumerate(silent):
        draws.judged.assign(size)
        np.testing.assert_array_equal(whole(x, training=False), shrink(model, gone)(x))


def test_a_step_trains_one_sub_network_and_no_unit_beyond_it():
    model, task = model_of(NETS["mlp"]), task_of(NETS["mlp"])
    silent = [units_outside(model, fraction) for fraction in FRACTIONS]
    draws = SubnetworkDraws(5, len(FRACTIONS))
    whole, drawn = nested(model, silent, draws), []
    for _ in range(8):
        draws.next_step({})
        drawn.append(int(draws.drawn()))
        draws.judged.assign(drawn[-1])
        with tf.GradientTape() as tape:
            logits = whole(task.train[0][:64], training=True)
            loss = tf.reduce_sum(logits**2)
        np.testing.assert_array_equal(logits, whole(task.train[0][:64], training=False))
        layers = kernel_layers(whole)
        kept = units(shrink(model, silent[drawn[-1]]))
        for layer, gradient in zip(layers, tape.gradient(loss, [of.kernel.value for of in layers]), strict=True):
            assert not gradient.numpy()[:, kept[layer.name] :].any()
    assert set(drawn) == {0, 1, 2}


def test_sizes_are_drawn_alike():
    draws = SubnetworkDraws(2**32 - 1, 3)
    drawn = []
    for _ in range(300):
        drawn.append(int(draws.drawn()))
        draws.next_step({})
    assert np.bincount(drawn, minlength=3).min() > 70


# The stage --------------------------------------------------------------------------------------

PLAN = Nested(epochs=6, batch=32, learning_rate=1e-2, keep="last", fractions=(0.5, 1.0), emit=1.0)


@pytest.fixture(scope="module")
def results():
    model, task = model_of(NETS["mlp"]), task_of(NETS["mlp"])
    return model, task, *(dataclasses.replace(PLAN, emit=emit).apply(model, task, 1) for emit in PLAN.fractions)


def test_the_notes_hold_the_accuracy_of_every_size_and_the_result_has_that_of_its_own(results):
    _, task, small, large = results
    assert small.notes["accuracy_of"] == large.notes["accuracy_of"]
    wanted = {"0.5": task.validation_score(small.model), "1": task.validation_score(large.model)}
    assert small.notes["accuracy_of"] == pytest.approx(wanted, abs=1e-5)
    for made, size in ((small, "0.5"), (large, "1")):
        assert made.notes["validation_accuracy"] == made.notes["accuracy_of"][size]
        assert made.notes["parameters"] == made.model.count_params()


def test_one_training_gives_every_size_of_the_same_weights(results):
    model, _, small, large = results
    assert units(small.model) == {"hidden_1": 3, "hidden_2": 2, "logits": 5}
    assert units(large.model) == units(model)
    cut = shrink(large.model, units_outside(large.model, 0.5))
    for pair in zip(cut.get_weights(), small.model.get_weights(), strict=True):
        assert np.array_equal(*pair)


def test_training_helps_the_small_network_as_well_as_the_large_one(results):
    model, task, small, large = results
    x, labels = task.train

    def loss(of):
        return float(task.loss(labels, of(x), None))

    assert loss(small.model) < loss(shrink(model, units_outside(model, 0.5)))
    assert loss(large.model) < loss(model)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fractions": (0.0, 1.0)}, "fractions must be above 0 and at most 1, not 0"),
        ({"fractions": (0.5, 1.5)}, r"fractions must be above 0 and at most 1, not 1\.5"),
        (
            {"fractions": (1.0, 0.5)},
            r"fractions must rise from each to the next, 1 or more of them, not \(1\.0,",
        ),
        ({"fractions": ()}, r"fractions must rise from each to the next, 1 or more of them, not \(\)"),
        ({"emit": 0.75}, r"emit must be one of the fractions 0\.25, 0\.5, 1, not 0\.75"),
    ],
)
def test_numbers_that_nest_nothing_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Nested(**wrong)
