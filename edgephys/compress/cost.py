"""The cost of a circuit in LUTs, as a function that can be differentiated: what a stage puts into its loss.

A product with a constant of d signed digits is d shifted copies of the data, each added once: about d rows of
full adders, one LUT a bit. So a kernel costs, for each of its copies, the sum over its weights of digits times the
width of what they multiply and a carry. A bias is one adder more for each sum, and an activation clips, a LUT a bit: of
a small network that is a third, and makes narrow data worth more than its products alone. Common
subexpressions, which distributed arithmetic shares, make up what is left. Source: arXiv 2507.04535 (distributed
arithmetic's adders as the cost); biases and clipping are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edgephys.compress.model_structure import activation_formats, copies, flow, inputs_of, mixes
from edgephys.networks.backend import keras, tf
from edgephys.networks.layers import ConstituentMean, ReceivedSum

GROWTH = 1.0
"""Bits that a sum is wider than what it adds, on average."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """Price a model's digits; ``learned`` computes the widths that are trained, by layer."""

    model: Any
    input_bits: int
    learned: Mapping[str, Callable[[], Any]]

    def price(self, layer: Any) -> Any:
        """Return the adder bits of one signed digit, by the input channel of a layer's kernel."""
        return self._price(layer, self._widths())

    def products(self, layer: Any, digits: Any) -> Any:
        """Return the adder bits of a layer's digits alone, shape (..., input channel, output channel)."""
        return tf.reduce_sum(digits * self.price(layer)[:, None])

    def adder_bits(self, digits: Mapping[str, Callable[[], Any]]) -> Any:
        """Return the adder bits of the model, of which ``digits`` computes each weight's digits, by layer.

        Shape: a kernel's digits (..., input channel, output channel).
        """
        widths = self._widths()
        total: Any = 0.0
        for layer in self.model.layers:
            if layer.name in digits:
                price = self._price(layer, widths)
                total += tf.reduce_sum(digits[layer.name]() * price[:, None])
                total += layer.output.shape[-1] * tf.reduce_max(price) if layer.use_bias else 0.0
            elif self._clips(layer):
                total += copies(layer) * tf.reduce_sum(widths[layer.name])
            elif isinstance(layer, ConstituentMean | ReceivedSum):
                added = prod(inputs_of(layer)[0].shape[1:-1]) - copies(layer)
                total += added * tf.reduce_sum(widths[layer.name] + GROWTH)
        return total

    def _clips(self, layer: Any) -> bool:
        """Say whether a layer rounds sums; what rounds the input moves bits of few wires."""
        rounds = layer.name in self.learned or activation_formats(layer) is not None
        return rounds and not isinstance(inputs_of(layer)[0]._keras_history.operation, keras.layers.InputLayer)

    def _widths(self) -> dict[str, Any]:
        channels = self.model.input_shape[-1]
        return flow(self.model, tf.fill([channels], float(self.input_bits)), self._width)

    def _price(self, layer: Any, widths: Mapping[str, Any]) -> Any:
        data = widths[inputs_of(layer)[0]._keras_history.operation.name]
        return copies(layer) * (data + GROWTH)

    def _width(self, layer: Any, taken: list[Any]) -> Any:
        """Return the width of every channel behind a layer."""
        channels = layer.output.shape[-1]
        if layer.name in self.learned:
            return tf.broadcast_to(self.learned[layer.name](), [channels])
        if (formats := activation_formats(layer)) is not None:
            signed, integer, fraction = formats
            return tf.constant([float(signed + i + f) for i, f in zip(integer, fraction, strict=True)])
        if len(taken) > 1 and not isinstance(layer, keras.layers.Concatenate):
            return tf.maximum(*taken) + GROWTH
        return tf.fill([channels], tf.reduce_max(taken[0])) if mixes(layer) else None
