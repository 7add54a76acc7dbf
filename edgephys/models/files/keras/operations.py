"""Operations of keras.ops in a model, such as ``x + y`` and ``keras.ops.reshape``: they are no layers.

A move is any operation that only arranges elements: what it does is seen from what it makes of numbered elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.models.files.fields import OUTSIDE, largest, taken
from edgephys.models.files.keras import merge
from edgephys.models.files.keras.joins import concatenated
from edgephys.models.files.keras.pools import mean_of
from edgephys.models.files.keras.quantisers import fraction_of
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.models.files.keras.scales import WIDEST_WEIGHT
from edgephys.networks.backend import keras

MOVES = (
    *("Reshape", "Transpose", "GetItem", "ExpandDims", "Squeeze", "Concatenate", "Stack", "Split", "Pad", "Flip"),
    *("Repeat", "Tile", "Roll", "BroadcastTo", "Take", "Swapaxes", "Moveaxis", "Ravel", "Rot90"),
)
JOINS = {
    "Add": merge.add,
    "Subtract": merge.subtract,
    "Multiply": merge.multiply,
    "Maximum": merge.maximum,
    "Minimum": merge.minimum,
}
REDUCTIONS = ("Sum", "Mean", "Max")
ELEMENTWISE = (
    *("Add", "Subtract", "Multiply", "TrueDivide", "Divide", "Maximum", "Minimum", "Negative", "Absolute", "Abs"),
    *("Relu", "Relu6", "Clip", "Square", "Sqrt", "Power", "Exp", "Expm1", "Log", "Log1p", "Sign", "Floor", "Ceil"),
    *("Round", "Tanh", "Sigmoid", "Softplus", "Softsign", "Silu", "Gelu", "Elu", "Selu", "Celu", "LeakyRelu", "Mish"),
    *("HardSigmoid", "HardSilu", "HardTanh", "HardShrink", "SoftShrink", "TanhShrink", "LogSigmoid", "Reciprocal"),
    *("Sin", "Cos", "Arctan", "Sinh", "Cosh", "Rsqrt", "Cast", "Identity", "Squareplus", "SparsePlus", "Threshold"),
)
"""Functions of each element of one tensor, and perhaps of constants."""


def is_operation(layer: Any) -> bool:
    """Tell whether a step of a model is an operation and no layer."""
    return isinstance(layer, keras.Operation) and not isinstance(layer, keras.layers.Layer)


def computed(reading: KerasReading, operation: Any, node: Any, values: Sequence[KerasValue]) -> list[KerasValue]:
    """Return the results of an operation.  Raises: ModelError naming it where it is none of ours."""
    kind = type(operation).__name__
    if not type(operation).__module__.startswith("keras."):
        kind = "an operation of another package"
    if kind in MOVES:
        return _moved(reading, operation, node, values)
    if kind in JOINS and len(values) == 2:
        shapes = [reading.shape(value) for value in values]
        if len(shapes[0]) != len(shapes[1]):
            raise ModelError(
                f"layer '{operation.name}': both tensors must have as many axes, not {shapes[0]} and {shapes[1]} "
                f"behind the examples, which keras.ops would mix; add axes of length 1 before"
            )
        return [JOINS[kind](reading, operation, values)]
    if kind in REDUCTIONS and len(values) == 1:
        return [_reduced(reading, operation, kind, values[0])]
    if kind in ELEMENTWISE and len(values) == 1:
        return [_function(reading, operation, node, kind, values[0])]
    known = ", ".join(sorted({*MOVES, *JOINS, *REDUCTIONS, *ELEMENTWISE}))
    raise ModelError(f"layer '{operation.name}': keras.ops' {kind} cannot be computed exactly; use a layer, or {known}")


def _call(operation: Any, node: Any, arrays: Sequence[Any]) -> Any:
    """Return what an operation makes of arrays in the place of its tensors."""
    tensors = node.arguments.keras_tensors
    args, kwargs = node.arguments.fill_in({id(tensor): array for tensor, array in zip(tensors, arrays, strict=True)})
    return operation.call(*args, **kwargs)


def _moved(reading: KerasReading, operation: Any, node: Any, values: Sequence[KerasValue]) -> list[KerasValue]:
    """Arrange elements as the operation arranges their numbers, which count from 1; 0 is a zero that it adds."""
    builder, name = reading.builder, operation.name
    shapes = [reading.shape(value) for value in values]
    if type(operation).__name__ == "Concatenate" and operation.axis not in (0, -len(shapes[0]) - 1):
        axis = operation.axis - 1 if operation.axis > 0 else len(shapes[0]) + operation.axis
        return [concatenated(reading, operation, values, axis)]
    edges = reading.edges(operation, values)
    sizes = [int(np.prod(shape)) for shape in shapes]
    count, starts = sum(sizes), np.cumsum([0, *sizes])
    numbers = [
        keras.ops.convert_to_tensor(
            1.0 + start + np.arange(size).reshape(1, *shape) + count * np.arange(2).reshape(2, *(1 for _ in shape)),
            "float64",
        )
        for start, size, shape in zip(starts, sizes, shapes, strict=False)
    ]
    try:
        results = keras.tree.flatten(_call(operation, node, numbers))
    except Exception as error:  # whatever the settings of the user's operation make Keras raise
        reason = " ".join(str(error).split())
        raise ModelError(
            f"layer '{name}': keras.ops' {type(operation).__name__} cannot be computed by Keras itself ({reason}); "
            f"change its settings"
        ) from error
    orders = [_places(keras.ops.convert_to_numpy(result)) for result in results]
    flat = [builder.reshape(name, edge, (size,)) for edge, size in zip(edges, sizes, strict=True)]
    joined = flat[0] if len(flat) == 1 else builder.concat(name, tuple(flat), 0)
    return [KerasValue(_arranged(reading, operation, joined, order, count)) for order in orders]


def _places(numbers: Any) -> Integers:
    """Return numbers of elements; -1 for what is none, as a padding that is no whole number."""
    numbers = np.asarray(numbers, np.float64)
    return np.where(numbers == np.rint(numbers), numbers, -1).astype(np.int64)


def _arranged(reading: KerasReading, operation: Any, flat: str, order: Integers, count: int) -> str:
    """Return elements in the order of their numbers.  Shape: order (2, ...), of two examples of ``count`` elements."""
    builder, name = reading.builder, operation.name
    apart = len(order) == 2 and np.array_equal(np.where(order[0] > 0, order[0] + count, 0), order[1])
    if not apart or order[0].min(initial=0) < 0 or order[0].max(initial=0) > count:
        raise ModelError(
            f"layer '{name}': keras.ops' {type(operation).__name__} must move the elements of each example alone, and "
            f"add zeros alone; leave axis 0 as it is"
        )
    rows = order[0].reshape(-1) - 1
    if np.array_equal(rows, np.arange(count)):
        return builder.reshape(name, flat, order.shape[1:])
    points = taken(builder, name, builder.reshape(name, flat, (count, 1)), np.where(rows < 0, OUTSIDE, rows))
    return builder.reshape(name, points, order.shape[1:])


def _reduced(reading: KerasReading, operation: Any, kind: str, value: KerasValue) -> KerasValue:
    """Return the sum, the mean or the largest element over axes."""
    builder, name, edge = reading.builder, operation.name, reading.edge(operation, value)
    shape = builder.shape(edge)
    stated = operation.axis
    stated = stated if isinstance(stated, list | tuple) else [stated]
    axes = sorted({axis + len(shape) + 1 if axis is not None and axis < 0 else axis for axis in stated}, key=str)
    if None in axes or 0 in axes:
        raise ModelError(f"layer '{name}': keras.ops' {kind} must keep the examples apart; state axis without 0")
    for axis in reversed(axes):
        if kind == "Max":
            rest = tuple(n for at, n in enumerate(builder.shape(edge)) if at != axis - 1)
            rows = np.arange(builder.shape(edge)[axis - 1])
            edge = builder.reshape(name, largest(builder, name, edge, rows, axis - 1), rest)
        else:
            edge = builder.sum(name, edge, axis - 1)
    if operation.keepdims:
        edge = builder.reshape(name, edge, tuple(1 if at + 1 in axes else n for at, n in enumerate(shape)))
    if kind == "Max" and operation.initial is not None:
        return reading.later(operation, KerasValue(edge), lambda x: keras.ops.maximum(x, operation.initial))
    if kind != "Mean":
        return KerasValue(edge)
    return mean_of(reading, operation, edge, int(np.prod([shape[axis - 1] for axis in axes])))


def _function(reading: KerasReading, operation: Any, node: Any, kind: str, value: KerasValue) -> KerasValue:
    """Return a function of each element: exactly where it multiplies and adds, else with the rounding that follows."""
    constants = [
        np.asarray(keras.ops.convert_to_numpy(argument), np.float64)
        for argument in node.arguments.args
        if not isinstance(argument, str | keras.KerasTensor) and argument is not None
    ]
    if any(constant.ndim and constant.shape[:-1] != (1,) * (constant.ndim - 1) for constant in constants):
        raise ModelError(f"layer '{operation.name}': constants must be one number, or one a channel, not more")
    if not value.pending:
        first = isinstance(node.arguments.args[0], keras.KerasTensor)
        line = _line(kind, first, [constant.reshape(-1) for constant in constants])
        if line is not None and all(fraction_of(np.asarray(part)) is not None for part in line):
            result = _written(reading, operation.name, value.edge, line)
            if result is not None:
                return KerasValue(result)
        if kind == "Relu":
            return KerasValue(reading.builder.relu(operation.name, value.edge))
    function: Callable[[Any], Any] = lambda x: _call(operation, node, [x])  # noqa: E731
    return reading.later(operation, value, function)


def _line(kind: str, first: bool, constants: list[NDArray[np.float64]]) -> tuple[Any, Any] | None:
    """Return by what an operation multiplies and what it adds, or None; ``first`` is x / c, not c / x."""
    if kind == "Negative":
        return -1.0, 0.0
    if len(constants) != 1:
        return None
    (number,) = constants
    if kind in ("Divide", "TrueDivide"):
        powers = np.all(np.frexp(np.abs(number))[0] == 0.5)
        return (1 / number, 0.0) if first and powers else None
    lines = {"Add": (1.0, number), "Subtract": (1.0, -number) if first else (-1.0, number), "Multiply": (number, 0.0)}
    return lines.get(kind)


def _written(reading: KerasReading, name: str, edge: str, line: tuple[Any, Any]) -> str | None:
    """Return x * factor + addend; None where the numbers have many bits.  Shape: one, or one a channel."""
    builder = reading.builder
    fractions = [fraction_of(np.asarray(part)) or 0 for part in line]
    factor, addend = (
        np.squeeze(np.rint(np.ldexp(p, f))).astype(np.int64) for p, f in zip(line, fractions, strict=True)
    )
    if max(int(np.abs(factor).max()), int(np.abs(addend).max())) >= 1 << (WIDEST_WEIGHT - 1):
        return None
    result = builder.scale(name, edge, factor, fractions[0]) if np.any(factor != 1) or fractions[0] else edge
    return builder.bias(name, result, addend, fractions[1]) if addend.any() else result
