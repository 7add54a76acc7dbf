"""Write a model that somebody brings as one that every stage reads: a graph of layers with one task each.

Stages follow the channels of a model from layer to layer, and train kernels that are quantised with a fixed step. So a
nested model becomes its layers, an activation within a layer becomes a layer of its own, a dense layer or an activation
in ``TimeDistributed`` stands for itself, a sum that is written as an operator becomes a layer, and what only training
does (Dropout) is left out. A scale that is one power of two for a whole kernel becomes its step. The function is the
same one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgephys.compress.fixed_steps import with_fixed_steps
from edgephys.core.errors import ModelError
from edgephys.core.names import unused
from edgephys.models.files.keras import activations
from edgephys.models.files.keras.calls import functional, outputs_for
from edgephys.models.files.keras.operations import is_operation
from edgephys.models.files.keras.rules import RULES
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.kernels import is_depthwise, kernel_of
from edgephys.networks.layers import ChannelActivation, ConstituentMean, FrameSum, Pairs, ReceivedSum
from edgephys.networks.table_dense import TableDense

_LAYERS = keras.layers
KERNELS = (qkeras.QDense, qkeras.QConv1D, qkeras.QConv2D, qkeras.QDepthwiseConv2D)
"""Layers whose kernels stages train: each of their columns is an output channel."""
ELEMENTWISE = (
    *(qkeras.QActivation, ChannelActivation, _LAYERS.Activation, _LAYERS.ReLU, _LAYERS.LeakyReLU, _LAYERS.ELU),
    *(_LAYERS.Rescaling, _LAYERS.BatchNormalization, qkeras.QBatchNormalization),
)
JOINS = (_LAYERS.Add, _LAYERS.Subtract, _LAYERS.Multiply, _LAYERS.Average, _LAYERS.Maximum, _LAYERS.Minimum)
MOVES = (
    *(_LAYERS.Concatenate, _LAYERS.Flatten, _LAYERS.Reshape, _LAYERS.RepeatVector),
    *(_LAYERS.ZeroPadding1D, _LAYERS.ZeroPadding2D, _LAYERS.Cropping1D, _LAYERS.Cropping2D),
    *(_LAYERS.UpSampling1D, _LAYERS.UpSampling2D),
)
POOLS = (
    *(_LAYERS.MaxPooling1D, _LAYERS.MaxPooling2D, _LAYERS.GlobalMaxPooling1D, _LAYERS.GlobalMaxPooling2D),
    *(_LAYERS.AveragePooling1D, _LAYERS.AveragePooling2D),
    *(_LAYERS.GlobalAveragePooling1D, _LAYERS.GlobalAveragePooling2D),
    *(qkeras.QAveragePooling2D, qkeras.QGlobalAveragePooling2D, ConstituentMean, Pairs, ReceivedSum, FrameSum),
)
FOLLOWED = (*KERNELS, TableDense, *ELEMENTWISE, *JOINS, *MOVES, *POOLS, _LAYERS.Softmax)
"""Layers through which stages follow channels."""
SUMS = {"Add": _LAYERS.Add, "Subtract": _LAYERS.Subtract, "Multiply": _LAYERS.Multiply}
SUMS |= {"Maximum": _LAYERS.Maximum, "Minimum": _LAYERS.Minimum}
"""Operators of two tensors, and the layers that compute them."""
KINDS = "QDense, QConv1D, QConv2D, QDepthwiseConv2D, quantised activations, pooling, and sums and joins of channels"


def trainable(model: Any) -> Any:
    """Return a model with the same function and weights, whose layers have one task each and are called once.

    Raises: ModelError naming the layer that stages cannot follow, and for a model of several inputs or outputs.
    """
    model = functional(model)
    for what, tensors in (("input", model.inputs), ("output", model.outputs)):
        if len(tensors) != 1:
            raise ModelError(
                f"model '{model.name}': it must have 1 {what} to be trained on, not {len(tensors)}; join them within "
                "the model"
            )
    (source,) = model.inputs
    copy = _Copy()
    start = keras.Input(source.shape[1:], name=copy.name(source._keras_history.operation.name))
    (end,) = copy.model(model, [start])
    return keras.Model(start, end, name=model.name)


class _Copy:
    """Copy layers of a model, and of models in it, under names of their own."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.copied: set[int] = set()

    def name(self, wanted: str) -> str:
        """Return a name that no layer has yet: the wanted one, or that with a number."""
        name = unused(wanted, self.names)
        self.names.add(name)
        return name

    def model(self, model: Any, tensors: Sequence[Any]) -> list[Any]:
        """Return the outputs of a model's copy for other inputs."""
        return outputs_for(model, tensors, self.call)

    def call(self, layer: Any, node: Any, inputs: list[Any]) -> list[Any]:
        """Return the outputs of a call's copy."""
        if isinstance(layer, keras.Model):
            self.require_once(layer)
            return self.model(functional(layer), inputs)
        return [self.operation(layer, inputs) if is_operation(layer) else self.layer(layer, inputs)]

    def require_once(self, layer: Any) -> None:
        """Raise ModelError for a layer that is called a second time."""
        if id(layer) in self.copied:
            raise ModelError(
                f"layer '{layer.name}': it is called several times, but stages train a layer for one place; give each "
                "place a layer of its own"
            )
        self.copied.add(id(layer))

    def operation(self, operation: Any, inputs: list[Any]) -> Any:
        """Return the result of an operator of two tensors, as a layer computes it."""
        kind = SUMS.get(type(operation).__name__)
        if kind is None or len(inputs) != 2 or inputs[0].shape != inputs[1].shape:
            raise ModelError(
                f"operation '{operation.name}' ({type(operation).__name__}): stages follow layers, not operations; "
                "use a layer of Keras, such as keras.layers.Add or Reshape"
            )
        return kind(name=self.name(operation.name))(inputs)

    def layer(self, layer: Any, inputs: list[Any]) -> Any:
        """Return the result of a layer's copy, followed by its activation where it has one."""
        self.require_once(layer)
        if RULES.get(type(layer)) is activations.dropped:
            return inputs[0]
        if isinstance(layer, _LAYERS.TimeDistributed) and isinstance(layer.layer, (qkeras.QDense, *ELEMENTWISE)):
            layer = layer.layer
        _require_followed(layer, inputs)
        if isinstance(layer, qkeras.QActivation):
            return _activation(layer.activation, self.name(layer.name))(inputs[0])
        config = {**layer.get_config(), "name": self.name(layer.name)}
        function = layer.activation if isinstance(layer, KERNELS) else None
        weights = layer.get_weights()
        if isinstance(layer, KERNELS):
            steps, weights = with_fixed_steps(layer)
            config |= {"activation": None, **steps}
        fresh = type(layer).from_config(config)
        result = fresh(inputs if len(inputs) > 1 else inputs[0])
        if weights:
            fresh.set_weights(weights)
        if function is None or getattr(function, "__name__", "") == "linear":
            return result
        return _activation(function, self.name(f"{layer.name}_activation"))(result)


def _activation(function: Any, name: str) -> Any:
    """Return the layer of a quantiser, which may be stated in words, or of a float function."""
    if isinstance(function, str):
        function = qkeras.get_quantizer(function)
    if type(function).__module__.startswith("qkeras"):
        return qkeras.QActivation(function, name=name)
    return _LAYERS.Activation(function, name=name)


def _require_followed(layer: Any, inputs: list[Any]) -> None:
    """Raise ModelError for a layer through which stages cannot follow channels."""
    kind, shape = type(layer), inputs[0].shape
    why = "stages cannot follow its channels"
    if kind in FOLLOWED:
        if isinstance(layer, JOINS) and any(other.shape != shape for other in inputs):
            why = "its inputs have different shapes, and stages follow channels that are joined one by one"
        elif isinstance(layer, _LAYERS.Concatenate) and layer.axis not in (-1, len(shape) - 1):
            why = "it joins rows, and stages follow what joins channels, along the last axis"
        elif getattr(layer, "data_format", None) == "channels_first" and len(shape) > 2:
            why = "it has its channels first; build the model with channels last"
        elif kernel_of(layer) is not None and is_depthwise(layer) and layer.depth_multiplier != 1:
            why = "its depth_multiplier must be 1"
        else:
            return
    raise ModelError(
        f"layer '{layer.name}' ({kind.__name__}): {why}, so that the model cannot be compressed; they take {KINDS}"
    )
