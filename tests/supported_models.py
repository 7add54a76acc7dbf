"""A small Keras model for each layer, quantiser and function that is read, for docs/supported.md and its test."""

from collections.abc import Callable

import numpy as np
from keras_models import bits, model_of, qdense

from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras, qkeras

L = keras.layers
INPUT, INDEX = Fixed(True, 5, 2), Fixed(False, 3, 3)
"""Formats of the inputs; INDEX is an embedding's."""
VECTOR, ROWS, FIELD = (4,), (5, 2), (4, 4, 2)

KERNELS = {
    "quantized_bits(4,0,alpha=1)": "alpha=1",
    "quantized_bits(4,0,alpha='auto_po2')": "auto_po2",
    "quantized_bits(4,0,alpha='auto')": "auto",
    "quantized_bits(1,0,alpha=1)": "1 bit",
    "quantized_linear(4,0,alpha=1)": "quantized_linear",
    "quantized_po2(4)": "quantized_po2",
    "binary(alpha=1)": "binary",
    "ternary(alpha=1)": "ternary",
    "stochastic_ternary(alpha=1)": "stochastic",
    "bernoulli(alpha=1)": "bernoulli",
}
"""Quantisers of weights, and what the page calls them."""

VALUES = (
    *("quantized_bits(5,1,alpha=1)", "quantized_bits(5,1,alpha=0.5)", "quantized_bits(5,1,alpha='auto')"),
    *("quantized_bits(5,1,alpha=1,use_stochastic_rounding=True)", "quantized_linear(5,1)", "quantized_relu(5,1)"),
    *("quantized_relu(5,1,negative_slope=0.25)", "quantized_relu(5,1,relu_upper_bound=1.5)"),
    *("quantized_relu(5,1,use_sigmoid=1)", "quantized_tanh(5)", "quantized_tanh(5,use_real_tanh=True)"),
    *("quantized_sigmoid(5)", "quantized_sigmoid(5,use_real_sigmoid=True)", "quantized_hswish(5,1,alpha=1)"),
    *("quantized_po2(4)", "quantized_relu_po2(4,2)", "binary(alpha=1)", "ternary(alpha=1)", "stochastic_binary()"),
    *("stochastic_ternary()", "bernoulli()"),
)
"""Quantisers of values."""


def quantisers(kernel: str, *names: str) -> dict[str, object]:
    return {f"{name}_quantizer": kernel for name in names} | {"bias_quantizer": bits(4)}


def rounded(name: str = "q") -> object:
    return qkeras.QActivation(bits(5, 1), name=name)


def weighted(shape: tuple[int, ...], layer: object, kernel: str) -> object:
    """Return a model of a layer, and of the rounding that takes in the scales of its kernel."""
    return model_of(shape, layer, *([rounded()] if kernel.endswith("'auto')") else []))


WEIGHTED: dict[str, Callable[[str], object]] = {
    "QDense": lambda k: weighted(VECTOR, qkeras.QDense(3, name="d", **quantisers(k, "kernel")), k),
    "QDenseBatchnorm": lambda k: weighted(VECTOR, qkeras.QDenseBatchnorm(3, name="d", **quantisers(k, "kernel")), k),
    "QConv1D": lambda k: weighted(ROWS, qkeras.QConv1D(2, 3, name="c", **quantisers(k, "kernel")), k),
    "QConv2D": lambda k: weighted(FIELD, qkeras.QConv2D(2, 3, name="c", **quantisers(k, "kernel")), k),
    "QConv2DBatchnorm": lambda k: weighted(
        FIELD, qkeras.QConv2DBatchnorm(2, 3, name="c", **quantisers(k, "kernel")), k
    ),
    "QDepthwiseConv2D": lambda k: weighted(
        FIELD, qkeras.QDepthwiseConv2D(3, name="c", **quantisers(k, "depthwise")), k
    ),
    "QDepthwiseConv2DBatchnorm": lambda k: weighted(
        FIELD, qkeras.QDepthwiseConv2DBatchnorm(3, name="c", **quantisers(k, "depthwise")), k
    ),
    "QSeparableConv1D": lambda k: weighted(
        ROWS, qkeras.QSeparableConv1D(2, 3, name="c", **quantisers(k, "depthwise", "pointwise")), k
    ),
    "QSeparableConv2D": lambda k: weighted(
        FIELD, qkeras.QSeparableConv2D(2, 3, name="c", **quantisers(k, "depthwise", "pointwise")), k
    ),
    "QConv2DTranspose": lambda k: weighted(
        (2, 2, 2), qkeras.QConv2DTranspose(2, 2, strides=2, name="c", **quantisers(k, "kernel")), k
    ),
}
"""A model of each layer of weights for a quantiser of its kernels."""


def short(model: object) -> object:
    """Return a model whose float weights have few bits."""
    generator = np.random.default_rng(0)
    model.set_weights([generator.integers(-8, 8, weight.shape) / 8 for weight in model.get_weights()])
    return model


def of_two(join: Callable[..., object]) -> object:
    inputs = keras.Input(VECTOR, name="x")
    return keras.Model(
        inputs, rounded()(join([rounded("qa")(qdense(3, "a")(inputs)), rounded("qb")(qdense(3, "b")(inputs))]))
    )


def of_integers() -> object:
    inputs = keras.Input((3,), dtype="int32", name="x")
    return keras.Model(inputs, rounded()(L.Embedding(8, 2, keras.initializers.RandomNormal(0, 1), name="e")(inputs)))


def on(shape: tuple[int, ...], *layers: object) -> Callable[[], object]:
    """Return what makes a model of layers and a rounding; the layers are made again for each model."""
    return lambda: model_of(shape, *(type(layer).from_config(layer.get_config()) for layer in layers), rounded())


PLAIN: dict[str, Callable[[], object]] = {
    "Dense": lambda: short(model_of(VECTOR, L.Dense(3))),
    "Conv1D": lambda: short(model_of(ROWS, L.Conv1D(2, 3, padding="causal"))),
    "Conv2D": lambda: short(model_of(FIELD, L.Conv2D(2, 3, strides=2))),
    "DepthwiseConv1D": lambda: short(model_of(ROWS, L.DepthwiseConv1D(3))),
    "DepthwiseConv2D": lambda: short(model_of(FIELD, L.DepthwiseConv2D(3))),
    "SeparableConv1D": lambda: short(model_of(ROWS, L.SeparableConv1D(2, 3))),
    "SeparableConv2D": lambda: short(model_of(FIELD, L.SeparableConv2D(2, 3))),
    "Conv1DTranspose": lambda: short(model_of(ROWS, L.Conv1DTranspose(2, 3, strides=2))),
    "Conv2DTranspose": lambda: short(model_of((2, 2, 2), L.Conv2DTranspose(2, 2, strides=2))),
    "AveragePooling1D": on(ROWS, L.AveragePooling1D(3)),
    "AveragePooling2D": on(FIELD, L.AveragePooling2D(2)),
    "GlobalAveragePooling1D": on(ROWS, L.GlobalAveragePooling1D()),
    "GlobalAveragePooling2D": on((3, 3, 2), L.GlobalAveragePooling2D()),
    "MaxPooling1D": on(ROWS, L.MaxPooling1D(2)),
    "MaxPooling2D": on(FIELD, L.MaxPooling2D(2)),
    "GlobalMaxPooling1D": on(ROWS, L.GlobalMaxPooling1D()),
    "GlobalMaxPooling2D": on(FIELD, L.GlobalMaxPooling2D()),
    "ZeroPadding1D": on(ROWS, L.ZeroPadding1D(1)),
    "ZeroPadding2D": on(FIELD, L.ZeroPadding2D(1)),
    "Cropping1D": on(ROWS, L.Cropping1D(1)),
    "Cropping2D": on(FIELD, L.Cropping2D(1)),
    "UpSampling1D": on(ROWS, L.UpSampling1D(2)),
    "UpSampling2D": on((2, 2, 2), L.UpSampling2D(2)),
    "Rescaling": on(VECTOR, L.Rescaling(1 / 3)),
    "Permute": on(ROWS, L.Permute((2, 1))),
    "RepeatVector": on(VECTOR, L.RepeatVector(2)),
    "Embedding": of_integers,
    "Flatten": on(FIELD, L.Flatten(data_format="channels_first")),
    "Reshape": on(VECTOR, L.Reshape((2, 2))),
    "TimeDistributed": lambda: model_of(ROWS, L.TimeDistributed(qdense(3, "d"))),
    "Concatenate": lambda: of_two(L.Concatenate()),
    "Add": lambda: of_two(L.Add()),
    "Subtract": lambda: of_two(L.Subtract()),
    "Multiply": lambda: of_two(L.Multiply()),
    "Average": lambda: of_two(L.Average()),
    "Maximum": lambda: of_two(L.Maximum()),
    "Minimum": lambda: of_two(L.Minimum()),
    "BatchNormalization": on(VECTOR, L.BatchNormalization()),
    "QBatchNormalization": on(VECTOR, qkeras.QBatchNormalization(name="n")),
    "QAveragePooling2D": on(FIELD, qkeras.QAveragePooling2D((2, 3), average_quantizer=bits(8), activation=bits(6, 1))),
    "QGlobalAveragePooling2D": on((3, 3, 2), qkeras.QGlobalAveragePooling2D(average_quantizer=bits(8))),
    "Normalization": on(VECTOR, L.Normalization(mean=[0.0, 0.1, 0.2, 0.3], variance=[1.0, 2, 3, 4])),
    "ELU": on(VECTOR, L.ELU()),
    "PReLU": on(VECTOR, L.PReLU(alpha_initializer=keras.initializers.Constant(0.3))),
    "LeakyReLU": on(VECTOR, L.LeakyReLU(negative_slope=0.3)),
    "ReLU": on(VECTOR, L.ReLU(max_value=1.5)),
    "Softmax": lambda: model_of(VECTOR, qdense(3, "d"), L.Softmax()),
    "Activation": on(VECTOR, L.Activation("tanh")),
    "QActivation": on(VECTOR, L.Identity()),
    "Dropout": on(VECTOR, L.Dropout(0.1)),
    "SpatialDropout1D": on(ROWS, L.SpatialDropout1D(0.1)),
    "SpatialDropout2D": on(FIELD, L.SpatialDropout2D(0.1)),
    "AlphaDropout": on(VECTOR, L.AlphaDropout(0.1)),
    "GaussianDropout": on(VECTOR, L.GaussianDropout(0.1)),
    "GaussianNoise": on(VECTOR, L.GaussianNoise(0.1)),
    "ActivityRegularization": on(VECTOR, L.ActivityRegularization()),
    "Identity": on(VECTOR, L.Identity()),
}
"""A model of each layer without a quantiser of its own."""


def of_value(text: str) -> object:
    """Return a model of a quantiser of values."""
    return model_of(VECTOR, qkeras.QActivation(text, name="a"))


def of_function(name: str) -> object:
    """Return a model of an activation function and a rounding."""
    return model_of(VECTOR, L.Activation(name, name="a"), rounded())
