"""A model that somebody brings is written as one that stages read, with the same function; or a layer is refused."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from keras_models import INPUT, activation, bits, model_of, qconv, qdense, qdepthwise, scattered

from edgephys.compress.cost import CircuitCost
from edgephys.compress.model_structure import activation_formats, activation_layers, kernel_layers
from edgephys.compress.stages.shrink import Shrink, channels, shrink
from edgephys.compress.stages.untie import Untie
from edgephys.compress.trainable import trainable
from edgephys.core.errors import ModelError
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.kernels import kernel_of

RELU = "quantized_relu(5, 2)"


def inputs(model, count=40):
    steps = np.random.default_rng(3).integers(INPUT.low, INPUT.high + 1, (count, *model.input_shape[1:]))
    return INPUT.values(steps).astype(np.float32)


def assert_same(model):
    """Return the model as stages read it, whose outputs are the same."""
    written = trainable(scattered(model, 2))
    x = inputs(model)
    assert np.array_equal(np.asarray(written(x)), np.asarray(model(x)))
    return written


def test_activations_within_layers_become_layers():
    written = assert_same(model_of((4,), qdense(5, "a", activation=RELU), qdense(3, "b", activation="softmax")))
    assert [layer.name for layer in written.layers] == ["x", "a", "a_activation", "b", "b_activation"]
    assert [layer.name for layer in activation_layers(written)] == ["a_activation"]
    assert activation_formats(written.get_layer("a_activation")) == (False, [2] * 5, [3] * 5)


def test_a_sequential_model_and_models_within_it_become_their_layers():
    inner = keras.Sequential([keras.Input((5,)), qdense(5, "a"), activation(RELU, "r")], name="inner")
    outer = keras.Sequential([keras.Input((4,)), qdense(5, "a"), activation(RELU, "r"), inner, qdense(3, "c")])
    written = assert_same(outer)
    assert [layer.name for layer in written.layers[1:]] == ["a", "r", "a_2", "r_2", "c"]
    assert lower(written, INPUT, "m").output.shape == (3,)


def test_operators_dropout_and_layers_in_time_become_layers_that_stages_know():
    x = keras.Input((3, 4), name="x")
    flow = keras.layers.TimeDistributed(qdense(4, "inner"), name="in_time")(x)
    flow = keras.layers.Dropout(0.5)(activation(RELU, "r")(flow))
    flow = keras.layers.Flatten()(flow + activation("quantized_bits(5, 2, alpha=1)", "q")(x))
    written = assert_same(keras.Model(x, qdense(2, "end")(flow)))
    kinds = [type(layer).__name__ for layer in written.layers]
    assert kinds.count("Add") == 1 and "Dropout" not in kinds and "TimeDistributed" not in kinds
    assert [layer.name for layer in kernel_layers(written)] == ["inner", "end"]


def test_stages_follow_the_channels_of_a_field_with_pooling_and_a_sum_of_three():
    x = keras.Input((6, 6, 1), name="x")
    flow = activation(RELU, "r")(qconv(3, 3, "first")(x))
    three = [qdepthwise(3, "d")(flow), qconv(3, 1, "one")(flow), qconv(3, 1, "two")(flow)]
    flow = keras.layers.MaxPooling2D(2)(activation(RELU, "s")(keras.layers.Add()(three)))
    model = assert_same(keras.Model(x, qdense(2, "end")(keras.layers.Flatten(name="flat")(flow))))
    written = channels(model)
    assert written.of["one"].tolist() == written.of["two"].tolist() == written.of["d"].tolist()
    assert written.of["flat"].tolist() == 9 * written.of["one"].tolist()
    counts = {of.name: partial(np.ones, kernel_of(of).shape, np.float32) for of in kernel_layers(model)}
    assert float(CircuitCost(model, 8, {}).adder_bits(counts)) > 0
    untied = Untie().apply(model, SimpleNamespace(input=INPUT), 1)
    assert untied.notes == {"free_roundings": 2, "roundings": 2}


def test_a_removed_unit_takes_its_normalisation_with_it():
    norm = keras.layers.BatchNormalization(name="n")
    model = model_of((4,), qdense(4, "a"), norm, activation(RELU, "r"), qdense(3, "b"))
    scattered(model, 4)
    norm.set_weights([np.arange(1, 5) / 4.0, *np.random.default_rng(1).normal(size=(2, 4)), np.arange(1, 5) / 8.0])
    kernel, bias = model.get_layer("b").get_weights()
    kernel[1] = 0  # nothing reads unit 1
    model.get_layer("b").set_weights([kernel, bias])
    small = Shrink().apply(trainable(model), None, 1).model
    assert small.get_layer("n").output.shape == (None, 3)
    assert np.allclose(small.get_layer("n").get_weights()[0], [0.25, 0.75, 1.0])
    assert np.array_equal(np.asarray(small(inputs(model))), np.asarray(model(inputs(model))))


def test_a_quantised_tanh_is_no_rounding_that_learns_a_width():
    model = trainable(model_of((4,), qdense(4, "a"), activation("quantized_tanh(5)", "t"), qdense(3, "b")))
    assert activation_layers(model) == [] and activation_formats(model.get_layer("t")) is None
    assert set(shrink(model, set()).get_layer("t").output.shape) == {None, 4}


def called_twice():
    layer, x = qdense(4, "twice"), keras.Input((4,), name="x")
    return keras.Model(x, layer(layer(x)))


def model_called_twice():
    inner, x = model_of((4,), qdense(4, "a")), keras.Input((4,), name="x")
    inner.name = "inner"
    return keras.Model(x, inner(inner(x)))


def two_inputs():
    parts = keras.Input((4,)), keras.Input((4,))
    return keras.Model(parts, qdense(2, "a")(keras.layers.Concatenate()(parts)))


def two_outputs():
    x = keras.Input((4,))
    return keras.Model(x, [qdense(2, "a")(x), qdense(2, "b")(x)])


def joined(join, *shapes):
    x = keras.Input((4,), name="x")
    parts = [keras.layers.Reshape(shape)(qdense(int(np.prod(shape)), f"d{at}")(x)) for at, shape in enumerate(shapes)]
    return keras.Model(x, join(parts))


def operation():
    x = keras.Input((4,), name="x")
    return keras.Model(x, qdense(2, "a")(keras.ops.roll(x, 1)))


def first(layer, shape=(4, 4, 2)):
    return lambda: model_of(shape, layer())


FIRST = {"data_format": "channels_first"}
REFUSED = {
    "called": (called_twice, r"layer 'twice': it is called several times, but stages train a layer for one place; "),
    "model": (model_called_twice, r"layer 'inner': it is called several times, .* give each place a layer of its own"),
    "inputs": (two_inputs, r"model 'functional.*': it must have 1 input to be trained on, not 2; join them within"),
    "outputs": (two_outputs, r"model 'functional.*': it must have 1 output to be trained on, not 2; join them within"),
    "operation": (operation, r"operation 'roll.*' \(Roll\): stages follow layers, not operations; use a layer"),
    "rows": (
        lambda: joined(keras.layers.Concatenate(axis=1, name="j"), (2, 3), (4, 3)),
        r"layer 'j' \(Concatenate\): it joins rows, and stages follow what joins channels, along the last axis",
    ),
    "shapes": (
        lambda: joined(keras.layers.Add(name="j"), (2, 3), (1, 3)),
        r"layer 'j' \(Add\): its inputs have different shapes, and stages follow channels that are joined one by one",
    ),
    "first": (
        first(lambda: keras.layers.Flatten(name="f", **FIRST)),
        r"layer 'f' \(Flatten\): it has its channels first; build the model with channels last, so that the model",
    ),
    "multiplier": (
        first(lambda: qdepthwise(2, "d", depth_multiplier=2)),
        r"layer 'd' \(QDepthwiseConv2D\): its depth_multiplier must be 1, so that",
    ),
    "permute": (
        first(lambda: keras.layers.Permute((2, 1, 3), name="p")),
        r"layer 'p' \(Permute\): stages cannot follow its channels, so that the model cannot be compressed; they take "
        r"QDense, QConv1D, QConv2D, QDepthwiseConv2D, quantised activations, pooling, and sums and joins of channels$",
    ),
    "fused": (
        first(lambda: qkeras.QConv2DBatchnorm(2, 2, kernel_quantizer=bits(4), name="c")),
        r"layer 'c' \(QConv2DBatchnorm\): stages cannot follow its channels, so",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_that_stages_cannot_follow_is_named(case):
    make, message = REFUSED[case]
    with pytest.raises(ModelError, match=f"^{message}"):
        trainable(make())
