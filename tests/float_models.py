"""Small float Keras models for quantisation, with random weights and inputs."""

import numpy as np

from edgephys.networks.backend import keras

L = keras.layers


def chain(shape, *layers):
    return keras.Sequential([keras.Input(shape), *layers])


def scattered(model, seed=0):
    """Return a model with random weights: kernels of He's scale, normalisations that are no longer fresh ones."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if "kernel" in weight.path:
            fan_in = np.prod(weight.shape[: -1 if "depthwise" not in weight.path else -2])
            weight.assign(generator.normal(0, np.sqrt(2 / fan_in), weight.shape))
        else:
            low = 0.5 if "variance" in weight.path or "gamma" in weight.path else -0.5
            weight.assign(generator.uniform(low, 1.0, weight.shape))
    return model


def random_inputs(model, count=120, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(0, 2, (count, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]


def one(make, shape=(8,)):
    x = keras.Input(shape)
    return keras.Model(x, make(x))


def residual(x):
    x = L.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(x))
    return L.Dense(3, "softmax")(L.GlobalAveragePooling2D()(L.ReLU()(L.Add()([x, y]))))


def two_inputs():
    x, y = keras.Input((8,)), keras.Input((6,))
    return keras.Model([x, y], L.Add()([L.Dense(4)(x), L.Dense(4)(y)]))


def shared(x):
    layer = L.Dense(8, "relu")
    return L.Dense(2)(layer(layer(x)))


def operations(x):
    y = keras.ops.relu(L.Dense(6)(x)) * 0.5 + x
    y = keras.ops.concatenate([y - x, keras.ops.maximum(x, y)], axis=-1)
    y = keras.ops.tanh(keras.ops.transpose(y, (0, 2, 1)) / 3)
    return L.Dense(2)(keras.ops.mean(keras.ops.reshape(y, (-1, 6, 8)), axis=1))


MODELS = {
    "mlp": lambda: chain((8,), L.Dense(8, "relu"), L.Dropout(0.1), L.Dense(3, "softmax")),
    "cnn": lambda: chain(
        (8, 8, 1), L.Conv2D(4, 3, use_bias=False), L.BatchNormalization(), L.MaxPooling2D(2), L.ReLU(),
        L.AveragePooling2D(3), L.Flatten(), L.Dense(3),
    ),
    "conv1d": lambda: chain((12, 3), L.Conv1D(4, 3, strides=2, activation="relu"), L.Flatten(), L.Dense(2, "sigmoid")),
    "separable": lambda: chain(
        (6, 6, 2), L.SeparableConv2D(4, 3, activation="relu"), L.DepthwiseConv2D(3, depth_multiplier=2),
        L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(2),
    ),
    "residual": lambda: one(residual, (6, 6, 2)),
    "normalised_first": lambda: chain((8,), L.BatchNormalization(), L.Dense(8, "relu"), L.BatchNormalization()),
    "bounded": lambda: chain((8,), L.Dense(8), L.ReLU(6.0), L.Dense(4, "relu6")),
    "leaky": lambda: chain((8,), L.Dense(8), L.LeakyReLU(0.3), L.Dense(4, "leaky_relu"), L.Dense(2)),
    "curved": lambda: chain((8,), L.Dense(6, "tanh"), L.Dense(6, "elu"), L.Dense(6), L.PReLU(), L.Dense(2, "tanh")),
    "concatenated": lambda: one(lambda x: L.Dense(2)(L.Concatenate()([L.Dense(4, "relu")(x), L.Dense(3)(x), x]))),
    "shared": lambda: one(shared),
    "nested": lambda: chain((8,), chain((8,), L.Dense(4, "relu")), L.Dense(2, "relu")),
    "mean_at_the_end": lambda: chain((4, 4, 2), L.Conv2D(3, 3), L.GlobalAveragePooling2D(), L.Softmax()),
    "moved": lambda: chain((4, 6), L.Permute((2, 1)), L.Dense(8), L.Reshape((4, 12)), L.Flatten("channels_first")),
    "two_inputs": two_inputs,
    "two_outputs": lambda: one(lambda x: [L.Dense(2)(x), L.Dense(3, "softmax")(x)]),
    "operations": lambda: one(operations, (4, 6)),
    "rows": lambda: chain((12, 3), L.SeparableConv1D(4, 3, activation="relu"), L.DepthwiseConv1D(3, depth_multiplier=2),
                          L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(2)),
    "in_time": lambda: chain((5, 4), L.TimeDistributed(L.Dense(4, "relu")), L.GlobalMaxPooling1D(), L.Dense(2)),
    "transposed": lambda: chain((4, 4, 2), L.Conv2DTranspose(3, 3, strides=2, padding="same"), L.BatchNormalization(),
                                L.ReLU(), L.Conv2D(2, 3)),
    "scaled": lambda: chain((8,), L.Normalization(mean=[0.5] * 8, variance=[2.0] * 8), L.Dense(4, "relu"), L.Dense(2)),
    "relu_alone": lambda: chain((8,), L.ReLU(), L.Dense(2)),
}  # fmt: skip
