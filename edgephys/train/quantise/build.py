"""Build a network again as a Keras model: in floats, or with QKeras' quantisers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras, qkeras
from edgephys.train.quantise.kinds import Kind
from edgephys.train.quantise.plan import Formats, bound_of, positive
from edgephys.train.quantise.steps import Network, Step

CONVOLUTION = ("kernel_size", "strides", "padding", "dilation_rate")
QUANTISED = {
    keras.layers.Dense: (qkeras.QDense, ("units",)),
    keras.layers.Conv1D: (qkeras.QConv1D, ("filters", "groups", *CONVOLUTION)),
    keras.layers.Conv2D: (qkeras.QConv2D, ("filters", "groups", *CONVOLUTION)),
    keras.layers.Conv2DTranspose: (qkeras.QConv2DTranspose, ("filters", *CONVOLUTION)),
    keras.layers.DepthwiseConv2D: (qkeras.QDepthwiseConv2D, ("depth_multiplier", *CONVOLUTION)),
}
"""The QKeras layer of each product, and the settings that it has from the float one."""


@dataclass(frozen=True, eq=False)
class Built:
    """Hold a model and the tensor of each step; ``before`` are those of rounded steps before they are rounded."""

    model: Any
    results: Mapping[str, Any]
    before: Mapping[str, Any]


def built(network: Network, name: str, formats: Formats | None = None) -> Built:
    """Return the network as a Keras model with its weights; without formats, in floats."""
    results: dict[str, Any] = {}
    before: dict[str, Any] = {}
    never_negative = positive(network)
    for step in network.steps.values():
        if step.kind is Kind.INPUT:
            results[step.name] = keras.Input(step.layer.shape[1:], name=step.name)
            continue
        sources = [results[source] for source in step.sources]
        form = None if formats is None else formats.values.get(step.name)
        tensor = sources[0]
        if not (step.kind is Kind.RELU and form is not None):
            layer = _product(step, formats) if formats and step.kind is Kind.PRODUCT else _float_layer(step)
            tensor = _called(layer, step, sources)
        before[step.name] = tensor
        if form is not None:
            name_of_rounding = step.name if step.kind is Kind.RELU else f"{step.name}_rounded"
            tensor = qkeras.QActivation(quantiser(form, step.name in never_negative), name=name_of_rounding)(tensor)
            bound = bound_of(step, form)
            if bound is not None:
                tensor = keras.layers.ReLU(max_value=bound, name=f"{step.name}_bound")(tensor)
        results[step.name] = tensor
    inputs, outputs = ([results[name] for name in names] for names in (network.inputs, network.outputs))
    return Built(keras.Model(one(inputs), one(outputs), name=name), results, before)


def one(tensors: list[Any]) -> Any:
    """Return a single tensor or array of a list, or the list of several."""
    return tensors[0] if len(tensors) == 1 else tensors


def quantiser(form: Fixed, ramp: bool = False) -> Any:
    """Return QKeras' quantiser of a format; ``ramp`` is for values that are to be 0 where they are negative.

    quantized_relu takes no negative integer bits; an unsigned quantized_bits does the same.
    """
    if ramp and form.integer >= 0:
        return qkeras.quantized_relu(form.bits, form.integer)
    return qkeras.quantized_bits(form.bits, form.integer - form.signed, keep_negative=form.signed, alpha=1)


def _called(layer: Any, step: Step, sources: list[Any]) -> Any:
    tensor = layer(one(sources))
    if step.kind is Kind.PRODUCT:
        layer.set_weights([step.kernel] if step.bias is None else [step.kernel, step.bias])
    elif step.layer.weights:
        layer.set_weights(step.layer.get_weights())
    return tensor


def _settings(step: Step) -> dict[str, Any]:
    """Return a layer's settings under the step's name, in float32."""
    settings = {**step.layer.get_config(), "name": step.name}
    settings.pop("dtype", None)
    return settings


def _float_layer(step: Step) -> Any:
    settings = _settings(step)
    if isinstance(step.layer, keras.layers.BatchNormalization):
        settings["trainable"] = False  # fine-tuning leaves its moments as they are
    if step.kind is Kind.PRODUCT:
        settings |= {"activation": None, "use_bias": step.bias is not None}
    return type(step.layer).from_config(settings)


def _product(step: Step, formats: Formats) -> Any:
    kind, keys = QUANTISED[type(step.layer)]
    which = "depthwise" if kind is qkeras.QDepthwiseConv2D else "kernel"
    settings = {key: getattr(step.layer, key) for key in keys}
    settings[f"{which}_quantizer"] = quantiser(formats.kernels[step.name])
    bias = formats.biases.get(step.name)
    settings["bias_quantizer"] = None if bias is None else quantiser(bias)
    return kind(**settings, use_bias=bias is not None, name=step.name)
