"""What stages know of a model's structure: its kernels, what flows into them, and how to build it again, changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.kernels import kernel_of, quantiser_of, which
from edgephys.networks.layers import ChannelActivation, FrameSum


def kernel_layers(model: Any) -> list[Any]:
    """Return the layers that multiply by weights, in order.

    Raises: ModelError for a kernel without a quantiser of a fixed scale, such as a float network's.
    """
    found = [layer for layer in model.layers if kernel_of(layer) is not None]
    for layer in found:
        quantiser: Any = quantiser_of(layer)
        if type(quantiser).__name__ != "quantized_bits" or quantiser.alpha not in (1, 1.0):
            raise ModelError(
                f"layer '{layer.name}': its kernel must have quantized_bits(bits, integer, alpha=1) to be compressed; "
                "train it with bits=8, or 2..16, from the float model"
            )
    return found


def activation_layers(model: Any) -> list[Any]:
    """Return the layers that round activations."""
    return [layer for layer in model.layers if isinstance(layer, qkeras.QActivation | ChannelActivation)]


def activation_formats(layer: Any) -> tuple[bool, list[int], list[int]] | None:
    """Return an activation's sign and its channels' bits before and behind the point, without the sign.

    None for a layer that rounds nothing.
    """
    if isinstance(layer, ChannelActivation):
        return layer.signed, list(layer.integer), list(layer.fraction)
    if not isinstance(layer, qkeras.QActivation):
        return None
    quantiser, channels = layer.activation, inputs_of(layer)[0].shape[-1]
    signed = bool(getattr(quantiser, "keep_negative", False))
    fraction = int(quantiser.bits) - signed - int(quantiser.integer)
    return signed, [int(quantiser.integer)] * channels, [fraction] * channels


def copies(layer: Any) -> int:
    """Return how often parallel hardware holds a layer: once a row of its output."""
    return prod(layer.output.shape[1:-1])


def fan_in(layer: Any) -> int:
    """Return how many weights make one output."""
    return int(prod(kernel_of(layer).shape)) // int(layer.output.shape[-1])


def mixes(layer: Any) -> bool:
    """Tell whether the channels of a layer's output are sums over those of its input."""
    return kernel_of(layer) is not None or isinstance(layer, FrameSum)


def kernel_step(layer: Any) -> float:
    """Return the distance of two neighbouring weights."""
    quantiser = quantiser_of(layer)
    return float(2.0 ** (quantiser.integer - quantiser.bits + int(quantiser.keep_negative)))


def kernel_limits(layer: Any) -> tuple[int, int]:
    """Return the lowest and the highest weight that a layer can have, in steps of ``kernel_step``."""
    quantiser = quantiser_of(layer)
    half = 2 ** (int(quantiser.bits) - 1)
    return (1 - half if quantiser.symmetric else -half), half - 1


def kernel_integers(layer: Any) -> Integers:
    """Return the quantised kernel in steps of ``kernel_step``."""
    values = keras.ops.convert_to_numpy(quantiser_of(layer)(kernel_of(layer))).astype(np.float64)
    integers: Integers = np.rint(values / kernel_step(layer)).astype(np.int64)
    return integers


def inputs_of(layer: Any) -> list[Any]:
    """Return the tensors that a layer reads."""
    return list(layer._inbound_nodes[0].arguments.keras_tensors)


def flow(model: Any, at_input: Any, at: Callable[[Any, list[Any]], Any]) -> dict[str, Any]:
    """Follow something that every channel has through a model; return, by layer, what its output's channels have.

    ``at(layer, taken)`` returns it for a layer that changes it, given what the layer's inputs have, and None for
    one that passes it on: joined where channels are joined, repeated where rows become channels.
    """
    of_tensor: dict[int, Any] = {}
    of_layer: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            made = at_input
        else:
            taken = [of_tensor[id(tensor)] for tensor in inputs_of(layer)]
            made = at(layer, taken)
            made = _passed_on(layer, taken) if made is None else made
        of_tensor[id(layer.output)] = of_layer[layer.name] = made
    return of_layer


def _passed_on(layer: Any, taken: Sequence[Any]) -> Any:
    if isinstance(layer, keras.layers.Concatenate):
        return keras.ops.concatenate(taken, axis=-1)
    repeats = layer.output.shape[-1] // taken[0].shape[-1]
    return keras.ops.tile(taken[0], [repeats]) if repeats > 1 else taken[0]


def rebuilt(model: Any, change: Callable[[Any], Any], behind_input: Callable[[Any], Any] | None = None) -> Any:
    """Return a copy of a model with its weights; where ``change(layer)`` is not None it takes the layer's place.

    A layer whose weights have other shapes keeps its fresh ones. ``behind_input``, a layer, reads the input first.
    """
    made: dict[int, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            source = keras.Input(layer.batch_shape[1:], name=layer.name)
            made[id(layer.output)] = source if behind_input is None else behind_input(source)
            continue
        changed = change(layer)
        twin = type(layer).from_config(layer.get_config()) if changed is None else changed
        read = [made[id(tensor)] for tensor in inputs_of(layer)]
        made[id(layer.output)] = twin(read if len(read) > 1 else read[0])
        if layer.weights and [of.shape for of in twin.weights] == [of.shape for of in layer.weights]:
            twin.set_weights(layer.get_weights())
    return keras.Model(source, made[id(model.outputs[0])], name=model.name)


def requantised(layer: Any, bits: int, integer: int, what: str = "kernel") -> Any:
    """Return a fresh layer like another, with another quantiser of its kernel or bias, and other weights."""
    setting = which(layer) if what == "kernel" else what
    config = {**layer.get_config(), f"{setting}_quantizer": qkeras.quantized_bits(bits, integer, alpha=1)}
    config |= {f"{setting}_constraint": None, f"{setting}_initializer": "zeros"}
    return type(layer).from_config(config)
