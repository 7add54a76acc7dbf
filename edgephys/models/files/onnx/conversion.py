"""A float ONNX model on its way to Keras: its tensors with their axes, and the names of its layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgephys.core.names import unused
from edgephys.models.files.onnx.file import OnnxModel, Operation
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.reading import word
from edgephys.networks.backend import keras


@dataclass(frozen=True, eq=False)
class KerasTensor:
    """Hold a Keras tensor, and its axis (no batch) for each of ONNX's; None for one of length 1 that it lacks."""

    tensor: Any
    axes: tuple[int | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of ONNX's tensor, without the batch."""
        return tuple(1 if axis is None else int(self.tensor.shape[axis + 1]) for axis in self.axes)


Values = list[Any]


@dataclass(eq=False)
class Conversion:
    """Collect the layers while the operations are read in order."""

    model: OnnxModel
    values: dict[str, Any]
    names: set[str] = field(default_factory=set)
    biases: dict[str, Known] = field(default_factory=dict)

    def name(self, operation: Operation, suffix: str = "") -> str:
        """Return a name for a layer that no other has."""
        name = unused(word(operation.name) + suffix, self.names)
        self.names.add(name)
        return name

    def ordered(self, operation: Operation, x: KerasTensor, axes: tuple[int, ...]) -> KerasTensor:
        """Return a tensor whose axes are ONNX's in the stated order, all of them there."""
        if x.axes == axes:
            return x
        tensor, shape = x.tensor, x.shape
        if None in x.axes:
            there = [axis for axis in x.axes if axis is not None]
            tensor = self._permuted(operation, tensor, there)
            tensor = keras.layers.Reshape(shape, name=self.name(operation, "_shape"))(tensor)
            order = list(range(len(shape)))
        else:
            order = [axis for axis in x.axes if axis is not None]
        places = [order[axes.index(at)] for at in range(len(axes))]
        return KerasTensor(self._permuted(operation, tensor, places), axes)

    def _permuted(self, operation: Operation, tensor: Any, places: list[int]) -> Any:
        if places == list(range(len(places))):
            return tensor
        dims = tuple(place + 1 for place in places)
        return keras.layers.Permute(dims, name=self.name(operation, "_order"))(tensor)

    def plain(self, operation: Operation, x: KerasTensor) -> KerasTensor:
        """Return a tensor with ONNX's own order of axes."""
        return self.ordered(operation, x, tuple(range(len(x.axes))))

    def field(self, operation: Operation, x: KerasTensor) -> KerasTensor:
        """Return a field with channels last."""
        rank = len(x.axes)
        return self.ordered(operation, x, (rank - 1, *range(rank - 1)))
