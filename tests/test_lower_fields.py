"""Convolutions from Keras to the Graph: equal bit for bit, or refused by the layer's name."""

import numpy as np
import pytest
from keras_models import INPUT, activation, assert_equal_to_keras, bits, model_of, qconv, qdepthwise, refuses, scattered

from edgephys.graph.ops import Add, Bias, Dense
from edgephys.models.files.keras import lower
from edgephys.models.trained import load_keras
from edgephys.networks.backend import keras, qkeras


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (5, 1), (2, 4)])
@pytest.mark.parametrize("layer", [lambda size: qconv(3, size, "c"), lambda size: qdepthwise(size, "c")])
def test_a_convolution_equals_keras_bit_for_bit(layer, size, compiled):
    graph = assert_equal_to_keras(model_of((5, 4, 2), layer(size)), compiled=compiled)
    window = [] if size == (1, 1) else ["c_window"]
    assert [name for name, _ in graph.layers()] == ["x", *window, "c"]
    assert [type(node.op) for node in graph.nodes[-2:]] == [Dense, Bias]


def test_compressed_stages_on_a_field_of_16_channels_equal_keras():
    layers = [qconv(16, 1, "point"), activation(bits(10, 3), "point_q"), qdepthwise((3, 1), "along", use_bias=False)]
    layers += [activation(bits(10, 3), "along_q"), qdepthwise((1, 3), "across"), qconv(1, 3, "last")]
    layers.insert(-1, activation(qkeras.quantized_relu(8, 1), "relu"))
    assert_equal_to_keras(model_of((16, 16, 3), *layers), count=30, compiled=True)


def test_an_activation_within_a_convolution_equals_keras():
    assert_equal_to_keras(model_of((4, 4, 2), qconv(3, 3, "c", activation=qkeras.quantized_relu(4, 1))))
    assert_equal_to_keras(model_of((4, 4, 2), qdepthwise(3, "d", activation=qkeras.quantized_relu(4, 1))))


def test_a_skip_connection_equals_keras():
    inputs = keras.Input((4, 4, 2), name="x")
    past = activation(bits(6, 2), "past_q")(qconv(2, 3, "past")(inputs))
    graph = assert_equal_to_keras(keras.Model(inputs, keras.layers.Add(name="sum")([inputs, past])))
    assert isinstance(graph.output.op, Add) and graph.output.layer == "sum"


def test_a_sum_that_repeats_one_of_its_inputs_is_keras_bit_for_bit():
    inputs = keras.Input((4, 4, 2), name="x")
    summed = keras.layers.Add(name="sum")([inputs, qconv(1, 3, "c")(inputs)])
    graph = assert_equal_to_keras(keras.Model(inputs, summed))
    assert [layer for layer, _ in graph.layers()][-2:] == ["sum_repeated_1", "sum"]


@pytest.mark.parametrize(
    ("layer", "quantised"),
    [
        (keras.layers.Conv2D(2, 3, padding="same", name="c"), "QConv2D"),
        (keras.layers.DepthwiseConv2D(3, padding="same", name="c"), "QDepthwiseConv2D"),
        (qconv(2, 3, "c", kernel_quantizer=None), "QConv2D"),
        (qdepthwise(3, "c", depthwise_quantizer=None), "QDepthwiseConv2D"),
    ],
    ids=["Conv2D", "DepthwiseConv2D", "QConv2D", "QDepthwiseConv2D"],
)
def test_a_float_convolution_is_refused(layer, quantised):
    refuses(
        r"layer 'c': its kernel has no quantiser and needs over 18 bits; "
        rf"use {quantised} with quantized_bits\(bits, 0, alpha=1\), "
        r"or quantise the float model: `edgephys quantise FILE .*`",
        layer,
        shape=(4, 4, 2),
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (qconv(2, 3, "c", mask=np.eye(3)), r"mask must be None, not \[.*\]; set mask=None"),
        (
            qdepthwise(3, "c", data_format="channels_first"),
            "data_format must be 'channels_last', not 'channels_first'; set data_format='channels_last'",
        ),
    ],
    ids=["mask", "data_format"],
)
def test_a_convolution_of_another_kind_is_refused(layer, message):
    refuses(f"layer 'c': {message}", layer, shape=(4, 4, 2))


def test_a_saved_convolution_lowers_to_the_same_graph(tmp_path):
    model = scattered(model_of((4, 4, 2), qconv(3, 3, "c"), qdepthwise((1, 3), "d")), 3)
    model.save(tmp_path / "m.keras")
    assert lower(load_keras(tmp_path / "m.keras"), INPUT, "m").digest == lower(model, INPUT, "m").digest
