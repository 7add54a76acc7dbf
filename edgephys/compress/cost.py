"""The cost of a circuit in LUTs as a differentiable function, which stages add to their loss.

A product with a constant of d signed digits is the sum of d shifted copies of the data: about d rows of full adders,
one LUT a bit. So a kernel costs, for each of its copies, the sum over its weights of the digits times the width of the
data and a carry. A bias costs one more adder for each sum, and an activation that clips costs one LUT a bit: together a
third of a small network's cost. The estimate is high where distributed arithmetic shares common subexpressions.
Source: arXiv 2507.04535 (distributed arithmetic's adders as the cost); biases and clipping are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from edgephys.compress.model_structure import activation_formats, copies, flow, mixes
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import inputs_of
from edgephys.networks.layers import ConstituentMean, ReceivedSum

GROWTH = 1.0
"""Bits by which a sum is wider than its terms, on average."""


@dataclass(frozen=True, eq=False)
class CircuitCost:
    """Price the signed digits of a model's weights; ``learned`` computes the widths that are trained, by layer."""

    model: Any
    input_bits: int
    learned: Mapping[str, Callable[[], Any]]

    def price(self, layer: Any) -> Any:
        """Return the adder bits of one signed digit of a layer's kernel.  Shape: (input channel,)."""
        return self._price(layer, self._widths())

    def adder_bits(self, digits: Mapping[str, Callable[[], Any]]) -> Any:
        """Return the adder bits of the model; ``digits`` computes the digits of each weight, by layer.

        Shape: the digits of a kernel (..., input channel, output channel).
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
        """Tell whether a layer rounds sums; a layer that rounds the input alone costs little."""
        rounds = layer.name in self.learned or activation_formats(layer) is not None
        return rounds and not isinstance(inputs_of(layer)[0]._keras_history.operation, keras.layers.InputLayer)

    def _widths(self) -> dict[str, Any]:
        channels = self.model.input_shape[-1]
        return flow(self.model, tf.fill([channels], float(self.input_bits)), self._width)

    def _price(self, layer: Any, widths: Mapping[str, Any]) -> Any:
        data = widths[inputs_of(layer)[0]._keras_history.operation.name]
        return copies(layer) * (data + GROWTH)

    def _width(self, layer: Any, inputs: list[Any]) -> Any:
        """Return the width of every channel behind a layer."""
        channels = layer.output.shape[-1]
        if layer.name in self.learned:
            return tf.broadcast_to(self.learned[layer.name](), [channels])
        if (formats := activation_formats(layer)) is not None:
            signed, integer, fraction = formats
            return tf.constant([float(signed + i + f) for i, f in zip(integer, fraction, strict=True)])
        if len(inputs) > 1 and not isinstance(layer, keras.layers.Concatenate):
            return tf.reduce_max(tf.stack(inputs), axis=0) + GROWTH
        return tf.fill([channels], tf.reduce_max(inputs[0])) if mixes(layer) else None
