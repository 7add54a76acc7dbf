"""Batch normalisation folded into weights computes what it did; a quantised network starts from one with it."""

from dataclasses import replace

import numpy as np
import pytest
from keras_models import random_net
from small_model import SAMPLE
from test_nets import SMALL

from edgephys.applications.jets.networks.deepsets import DeepSets
from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras
from edgephys.train import fit as train
from edgephys.train.fold import folded
from edgephys.train.recipe import Recipe

pytestmark = pytest.mark.usefixtures("uncompiled")


@pytest.mark.parametrize("name", SMALL)
def test_a_network_with_its_normalisation_folded_computes_the_same(name):
    net = replace(SMALL[name], bits=None)
    model = random_net(net, 1)
    plain = folded(model, replace(net, batch_norm=False).build())
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in plain.layers)
    x = np.random.default_rng(0).normal(size=(40, 4, 3)).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(np.asarray(plain(x)), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_network_without_normalisation_keeps_its_weights():
    net = DeepSets(3, bits=None, phi=(4,), rho=(4,), batch_norm=False)
    model = random_net(net)
    for one, other in zip(model.get_weights(), folded(model, net.build()).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_hidden_sum_of_a_float_network_is_normalised_and_none_of_a_quantised_one():
    def normalised(net):
        return [one.name for one in net.build().layers if isinstance(one, keras.layers.BatchNormalization)]

    assert normalised(replace(SMALL["deepsets"], bits=None)) == ["phi_1_norm", "phi_2_norm", "rho_1_norm"]
    assert normalised(replace(SMALL["interaction"], bits=None))[0] == "pairs_norm"
    assert "meeting_norm" in normalised(replace(SMALL["linear_interaction"], bits=None))
    assert normalised(SMALL["deepsets"]) == normalised(replace(SMALL["deepsets"], bits=None, batch_norm=False)) == []


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([keras.layers.ReLU(name="first"), keras.layers.BatchNormalization(name="norm")], "not behind 'first'"),
        (
            [keras.layers.Dense(2, use_bias=False), keras.layers.BatchNormalization(name="norm")],
            "layer 'norm': one of the kernels before it must have a bias; train with biases",
        ),
    ],
)
def test_a_normalisation_that_cannot_be_folded_is_refused(layers, message):
    model = keras.Sequential([keras.Input((3,)), *layers])
    with pytest.raises(ModelError, match=message):
        folded(model, model)


def test_other_layers_than_the_recipes_are_refused():
    net = DeepSets(3, bits=None, phi=(4,), rho=(4,))
    with pytest.raises(
        ModelError, match=r"starting model: its layers .* must be the recipe's .*; train it with the same"
    ):
        folded(net.build(), replace(net, phi=(5,), batch_norm=False).build())


@pytest.mark.slow
def test_a_quantised_network_starts_near_the_accuracy_of_a_normalised_float_one():
    net = DeepSets(8, phi=(16, 16), rho=(16,), bits=None)
    recipe = Recipe("jet_small", net, {8: 3e-3}, epochs=4, schedule="cosine", weight_range="fitted")
    start = train.fit(recipe, SAMPLE)
    still = replace(recipe, net=replace(net, bits=8), learning_rate={8: 1e-9}, epochs=1)
    assert train.fit(still, SAMPLE, start=start).card.metrics["accuracy"] == pytest.approx(
        start.card.metrics["accuracy"], abs=0.02
    )
