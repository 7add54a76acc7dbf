"""Random Keras models of the layers, quantisers and shapes that are read, for property tests."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import supported_models as models
from keras_models import bits

from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras, qkeras

L = keras.layers
WEIGHTS = [text for text in models.KERNELS if "'auto'" not in text and "bernoulli" not in text]
VALUES = [text for text in models.VALUES if "'auto'" not in text and "bernoulli" not in text]
FUNCTIONS = ["tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "leaky_relu", "relu6", "hard_sigmoid", "softsign"]
SHAPES: tuple[tuple[int, ...], ...] = ((3,), (6,), (4, 2), (5, 3), (4, 4, 1), (3, 5, 2))
Layer = Callable[[Any], Any]


class Draw:
    """Draw choices and numbers from a seed."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def of(self, choices: Sequence[Any]) -> Any:
        """Return one of some choices."""
        return choices[int(self.generator.integers(len(choices)))]

    def integer(self, low: int, high: int) -> int:
        """Return a number from low to high, both included."""
        return int(self.generator.integers(low, high + 1))


def _weighted(draw: Draw, shape: tuple[int, ...]) -> Layer:
    """Draw a layer of weights that such a shape goes through."""
    own = draw.of(WEIGHTS)
    bias = draw.of([None, bits(4), bits(5, 1)])
    rest: dict[str, Any] = {"use_bias": bias is not None, "bias_quantizer": bias}
    filters = draw.integer(1, 3)
    if len(shape) == 1 or draw.of((False, True)):
        return qkeras.QDense(filters, kernel_quantizer=own, **rest)
    size, padding = draw.integer(1, 3), draw.of(["same", "valid"])
    strides, spread = draw.of([(1, 1), (2, 1), (1, 2)])
    moving = {"strides": strides, "dilation_rate": spread, "padding": padding}
    if len(shape) == 2:
        kind = draw.of(["plain", "separable"])
        if kind == "separable":
            return qkeras.QSeparableConv1D(
                filters, size, depthwise_quantizer=own, pointwise_quantizer=own, **moving, **rest
            )
        return qkeras.QConv1D(filters, size, kernel_quantizer=own, **moving, **rest)
    kind = draw.of(["plain", "depthwise", "separable", "transposed"])
    if kind == "depthwise":
        return qkeras.QDepthwiseConv2D(size, depthwise_quantizer=own, **moving, **rest)
    if kind == "separable":
        return qkeras.QSeparableConv2D(
            filters, size, depthwise_quantizer=own, pointwise_quantizer=own, **moving, **rest
        )
    if kind == "transposed":
        return qkeras.QConv2DTranspose(filters, size, strides=strides, padding=padding, kernel_quantizer=own, **rest)
    return qkeras.QConv2D(filters, size, kernel_quantizer=own, **moving, **rest)


def _plain(draw: Draw, shape: tuple[int, ...]) -> Layer:
    """Draw a layer without weights that such a shape goes through."""
    kinds: list[Callable[[], Layer]] = [
        L.Flatten,
        lambda: L.Dropout(0.1),
        lambda: L.Rescaling(draw.of([0.5, -1.0, 1.25]), draw.of((-1, 1)) * 0.25),
        lambda: lambda x: x * draw.of([2.0, -0.5]) + 0.5,
        lambda: lambda x: keras.ops.flip(x, axis=1),
        lambda: lambda x: keras.ops.concatenate([x, x[:, :1]], axis=1),
        lambda: lambda x: L.Add()([x, x]),
        lambda: lambda x: L.Maximum()([x, -x]),
        lambda: lambda x: L.Multiply()([x, x]),
    ]
    if len(shape) == 1:
        kinds += [lambda: L.RepeatVector(2)]
    if len(shape) == 2:
        kinds += [
            lambda: L.MaxPooling1D(2),
            lambda: L.Permute((2, 1)),
            lambda: L.ZeroPadding1D(1),
            L.GlobalMaxPooling1D,
        ]
    if len(shape) == 3:
        kinds += [lambda: L.MaxPooling2D(2), lambda: L.Cropping2D(((0, 1), (1, 0))), lambda: L.UpSampling2D((1, 2))]
        kinds += [lambda: L.Permute((2, 3, 1)), lambda: L.Flatten(data_format="channels_first"), L.GlobalMaxPooling2D]
    return draw.of(kinds)()


def _rounding(draw: Draw) -> list[Layer]:
    """Draw a rounding of values, perhaps of a float function."""
    rounding = qkeras.QActivation(draw.of(VALUES))
    if draw.of((False, True)):
        return [rounding]
    width, integer = draw.integer(3, 6), draw.integer(0, 2)
    before = draw.of(["function", "normalisation", "mean"])
    if before == "function":
        return [L.Activation(draw.of(FUNCTIONS)), qkeras.QActivation(bits(width, integer))]
    if before == "normalisation":
        return [L.BatchNormalization(), qkeras.QActivation(bits(width, integer))]
    return [
        lambda x: keras.ops.mean(x, axis=1, keepdims=True) if len(x.shape) > 2 else x,
        qkeras.QActivation(bits(width, integer)),
    ]


def keras_model(seed: int) -> tuple[Any, Fixed]:
    """Return a model with random weights, and a format of its inputs."""
    draw = Draw(seed)
    x = inputs = keras.Input(draw.of(SHAPES), name="x")
    for _ in range(draw.integer(1, 3)):
        for make in [draw.of((_weighted, _plain)) for _ in range(draw.integer(1, 2))]:
            layer = make(draw, x.shape[1:])
            try:
                x = layer(x)
            except ValueError:  # of Keras: nothing would be left of a small field
                continue
        for layer in _rounding(draw):
            x = layer(x)
    model = keras.Model(inputs, x)
    for weight in model.weights:
        low, high = (0.3, 2.0) if "variance" in weight.path or "gamma" in weight.path else (-1.3, 1.3)
        if "seed" not in weight.path:
            weight.assign(draw.generator.uniform(low, high, weight.shape))
    return model, Fixed(draw.of((False, True)), draw.integer(3, 6), draw.integer(0, 3))
