"""Read a model's structure, its kernels and the channels that they read, and rebuild a model with other layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.core.remedies import quantise
from edgephys.models.files.keras.quantisers import has_format
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.kernels import inputs_of, kernel_of, quantiser_of, which
from edgephys.networks.layers import ChannelActivation, FrameSum
from edgephys.networks.table_dense import TableDense


def kernel_layers(model: Any) -> list[Any]:
    """Return the layers that multiply by weights, in order.

    Raises: ModelError for a kernel without a quantiser of a fixed scale, such as a float network's, and for a model
    without a kernel, such as the wave operator, whose filters keep a bound.
    """
    layers = [layer for layer in model.layers if kernel_of(layer) is not None]
    if not layers:
        weighted = [f"'{layer.name}' ({type(layer).__name__})" for layer in model.layers if layer.weights]
        raise ModelError(
            f"model '{model.name}': stages train kernels of dense layers and convolutions, and it has none, only "
            f"{', '.join(weighted) or 'layers without weights'}; choose fewer or smaller filters and train again"
        )
    for layer in layers:
        quantiser: Any = quantiser_of(layer)
        if type(quantiser).__name__ != "quantized_bits" or quantiser.alpha not in (1, 1.0):
            raise ModelError(
                f"layer '{layer.name}': its kernel must have quantized_bits(bits, integer, alpha=1) to be compressed; "
                f"train it with bits=8, or 2..16, from the float model, or quantise that: {quantise()}"
            )
    return layers


def activation_layers(model: Any) -> list[Any]:
    """Return the layers that round activations to a format."""
    return [layer for layer in model.layers if _rounds(layer)]


def _rounds(layer: Any) -> bool:
    """Tell whether a layer only rounds and clips, perhaps behind a ReLU; a quantised tanh or sign does more."""
    if isinstance(layer, qkeras.QActivation):
        return has_format(layer.activation)
    return isinstance(layer, ChannelActivation)


def activation_formats(layer: Any) -> tuple[bool, list[int], list[int]] | None:
    """Return whether an activation is signed, and the integer and fraction bits of each channel, without the sign bit.

    None for a layer that does not round, or does more than that.
    """
    if isinstance(layer, ChannelActivation):
        return layer.signed, list(layer.integer), list(layer.fraction)
    if not _rounds(layer):
        return None
    quantiser, channels = layer.activation, inputs_of(layer)[0].shape[-1]
    signed = bool(getattr(quantiser, "keep_negative", False))
    fraction = int(quantiser.bits) - signed - int(quantiser.integer)
    return signed, [int(quantiser.integer)] * channels, [fraction] * channels


def copies(layer: Any) -> int:
    """Return how many copies of a layer parallel hardware has: one for each row of its output."""
    return prod(layer.output.shape[1:-1])


def fan_in(layer: Any) -> int:
    """Return the number of weights of one output."""
    return int(prod(kernel_of(layer).shape)) // int(layer.output.shape[-1])


def mixes(layer: Any) -> bool:
    """Tell whether each output channel of a layer is a sum over several input channels."""
    return kernel_of(layer) is not None or isinstance(layer, FrameSum | TableDense)


def kernel_step(layer: Any) -> float:
    """Return the quantisation step of a layer's kernel."""
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


def flow(model: Any, at_input: Any, at: Callable[[Any, list[Any]], Any]) -> dict[str, Any]:
    """Propagate a property of every channel through a model; return it for the output channels of each layer.

    ``at(layer, inputs)`` returns the property behind a layer that changes it, from those of the layer's inputs, and
    None for a layer that passes it on: concatenated where channels are, repeated where rows become channels, and the
    largest of all where a reshape splits channels.
    """
    of_tensor: dict[int, Any] = {}
    of_layer: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            behind = at_input
        else:
            inputs = [of_tensor[id(tensor)] for tensor in inputs_of(layer)]
            behind = at(layer, inputs)
            behind = _passed_on(layer, inputs) if behind is None else behind
        of_tensor[id(layer.output)] = of_layer[layer.name] = behind
    return of_layer


def _passed_on(layer: Any, inputs: Sequence[Any]) -> Any:
    if isinstance(layer, keras.layers.Concatenate):
        return keras.ops.concatenate(inputs, axis=-1)
    repeats, rest = divmod(layer.output.shape[-1], inputs[0].shape[-1])
    if rest:
        return keras.ops.tile(keras.ops.max(inputs[0], keepdims=True), [layer.output.shape[-1]])
    return keras.ops.tile(inputs[0], [repeats]) if repeats > 1 else inputs[0]


def rebuilt(
    model: Any,
    change: Callable[[Any], Any] = lambda layer: None,
    behind_input: Callable[[Any], Any] | None = None,
    in_front: Callable[[Any], Any] = lambda layer: None,
) -> Any:
    """Return a copy of a model with its weights; ``change(layer)`` replaces a layer where it is not None.

    A new layer whose weights have other shapes keeps its initial ones. ``behind_input`` is a layer to insert directly
    behind the input, ``in_front(layer)`` one to insert in front of a layer of one input, where it is not None.
    """
    tensors: dict[int, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            source = keras.Input(layer.batch_shape[1:], name=layer.name)
            tensors[id(layer.output)] = source if behind_input is None else behind_input(source)
            continue
        changed = change(layer)
        fresh = type(layer).from_config(layer.get_config()) if changed is None else changed
        inputs = [tensors[id(tensor)] for tensor in inputs_of(layer)]
        inserted = in_front(layer)
        inputs = inputs if inserted is None else [inserted(inputs[0])]
        tensors[id(layer.output)] = fresh(inputs if len(inputs) > 1 else inputs[0])
        if layer.weights and [of.shape for of in fresh.weights] == [of.shape for of in layer.weights]:
            fresh.set_weights(layer.get_weights())
    return keras.Model(source, tensors[id(model.outputs[0])], name=model.name)


def requantised(layer: Any, bits: int, integer: int, what: str = "kernel") -> Any:
    """Return a layer like another one with a new quantiser of its kernel or bias, and with weights of zero."""
    setting = which(layer) if what == "kernel" else what
    config = {**layer.get_config(), f"{setting}_quantizer": qkeras.quantized_bits(bits, integer, alpha=1)}
    config |= {f"{setting}_constraint": None, f"{setting}_initializer": "zeros"}
    return type(layer).from_config(config)
