"""Constants of an ONNX model and everything that it computes from them alone: quantised weights, shapes, factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.models.files.onnx.file import Operation, evaluated
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.quantisers import on_grid, quantised, quantiser


def axes_of(operation: Operation, inputs: Sequence[Any]) -> list[int] | None:
    """Return the axes that an operator is given, as an attribute or an input; None where it is given none."""
    if "axes" in operation.attributes:
        return [int(axis) for axis in operation.attributes["axes"]]
    if len(inputs) > 1 and isinstance(inputs[1], Known):
        return [int(axis) for axis in np.ravel(inputs[1].values)]
    return None


def _reshape(operation: Operation, xs: Sequence[Known]) -> Any:
    lengths = [int(n) for n in xs[1].values]
    shape = [xs[0].values.shape[at] if length == 0 else length for at, length in enumerate(lengths)]
    return xs[0].values.reshape(shape)


def _flatten(operation: Operation, xs: Sequence[Known]) -> Any:
    axis = operation.attributes.get("axis", 1)
    return xs[0].values.reshape(int(np.prod(xs[0].values.shape[:axis])), -1)


def _squeeze(operation: Operation, xs: Sequence[Known]) -> Any:
    axes = axes_of(operation, xs)
    return np.squeeze(xs[0].values, None if axes is None else tuple(axes))


def _clip(operation: Operation, xs: Sequence[Known]) -> Any:
    low, high = clip_ends(operation, xs)
    return np.clip(xs[0].values, low, high)


def clip_ends(operation: Operation, inputs: Sequence[Any]) -> tuple[float | None, float | None]:
    """Return the ends of a Clip, given as attributes or as constants; None for an end that is open."""
    if any(not isinstance(x, Known) for x in inputs[1:]):
        raise operation.refused("its ends must be constants, not computed from the input; export it so")
    there = iter(float(x.values) for x in inputs[1:])
    ends = [next(there) if name else end for name, end in zip(operation.inputs[1:], (-np.inf, np.inf), strict=False)]
    if len(ends) == 1:
        ends.append(np.inf)
    low, high = ends or [operation.attributes.get(name, end) for name, end in (("min", -np.inf), ("max", np.inf))]
    return (low if np.isfinite(low) else None), (high if np.isfinite(high) else None)


def _dequantised(operation: Operation, xs: Sequence[Known]) -> Known:
    """Return the values of integers, of a scale and a zero point a channel."""
    integers_, scale = xs[0].values.astype(np.float64), xs[1].values.astype(np.float64)
    zero = xs[2].values.astype(np.float64) if len(xs) > 2 else np.zeros(())
    shape = [1] * integers_.ndim
    if scale.size > 1:
        shape[operation.attributes.get("axis", 1)] = scale.size
    zero = zero.reshape(shape if zero.size > 1 else ())
    return on_grid(integers_ - zero, scale.reshape(shape if scale.size > 1 else ()), xs[0].source)


def _gather(operation: Operation, xs: Sequence[Known]) -> Any:
    return np.take(xs[0].values, xs[1].values, operation.attributes.get("axis", 0))


FLOATS = (1, 11)
"""Types of a Cast that keeps floats: float32 and float64."""

MOVED: Mapping[str, Callable[[Operation, Sequence[Known]], Any]] = {
    "Identity": lambda operation, xs: xs[0].values,
    "Transpose": lambda operation, xs: np.transpose(xs[0].values, operation.attributes.get("perm")),
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": lambda operation, xs: np.expand_dims(xs[0].values, tuple(axes_of(operation, xs) or ())),
    "Gather": _gather,
    "Clip": _clip,
    "Concat": lambda operation, xs: np.concatenate([x.values for x in xs], operation.attributes.get("axis", 0)),
}
"""Operators that move numbers and leave them as they are."""

COMPUTED: Mapping[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": lambda x, y: x / y if np.asarray(x).dtype.kind == "f" else np.sign(x) * np.sign(y) * (abs(x) // abs(y)),
    "Neg": np.negative,
    "Abs": np.abs,
}


def folded(operation: Operation, xs: Sequence[Known], opset: int) -> list[Known]:
    """Return what an operation makes of constants, whatever it is; raise ModelError where it cannot be computed."""
    if operation.kind in ("Quant", "IntQuant", "BipolarQuant"):
        return [quantised(xs[0], quantiser(operation, xs))]
    if operation.kind == "QuantizeLinear":
        by = quantiser(operation, xs)
        return [xs[0].of(by.steps(xs[0].values.astype(np.float64) / by.scale) + by.zero)]
    if operation.kind == "DequantizeLinear":
        return [_dequantised(operation, xs)]
    if operation.kind == "Cast" and operation.attributes.get("to") in FLOATS:
        whole = xs[0].values.dtype.kind in "biu"
        return [xs[0].of(xs[0].values.astype(np.float32)) if whole else xs[0]]
    try:
        if operation.kind in MOVED:
            return [_moved(operation, xs)]
        if operation.kind in COMPUTED:
            with np.errstate(all="ignore"):  # what becomes infinite is refused where it is used
                values = COMPUTED[operation.kind](*(x.values for x in xs))
            return [Known(np.asarray(values), xs[0].source)]  # its product may be wide: it counts as unquantised
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise operation.refused(f"its constants do not fit together ({error}); export the model again") from error
    return [Known(values, xs[0].source if xs else operation.name) for values in computed(operation, xs, opset)]


def _moved(operation: Operation, xs: Sequence[Known]) -> Known:
    """Return a constant whose numbers are moved, with the integers and the scales of which it is made."""
    move, first, rest = MOVED[operation.kind], xs[0], xs[1:]
    values = first.of(move(operation, xs))
    if first.whole is None or operation.kind in ("Clip", "Concat"):
        return values if first.whole is None else replace(values, quantised=False)
    whole, scale = (move(operation, [first.of(part), *rest]) for part in (first.whole, first.scale))
    return replace(values, whole=whole, scale=scale)


def computed(operation: Operation, xs: Sequence[Known], opset: int) -> list[NDArray[Any]]:
    """Return what the onnx package computes from constants."""
    try:
        return evaluated(operation, [x.values for x in xs], opset)
    except Exception as error:  # as many kinds as operators
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise operation.refused(
            f"cannot be folded into a constant ({reason}); fold it before (qonnx-cleanup)"
        ) from error
