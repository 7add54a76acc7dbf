"""Start a quantised network from a trained float one, rescaled channel by channel to fit its formats.

ReLU and the mean are positively homogeneous: dividing what a channel receives by s > 0 and multiplying
what it sends by s changes nothing. With s large enough, activations fit [0, 1) and weights [-1, 1), the
ranges of ``quantized_relu(bits, 0)`` and ``quantized_bits(bits, 0)``.
Source: cross-layer equalisation, arXiv 1906.04721, section 4.1; ours: s from the activations' range too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.errors import ModelError
from edgephys.nets.backend import keras

Floats = NDArray[np.float32]

RANGE_PERCENTILE = 99.9
"""Share of a channel's activations that must lie below 1."""
TINY = 1e-3
"""Least divisor: a channel that is always 0 stays so."""


def transfer(source: Any, target: Any, x: Floats) -> float:
    """Set the weights of ``target`` to those of ``source``, rescaled to fit target's quantisers.

    Returns the power of two by which the logits of ``target`` are smaller, which no argmax notices.
    Shape: x (jet, constituent, feature), inputs on which the activations' ranges are taken.
    Raises: ModelError where the two do not have the same dense layers.
    """
    layers = [layer for layer in source.layers if isinstance(layer, keras.layers.Dense)]
    shapes = {layer.name: layer.kernel.shape for layer in layers}
    wanted = {layer.name: layer.kernel.shape for layer in target.layers if hasattr(layer, "kernel")}
    if shapes != wanted:
        raise ModelError(f"starting model: its layers {shapes} must be the recipe's {wanted}; train it with the same")
    reached = _ranges(source, [layer.name for layer in layers[:-1]], x)
    received: Floats = np.ones(layers[0].kernel.shape[0], np.float32)  # scale of what the layer receives
    for layer in layers:
        kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias))
        kernel = kernel * received[:, None]
        sent = np.maximum(np.abs(kernel).max(0), np.abs(bias))
        if layer.name in reached:
            sent = np.maximum(sent, reached[layer.name])
        else:  # one power of two for all logits
            sent = np.full_like(sent, 2.0 ** np.ceil(np.log2(sent.max())))
        sent = np.maximum(sent, TINY).astype(np.float32)
        target.get_layer(layer.name).set_weights([np.clip(kernel / sent, -1, 1), np.clip(bias / sent, -1, 1)])
        received = sent
    return float(received[0])


def _ranges(model: Any, names: list[str], x: Floats) -> dict[str, Floats]:
    """Return each channel's activation range after each named layer's ReLU."""
    outputs = {name: model.get_layer(f"{name}_relu").output for name in names}
    found = keras.Model(model.inputs, outputs).predict(x, batch_size=4096, verbose=0)
    return {
        name: np.percentile(values.reshape(-1, values.shape[-1]), RANGE_PERCENTILE, axis=0).astype(np.float32)
        for name, values in found.items()
    }
