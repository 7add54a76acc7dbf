"""Start a quantised network from a trained float one, rescaled layer by layer to fit its formats.

ReLU and the mean are positively homogeneous: dividing what a layer sends by s > 0 and multiplying what the
next one receives by s changes nothing but the scale of the logits. With s large enough, activations fit [0, 1)
and weights [-1, 1), the ranges of ``quantized_relu(bits, 0)`` and ``quantized_bits(bits, 0)``; the few largest
are clipped, so that the others keep their resolution.
Source: the rescaling of arXiv 1906.04721, section 4.1; ours: one s a layer, from percentiles of both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.errors import ModelError
from edgephys.nets.backend import keras

Floats = NDArray[np.float32]

ACTIVATIONS_WITHIN = 99.9
WEIGHTS_WITHIN = 99.0
"""Per cent of a layer's activations, and of its weights, that are not clipped."""


def transfer(source: Any, target: Any, x: Floats, weights_within: float = WEIGHTS_WITHIN) -> float:
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
    received = sent = 1.0
    for layer in layers:
        kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in (layer.kernel, layer.bias))
        kernel = kernel * received
        large = float(np.percentile(np.abs(np.append(kernel, bias)), weights_within))
        sent = max(reached[layer.name], large) if layer.name in reached else float(2.0 ** np.ceil(np.log2(large)))
        target.get_layer(layer.name).set_weights([np.clip(kernel / sent, -1, 1), np.clip(bias / sent, -1, 1)])
        received = sent
    return sent


def _ranges(model: Any, names: list[str], x: Floats) -> dict[str, float]:
    """Return the range of activations after each named layer's ReLU."""
    outputs = {name: model.get_layer(f"{name}_relu").output for name in names}
    found = keras.Model(model.inputs, outputs).predict(x, batch_size=4096, verbose=0)
    return {name: float(np.percentile(values, ACTIVATIONS_WITHIN)) for name, values in found.items()}
