"""Shrinking: channels keep their identity through a model, and units that cannot matter leave it without a trace."""

from functools import cache

import numpy as np
import pytest
from compress_tasks import NETS, model_of, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edgephys.compress.model_structure import kernel_layers
from edgephys.compress.stages.shrink import Shrink, channels, dead_channels, shrink, widths
from edgephys.core.errors import ModelError
from edgephys.graph import evaluate
from edgephys.graph.passes import lowered
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.widths import dense, relu

FAMILIES = pytest.mark.parametrize("family", sorted(NETS))


@cache
def family_of(name):
    return model_of(NETS[name])


def logits(model, x):
    return model(x).numpy()


def inputs(model):
    steps = np.random.default_rng(3).integers(-64, 64, (32, *model.input_shape[1:]))
    return (steps / 16).astype(np.float32)


def randomised(model, change, seed=5):
    """Give a model random weights on the quantisers' grid, changed kernel by kernel; return it."""
    random = np.random.default_rng(seed)
    for layer in kernel_layers(model):
        kernel, *bias = (random.integers(-28, 29, of.shape) / 32 for of in layer.get_weights())
        change(layer, kernel, *bias)
        layer.set_weights([kernel, *bias])
    return model


def layers_of(model):
    """Return a model's layers of weights, each with the identities of its columns."""
    found = channels(model)
    return [(layer, found.written(layer)) for layer in kernel_layers(model)]


@FAMILIES
@settings(max_examples=5)
@given(seed=st.integers(0, 2**20))
def test_the_logits_keep_every_bit(family, seed):
    random = np.random.default_rng(seed)

    def change(layer, kernel, *bias):
        kernel[:, random.random(kernel.shape[1]) < 0.3] = 0  # a constant, zero where the bias is not positive
        kernel[random.random(kernel.shape[0]) < 0.3] = 0  # not read
        kernel[random.random(kernel.shape) < 0.4] = 0

    model = randomised(family_of(family), change, seed)
    fresh = Shrink().apply(model, task_of(NETS[family], 8), 1).model
    assert np.array_equal(logits(model, inputs(model)), logits(fresh, inputs(model)))
    gone = sum(widths(kernel_layers(model)).values()) - sum(widths(kernel_layers(fresh)).values())
    assert gone or not dead_channels(model)


@pytest.mark.slow
@FAMILIES
@settings(max_examples=4)
@given(data=st.data())
def test_removing_channels_is_zeroing_what_reads_them(family, data):
    model = randomised(family_of(family), lambda *_: None)
    found = channels(model)
    groups = found.groups(model)
    dead = {int(one) for group in groups for one in data.draw(st.lists(st.sampled_from(group[1:]), unique=True))}
    fresh = shrink(model, dead)
    for layer in kernel_layers(model):
        kernel, *bias = layer.get_weights()
        kernel[np.isin(found.read(layer), list(dead))] = 0
        layer.set_weights([kernel, *bias])
        assert fresh.get_layer(layer.name).units == layer.units - np.isin(found.written(layer), list(dead)).sum()
    assert np.array_equal(logits(model, inputs(model)), logits(fresh, inputs(model)))


@FAMILIES
def test_a_shrunk_model_is_exact_in_firmware(family):
    net = NETS[family]

    def change(layer, kernel, *bias):
        if layer.name != "logits":
            kernel[:, 1] = 0
            for of in bias:
                of[1] = -0.25

    model = randomised(family_of(family), change)
    made = Shrink().apply(model, task_of(net, 8), 1)
    hidden = {name: units for name, units in made.notes["units"].items() if name != "logits"}
    assert all(made.notes["units_left"][name] == units - 1 for name, units in hidden.items())
    x = task_of(net, 8).test.inputs[:32]
    graph = lowered(lower(made.model, net.input, "made"))
    keras_logits = logits(made.model, net.input.values(x).astype(np.float32))
    assert np.array_equal(evaluate.run(graph, x) * 2.0**-graph.output.fixed.fraction, keras_logits)


@FAMILIES
def test_a_layer_keeps_its_last_channel(family):
    def change(layer, kernel, *bias):
        kernel[:] = 0

    model = randomised(family_of(family), change)
    fresh = Shrink().apply(model, task_of(NETS[family], 8), 1).model
    assert set(widths(kernel_layers(fresh)).values()) == {1, 5}
    assert np.array_equal(logits(model, inputs(model)), logits(fresh, inputs(model)))


def test_a_constant_that_is_not_zero_stays():
    def change(layer, kernel, *bias):
        if layer.name == "hidden_1":
            kernel[:, :2] = 0
            bias[0][:2] = 0.25, -0.25

    model = randomised(family_of("mlp"), change)
    (_, made), *_ = layers_of(model)
    assert dead_channels(model) == {made[1]}


def test_what_only_dead_channels_read_is_dead():
    def change(layer, kernel, *bias):
        if layer.name == "logits":
            kernel[2] = 0
        if layer.name == "hidden_2":
            kernel[3] = 0
            kernel[3, 2] = 0.5  # read by the unit that no logit reads

    model = randomised(family_of("mlp"), change)
    (_, first), (_, second), _ = layers_of(model)
    assert dead_channels(model) == {first[3], second[2]}


@pytest.mark.parametrize("which", [{"receiver"}, {"sender"}, {"receiver", "sender"}])
def test_receiver_and_sender_lose_the_same_channel_together(which):
    def change(layer, kernel, *bias):
        if layer.name in which:
            kernel[:, 2] = 0
        if layer.name == "receiver":
            bias[0][2] = -0.25

    model = randomised(family_of("interaction"), change)
    (_, received), (_, sent), *_ = layers_of(model)
    assert np.array_equal(received, sent)
    assert dead_channels(model) == ({received[2]} if len(which) == 2 else set())


def chain(*layers, shape=(4, 3)):
    x = first = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(first, x)


CHAINS = {
    "flatten": lambda: chain(dense(4, 6, "a"), relu(6, "r"), keras.layers.Flatten(), dense(2, 6, "b")),
    "reshape": lambda: chain(dense(4, 6, "a"), relu(6, "r"), keras.layers.Reshape((2, 8)), dense(2, 6, "b")),
    "convolution": lambda: chain(
        qkeras.QConv2D(
            4, 2, kernel_quantizer=qkeras.quantized_bits(6, 0, alpha=1), name="a", activation=qkeras.quantized_relu(6)
        ),
        qkeras.QConv2D(2, 2, kernel_quantizer=qkeras.quantized_bits(6, 0, alpha=1), use_bias=False, name="b"),
        shape=(4, 4, 2),
    ),
}


@pytest.mark.parametrize("kind", sorted(CHAINS))
def test_rows_behind_other_layers_go_with_their_channel(kind):
    def change(layer, kernel, *bias):
        if layer.name == "a":
            kernel[..., 1] = 0
            bias[0][1] = -0.25

    model = randomised(CHAINS[kind](), change)
    fresh = shrink(model, dead_channels(model))
    before, after = (of.get_layer("b").kernel.shape[-2] for of in (model, fresh))
    assert after == before * 3 // 4
    assert np.array_equal(logits(model, inputs(model)), logits(fresh, inputs(model)))


def test_channels_that_a_reshape_splits_stay():
    model = chain(dense(4, 6, "a"), relu(6, "r"), keras.layers.Reshape((8, 2)), dense(2, 6, "b"))
    found = channels(model)
    assert set(found.of["a"]) <= found.fixed
    assert not dead_channels(randomised(model, lambda layer, kernel, *bias: kernel.fill(0)))


def test_rows_that_are_joined_share_their_channels():
    x = keras.Input((4, 3))
    both = keras.layers.Concatenate(axis=1)([relu(6, "r")(dense(4, 6, "a")(x)), relu(6, "s")(dense(4, 6, "b")(x))])
    model = keras.Model(x, dense(2, 6, "c")(both))
    found = channels(model)
    assert np.array_equal(found.of["a"], found.of["b"])
    fresh = shrink(model, {int(found.of["a"][0])})
    assert widths(kernel_layers(fresh)) == {"a": 3, "b": 3, "c": 2}


@pytest.mark.parametrize("name", ["constituents", "logits"])
def test_input_and_output_cannot_be_removed(name):
    model = family_of("mlp")
    with pytest.raises(ModelError, match="input and of its logits cannot be removed"):
        shrink(model, {int(channels(model).of[name][0])})


def test_a_kernel_without_a_column_a_channel_is_refused():
    model = chain(keras.layers.DepthwiseConv2D(2, depth_multiplier=2, name="odd"), shape=(4, 4, 2))
    message = r"layer 'odd': DepthwiseConv2D has no column for each channel.* or QDepthwiseConv2D of depth_multiplier 1"
    with pytest.raises(ModelError, match=message):
        channels(model)
