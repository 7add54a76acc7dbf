"""A start from a float network: convolutions and their parts too, and what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from keras_models import random_net

from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.networks.wave_cnn import PART_INTEGER, SKIPS, WaveCnn
from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.decompositions import FORMATS
from edgephys.networks.widths import dense
from edgephys.train import fit as train
from edgephys.train.equalise import WeightRange, assign, rescaled
from edgephys.train.recipe import Recipe

pytestmark = [pytest.mark.usefixtures("uncompiled"), pytest.mark.slow]

SAMPLE = Path(__file__).parent.parent / "models" / "samples" / "waves.h5"
FLOAT = WaveCnn(grid=8, width=3, depth=2, bits=None, input_bits=15, input_integer=3)
ALL = (100.0, 100.0)
"""Nothing is clipped."""


def answers(model):
    """Return what a model computes from ``fields``, without the trace that ``predict`` makes of each model."""
    return keras.ops.convert_to_numpy(model(fields()))


def fields(count=50):
    return np.random.default_rng(1).normal(size=(count, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(("name", "skip"), [*((name, "motion") for name in FORMATS), *(("cp", skip) for skip in SKIPS)])
def test_a_rescaled_network_of_any_format_gives_the_frames_of_its_source(name, skip):
    net = dataclasses.replace(FLOAT, format=name, skip=skip)
    source, copy = random_net(net, 3), net.build()
    source.set_weights([3 * weight for weight in source.get_weights()])
    target = dataclasses.replace(net, bits=6).build()
    start = rescaled(source, target, fields(), ALL, WeightRange.FITTED, logits=False)
    assign(copy, start)
    assert start.scale == 1.0
    frames = answers(source)
    np.testing.assert_allclose(answers(copy), frames, rtol=1e-4, atol=1e-4 * np.abs(frames).max())


@pytest.mark.parametrize("fit", WeightRange)
@pytest.mark.parametrize("name", FORMATS)
def test_its_activations_fit_the_quantisers_of_the_target(name, fit):
    net = dataclasses.replace(FLOAT, format=name)
    source, copy = random_net(net, 3), net.build()
    source.set_weights([3 * weight for weight in source.get_weights()])
    target = dataclasses.replace(net, bits=6).build()
    assign(copy, rescaled(source, target, fields(), ALL, fit, logits=False))
    for layer in target.layers:
        if isinstance(layer, qkeras.QActivation) and layer.name != "next_quantised":
            before = layer._inbound_nodes[0].arguments.keras_tensors[0]._keras_history.operation.name
            values = answers(keras.Model(copy.input, copy.get_layer(before).output))
            assert values.max() < 1.001 * (1.0 if layer.name.endswith("_relu") else 2.0**PART_INTEGER), layer.name


@pytest.mark.slow
def test_a_wave_network_starts_from_a_float_one_and_is_nearly_as_good():
    net = WaveCnn(grid=32, width=2, depth=1, format="cp", bits=None, input_bits=15, input_integer=3)
    recipe = Recipe("wave_small", net, {32: 4e-3}, epochs=3, batch=8, test=0.2, task=FrameSampling(every=8))
    start = train.fit(recipe, SAMPLE)
    still = {"learning_rate": {32: 1e-9}, "epochs": 1}
    float_again = train.fit(dataclasses.replace(recipe, **still), SAMPLE, start=start)
    assert float_again.card.metrics["relative_l2"] == pytest.approx(start.card.metrics["relative_l2"], rel=1e-3)
    quantised = dataclasses.replace(recipe, net=dataclasses.replace(net, bits=8), **still)
    trained = train.fit(quantised, SAMPLE, start=start)
    assert trained.card.start["name"] == start.name and trained.card.scale == 1.0
    assert trained.card.metrics["relative_l2"] < 1.1 * start.card.metrics["relative_l2"]


def refused(last):
    """Return a float network with a layer that a start knows nothing of, and its quantised twin."""
    models = []
    for bits in (None, 6):
        x = inputs = keras.Input((4,))
        models.append(keras.Model(inputs, last(dense(3, bits, "first")(x), dense(3, bits, "second")(x))))
    return models


def test_a_layer_that_does_not_scale_is_refused():
    source, target = refused(lambda first, _: keras.layers.Activation("tanh", name="bend")(first))
    with pytest.raises(ModelError, match="layer 'bend' must scale its outputs as its inputs, which Activation does no"):
        rescaled(source, target, np.ones((5, 4), np.float32), ALL)


def test_a_sum_of_results_of_different_scales_is_refused():
    source, target = refused(lambda first, second: keras.layers.Add(name="sum")([keras.layers.ReLU()(first), second]))
    with pytest.raises(ModelError, match="layer 'sum' adds results of different scales; train without a float start"):
        rescaled(source, target, np.ones((5, 4), np.float32), ALL)


def test_other_layers_are_refused():
    source, target = refused(lambda first, _: first)[0], FLOAT.build()
    with pytest.raises(ModelError, match=r"starting model: its layers \{'first': \(4, 3\)\} must be the recipe's"):
        rescaled(source, target, np.ones((5, 4), np.float32), ALL)
