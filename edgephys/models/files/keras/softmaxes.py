"""Softmaxes of Keras: left out at the end, or computed in integers, of which Keras itself computes a copy.

No integers give Keras' float softmax. In what the Graph is compared with, each softmax that is computed is therefore
replaced by ``TableSoftmax``: all layers before and behind it are compared bit for bit. Its difference to the float
softmax is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.models.files import softmax
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.backend import keras


@dataclass(eq=False)
class PendingSoftmax:
    """Hold a softmax that is left out at the end of the model, and computed where a layer reads it.

    ``before`` is the tensor that Keras' softmax reads, ``computed`` the value and the tensor that take its place.
    """

    layer: Any
    before: Any = None
    computed: tuple[KerasValue, Any] | None = None

    def __call__(self, x: Any) -> Any:
        """Raise ModelError: a softmax is no function of one element."""
        raise ModelError(f"layer '{self.layer.name}': a softmax must be read as a whole, not element by element")


@dataclass(frozen=True, eq=False)
class ReplacedSoftmax:
    """State the tensors before a softmax and behind what takes its place, and its words for a user."""

    layer: str
    before: Any
    after: Any
    form: str


class TableSoftmax(keras.layers.Layer):  # type: ignore[misc]
    """Compute a softmax with the tables of the Graph, in float64, which holds all of its integers."""

    def __init__(self, by: softmax.SoftmaxTables, **options: Any) -> None:
        super().__init__(**options)
        self.by = by

    def call(self, x: Any) -> Any:
        """Return the values of the result's format."""
        ops, by = keras.ops, self.by
        step = 2.0**-by.fraction
        x = ops.cast(x, "float64")
        powers = self._read(by.powers * step, by.distance, ops.max(x, axis=-1, keepdims=True) - x)
        reciprocals = self._read(by.reciprocals * step, by.excess, ops.sum(powers, axis=-1, keepdims=True) - 1.0)
        return ops.cast(_steps(by.result, powers * reciprocals) * by.result.step, self.compute_dtype)

    def _read(self, entries: Any, fixed: Fixed, places: Any) -> Any:
        ops = keras.ops
        return ops.take(ops.convert_to_tensor(entries, "float64"), ops.cast(_steps(fixed, places), "int32"))


def _steps(fixed: Fixed, x: Any) -> Any:
    """Return values in steps of a format that rounds half up and saturates."""
    return keras.ops.clip(keras.ops.floor(x * 2.0**fixed.fraction + 0.5), 0.0, float(fixed.high))


def softmax_layer(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Add a softmax layer over the last axis."""
    axis, rank = getattr(layer, "axis", -1), len(reading.shape(values[0]))
    if axis not in (-1, rank, [-1], (-1,)):
        raise ModelError(f"layer '{layer.name}': its softmax must be over the last axis, -1, not {axis}")
    return pending(layer, values[0])


def pending(layer: Any, value: KerasValue) -> KerasValue:
    """Return a value with a softmax that is left out at the end of the model."""
    return KerasValue(value.edge, (*value.pending, PendingSoftmax(layer)), layer.name)


def of_value(value: KerasValue) -> PendingSoftmax | None:
    """Return the softmax with which a value ends, or None."""
    last = value.pending[-1] if value.pending else None
    return last if isinstance(last, PendingSoftmax) else None


def computed(reading: KerasReading, value: KerasValue, tensor: Any) -> tuple[KerasValue, Any]:
    """Return a value and its tensor with the softmax at its end computed; as they are without one."""
    last = of_value(value)
    if last is None:
        return value, tensor
    if last.computed is None:
        builder = reading.builder
        edge = reading.edge(last.layer, KerasValue(value.edge, value.pending[:-1], value.last))
        name = f"{value.last}_softmax" if builder.layer(edge) == value.last else value.last
        by = softmax.tables(reading.softmax, name, builder.shape(edge)[-1], builder.fraction(edge))
        result, wide = softmax.softmax(builder, name, edge, by)
        reading.emulated.update(wide)
        after = TableSoftmax(by)(last.before)
        reading.softmaxes.append(ReplacedSoftmax(name, last.before, after, by.describe()))
        last.computed = KerasValue(result), after
    return last.computed


def differences(replaced: Sequence[ReplacedSoftmax], values: Sequence[Any]) -> dict[str, float]:
    """Return the largest difference of each softmax to Keras' own, from the values before it and behind its copy."""
    result = {}
    for one, (before, after) in zip(replaced, values, strict=True):
        float_softmax = np.asarray(keras.ops.softmax(np.asarray(before, np.float32), axis=-1))
        result[one.layer] = float(np.abs(float_softmax.astype(np.float64) - after).max())
    return result
