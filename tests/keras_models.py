"""Small Keras models for the lowering: held against Keras itself bit for bit, or refused."""

import numpy as np
import pytest

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.models.files.keras import lower
from edgephys.networks.backend import keras, qkeras

INPUT = Fixed(True, 8, 3, Rounding.RND_CONV, Overflow.SAT)


def bits(count, integer=0, **settings):
    return qkeras.quantized_bits(count, integer, alpha=1, **settings)


def qdense(units, name, count=4, **settings):
    return qkeras.QDense(
        units, name=name, **{"kernel_quantizer": bits(count), "bias_quantizer": bits(count), **settings}
    )


def activation(quantiser, name):
    return qkeras.QActivation(quantiser, name=name)


def model_of(shape, *layers):
    x = inputs = keras.Input(shape, name="x")
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def random_net(net, seed=0):
    """Return a net's model with random weights within the quantisers' range, and variances that are positive."""
    model = net.build()
    generator = np.random.default_rng(seed)
    weights = [(weight.name, generator.uniform(-1, 1, weight.shape)) for weight in model.weights]
    model.set_weights([values**2 + 0.1 if name == "moving_variance" else values for name, values in weights])
    return model


def scattered(model, seed):
    """Return the model with random weights, some beyond the quantisers' range."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(-1.3, 1.3, weight.shape) for weight in model.get_weights()])
    return model


def assert_equal_to_keras(model, fixed=INPUT, seed=0, count=300, compiled=False):
    """Hold every integer of the golden model against Keras; return the graph."""
    graph = lower(scattered(model, seed), fixed, "m")
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *graph.input.shape), endpoint=True)
    x[0], x[1] = fixed.low, fixed.high
    values = fixed.values(x).astype(np.float32)
    found = np.asarray(model.predict(values, verbose=0) if compiled else model(values), np.float64)
    golden = graph.output.fixed.values(evaluate.run(graph, x))
    assert found.shape == golden.shape
    assert (found == golden).all()
    assert len(np.unique(golden)) > 1
    return graph


def qconv(filters, size, name, **settings):
    quantisers = {"kernel_quantizer": bits(5), "bias_quantizer": bits(5)}
    return qkeras.QConv2D(filters, size, name=name, **{"padding": "same", **quantisers, **settings})


def qdepthwise(size, name, **settings):
    quantisers = {"depthwise_quantizer": bits(5), "bias_quantizer": bits(5)}
    return qkeras.QDepthwiseConv2D(size, name=name, **{"padding": "same", **quantisers, **settings})


def refuses(message, *layers, shape=(5,), fixed=INPUT):
    with pytest.raises(ModelError, match=f"^{message}$"):
        lower(model_of(shape, *layers), fixed, "m")
