"""What each class of a float layer is to quantisation."""

from __future__ import annotations

from enum import Enum

from edgephys.networks.backend import keras


class Kind(Enum):
    """Say what a step does to the formats of its inputs."""

    INPUT = "input"
    PRODUCT = "product"
    SUM = "sum"
    MEAN = "mean"
    MOVE = "move"
    RELU = "relu"
    FUNCTION = "function"
    LAST = "last"


_L = keras.layers
PRODUCTS = (_L.Dense, _L.Conv1D, _L.Conv2D, _L.DepthwiseConv2D, _L.Conv2DTranspose)
KINDS: dict[type, Kind] = {
    **dict.fromkeys((*PRODUCTS, _L.DepthwiseConv1D, _L.SeparableConv1D, _L.SeparableConv2D), Kind.PRODUCT),
    **dict.fromkeys((_L.Add, _L.Subtract), Kind.SUM),
    **dict.fromkeys((_L.AveragePooling1D, _L.AveragePooling2D, _L.Average), Kind.MEAN),
    **dict.fromkeys((_L.GlobalAveragePooling1D, _L.GlobalAveragePooling2D), Kind.MEAN),
    **dict.fromkeys((_L.MaxPooling1D, _L.MaxPooling2D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D), Kind.MOVE),
    **dict.fromkeys((_L.Flatten, _L.Reshape, _L.Permute, _L.RepeatVector, _L.Concatenate), Kind.MOVE),
    **dict.fromkeys((_L.ZeroPadding1D, _L.ZeroPadding2D, _L.Cropping1D, _L.Cropping2D), Kind.MOVE),
    **dict.fromkeys((_L.UpSampling1D, _L.UpSampling2D, _L.Maximum, _L.Minimum), Kind.MOVE),
    **dict.fromkeys((_L.BatchNormalization, _L.LeakyReLU, _L.ELU, _L.PReLU), Kind.FUNCTION),
    **dict.fromkeys((_L.ReLU, _L.Activation, _L.Softmax, _L.Rescaling, _L.Normalization), Kind.FUNCTION),
}
"""What each class of layer is; ReLU, Activation and Softmax are looked at more closely."""
IN_TIME = (_L.Dense, _L.Activation, _L.ReLU, _L.LeakyReLU, _L.BatchNormalization, _L.Dropout)
"""Layers that TimeDistributed may have: they treat every row alike."""
DROPPED = (
    *(_L.Dropout, _L.SpatialDropout1D, _L.SpatialDropout2D, _L.AlphaDropout, _L.GaussianDropout, _L.GaussianNoise),
    *(_L.ActivityRegularization, _L.Identity),
)
MAXIMA = (
    *(_L.MaxPooling1D, _L.MaxPooling2D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D),
    *(_L.Maximum, _L.Minimum),
)
"""Layers whose range is proven as that of x + max(y - x, 0), which doubles with every pair."""
SLOPE_BITS = 8
"""Bits behind the point of a leaky ReLU's slope."""
LEAKY = 0.2
"""Slope of Keras' activation leaky_relu."""
LAST = ("softmax", "sigmoid")
"""Activations that keep the order of the outputs: at the end they stay floats."""
