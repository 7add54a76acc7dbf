"""Which Keras layer each operator of a float ONNX model is, with the same weights.

Tensors keep the layout of the file until a layer needs channels last; axes are followed, not moved, as in ``lower``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from edgephys.models.files.onnx.constants import axes_of, clip_ends
from edgephys.models.files.onnx.conversion import Conversion, KerasTensor, Values
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.products import placing
from edgephys.networks.backend import keras


def _tensor(operation: Operation, x: Any) -> KerasTensor:
    if not isinstance(x, KerasTensor):
        raise operation.refused("reads a constant where a computed tensor is expected; fold it before")
    return x


def _known(operation: Operation, x: Any, what: str) -> Known:
    if not isinstance(x, Known):
        raise operation.refused(f"its {what} must be constant, not computed from the input")
    return x


def _layer(layer: Any, x: KerasTensor, weights: list[Any] | None = None) -> KerasTensor:
    result = KerasTensor(layer(x.tensor), x.axes)
    if weights is not None:
        layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
    return result


def _dense(work: Conversion, operation: Operation, x: Any, kernel: Any, bias: Any) -> KerasTensor:
    x = _tensor(operation, x)
    x = x if x.axes and x.axes[-1] == len(x.tensor.shape) - 2 else work.plain(operation, x)
    weights = [kernel] if bias is None else [kernel, bias]
    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None, name=work.name(operation))
    return _layer(layer, x, weights)


def _gemm(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    attributes = operation.attributes
    if attributes.get("transA", 0):
        raise operation.refused("transA must be 0; export it so")
    kernel = _known(operation, xs[1], "weight").values * attributes.get("alpha", 1.0)
    kernel = kernel.T if attributes.get("transB", 0) else kernel
    bias = _known(operation, xs[2], "bias").values.reshape(-1) * attributes.get("beta", 1.0) if len(xs) > 2 else None
    return _dense(work, operation, xs[0], kernel, None if bias is None else np.broadcast_to(bias, kernel.shape[1:]))


def _matmul(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    """Multiply by a matrix, with the bias of the Add that alone reads the product."""
    kernel = _known(operation, xs[1], "second factor").values
    readers = [other for other in work.model.operations if operation.outputs[0] in other.inputs]
    bias = None
    if len(readers) == 1 and readers[0].kind == "Add" and operation.outputs[0] not in work.model.outputs:
        (other,) = [name for name in readers[0].inputs if name != operation.outputs[0]] or [""]
        constant = work.values.get(other)
        if isinstance(constant, Known) and constant.values.size == kernel.shape[1]:
            bias = constant.values.reshape(-1)
            work.biases[readers[0].name] = constant
    return _dense(work, operation, xs[0], kernel, bias)


def _add(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    if operation.name in work.biases:
        return next(x for x in xs if isinstance(x, KerasTensor))
    one, other = (_tensor(operation, x) for x in xs)
    if one.shape != other.shape:
        raise operation.refused(f"its inputs must have one shape, not {one.shape} and {other.shape}")
    if one.axes != other.axes:
        one, other = work.plain(operation, one), work.plain(operation, other)
    kind = keras.layers.Add if operation.kind == "Add" else keras.layers.Subtract
    return KerasTensor(kind(name=work.name(operation))([one.tensor, other.tensor]), one.axes)


def _convolution(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x, kernel = work.field(operation, _tensor(operation, xs[0])), _known(operation, xs[1], "kernel").values
    channels, sides = x.shape[0], list(x.shape[1:])
    rank, size, groups = len(sides), kernel.shape[2:], operation.attributes.get("group", 1)
    if rank not in (1, 2):
        raise operation.refused(f"fields must have 1 or 2 axes, not {rank}")
    strides, dilation, margins = placing(operation, sides, size)
    x = _padded(work, operation, x, margins)
    bias = [_known(operation, xs[2], "bias").values] if len(xs) > 2 else []
    taps = np.moveaxis(kernel, (0, 1), (-1, -2))  # (*size, channel of the group, output)
    settings: dict[str, Any] = {"strides": tuple(strides), "dilation_rate": tuple(dilation), "use_bias": bool(bias)}
    if groups == channels > 1 and rank == 2:
        multiple = kernel.shape[0] // channels
        settings |= {"depth_multiplier": multiple}
        layer: Any = keras.layers.DepthwiseConv2D(size, name=work.name(operation), **settings)
        taps = taps.reshape(*size, channels, multiple)
    else:
        kind = keras.layers.Conv1D if rank == 1 else keras.layers.Conv2D
        layer = kind(kernel.shape[0], size, groups=groups, name=work.name(operation), **settings)
    return _layer(layer, x, [taps, *bias])


def _padded(work: Conversion, operation: Operation, x: KerasTensor, margins: Any) -> KerasTensor:
    if not any(sum(margin) for margin in margins):
        return x
    kind = keras.layers.ZeroPadding1D if len(margins) == 1 else keras.layers.ZeroPadding2D
    return _layer(kind(margins[0] if len(margins) == 1 else tuple(margins), name=work.name(operation, "_pad")), x)


def _pooling(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x = work.field(operation, _tensor(operation, xs[0]))
    size, rank = tuple(operation.attributes["kernel_shape"]), len(x.shape) - 1
    strides, dilation, margins = placing(operation, list(x.shape[1:]), size)
    if any(sum(margin) for margin in margins) or set(dilation) != {1} or operation.attributes.get("ceil_mode", 0):
        raise operation.refused("must have no pads, dilations and ceil_mode; export it so")
    word_of = "MaxPooling" if operation.kind == "MaxPool" else "AveragePooling"
    layer = getattr(keras.layers, f"{word_of}{rank}D")(size, strides=tuple(strides), name=work.name(operation))
    return _layer(layer, x)


def _global_pooling(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x = work.field(operation, _tensor(operation, xs[0]))
    kind = "Max" if operation.kind == "GlobalMaxPool" else "Average"
    layer = getattr(keras.layers, f"Global{kind}Pooling{len(x.shape) - 1}D")(name=work.name(operation))
    return KerasTensor(layer(x.tensor), (0, *(None for _ in x.shape[1:])))


def _normalised(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x = _tensor(operation, xs[0])
    if x.axes[0] != len(x.tensor.shape) - 2:
        x = work.field(operation, x)
    weights = [_known(operation, parameter, "parameters").values for parameter in xs[1:5]]
    epsilon = float(operation.attributes.get("epsilon", 1e-5))
    return _layer(keras.layers.BatchNormalization(epsilon=epsilon, name=work.name(operation)), x, weights)


def _activation(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x, name = _tensor(operation, xs[0]), work.name(operation)
    if operation.kind == "LeakyRelu":
        return _layer(keras.layers.LeakyReLU(float(operation.attributes.get("alpha", 0.01)), name=name), x)
    if operation.kind == "Clip":
        low, high = clip_ends(operation, xs)
        if low != 0:
            raise operation.refused(f"its lower end must be 0, not {low}; use a ReLU")
        return _layer(keras.layers.ReLU(max_value=high, name=name), x)
    if operation.kind == "Softmax" and x.axes[-1] != len(x.tensor.shape) - 2:
        x = work.plain(operation, x)
    return _layer(keras.layers.Activation(operation.kind.lower(), name=name), x)


def _same(work: Conversion, operation: Operation, xs: Values) -> Any:
    return xs[0]


def _transposed(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x = _tensor(operation, xs[0])
    order = operation.attributes.get("perm", list(range(len(x.axes) + 1))[::-1])
    if order[0] != 0:
        raise operation.refused(f"perm must leave the batch first, not {list(order)}; vectors of a batch do not meet")
    return KerasTensor(x.tensor, tuple(x.axes[axis - 1] for axis in order[1:]))


def _reshaped(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x = _tensor(operation, xs[0])
    size = prod(x.shape)
    shape: tuple[int, ...]
    if operation.kind == "Flatten":
        shape = (size,)
    else:
        lengths = [int(n) for n in _known(operation, xs[1], "shape").values][1:]
        lengths = [x.shape[at] if n == 0 else n for at, n in enumerate(lengths)]
        rest = prod(n for n in lengths if n > 0)
        shape = tuple(size // rest if n < 0 else n for n in lengths)
    if prod(shape) != size:
        raise operation.refused(f"shape {shape} does not keep the batch and {size} elements a vector; begin it with 0")
    if shape == x.shape:
        return x
    if x.tensor.shape[1:] == shape and x.axes[1:] == (None,) * (len(x.axes) - 1):
        return KerasTensor(x.tensor, tuple(range(len(shape))))
    x = work.plain(operation, x)
    layer = keras.layers.Flatten if shape == (size,) else keras.layers.Reshape
    reshape = layer(*(() if shape == (size,) else (shape,)), name=work.name(operation))
    return KerasTensor(reshape(x.tensor), tuple(range(len(shape))))


def _squeezed(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x, axes = _tensor(operation, xs[0]), axes_of(operation, xs)
    rank = len(x.axes) + 1
    places = {axis % rank for axis in axes} if axes else {at + 1 for at, n in enumerate(x.shape) if n == 1}
    if any(at == 0 or x.axes[at - 1] is not None for at in places):
        raise operation.refused("must leave out axes that an Unsqueeze or a mean put there; export it so")
    return KerasTensor(x.tensor, tuple(axis for at, axis in enumerate(x.axes, start=1) if at not in places))


def _unsqueezed(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    x, axes = _tensor(operation, xs[0]), list(axes_of(operation, xs) or [])
    result: list[int | None] = list(x.axes)
    for axis in sorted(axis % (len(x.axes) + len(axes) + 1) for axis in axes):
        result.insert(axis - 1, None)
    return KerasTensor(x.tensor, tuple(result))


def _shape(work: Conversion, operation: Operation, xs: Values) -> Known:
    return Known(np.array([0, *_tensor(operation, xs[0]).shape], np.int64), operation.name)


def _joined(work: Conversion, operation: Operation, xs: Values) -> KerasTensor:
    parts = [_tensor(operation, x) for x in xs]
    if any(part.axes != parts[0].axes or None in part.axes for part in parts):
        parts = [work.plain(operation, part) for part in parts]
    at = operation.attributes["axis"]
    axis = parts[0].axes[at - 1 if at > 0 else at]
    layer = keras.layers.Concatenate(axis=(axis or 0) + 1, name=work.name(operation))
    return KerasTensor(layer([part.tensor for part in parts]), parts[0].axes)


ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "Selu", "Elu", "Softplus", "Softsign", "Gelu", "Softmax", "LeakyRelu", "Clip")
RULES: dict[str, Callable[[Conversion, Operation, Values], Any]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(("Add", "Sub"), _add),
    "Conv": _convolution,
    "BatchNormalization": _normalised,
    **dict.fromkeys(("MaxPool", "AveragePool"), _pooling),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pooling),
    **dict.fromkeys(ACTIVATIONS, _activation),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _same),
    "Transpose": _transposed,
    **dict.fromkeys(("Reshape", "Flatten"), _reshaped),
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Shape": _shape,
    "Concat": _joined,
}
"""Which layer each operator is."""
