"""Lower a Keras model to the Graph, or refuse it by the name of a layer.

Every quantiser is read as a Fixed format and then tried on a grid of probe values, ties and ends included: a quantiser
that rounds otherwise than its format says is computed on every integer that can reach it, or refused, not approximated.
Every accumulator must fit float32's 24 bits, so that Keras' own sums are exact in any order: then and only then can all
targets be compared with Keras bit for bit.

A nested model is read as its layers. Several inputs become one, flat and joined in their order, and so do several
outputs: a project has one port in and one port out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.models.files.keras import activations, operations, rules, softmaxes
from edgephys.models.files.keras.calls import functional, outputs_for
from edgephys.models.files.keras.doubles import in_float64, require_exact
from edgephys.models.files.keras.reading import KerasFailsError, KerasReading, KerasValue, TooWideError
from edgephys.models.files.keras.scales import is_scaled, without_activation
from edgephys.models.files.keras.softmaxes import PendingSoftmax, ReplacedSoftmax
from edgephys.models.files.softmax import SoftmaxForm
from edgephys.networks.backend import keras, precision


@dataclass(frozen=True, eq=False)
class Lowered:
    """Hold the Graph of a model, and the Keras tensors that it must equal.

    ``inputs`` are the model's own inputs, ``outputs`` the tensors that the Graph's output joins, ``tensors`` the tensor
    at the end of each layer of the Graph. ``dropped`` names the layers that were left out,
    ``softmaxes`` are those that are computed in integers of their own. ``double``: the tensors are those of the model
    in float64, because float32 rounds a sum.
    """

    graph: Graph
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    tensors: dict[str, Any]
    dropped: tuple[str, ...]
    softmaxes: tuple[ReplacedSoftmax, ...] = ()
    double: bool = False


def lower(model: Any, input_format: Fixed, name: str, softmax: SoftmaxForm | None = None) -> Graph:
    """Return the checked Graph of a Keras model whose inputs are values of ``input_format``.

    Raises: ModelError naming the layer that cannot be computed exactly, and what would work.
    """
    return lowered(model, input_format, name, softmax, single=True).graph


def lowered(
    model: Any, input_format: Fixed, name: str, softmax: SoftmaxForm | None = None, single: bool = False
) -> Lowered:
    """Return the Graph of a Keras model with the tensors that it must equal.

    Where float32 rounds a sum, these are the model's in float64, unless it is to be ``single``.
    Raises: as ``lower``.
    """
    form = softmax or SoftmaxForm()
    try:
        return _lowered(model, input_format, name, form)
    except TooWideError as error:
        if single:
            raise
        refusal = error
    with precision(double=True):
        try:
            return replace(_lowered(in_float64(model), input_format, name, form), double=True)
        except Exception as error:  # whatever a layer or quantiser that computes in float32 alone raises
            if isinstance(error, ModelError) and not isinstance(error, KerasFailsError):
                raise
            raise refusal from error


def _lowered(model: Any, input_format: Fixed, name: str, softmax: SoftmaxForm) -> Lowered:
    builder = Builder(name)
    reading = KerasReading(builder, softmax=softmax)
    model = functional(model)
    _name_apart(model, {})
    values = _inputs(reading, model, input_format, name)
    walk = _Walk(reading, {}, {})
    edges, ends = [], []
    for value, tensor in walk.model(model, list(zip(values, model.inputs, strict=True))):
        edge, end = _ended(reading, walk, value, tensor)
        edges.append(edge)
        ends.append(end)
    output = edges[0]
    if len(edges) > 1:
        flat = tuple(builder.reshape("outputs", edge, (prod(builder.shape(edge)),)) for edge in edges)
        output = builder.concat("outputs", flat, 0)
    metadata: dict[str, Any] = {"keras_layers": walk.names}
    if len(model.inputs) > 1:
        metadata["inputs"] = [{"tensor": own.name, "shape": list(own.shape[1:])} for own in model.inputs]
    if reading.dropped:
        metadata["dropped"] = list(reading.dropped)
    graph = builder.finish(output, metadata=metadata)
    if graph.output is graph.input:
        raise ModelError(f"model '{name}': its output is its input; expected a model that computes something")
    require_exact(graph, reading)
    replaced = tuple(reading.softmaxes)
    return Lowered(graph, list(model.inputs), ends, walk.tensors, tuple(reading.dropped), replaced)


def _name_apart(model: Any, names: dict[str, int]) -> None:
    """Give the layers of models in a model names of their own: Keras lets two of them have the same."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _name_apart(functional(layer), names)
            continue
        name, number = layer.name, 1
        while names.setdefault(name, id(layer)) != id(layer):
            number += 1
            name = f"{model.name}_{layer.name}" if number == 2 else f"{model.name}_{layer.name}_{number}"
        layer.name = name


def _inputs(reading: KerasReading, model: Any, input_format: Fixed, name: str) -> list[KerasValue]:
    """Return the value of each input of a model."""
    builder = reading.builder
    for tensor in model.inputs:
        if len(tensor.shape) == 1:
            raise ModelError(
                f"model '{name}': input '{tensor.name}' must have an axis behind the batch, not the shape (); use "
                f"Input((1,))"
            )
        if any(length is None for length in tensor.shape[1:]):
            raise ModelError(
                f"model '{name}': input '{tensor.name}' must have a stated shape behind the batch, not "
                f"{tensor.shape[1:]}"
            )
        if "int" in str(tensor.dtype) and input_format.fraction > 0:
            raise ModelError(
                f"model '{name}': input '{tensor.name}' takes integers ({tensor.dtype}); its format must have no "
                f"fraction bits, not {input_format}"
            )
    if len(model.inputs) == 1:
        (tensor,) = model.inputs
        return [KerasValue(builder.input(tensor.name, tuple(tensor.shape[1:]), input_format))]
    sizes = [prod(tensor.shape[1:]) for tensor in model.inputs]
    joined = builder.input("inputs", (sum(sizes),), input_format)
    values, first = [], 0
    for tensor, size in zip(model.inputs, sizes, strict=True):
        part = builder.take(tensor.name, joined, np.arange(first, first + size), 0)
        values.append(KerasValue(builder.reshape(tensor.name, part, tuple(tensor.shape[1:]))))
        first += size
    return values


Pair = tuple[KerasValue, Any]
"""A value of the Graph, and the tensor of Keras that it must equal."""


@dataclass(eq=False)
class _Walk:
    """Read the layers of a model and of the models in it; ``names`` and ``tensors`` are by the Graph's layer."""

    reading: KerasReading
    names: dict[str, str]
    tensors: dict[str, Any]

    def model(self, model: Any, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the values and the tensors of a model's outputs for those of its inputs."""
        return outputs_for(model, pairs, self.layer)

    def layer(self, layer: Any, node: Any, pairs: list[Pair]) -> list[Pair]:
        """Return the values and the tensors of a call of a layer."""
        if rules.RULES.get(type(layer)) is not activations.dropped:
            pairs = [self.softmax(*pair) for pair in pairs]
        if isinstance(layer, keras.Model):
            return self.model(functional(layer), pairs)
        values, tensors = [value for value, _ in pairs], [tensor for _, tensor in pairs]
        if operations.is_operation(layer):
            ends = operations.computed(self.reading, layer, node, values)
            return list(zip(ends, _called(layer, node, tensors), strict=True))
        caller = layer
        layer, rule = rules.rule_of(layer)
        if rule is None:
            raise ModelError(
                f"layer '{layer.name}': {type(layer).__name__} cannot be computed exactly; "
                f"use one of {', '.join(sorted(kind.__name__ for kind in rules.RULES))}"
            )
        dtype = getattr(getattr(layer, "dtype_policy", None), "compute_dtype", "float32")
        if dtype not in ("float32", "float64") and "int" not in str(dtype):
            raise ModelError(
                f"layer '{layer.name}': it computes in {dtype}, whose sums are not exact; build the model with float32"
            )
        value = rule(self.reading, layer, values)
        (tensor,) = _called(caller, node, tensors)
        end = self.reading.builder.layer(value.edge)
        if not value.pending:
            self.names[end] = layer.name
            self.tensors[end] = tensor
        elif end == layer.name and getattr(layer, "activation", None) is not None and not is_scaled(value):
            bare = without_activation(layer)
            self.tensors[end] = (bare if caller is layer else keras.layers.TimeDistributed(bare))(*tensors)
        last = softmaxes.of_value(value)
        if last is not None and last.before is None:
            last.before = self.tensors[end] if end == layer.name and end in self.tensors else tensors[0]
        return [(value, tensor)]

    def softmax(self, value: KerasValue, tensor: Any) -> Pair:
        """Return a value and its tensor with the softmax at its end computed, if there is one."""
        result = softmaxes.computed(self.reading, value, tensor)
        if result[0] is not value:
            end = self.reading.builder.layer(result[0].edge)
            self.names[end], self.tensors[end] = value.last, result[1]
        return result


def _called(layer: Any, node: Any, tensors: list[Any]) -> list[Any]:
    """Return the tensors of a call of a layer on other tensors."""
    if all(new is old for new, old in zip(tensors, node.arguments.keras_tensors, strict=True)):
        return list(node.outputs)
    args, kwargs = node.arguments.fill_in(dict(zip(map(id, node.arguments.keras_tensors), tensors, strict=True)))
    return list(keras.tree.flatten(layer(*args, **kwargs)))


def _ended(reading: KerasReading, walk: _Walk, value: KerasValue, tensor: Any) -> tuple[str, Any]:
    """Return the edge and the tensor of an output, without a softmax or sigmoid at its end, which keeps the order."""
    if reading.softmax.keep:
        value, tensor = walk.softmax(value, tensor)
    while value.pending:
        function = value.pending[-1]
        word = "softmax" if isinstance(function, PendingSoftmax) else getattr(function, "__name__", "")
        if word not in ("softmax", "sigmoid"):
            raise ModelError(
                f"layer '{value.last}': the model ends with a float result, which no integers give exactly; put "
                f"QActivation(quantized_bits(bits, integer, alpha=1)) after '{value.last}', or state --output-format"
            )
        reading.dropped.append(f"{value.last} ({word} at the end: the order of the outputs stays)")
        value = KerasValue(value.edge, value.pending[:-1], value.last)
        tensor = walk.tensors.get(reading.builder.layer(value.edge), tensor)
    return value.edge, tensor
