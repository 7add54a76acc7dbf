"""Shrink: remove units without effect from a model, and their rows from the kernels that read them.

Every channel has an identity, which it keeps through ReLUs, depthwise convolutions, sums, means and concatenations;
channels of two layers that are added share one identity and are removed together. Exact: a channel that ``Shrink``
removes is always zero, or is multiplied by zeros only, so that no bit of an output changes. Ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.model_structure import flow, kernel_integers, kernel_layers, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, Stage, StageResult
from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.networks.backend import keras, qkeras
from edgephys.networks.kernels import inputs_of, is_depthwise, kernel_of, spread
from edgephys.networks.layers import ChannelActivation, ConstituentMean, Pairs, ReceivedSum
from edgephys.networks.table_dense import TableDense

Floats = NDArray[np.float64]


@register("shrink")
@dataclass(frozen=True)
class Shrink(Stage):
    """Remove the units that are always zero or that no layer reads; nothing is trained."""

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the smaller model, whose outputs are the same."""
        layers = kernel_layers(model)
        fresh = shrink(model, dead_channels(model))
        return StageResult(fresh, {"units": widths(layers), "units_left": widths(kernel_layers(fresh))})


def widths(layers: Collection[Any]) -> dict[str, int]:
    """Return the number of each layer's units."""
    return {layer.name: int(layer.output.shape[-1]) for layer in layers}


# Identities -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ChannelIdentities:
    """Hold the identities of the output channels of every layer; ``fixed`` are those that must stay."""

    of: Mapping[str, Integers]
    fixed: frozenset[int]

    def written(self, layer: Any) -> Integers:
        """Return the identities of a layer's columns."""
        return self.of[layer.name]

    def read(self, layer: Any) -> Integers:
        """Return the identities of a layer's rows."""
        return self.of[inputs_of(layer)[0]._keras_history.operation.name]

    def groups(self, model: Any) -> list[Integers]:
        """Return the removable identities that each layer is the first to write."""
        known, groups = set(self.fixed), []
        for layer in kernel_layers(model):
            new = [one for one in dict.fromkeys(self.written(layer).tolist()) if one not in known]
            known.update(new)
            if new:
                groups.append(np.array(new))
        return groups


def channels(model: Any) -> ChannelIdentities:
    """Follow every channel through a model; those of its input and its output are fixed.

    Raises: ModelError for a layer whose columns are not its channels.
    """
    union = _UnionFind()
    behind = flow(model, union.fresh(model.input_shape[-1], fixed=True), union)
    of = {name: np.array([union.root(one) for one in _array(ids)], np.int64) for name, ids in behind.items()}
    union.fixed.update(of[model.outputs[0]._keras_history.operation.name].tolist())
    return ChannelIdentities(of, frozenset(union.root(one) for one in union.fixed))


class _UnionFind:
    """Give identities to channels, and the same one to channels that are added."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.fixed: set[int] = set()

    def fresh(self, count: int, fixed: bool = False) -> Integers:
        first = len(self.parents)
        self.parents += range(first, first + count)
        if fixed:
            self.fixed.update(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def root(self, one: int) -> int:
        while self.parents[one] != one:
            one = self.parents[one]
        return int(one)

    def __call__(self, layer: Any, inputs: list[Any]) -> Any:
        width = layer.output.shape[-1]
        if kernel_of(layer) is not None:
            if tuple(kernel_of(layer).shape[-2:]) == (len(inputs[0]), 1 if is_depthwise(layer) else width):
                return inputs[0] if is_depthwise(layer) else self.fresh(width)
            raise ModelError(
                f"layer '{layer.name}': {type(layer).__name__} has no column for each channel, so that its channels "
                "cannot be followed; use QDense, QConv2D, or QDepthwiseConv2D of depth_multiplier 1"
            )
        if isinstance(layer, TableDense):  # no unit of tables is removed, nor what they read
            self.fixed.update(int(one) for one in _array(inputs[0]))
            return self.fresh(width, fixed=True)
        if len(inputs) > 1 and not _joins_channels(layer):
            for first, *rest in zip(*map(_array, inputs), strict=True):
                for other in rest:
                    self.parents[max(self.root(first), self.root(other))] = min(self.root(first), self.root(other))
            return inputs[0]
        if sum(map(len, inputs)) and width % sum(map(len, inputs)):  # a reshape that splits channels
            self.fixed.update(int(one) for of in inputs for one in _array(of))
            return self.fresh(width, fixed=True)
        return None


def _joins_channels(layer: Any) -> bool:
    rank = len(layer.output.shape)
    return isinstance(layer, keras.layers.Concatenate) and layer.axis in (-1, rank - 1)


def _array(values: Any) -> Any:
    return keras.ops.convert_to_numpy(values)


# Channels without effect --------------------------------------------------------------------------


def dead_channels(model: Any) -> set[int]:
    """Return the identities of the channels on which no output depends.

    A channel is live where a live one reads it with a weight that is not zero and it is not always zero there.
    """
    identities = channels(model)
    constants = flow(model, np.full(model.input_shape[-1], np.nan, np.float32), _constant)
    layers = kernel_layers(model)
    reads = {}
    for layer in layers:
        value = _array(constants[inputs_of(layer)[0]._keras_history.operation.name])
        reads[layer.name] = _nonzero(layer) & (value != 0)[:, None]
    live = set(identities.fixed)
    before = -1
    while len(live) != before:
        before = len(live)
        for layer in reversed(layers):
            columns = np.isin(identities.written(layer), list(live))
            live.update(identities.read(layer)[reads[layer.name][:, columns].any(-1)].tolist())
    return {one for layer in layers for one in identities.written(layer).tolist()} - live


def _nonzero(layer: Any) -> NDArray[np.bool_]:
    """Return where a quantised kernel is not zero.  Shape: (row, column)."""
    weights = kernel_integers(layer) != 0
    weights = spread(weights) if is_depthwise(layer) else weights
    anywhere: NDArray[np.bool_] = weights.reshape(-1, *weights.shape[-2:]).any(0)
    return anywhere


def _constant(layer: Any, inputs: list[Any]) -> Any:
    """Return the value of each constant channel, else NaN; through sums and means only zeros are followed."""
    width = layer.output.shape[-1]
    values = [_array(of) for of in inputs]
    if kernel_of(layer) is not None:
        varies = (_nonzero(layer) & (values[0] != 0)[:, None]).any(0)
        bias = np.zeros(width, np.float32)
        if layer.use_bias:
            quantiser = layer.bias_quantizer_internal
            bias = _array(quantiser(layer.bias) if quantiser else layer.bias)
        return _rounded(layer.activation, np.where(varies, np.nan, bias))
    if isinstance(layer, qkeras.QActivation | ChannelActivation):
        return _rounded(layer.activation, values[0])
    if isinstance(layer, Pairs | keras.layers.Add):
        return np.sum(values, axis=0)
    if isinstance(layer, ConstituentMean | ReceivedSum):
        return np.where(values[0] == 0, 0.0, np.nan).astype(np.float32)
    passes = isinstance(layer, keras.layers.Flatten | keras.layers.Reshape) or _joins_channels(layer)
    return None if passes and width % sum(map(len, values)) == 0 else np.full(width, np.nan, np.float32)


def _rounded(activation: Any, values: Any) -> Any:
    """Return the constants behind an activation; NaN stays."""
    known = ~np.isnan(values)
    behind = _array(activation(np.where(known, values, 0).astype(np.float32)))
    return np.where(known, behind, np.nan).astype(np.float32)


# The smaller model ------------------------------------------------------------------------------


def shrink(model: Any, dead: Collection[int]) -> Any:
    """Return a copy of a model without some channels; a layer that would lose all of them keeps its first.

    Raises: ModelError where a channel of the model's input or output would be removed.
    """
    identities = channels(model)
    if identities.fixed & set(dead):
        raise ModelError("channels of a model's input and of its logits cannot be removed; leave them out")
    removed = set(dead)
    for layer in kernel_layers(model):
        if removed.issuperset(identities.written(layer).tolist()):
            removed.remove(int(identities.written(layer)[0]))
    stay = {name: ~np.isin(of, list(removed)) for name, of in identities.of.items()}

    def change(layer: Any) -> Any:
        config, left = layer.get_config(), int(stay[layer.name].sum())
        if kernel_of(layer) is not None:
            # a depthwise layer has neither: its width is that of its input
            width = {name: left for name in ("units", "filters") if name in config}
            return type(layer).from_config({**config, **width})
        if isinstance(layer, keras.layers.Reshape):
            return type(layer).from_config({**config, "target_shape": (*layer.target_shape[:-1], left)})
        if isinstance(layer, ChannelActivation):
            places = np.flatnonzero(stay[layer.name])
            formats = {name: [config[name][at] for at in places] for name in ("integer", "fraction")}
            return ChannelActivation.from_config({**config, **formats})
        return None

    fresh = rebuilt(model, change)
    for layer in kernel_layers(model):
        rows, columns = stay[inputs_of(layer)[0]._keras_history.operation.name], stay[layer.name]
        kernel, *bias = layer.get_weights()
        kernel = kernel[..., rows, :] if is_depthwise(layer) else kernel[..., rows, :][..., columns]
        fresh.get_layer(layer.name).set_weights([kernel, *(of[columns] for of in bias)])
    for layer in model.layers:
        if (
            layer.weights and kernel_of(layer) is None and not isinstance(layer, TableDense)
        ):  # a normalisation has weights of each channel
            fresh.get_layer(layer.name).set_weights([of[stay[layer.name]] for of in layer.get_weights()])
    return fresh
