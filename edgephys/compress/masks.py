"""Masks of the weights, signed digits or units that stay, in variables, so that they can change during a training.

Each mask computes the model's kernels from the trained ones, and can be thinned to the largest share of the elements
that it had at first. Removed elements do not come back, and zeros of the start model stay zero.
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
from edgephys.compress.stages.shrink import channels, shrink
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import is_depthwise, kernel_of, quantiser_of, spread

Importance = NDArray[np.floating[Any]]
Selection = NDArray[np.bool_]


def largest(parts: Sequence[Importance], count: int) -> list[Selection]:
    """Return the places of the ``count`` largest numbers of several arrays; the first of equal ones, and no zeros."""
    flat = np.concatenate([part.ravel() for part in parts])
    selected = np.zeros(flat.size, bool)
    selected[np.argsort(-flat, kind="stable")[:count]] = True
    split = np.split(selected & (flat > 0), np.cumsum([part.size for part in parts])[:-1])
    return [one.reshape(part.shape) for one, part in zip(split, parts, strict=True)]


class Mask(ABC):
    """Hold what stays of a model; ``across`` "layer" compares the elements of each layer, "model" those of all.

    ``masks`` holds a variable for each layer, by name.
    """

    masks: dict[str, Any]

    def __init__(self, model: Any, across: str) -> None:
        self.layers = kernel_layers(model)
        self.across = across

    @property
    def computed(self) -> Mapping[str, Callable[[], Any]]:
        """Functions that compute each kernel, by its path."""
        return {kernel_of(layer).path: partial(self.value, layer) for layer in self.layers}

    def value(self, layer: Any) -> Any:
        """Return a layer's kernel with zeros for what is removed."""
        return kernel_of(layer).value * self.masks[layer.name].value

    def density(self) -> float:
        """Return the share of all elements that the start model has."""
        return 1.0

    @abstractmethod
    def thin(self, density: float) -> None:
        """Keep the share ``density`` of the elements at first, the largest of those that are left."""

    def settled(self, model: Any) -> Any:
        """Return the model without the parts that have no effect; its kernels are masked already."""
        return model

    def _groups(self, parts: Sequence[Any]) -> list[Sequence[Any]]:
        return [parts] if self.across == "model" else [[part] for part in parts]


class WeightMask(Mask):
    """Keep the weights of the largest magnitudes."""

    def __init__(self, model: Any, across: str) -> None:
        super().__init__(model, across)
        self.masks = {layer.name: _variable(_numbers(kernel_of(layer)) != 0) for layer in self.layers}

    def density(self) -> float:
        """Return the share of all weights that are not zero."""
        return float(np.mean(np.concatenate([_numbers(self.masks[of.name]).ravel() for of in self.layers])))

    def thin(self, density: float) -> None:
        """Keep a share of all weights."""
        for layers in self._groups(self.layers):
            sizes = [np.abs(_numbers(self.value(layer))) for layer in layers]
            selected = largest(sizes, round(density * sum(of.size for of in sizes)))
            for layer, stay in zip(layers, selected, strict=True):
                self.masks[layer.name].assign(stay.astype(np.float32))


class DigitMask(Mask):
    """Keep signed digits: a number for each weight, its most significant ones."""

    def __init__(self, model: Any, across: str) -> None:
        super().__init__(model, across)
        self.masks = {
            layer.name: _variable(np.where(_numbers(kernel_of(layer)) != 0, quantiser_of(layer).bits, 0))
            for layer in self.layers
        }
        self.first = {layer.name: int(digits.count(self._integers(layer)).sum()) for layer in self.layers}

    def value(self, layer: Any) -> Any:
        """Return the weights with the digits that stay, and the gradient of the trained weights."""
        step, kernel = kernel_step(layer), kernel_of(layer).value
        rounded = tf.round(quantiser_of(layer)(kernel) / step)
        few = step * digits.leading(rounded, self.masks[layer.name].value, kernel_limits(layer))
        return tf.stop_gradient(few) + (kernel - tf.stop_gradient(kernel))

    def thin(self, density: float) -> None:
        """Keep a share of all digits, those that reduce the weights' errors most."""
        for layers in self._groups(self.layers):
            saved = [
                digits.errors(self._integers(layer), kernel_limits(layer)) * kernel_step(layer) for layer in layers
            ]
            selected = largest(saved, round(density * sum(self.first[layer.name] for layer in layers)))
            for layer, stay in zip(layers, selected, strict=True):
                self.masks[layer.name].assign(stay.sum(0).astype(np.float32))

    def _integers(self, layer: Any) -> Any:
        return np.rint(_numbers(self.value(layer)) / kernel_step(layer)).astype(np.int64)


class UnitMask(Mask):
    """Keep the units with the largest product of their column's norm and the norm of the rows that read them.

    Units that are added to each other count as one. A layer keeps one unit or more.
    """

    def __init__(self, model: Any, across: str) -> None:
        super().__init__(model, across)
        self.channels = channels(model)
        self.groups = self.channels.groups(model)
        self.removed: set[int] = set()
        self.nonzero = {layer.name: _numbers(kernel_of(layer)) != 0 for layer in self.layers}
        self.masks = {layer.name: _variable(self.nonzero[layer.name]) for layer in self.layers}

    def thin(self, density: float) -> None:
        """Keep a share of all units that are neither input nor output."""
        importance = self._importance()
        for groups in self._groups(self.groups):
            parts = [np.where(np.isin(group, list(self.removed)), -1.0, importance[group]) for group in groups]
            for part in parts:
                part[np.argmax(part)] = np.inf
            count = max(len(parts), round(density * sum(map(len, parts))))
            for group, stay in zip(groups, largest(parts, count), strict=True):
                self.removed.update(group[~stay].tolist())
        for layer in self.layers:
            rows, columns = (~np.isin(of, list(self.removed)) for of in self._ends(layer))
            stay = self.nonzero[layer.name] & (rows[:, None] if is_depthwise(layer) else rows[:, None] & columns)
            self.masks[layer.name].assign(stay.astype(np.float32))

    def settled(self, model: Any) -> Any:
        """Return the model without the units."""
        return shrink(model, self.removed)

    def _ends(self, layer: Any) -> tuple[Any, Any]:
        return self.channels.read(layer), self.channels.written(layer)

    def _importance(self) -> NDArray[np.float64]:
        """Return the product of both norms, by channel identity."""
        count = 1 + max(int(of.max()) for of in self.channels.of.values())
        into, out = np.zeros(count), np.zeros(count)
        for layer in self.layers:
            kernel = _numbers(self.value(layer)).astype(np.float64)
            kernel = spread(kernel) if is_depthwise(layer) else kernel
            squares = (kernel**2).reshape(-1, *kernel.shape[-2:]).sum(0)
            read, written = self._ends(layer)
            np.add.at(out, read, squares.sum(1))
            np.add.at(into, written, squares.sum(0))
        return np.sqrt(into * out)


SCOPES: dict[str, type[Mask]] = {"weight": WeightMask, "neuron": UnitMask, "bit": DigitMask}
"""What can be removed, by name."""


def _numbers(values: Any) -> Any:
    return keras.ops.convert_to_numpy(values)


def _variable(values: Any) -> Any:
    return keras.Variable(values.astype(np.float32), dtype="float32", trainable=False, name="mask")
