"""Write an operation of keras.ops as the layer that does the same, where there is one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from edgephys.networks.backend import keras

_L = keras.layers
JOINS = {"Add": _L.Add, "Subtract": _L.Subtract, "Maximum": _L.Maximum, "Minimum": _L.Minimum}
POOLS = {
    ("Mean", 1): _L.GlobalAveragePooling1D,
    ("Mean", 2): _L.GlobalAveragePooling2D,
    ("Max", 1): _L.GlobalMaxPooling1D,
    ("Max", 2): _L.GlobalMaxPooling2D,
}
"""Layers of operations over all axes before the channels, by the number of these."""


def as_layer(operation: Any, node: Any) -> Any:
    """Return a layer that does what an operation does in a model; None where there is none."""
    kind, name, tensors = type(operation).__name__, operation.name, node.arguments.keras_tensors
    shape = tensors[0].shape
    if len(tensors) == 2 and kind in JOINS and tensors[1].shape == shape:
        return JOINS[kind](name=name)
    if kind == "Concatenate":
        return _L.Concatenate(axis=operation.axis, name=name)
    if len(tensors) != 1:
        return None
    if kind == "Reshape":
        return _L.Reshape(node.outputs[0].shape[1:], name=name)
    if kind == "Transpose" and operation.axes is not None and operation.axes[0] == 0:
        return _L.Permute(operation.axes[1:], name=name)
    if (kind, len(shape) - 2) in POOLS and operation.axis is not None:
        axes = sorted(axis % len(shape) for axis in np.atleast_1d(operation.axis))
        pool = POOLS[kind, len(shape) - 2](keepdims=operation.keepdims, name=name)
        return pool if axes == list(range(1, len(shape) - 1)) else None
    function = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
    if len(node.arguments.args) == 1 and hasattr(keras.activations, function):
        return _L.Activation(function, name=name)
    return _line(kind, node, name)


def _line(kind: str, node: Any, name: str) -> Any:
    """Return a Rescaling that multiplies by or adds one number; None for other operations."""
    if kind == "Negative":
        return _L.Rescaling(-1.0, name=name)
    arguments = node.arguments.args
    numbers = [float(argument) for argument in arguments if isinstance(argument, int | float)]
    if len(arguments) != 2 or len(numbers) != 1:
        return None
    (number,), first = numbers, not isinstance(arguments[0], int | float)
    lines = {"Add": (1.0, number), "Subtract": (1.0, -number) if first else (-1.0, number), "Multiply": (number, 0.0)}
    if kind in ("Divide", "TrueDivide") and first and number:
        lines[kind] = (1 / number, 0.0)
    return _L.Rescaling(*lines[kind], name=name) if kind in lines else None
