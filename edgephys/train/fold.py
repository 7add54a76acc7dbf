"""Fold batch normalisation into the weights before it, so that a network without it computes the same.

Behind a sum of kernels, y = sum_k W_k x_k + b, batch normalisation gives g (y - mean) + beta with
g = gamma / sqrt(variance + epsilon), one a channel: the kernels times g, and (b - mean) g + beta as bias.
Source: arXiv 1502.03167, section 3.1 (inference).
"""

from __future__ import annotations

from typing import Any

from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras
from edgephys.networks.kernels import inputs_of, kernel_of
from edgephys.networks.layers import summed


def folded(model: Any, plain: Any) -> Any:
    """Return ``plain`` with the weights of ``model``, in which its batch normalisations are folded.

    ``plain`` is the network without them. A model without batch normalisation gives its weights as they are.
    Raises: ModelError where a normalisation does not stand behind kernels alone, one of them with a bias.
    """
    weights = {layer.name: [_array(w) for w in layer.weights] for layer in model.layers if kernel_of(layer) is not None}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            _fold(layer, weights)
    wanted = {layer.name: [tuple(w.shape) for w in layer.weights] for layer in plain.layers if layer.weights}
    shapes = {name: [w.shape for w in parts] for name, parts in weights.items()}
    if shapes != wanted:
        raise ModelError(f"starting model: its layers {shapes} must be the recipe's {wanted}; train it with the same")
    for name, parts in weights.items():
        plain.get_layer(name).set_weights(parts)
    return plain


def _fold(norm: Any, weights: dict[str, list[Any]]) -> None:
    source = inputs_of(norm)[0]
    names = [layer.name for layer in summed(source) or ()]
    if not names:
        raise ModelError(
            f"layer '{norm.name}': batch normalisation is folded behind sums of kernels, not behind "
            f"'{source._keras_history.operation.name}'; train without it"
        )
    biased = [name for name in names if len(weights[name]) > 1]
    if not biased:
        raise ModelError(f"layer '{norm.name}': one of the kernels before it must have a bias; train with biases")
    mean, variance = _array(norm.moving_mean), _array(norm.moving_variance)
    gamma = _array(norm.gamma) if norm.scale else 1.0
    beta = _array(norm.beta) if norm.center else 0.0
    gain = gamma / (variance + norm.epsilon) ** 0.5
    for name in names:
        weights[name][0] = weights[name][0] * gain
    shift = sum(weights[name][1] for name in biased)
    for name in biased:
        weights[name][1] = weights[name][1] * 0.0
    weights[biased[0]][1] = (shift - mean) * gain + beta


def _array(variable: Any) -> Any:
    """Return a weight as a float64 array."""
    return keras.ops.convert_to_numpy(variable).astype("float64")
