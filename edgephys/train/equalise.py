"""Start a quantised network from a trained float one, rescaled layer by layer to fit its formats.

ReLU, sums and means are positively homogeneous: dividing the outputs of a layer by s > 0 and multiplying the weights
of the next one by s changes nothing but the scale of the network's output. With s large enough, activations fit
[0, 1), the range of ``quantized_relu(bits, 0)``, or the range of the quantiser between two convolutions; the few
largest are clipped, so that the others keep their resolution. Weights either have to fit [-1, 1) by the same s
(``WeightRange.UNIT``, the published quantisers), or get a power of two of their own as range
(``WeightRange.FITTED``), which costs a shift of wires. Layers whose results are added share one s.
Source: the rescaling of arXiv 1906.04721, section 4.1; ours: one s a layer, from percentiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras, predict, qkeras
from edgephys.networks.kernels import kernel_of
from edgephys.networks.layers import ConstituentMean, FrameSum, Pairs, ReceivedSum, summed

Floats = NDArray[np.float32]

WITHIN = {8: (99.9, 99.0), 6: (99.5, 97.0), 4: (97.0, 90.0)}
"""Per cent of a layer's activations, and of its weights, that are not clipped, by width: few bits are worth more near
zero. Chosen on Deep Sets, N = 8: with 99.9 and 99 per cent, 4 bits lose 4 points more."""

LEAST = 2.0**-8
"""Range of a layer whose values are all 0, or nearly."""

HOMOGENEOUS = (
    keras.layers.InputLayer,
    keras.layers.ReLU,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Concatenate,
    keras.layers.Add,
    ConstituentMean,
    FrameSum,
    Pairs,
    ReceivedSum,
)
"""Layers without weights whose outputs scale as their inputs do."""


class WeightRange(Enum):
    """Say where a layer's weights lie: in [-1, 1), or in the power of two that holds most of them."""

    UNIT = "unit"
    FITTED = "fitted"


@dataclass(frozen=True, eq=False)
class Rescaled:
    """Hold weights by layer, their ranges as powers of two, and the factor by which the network's output is smaller."""

    weights: Mapping[str, list[Floats]]
    integers: Mapping[str, int]
    scale: float


def percentiles(bits: int) -> tuple[float, float]:
    """Return the percentiles of the nearest width that ``WITHIN`` states."""
    return WITHIN[min(WITHIN, key=lambda width: abs(width - bits))]


def rescaled(
    source: Any,
    target: Any,
    x: Floats,
    within: tuple[float, float],
    fit: WeightRange = WeightRange.UNIT,
    logits: bool = True,
) -> Rescaled:
    """Return the weights of a float network, rescaled to fit the quantisers of the network ``target``.

    ``within`` are the per cent of a layer's activations and weights that are not clipped. Logits become smaller by a
    power of two, which does not change the largest of them; other outputs keep their scale.
    Shape: x (example, ...), inputs on which the ranges of activations are measured.
    Raises: ModelError where the layers of both differ, or one is not positively homogeneous.
    """
    _require_same_layers(source, target)
    layers = [layer for layer in source.layers if kernel_of(layer) is not None]
    ranges = _ranges(source, target, x, within[0])
    shared = {layer.name: _sum_of(layer) for layer in layers}
    divisors: dict[str, float] = {}  # by the layer that adds the results
    scales: dict[int, Floats] = {}  # of every tensor, one a feature
    weights: dict[str, list[Floats]] = {}
    for layer in source.layers:
        inputs = [scales[id(tensor)] for node in layer._inbound_nodes for tensor in node.arguments.keras_tensors]
        if layer not in layers:
            scales[id(layer.output)] = _scale(layer, inputs)
            if isinstance(layer, ReceivedSum):  # the target may divide by another power of two
                scales[id(layer.output)] *= 2.0 ** (target.get_layer(layer.name).shift - layer.shift)
            continue
        where = shared[layer.name]
        if where not in divisors:
            kernels = [_kernel(other, inputs[0]) for other in layers if shared[other.name] == where]
            large = _large([part for parts in kernels for part in parts], within[1])
            divisors[where] = _divisor(ranges.get(where), large, fit, logits)
        weights[layer.name] = [part / divisors[where] for part in _kernel(layer, inputs[0])]
        scales[id(layer.output)] = np.full(layer.output.shape[-1], divisors[where], np.float32)
    fitted = {name: int(np.ceil(np.log2(_large(parts, within[1])))) for name, parts in weights.items()}
    integers = fitted if fit is WeightRange.FITTED else dict.fromkeys(weights, 0)
    return Rescaled(weights, integers, divisors[shared[layers[-1].name]])


def assign(target: Any, start: Rescaled) -> None:
    """Set the weights of a network to rescaled ones, clipped to the ranges that were chosen for them."""
    for name, parts in start.weights.items():
        limit = 2.0 ** start.integers[name]
        target.get_layer(name).set_weights([np.clip(part, -limit, limit) for part in parts])


def _require_same_layers(source: Any, target: Any) -> None:
    kernels = ({layer.name: kernel_of(layer) for layer in model.layers} for model in (source, target))
    shapes, wanted = (
        {name: tuple(kernel.shape) for name, kernel in of.items() if kernel is not None} for of in kernels
    )
    if shapes != wanted:
        raise ModelError(f"starting model: its layers {shapes} must be the recipe's {wanted}; train it with the same")


def _kernel(layer: Any, scale: Floats) -> list[Floats]:
    """Return the weights of a layer whose inputs are divided by ``scale``.  Shape: kernel (..., input, output)."""
    kernel, *bias = (keras.ops.convert_to_numpy(weight) for weight in layer.get_weights())
    return [kernel * scale[:, None], *bias]


def _large(parts: list[Floats], within: float) -> float:
    return max(float(np.percentile(np.abs(np.concatenate([part.ravel() for part in parts])), within)), LEAST)


def _divisor(reached: float | None, large: float, fit: WeightRange, logits: bool) -> float:
    """Return the s of layers that share one; ``reached`` is None for those that give the network's output."""
    if reached is None:
        return float(2.0 ** np.ceil(np.log2(large))) if logits else 1.0
    return reached if fit is WeightRange.FITTED else max(reached, large)


def _scale(layer: Any, inputs: list[Floats]) -> Floats:
    """Return by what the outputs of a layer without weights are divided, given the same of its inputs."""
    if not isinstance(layer, HOMOGENEOUS):
        raise ModelError(
            f"starting model: layer '{layer.name}' must scale its outputs as its inputs, which "
            f"{type(layer).__name__} does not; train without a float start"
        )
    if not inputs:
        return np.ones(layer.output.shape[-1], np.float32)
    if isinstance(layer, keras.layers.Concatenate):
        joined = np.concatenate(inputs)
    else:
        joined = inputs[0]
        if any(not np.array_equal(other, joined) for other in inputs):
            raise ModelError(
                f"starting model: layer '{layer.name}' adds results of different scales; train without a float start"
            )
    width = layer.output.shape[-1]
    return joined if len(joined) == width else np.resize(joined, width)  # flattened, row by row


def _sum_of(layer: Any) -> str:
    """Return the layer in which the result of a kernel is added to those of other kernels, or itself."""
    reader = layer
    while readers := [node.operation for node in reader._outbound_nodes]:
        reader = readers[0]
        if not isinstance(reader, Pairs | keras.layers.Add | keras.layers.Reshape):
            break
        if len(summed(reader.output) or ()) > 1:
            return str(reader.name)
    return str(layer.name)


def _ranges(source: Any, target: Any, x: Floats, within: float) -> Mapping[str, float]:
    """Return the range of activations, by the layer whose result is quantised, in units of the quantiser's range.

    That are the inputs of each ReLU, and results of a kernel that another kernel reads.
    """
    outputs = {_input_of(layer).name: layer.output for layer in source.layers if isinstance(layer, keras.layers.ReLU)}
    units = dict.fromkeys(outputs, 1.0)
    last = [tensor._keras_history.operation for tensor in target.outputs]
    for layer in target.layers:
        quantiser = layer.activation if isinstance(layer, qkeras.QActivation) else None
        if isinstance(quantiser, qkeras.quantized_bits) and layer not in last:
            name = _input_of(layer).name
            outputs[name], units[name] = source.get_layer(name).output, 2.0**quantiser.integer
    ranges = {}
    for name, output in outputs.items():  # one at a time: a layer's values on all fields are large
        values = predict(keras.Model(source.inputs, output), x, 1024)
        ranges[name] = max(float(np.percentile(np.abs(values), within)), LEAST) / units[name]
    return ranges


def _input_of(layer: Any) -> Any:
    return layer._inbound_nodes[0].arguments.keras_tensors[0]._keras_history.operation
