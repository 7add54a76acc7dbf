"""Layers that TimeDistributed calls for each element of an axis are Keras' own numbers on every target."""

import every_target
import numpy as np
import pytest
from keras_models import activation, bits, model_of, qconv, qdense, scattered

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.models.files.keras import lowered
from edgephys.models.keras_framework import KerasFileReference
from edgephys.networks.backend import keras, qkeras

L = keras.layers
INPUT = Fixed(True, 6, 3)


def vectors(graph, count=200):
    fixed = graph.input.fixed
    x = np.random.default_rng(0).integers(fixed.low, fixed.high, (count, *graph.input.shape), endpoint=True)
    x[0], x[1] = fixed.low, fixed.high
    return x


def equal(model):
    """Hold every layer of the golden model against Keras; return the Graph."""
    low = lowered(scattered(model, 0), INPUT, "m")
    x, reference = vectors(low.graph), KerasFileReference(low)
    edges, last = evaluate.trace(low.graph, {low.graph.input.name: x}), dict(low.graph.layers())
    np.testing.assert_array_equal(reference.outputs(x), edges[low.graph.output.name])
    for layer, integers in reference.layers(x).items():
        np.testing.assert_array_equal(integers, edges[last[layer].name], err_msg=layer)
    assert len(np.unique(edges[low.graph.output.name])) > 1
    return low.graph


def in_time(*layers):
    return [L.TimeDistributed(layer) for layer in layers]


def rounded(name="r"):
    return activation(bits(6, 2), name)


ROWS, FIELDS = (3, 5, 2), (3, 4, 4, 2)
QUANTISERS = {f"{which}_quantizer": bits(4) for which in ("depthwise", "pointwise", "bias")}
MODELS = {
    "dense layers": lambda: model_of(
        (3, 5), *in_time(qdense(4, "d", activation="relu"), activation(bits(5, 1), "q"), qdense(2, "e"))
    ),
    "a convolution": lambda: model_of(FIELDS, *in_time(qconv(3, 3, "c"))),
    "a convolution that steps": lambda: model_of(
        FIELDS, *in_time(qconv(3, (2, 3), "c", strides=2, padding="valid", activation="relu"))
    ),
    "a convolution of rows": lambda: model_of(
        ROWS, *in_time(qkeras.QConv1D(3, 3, padding="same", name="c", kernel_quantizer=bits(4), use_bias=False))
    ),
    "a curve": lambda: model_of(FIELDS, *in_time(qconv(2, 2, "c", activation="tanh")), rounded()),
    "a depthwise one": lambda: model_of(
        FIELDS,
        *in_time(qkeras.QDepthwiseConv2D(2, name="c", depthwise_quantizer=bits(4), bias_quantizer=bits(4))),
    ),
    "a separable one": lambda: model_of(FIELDS, *in_time(qkeras.QSeparableConv2D(2, 2, name="c", **QUANTISERS))),
    "a transposed one": lambda: model_of(
        (2, 2, 2, 2),
        *in_time(
            qkeras.QConv2DTranspose(2, 2, strides=2, name="c", kernel_quantizer=bits(4), bias_quantizer=bits(4))
        ),
    ),
    "maxima": lambda: model_of(FIELDS, *in_time(L.MaxPooling2D(2, padding="same"), L.GlobalMaxPooling2D())),
    "means": lambda: model_of(
        FIELDS, *in_time(L.AveragePooling2D(2, 1)), rounded(), *in_time(L.GlobalAveragePooling2D(keepdims=True)),
        rounded("s"),
    ),
    "means of rows": lambda: model_of(ROWS, *in_time(L.AveragePooling1D(2), L.GlobalMaxPooling1D(keepdims=True))),
    "margins": lambda: model_of(
        FIELDS, *in_time(L.ZeroPadding2D(((1, 0), (0, 2))), L.UpSampling2D((2, 1)), L.Cropping2D(1))
    ),
    "moves": lambda: model_of(
        FIELDS, *in_time(L.Permute((2, 3, 1)), L.Reshape((8, 4)), L.Flatten(), L.RepeatVector(2)), qdense(2, "d")
    ),
    "channels first": lambda: model_of(FIELDS, *in_time(L.Flatten(data_format="channels_first")), qdense(2, "d")),
    "a softmax": lambda: model_of(FIELDS, *in_time(L.GlobalMaxPooling2D(), L.Softmax(name="s")), qdense(2, "d")),
    "a network of frames": lambda: model_of(
        FIELDS,
        *in_time(
            qconv(3, 3, "c"), activation("quantized_relu(4,2)", "a"), L.MaxPooling2D(2), L.Flatten(), qdense(3, "d")
        ),
        rounded(),
        L.GlobalMaxPooling1D(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_layers_in_time_are_keras_own_numbers(name):
    equal(MODELS[name]())


@pytest.mark.slow
@pytest.mark.parametrize("target", ["c", "onnx", "rtl", "hls"])
@pytest.mark.parametrize("name", ["a convolution that steps", "means", "a network of frames"])
def test_a_target_computes_the_same(name, target, tmp_path):
    every_target.assert_equal(target, equal(MODELS[name]()), vectors, tmp_path)


def test_a_layer_of_several_inputs_or_of_time_itself_is_refused_in_time():
    layer = L.TimeDistributed(L.Embedding(4, 2), name="t")
    with pytest.raises(ModelError, match="layer 't': TimeDistributed of Embedding cannot be read; use it with a d"):
        lowered(model_of((2, 4), layer), Fixed(False, 2, 2), "m")
    layer = L.TimeDistributed(L.TimeDistributed(qdense(3, "d")), name="t")
    with pytest.raises(ModelError, match="layer 't': TimeDistributed of TimeDistributed cannot be read; use it with"):
        lowered(model_of((2, 3, 4), layer), INPUT, "m")
