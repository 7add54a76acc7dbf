"""The cost of a circuit in LUTs, as a function that can be differentiated: what a stage puts into its loss.

A product with a constant of d signed digits is d shifted copies of the data, each added once: about d rows of
full adders, one LUT a bit. So a kernel costs, for each of its copies, the sum over its weights of digits times the
width of what they multiply and a carry; common subexpressions, which distributed arithmetic shares, and rounding
make up what is left. Source: arXiv 2507.04535 (distributed arithmetic's adders as the cost).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from edgephys.compress.anatomy import copies, flow, inputs_of
from edgephys.nets.backend import keras, qkeras, tf
from edgephys.nets.layers import ConstituentMean, ReceivedSum

GROWTH = 1.0
"""Bits that a sum is wider than what it adds, on average."""


def adder_bits(
    model: Any, digits: Mapping[str, Callable[[], Any]], input_bits: int, learned: Mapping[str, Callable[[], Any]]
) -> Any:
    """Return the adder bits of a model.

    ``digits`` gives, by layer, the signed digits of each weight; ``learned`` the widths that are trained.
    Shape: a kernel's digits (..., input channel, output channel).
    """
    widths = flow(model, tf.fill([model.input_shape[-1]], float(input_bits)), _Widths(learned))
    total: Any = 0.0
    for layer in model.layers:
        if layer.name in digits:
            data = widths[inputs_of(layer)[0]._keras_history.operation.name] + GROWTH
            total += copies(layer) * tf.reduce_sum(digits[layer.name]() * data[:, None])
        elif isinstance(layer, ConstituentMean | ReceivedSum):
            shape = inputs_of(layer)[0].shape
            added = prod(shape[1:-1]) - prod(layer.output.shape[1:-1])
            total += added * tf.reduce_sum(widths[layer.name] + GROWTH)
    return total


class _Widths:
    """Give the width of every channel behind a layer."""

    def __init__(self, learned: Mapping[str, Callable[[], Any]]) -> None:
        self.learned = learned

    def __call__(self, layer: Any, taken: list[Any]) -> Any:
        channels = layer.output.shape[-1]
        if layer.name in self.learned:
            return tf.fill([channels], self.learned[layer.name]())
        if isinstance(layer, qkeras.QActivation):
            return tf.fill([channels], float(layer.activation.bits))
        if len(taken) > 1 and not isinstance(layer, keras.layers.Concatenate):
            return tf.maximum(*taken) + GROWTH
        return tf.fill([channels], tf.reduce_max(taken[0])) if hasattr(layer, "kernel") else None
