"""Untie: move every bias by half of its finest step, so that no sum is a tie, half-way between two activations.

Keras rounds half to even, which costs an adder and a comparison for each activation. Where no sum can be a tie,
rounding half up gives the same integers, and its half is a constant that the bias already adds: rounding is free.
A sum of products in steps of 2**-f is never a tie once the bias is an odd multiple of 2**-(f + 1). The passes of
``lower`` prove this again on the Graph. Ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.applications.task import Task
from edgephys.compress.model_structure import (
    activation_formats,
    activation_layers,
    flow,
    kernel_layers,
    kernel_step,
    mixes,
    rebuilt,
    requantised,
)
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, Stage, StageResult
from edgephys.networks.backend import keras
from edgephys.networks.kernels import inputs_of, kernel_of
from edgephys.networks.layers import Pairs


@register("untie")
@dataclass(frozen=True)
class Untie(Stage):
    """Make roundings free: sums move by half of their finest step; nothing is trained."""

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the model with biases one bit finer than its products."""
        kernel_layers(model)
        fractions = flow(model, np.full(model.input_shape[-1], task.input.fraction), _fraction)
        moved: dict[str, tuple[Any, Any]] = {}
        for layer in activation_layers(model):
            (source,) = inputs_of(layer)
            biased = [of for of in _summed(source) if of.use_bias]
            if biased:
                fraction = int(np.max(fractions[_owner(source).name])) + 1
                moved[biased[0].name] = _odd(biased[0], fraction)
        fresh = rebuilt(model, lambda layer: moved[layer.name][0] if layer.name in moved else None)
        for name, (_, bias) in moved.items():
            fresh.get_layer(name).set_weights([keras.ops.convert_to_numpy(kernel_of(model.get_layer(name))), bias])
        return StageResult(fresh, {"free_roundings": len(moved), "roundings": len(activation_layers(model))})


def _owner(tensor: Any) -> Any:
    return tensor._keras_history.operation


def _summed(tensor: Any) -> list[Any]:
    """Return the layers with kernels whose outputs are added in a tensor."""
    layer = _owner(tensor)
    if kernel_of(layer) is not None:
        return [layer]
    through = isinstance(layer, Pairs | keras.layers.Add | keras.layers.Flatten | keras.layers.Reshape)
    return [of for source in inputs_of(layer) for of in _summed(source)] if through else []


def _fraction(layer: Any, inputs: list[Any]) -> Any:
    """Return the fraction bits of every channel behind a layer."""
    channels = layer.output.shape[-1]
    if kernel_of(layer) is not None:
        return np.full(channels, np.max(inputs[0]) - round(math.log2(kernel_step(layer))))
    if (formats := activation_formats(layer)) is not None:
        return np.array(formats[2])
    if mixes(layer):
        return np.full(channels, np.max(inputs[0]))
    return np.max(inputs, axis=0) if isinstance(layer, Pairs | keras.layers.Add) else None


def _odd(layer: Any, fraction: int) -> tuple[Any, Any]:
    """Return a layer whose bias has ``fraction`` fraction bits, and the odd biases nearest to its own."""
    values = keras.ops.convert_to_numpy(layer.bias_quantizer_internal(layer.bias)).astype(np.float64)
    odd = 2 * np.rint((values * 2.0**fraction - 1) / 2) + 1
    integer = max(layer.bias_quantizer_internal.integer, int(np.abs(odd).max() * 2.0**-fraction).bit_length())
    finer = requantised(layer, 1 + integer + fraction, integer, "bias")
    return finer, (odd * 2.0**-fraction).astype(np.float32)
