"""Start a quantised network from a trained float one, rescaled layer by layer to fit its formats.

ReLU, sums and means are positively homogeneous: dividing what a layer sends by s > 0 and multiplying what the
next one receives by s changes nothing but the scale of the logits. With s large enough, activations fit [0, 1),
the range of ``quantized_relu(bits, 0)``; the few largest are clipped, so that the others keep their resolution.
Weights either have to fit [-1, 1) by the same s (``Range.UNIT``, the published quantisers), or get a power of
two of their own as range (``Range.FITTED``), which costs a shift of wires. Layers whose results are added share
one s.
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
from edgephys.networks.backend import keras
from edgephys.networks.layers import Pairs

Floats = NDArray[np.float32]

WITHIN = {8: (99.9, 99.0), 6: (99.5, 97.0), 4: (97.0, 90.0)}
"""Per cent of a layer's activations, and of its weights, that are not clipped, by width: few bits are worth more near
zero. Chosen on Deep Sets, N = 8: with 99.9 and 99 per cent, 4 bits lose 4 points more."""


class Range(Enum):
    """Say where a layer's weights lie: in [-1, 1), or in the power of two that holds most of them."""

    UNIT = "unit"
    FITTED = "fitted"


@dataclass(frozen=True, eq=False)
class Rescaled:
    """Hold weights by layer, their ranges as powers of two, and by how much the logits are smaller."""

    weights: Mapping[str, list[Floats]]
    integers: Mapping[str, int]
    scale: float


def within(bits: int) -> tuple[float, float]:
    """Return the percentiles of the nearest width that ``WITHIN`` states."""
    return WITHIN[min(WITHIN, key=lambda width: abs(width - bits))]


def rescaled(source: Any, x: Floats, kept: tuple[float, float], fit: Range = Range.UNIT) -> Rescaled:
    """Return the weights of a float network, rescaled to fit quantisers.

    ``kept`` are the per cent of a layer's activations and weights that are not clipped. The logits are smaller
    by a power of two, which no argmax notices.
    Shape: x (jet, constituent, feature), inputs on which the activations' ranges are taken.
    """
    layers = [layer for layer in source.layers if isinstance(layer, keras.layers.Dense)]
    reached = _ranges(source, x, kept[0])
    meeting = _meeting(source)
    sent: dict[str, float] = {}  # by the layer at which results meet
    scales: dict[int, Floats] = {}  # of every tensor, one a feature
    weights: dict[str, list[Floats]] = {}
    for layer in source.layers:
        taken = [scales[id(tensor)] for node in layer._inbound_nodes for tensor in node.arguments.keras_tensors]
        if isinstance(layer, keras.layers.InputLayer):
            scale = np.ones(layer.output.shape[-1], np.float32)
        elif isinstance(layer, keras.layers.Dense):
            where = meeting[layer.name]
            if where not in sent:
                together = [_kernel(other, taken[0]) for other in layers if meeting[other.name] == where]
                large = _large([part for parts in together for part in parts], kept[1])
                sent[where] = _sent(reached.get(where), large, fit)
            weights[layer.name] = [part / sent[where] for part in _kernel(layer, taken[0])]
            scale = np.full(layer.units, sent[where], np.float32)
        else:
            width = layer.output.shape[-1]
            joined = np.concatenate(taken) if isinstance(layer, keras.layers.Concatenate) else taken[0]
            scale = joined if len(joined) == width else np.resize(joined, width)  # flattened, row by row
        scales[id(layer.output)] = scale
    fitted = {name: int(np.ceil(np.log2(_large(parts, kept[1])))) for name, parts in weights.items()}
    integers = fitted if fit is Range.FITTED else dict.fromkeys(weights, 0)
    return Rescaled(weights, integers, sent[meeting[layers[-1].name]])


def begin(target: Any, start: Rescaled) -> None:
    """Set the weights of a network to rescaled ones, clipped to the ranges that were chosen for them.

    Raises: ModelError where it has other dense layers.
    """
    shapes = {name: parts[0].shape for name, parts in start.weights.items()}
    wanted = {layer.name: tuple(layer.kernel.shape) for layer in target.layers if hasattr(layer, "kernel")}
    if shapes != wanted:
        raise ModelError(f"starting model: its layers {shapes} must be the recipe's {wanted}; train it with the same")
    for name, parts in start.weights.items():
        limit = 2.0 ** start.integers[name]
        target.get_layer(name).set_weights([np.clip(part, -limit, limit) for part in parts])


def _kernel(layer: Any, taken: Floats) -> list[Floats]:
    """Return the weights of a layer that receives its inputs divided by ``taken``."""
    kernel, *bias = (keras.ops.convert_to_numpy(weight) for weight in layer.get_weights())
    return [kernel * taken[:, None], *bias]


def _large(parts: list[Floats], kept: float) -> float:
    largest = float(np.percentile(np.abs(np.concatenate([part.ravel() for part in parts])), kept))
    return max(largest, 2.0**-8)  # a layer of zeros has no range of its own


def _sent(reached: float | None, large: float, fit: Range) -> float:
    """Return what layers that meet divide their results by; the logits, which reach no ReLU, a power of two."""
    if reached is None:
        return float(2.0 ** np.ceil(np.log2(large)))
    return reached if fit is Range.FITTED else max(reached, large)


def _meeting(model: Any) -> dict[str, str]:
    """Return, by dense layer, the layer at which its result is added to others, or itself, and goes through ReLU."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            readers = [node.operation for node in layer._outbound_nodes]
            found[layer.name] = readers[0].name if readers and isinstance(readers[0], Pairs) else layer.name
    return found


def _ranges(model: Any, x: Floats, kept: float) -> Mapping[str, float]:
    """Return the range of activations after each ReLU, by the layer whose result it takes."""
    outputs = {
        layer._inbound_nodes[0].arguments.keras_tensors[0]._keras_history.operation.name: layer.output
        for layer in model.layers
        if isinstance(layer, keras.layers.ReLU)
    }
    found = keras.Model(model.inputs, outputs).predict(x, batch_size=1024, verbose=0)
    return {name: max(float(np.percentile(values, kept)), 2.0**-8) for name, values in found.items()}
