"""Masks: which weights, signed digits or units of a model stay, in variables, so that they can change in a training.

Each mask makes the model's kernels of what is trained, and can be thinned to the largest share of what was there at
first. What has gone stays away: zeros of the given model too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.compress import digits
from edgephys.compress.model_structure import kernel_layers, kernel_limits, kernel_step
from edgephys.compress.stages.shrink import Channels, channels, shrink
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import is_depthwise, kernel_of, quantiser_of, spread

Importance = NDArray[np.floating[Any]]
Chosen = NDArray[np.bool_]


def largest(parts: Sequence[Importance], count: int) -> list[Chosen]:
    """Return where the ``count`` largest numbers of several arrays are; of equal ones the first, and no zeros."""
    flat = np.concatenate([part.ravel() for part in parts])
    chosen = np.zeros(flat.size, bool)
    chosen[np.argsort(-flat, kind="stable")[:count]] = True
    split = np.split(chosen & (flat > 0), np.cumsum([part.size for part in parts])[:-1])
    return [one.reshape(part.shape) for one, part in zip(split, parts, strict=True)]


class Mask(ABC):
    """Hold what stays of a model; ``across`` says whether the largest are those of a layer or of the model."""

    def __init__(self, model: Any, across: str) -> None:
        self.layers = kernel_layers(model)
        self.across = across

    @property
    def makes(self) -> Mapping[str, Callable[[], Any]]:
        """Return what makes each kernel, by its path."""
        return {kernel_of(layer).path: partial(self.value, layer) for layer in self.layers}

    @abstractmethod
    def value(self, layer: Any) -> Any:
        """Return a layer's kernel as it is left."""

    def density(self) -> float:
        """Return the share of what there may be that the given model has."""
        return 1.0

    @abstractmethod
    def thin(self, density: float) -> None:
        """Keep the share ``density`` of what there was at first, the largest of what is left."""

    def settled(self, model: Any) -> Any:
        """Return the model, whose kernels are as they are left, without what does nothing any more."""
        return model

    def _groups(self, parts: Sequence[Any]) -> list[Sequence[Any]]:
        return [parts] if self.across == "model" else [[part] for part in parts]


class WeightMask(Mask):
    """Keep weights: those of the largest magnitude."""

    def __init__(self, model: Any, across: str) -> None:
        super().__init__(model, across)
        self.held = {layer.name: _variable(_numbers(kernel_of(layer)) != 0) for layer in self.layers}

    def value(self, layer: Any) -> Any:
        """Return the kernel with its zeros."""
        return kernel_of(layer).value * self.held[layer.name].value

    def density(self) -> float:
        """Return the share of all weights that are not zero."""
        return float(np.mean(np.concatenate([_numbers(self.held[of.name]).ravel() for of in self.layers])))

    def thin(self, density: float) -> None:
        """Keep a share of all weights."""
        for layers in self._groups(self.layers):
            sizes = [np.abs(_numbers(self.value(layer))) for layer in layers]
            chosen = largest(sizes, round(density * sum(of.size for of in sizes)))
            for layer, stay in zip(layers, chosen, strict=True):
                self.held[layer.name].assign(stay.astype(np.float32))


class DigitMask(Mask):
    """Keep signed digits: a weight has as many as are held for it, its most significant ones."""

    def __init__(self, model: Any, across: str) -> None:
        super().__init__(model, across)
        self.held = {
            layer.name: _variable(np.where(_numbers(kernel_of(layer)) != 0, quantiser_of(layer).bits, 0))
            for layer in self.layers
        }
        self.first = {layer.name: int(digits.count(self._integers(layer)).sum()) for layer in self.layers}

    def value(self, layer: Any) -> Any:
        """Return weights of few digits, with the gradient of the trained ones."""
        step, kernel = kernel_step(layer), kernel_of(layer).value
        rounded = tf.round(quantiser_of(layer)(kernel) / step)
        few = step * digits.leading(rounded, self.held[layer.name].value, kernel_limits(layer))
        return tf.stop_gradient(few) + (kernel - tf.stop_gradient(kernel))

    def thin(self, density: float) -> None:
        """Keep a share of all digits, those without which the weights err most."""
        for layers in self._groups(self.layers):
            saved = [
                digits.errors(self._integers(layer), kernel_limits(layer)) * kernel_step(layer) for layer in layers
            ]
            chosen = largest(saved, round(density * sum(self.first[layer.name] for layer in layers)))
            for layer, stay in zip(layers, chosen, strict=True):
                self.held[layer.name].assign(stay.sum(0).astype(np.float32))

    def _integers(self, layer: Any) -> Any:
        return np.rint(_numbers(self.value(layer)) / kernel_step(layer)).astype(np.int64)


class UnitMask(Mask):
    """Keep units: those whose column's norm times the norm of the rows that read them is largest.

    Units that are added to each other count as one. A layer keeps one unit or more.
    """

    def __init__(self, model: Any, across: str) -> None:
        super().__init__(model, across)
        self.channels: Channels = channels(model)
        self.groups = self.channels.groups(model)
        self.gone: set[int] = set()
        self.there = {layer.name: _numbers(kernel_of(layer)) != 0 for layer in self.layers}
        self.held = {layer.name: _variable(self.there[layer.name]) for layer in self.layers}

    def value(self, layer: Any) -> Any:
        """Return the kernel without the rows and columns of units that have gone."""
        return kernel_of(layer).value * self.held[layer.name].value

    def thin(self, density: float) -> None:
        """Keep a share of all units that are neither input nor output."""
        importance = self._importance()
        for groups in self._groups(self.groups):
            parts = [np.where(np.isin(group, list(self.gone)), -1.0, importance[group]) for group in groups]
            for part in parts:
                part[np.argmax(part)] = np.inf
            count = max(len(parts), round(density * sum(map(len, parts))))
            for group, stay in zip(groups, largest(parts, count), strict=True):
                self.gone.update(group[~stay].tolist())
        for layer in self.layers:
            rows, columns = (~np.isin(of, list(self.gone)) for of in self._ends(layer))
            stay = self.there[layer.name] & (rows[:, None] if is_depthwise(layer) else rows[:, None] & columns)
            self.held[layer.name].assign(stay.astype(np.float32))

    def settled(self, model: Any) -> Any:
        """Return the model without the units."""
        return shrink(model, self.gone)

    def _ends(self, layer: Any) -> tuple[Any, Any]:
        return self.channels.read(layer), self.channels.made(layer)

    def _importance(self) -> NDArray[np.float64]:
        """Return, by identity, the product of both norms."""
        count = 1 + max(int(of.max()) for of in self.channels.of.values())
        into, out = np.zeros(count), np.zeros(count)
        for layer in self.layers:
            kernel = _numbers(self.value(layer)).astype(np.float64)
            kernel = spread(kernel) if is_depthwise(layer) else kernel
            squares = (kernel**2).reshape(-1, *kernel.shape[-2:]).sum(0)
            read, made = self._ends(layer)
            np.add.at(out, read, squares.sum(1))
            np.add.at(into, made, squares.sum(0))
        return np.sqrt(into * out)


SCOPES: dict[str, type[Mask]] = {"weight": WeightMask, "neuron": UnitMask, "bit": DigitMask}
"""What may go, by name."""


def _numbers(values: Any) -> Any:
    return keras.ops.convert_to_numpy(values)


def _variable(values: Any) -> Any:
    return keras.Variable(values.astype(np.float32), dtype="float32", trainable=False, name="mask")
