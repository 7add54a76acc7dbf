"""Constants of an ONNX model and everything that it computes from them alone: quantised weights, shapes, factors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.core.rounding import Rounding, rounded_floats
from edgephys.models.files.onnx.file import Operation

UNQUANTISED_BITS = 16
"""Bits of the widest constant without a quantiser that is taken as it is: what a tool folded, not float weights."""
FLOAT32_BITS = 24


@dataclass(frozen=True, eq=False)
class Known:
    """Hold a tensor that does not depend on the input; ``source`` names the initialiser that it comes from."""

    values: NDArray[Any]
    source: str
    quantised: bool = False

    def of(self, values: Any) -> Known:
        """Return the same numbers in another order or shape."""
        return replace(self, values=np.asarray(values))


def dyadic(values: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """Return whole numbers and the smallest fraction with which they are the values: values = whole * 2**-fraction."""
    exact = np.asarray(values, np.float64)
    mantissas, exponents = np.frexp(exact)
    odd = (mantissas * 2.0**53).astype(np.int64)
    zeros = np.where(odd == 0, 0, np.log2((odd & -odd).clip(1)).astype(np.int64))
    needed = np.where(odd == 0, -1024, 53 - exponents - zeros)
    fraction = int(needed.max(initial=-1024))
    fraction = 0 if fraction == -1024 else fraction
    return exact * 2.0**fraction, fraction


def integers(operation: Operation, known: Known, what: str) -> tuple[Integers, int]:
    """Return a constant's integers and fraction; raise ModelError where it is float, or too wide for exact sums."""
    if not np.all(np.isfinite(known.values)):
        raise operation.refused(f"{what} '{known.source}' comes to NaN or infinity; train the model again")
    whole, fraction = dyadic(known.values)
    bits = int(np.ceil(np.log2(np.abs(whole).max(initial=0) + 1)))
    if not known.quantised and bits > UNQUANTISED_BITS:
        raise operation.refused(
            f"{what} '{known.source}' is float, without a Quant, and needs {bits} bits; quantise it "
            f"(Brevitas: weight_quant and bias_quant of fixed point), or this is no QONNX model"
        )
    if bits > FLOAT32_BITS:
        raise operation.refused(
            f"{what} '{known.source}' needs {bits} bits together, of which at most {FLOAT32_BITS} are exact in "
            f"float32; use scales of its channels that are closer to each other"
        )
    return whole.astype(np.int64), fraction


def power_of_two(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the exponents of numbers that are powers of two; None where one is not."""
    mantissas, exponents = np.frexp(np.asarray(values, np.float64))
    return None if np.any(mantissas != 0.5) else (exponents - 1).astype(np.int64)


# Quant ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Quantiser:
    """State what a Quant node does: steps of 2**exponents, one for all or one an element, and how it rounds."""

    exponents: NDArray[np.int64]
    bits: int
    signed: bool
    narrow: bool
    mode: str

    @property
    def bipolar(self) -> bool:
        """Tell whether it gives -1 and +1 alone, as one signed bit does."""
        return self.signed and self.bits == 1

    def alike(self, other: Quantiser) -> bool:
        """Tell whether another does the same."""
        ours, theirs = ((q.bits, q.signed, q.narrow, q.mode) for q in (self, other))
        return ours == theirs and np.array_equal(self.exponents, other.exponents)


ROUNDINGS = {mode.qonnx: mode for mode in Rounding if mode.qonnx} | {"HALF_EVEN": Rounding.RND_CONV}
"""Our mode of each rounding mode of a Quant that has one."""
ROUNDED: dict[str, Callable[[Any], Any]] = {
    **{name: partial(rounded_floats, mode=mode) for name, mode in ROUNDINGS.items()},
    "CEIL": np.ceil,
    "UP": lambda x: np.copysign(np.ceil(np.abs(x)), x),
}
"""Rounding modes of a Quant as the qonnx package computes them."""

PARAMETERS = {
    "Quant": ("scale", "zero point", "bit width"),
    "BipolarQuant": ("scale",),
    "QuantizeLinear": ("scale", "zero point"),
}
"""What a quantiser reads after what it quantises."""


def integer_type(operation: Operation, dtype: np.dtype[Any]) -> tuple[bool, int]:
    """Return whether integers of a type are signed, and their bits; raise ModelError where they are none, or wide."""
    match = re.fullmatch(r"(u?)int(4|8|16)", dtype.name)
    if match is None:
        raise operation.refused(f"its integers must be of 4, 8 or 16 bits, not {dtype.name}; export it so")
    return not match[1], int(match[2])


def quantiser(operation: Operation, inputs: Sequence[Any]) -> Quantiser:
    """Return what a Quant, BipolarQuant or QuantizeLinear does; raise ModelError where that is not fixed point."""
    names = PARAMETERS[operation.kind]
    if operation.kind == "QuantizeLinear" and len(inputs) == 2:
        inputs = [*inputs, Known(np.array(0, np.uint8), "zero point")]
    if len(inputs) != 1 + len(names):
        raise operation.refused(f"expected {1 + len(names)} inputs, not {len(inputs)}; export it again")
    for what, parameter in zip(names, inputs[1:], strict=True):
        if not isinstance(parameter, Known):
            raise operation.refused(f"its {what} must be a constant, not computed from the input; export it so")
    scale = inputs[1].values
    exponents = power_of_two(scale)
    if exponents is None or np.any(np.abs(exponents) > 100):
        wrong = next((float(s) for s in np.ravel(scale) if np.frexp(float(s))[0] != 0.5), float(np.ravel(scale)[0]))
        raise operation.refused(
            f"its scale must be a power of two, not {wrong:g}; train it with power-of-two scales "
            f"(Brevitas: restrict_scaling_type=POWER_OF_TWO)"
        )
    if operation.kind == "BipolarQuant":
        return Quantiser(exponents, 1, True, False, "ROUND")
    if np.any(inputs[2].values.astype(np.float64) != 0):
        raise operation.refused(
            f"its zero point must be 0, not {float(np.ravel(inputs[2].values)[0]):g}; use a symmetric quantiser"
        )
    if operation.kind == "QuantizeLinear":
        signed, bits = integer_type(operation, inputs[2].values.dtype)
        return Quantiser(exponents, bits, signed, False, "ROUND")
    widths = np.unique(inputs[3].values)
    if widths.size != 1 or widths[0] != int(widths[0]) or not 1 <= widths[0] <= FLOAT32_BITS:
        shown = ", ".join(f"{float(width):g}" for width in widths[:3])
        raise operation.refused(f"its bit width must be one whole number 1..{FLOAT32_BITS}, not {shown}; state it so")
    mode = operation.attributes.get("rounding_mode", b"ROUND").decode(errors="replace").upper()
    if mode not in ROUNDED:
        raise operation.refused(f"its rounding mode must be one of {', '.join(ROUNDED)}, not {mode}; use ROUND")
    signed, narrow = (bool(operation.attributes.get(name, 1)) for name in ("signed", "narrow"))
    return Quantiser(exponents, int(widths[0]), signed, narrow, mode)


def quantised(known: Known, by: Quantiser) -> Known:
    """Return a constant behind its quantiser, as the qonnx package computes it: clipped, then rounded."""
    scaled = known.values.astype(np.float64) * 2.0**-by.exponents
    if by.bipolar:
        steps = np.where(scaled >= 0, 1.0, -1.0)
    else:
        low = -(2 ** (by.bits - 1)) + by.narrow if by.signed else 0
        high = 2 ** (by.bits - by.signed) - 1 - (by.narrow and not by.signed)
        steps = ROUNDED[by.mode](np.clip(scaled, low, high))
    return Known(steps * 2.0**by.exponents, known.source, quantised=True)


# Everything else --------------------------------------------------------------------------------


def axes_of(operation: Operation, inputs: Sequence[Any], at: int = 1) -> list[int] | None:
    """Return the axes that an operator is given, as an attribute or an input; None where it is given none."""
    if "axes" in operation.attributes:
        return [int(axis) for axis in operation.attributes["axes"]]
    if len(inputs) > at and isinstance(inputs[at], Known):
        return [int(axis) for axis in np.ravel(inputs[at].values)]
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
    if power_of_two(scale) is None:
        shown = f"{float(np.ravel(scale)[0]):g}"
        raise operation.refused(f"its scale must be a power of two, not {shown}; train it with power-of-two scales")
    shape = [1] * integers_.ndim
    if scale.size > 1:
        shape[operation.attributes.get("axis", 1)] = scale.size
    zero = zero.reshape(shape if zero.size > 1 else ())
    return Known((integers_ - zero) * scale.reshape(shape if scale.size > 1 else ()), xs[0].source, quantised=True)


def _gather(operation: Operation, xs: Sequence[Known]) -> Any:
    return np.take(xs[0].values, xs[1].values, operation.attributes.get("axis", 0))


MOVED: Mapping[str, Callable[[Operation, Sequence[Known]], Any]] = {
    "Identity": lambda operation, xs: xs[0].values,
    "Cast": lambda operation, xs: xs[0].values,
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
    "Div": lambda x, y: x / y if np.asarray(x).dtype.kind == "f" else x // y,
    "Neg": np.negative,
    "Abs": np.abs,
}


def folded(operation: Operation, xs: Sequence[Known]) -> Known:
    """Return what an operation makes of constants; raise ModelError where it is none that is folded."""
    if operation.kind in ("Quant", "BipolarQuant"):
        return quantised(xs[0], quantiser(operation, xs))
    if operation.kind == "QuantizeLinear":
        by = quantiser(operation, xs)
        return xs[0].of(quantised(xs[0], by).values * 2.0**-by.exponents)
    if operation.kind == "DequantizeLinear":
        return _dequantised(operation, xs)
    try:
        if operation.kind in MOVED:
            return xs[0].of(MOVED[operation.kind](operation, xs))
        if operation.kind in COMPUTED:
            with np.errstate(all="ignore"):  # what becomes infinite is refused where it is used
                values = COMPUTED[operation.kind](*(x.values for x in xs))
            return Known(np.asarray(values), xs[0].source)  # its product may be wide: it counts as unquantised
    except (ValueError, IndexError, TypeError, ZeroDivisionError) as error:
        raise operation.refused(f"its constants do not fit together ({error}); export the model again") from error
    raise operation.refused(
        f"cannot be folded into a constant; fold it before (qonnx-cleanup), or use one of "
        f"{', '.join(sorted({*MOVED, *COMPUTED}))}"
    )
