"""What a quantiser of an ONNX model does, read from its parameters, and what it makes of constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.rounding import Rounding, rounded_floats
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import FLOAT32_BITS, Known, power_of_two


@dataclass(frozen=True, eq=False)
class Quantiser:
    """State what a Quant node does: steps of ``scale``, one for all or one an element, and how it rounds.

    It gives (q - zero) * scale, where q is x / scale + zero, clipped and rounded.
    """

    scale: NDArray[np.float64]
    zero: int
    bits: int
    signed: bool
    narrow: bool
    mode: str
    sign_alone: bool = False

    @property
    def exponents(self) -> NDArray[np.int64] | None:
        """The exponents of scales that are powers of two; None where one is not."""
        return power_of_two(self.scale)

    @property
    def bipolar(self) -> bool:
        """Tell whether it gives -1 and +1 alone, as one signed bit does."""
        return self.sign_alone or (self.signed and self.bits == 1)

    @property
    def low(self) -> int:
        """Lowest q."""
        return -(1 << (self.bits - 1)) + self.narrow if self.signed else 0

    @property
    def high(self) -> int:
        """Highest q."""
        return (1 << (self.bits - self.signed)) - 1 - (self.narrow and not self.signed)

    def alike(self, other: Quantiser) -> bool:
        """Tell whether another does the same."""
        ours, theirs = ((q.zero, q.bits, q.signed, q.narrow, q.mode, q.sign_alone) for q in (self, other))
        return ours == theirs and np.array_equal(self.scale, other.scale)

    def steps(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return q - zero for x / scale, as the qonnx package computes it."""
        if self.bipolar:
            return np.where(scaled + self.zero >= 0, 1.0, -1.0) - self.zero
        clipped = np.clip(scaled + self.zero, self.low, self.high)
        rounded: NDArray[np.float64] = ROUNDED[self.mode](clipped) - self.zero
        return rounded


ROUNDINGS = {mode.qonnx: mode for mode in Rounding if mode.qonnx} | {"HALF_EVEN": Rounding.RND_CONV}
"""Our mode of each rounding mode of a Quant that has one."""
ROUNDED: dict[str, Callable[[Any], Any]] = {
    **{name: partial(rounded_floats, mode=mode) for name, mode in ROUNDINGS.items()},
    "CEIL": np.ceil,
    "UP": lambda x: np.copysign(np.ceil(np.abs(x)), x),
}
"""Rounding modes of a Quant as the qonnx package computes them."""

LEAST_SCALE = 2.0**-60
PARAMETERS = {
    "Quant": ("scale", "zero point", "bit width"),
    "IntQuant": ("scale", "zero point", "bit width"),
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
    """Return what a Quant, BipolarQuant or QuantizeLinear does; raise ModelError where that is none of ours."""
    names = PARAMETERS[operation.kind]
    if operation.kind == "QuantizeLinear" and len(inputs) == 2:
        inputs = [*inputs, Known(np.array(0, np.uint8), "zero point")]
    if len(inputs) != 1 + len(names):
        raise operation.refused(f"expected {1 + len(names)} inputs, not {len(inputs)}; export it again")
    for what, parameter in zip(names, inputs[1:], strict=True):
        if not isinstance(parameter, Known):
            raise operation.refused(f"its {what} must be a constant, not computed from the input; export it so")
    scale = inputs[1].values.astype(np.float64)
    if np.any(scale < LEAST_SCALE) or np.any(scale > 1 / LEAST_SCALE):
        wrong = scale[(scale < LEAST_SCALE) | (scale > 1 / LEAST_SCALE)].ravel()[0]
        raise operation.refused(f"its scale must be {LEAST_SCALE:.0e}..{1 / LEAST_SCALE:.0e}, not {wrong:g}")
    if operation.kind == "BipolarQuant":
        return Quantiser(scale, 0, 1, True, False, "ROUND", sign_alone=True)
    zeros = np.unique(inputs[2].values.astype(np.float64))
    if zeros.size != 1 or zeros[0] != int(zeros[0]):
        shown = ", ".join(f"{zero:g}" for zero in zeros[:3])
        raise operation.refused(f"its zero point must be one whole number, not {shown}; export it so")
    zero = int(zeros[0])
    if operation.kind == "QuantizeLinear":
        signed, bits = integer_type(operation, inputs[2].values.dtype)
        return Quantiser(_along(operation, scale, inputs[0]), zero, bits, signed, False, "ROUND")
    widths = np.unique(inputs[3].values)
    if widths.size != 1 or widths[0] != int(widths[0]) or not 1 <= widths[0] <= FLOAT32_BITS:
        shown = ", ".join(f"{float(width):g}" for width in widths[:3])
        raise operation.refused(f"its bit width must be one whole number 1..{FLOAT32_BITS}, not {shown}; state it so")
    mode = operation.attributes.get("rounding_mode", b"ROUND").decode(errors="replace").upper()
    if mode not in ROUNDED:
        raise operation.refused(f"its rounding mode must be one of {', '.join(ROUNDED)}, not {mode}; use ROUND")
    signed, narrow = (bool(operation.attributes.get(name, 1)) for name in ("signed", "narrow"))
    return Quantiser(scale, zero, int(widths[0]), signed, narrow, mode)


def _along(operation: Operation, scale: NDArray[np.float64], x: Any) -> NDArray[np.float64]:
    """Return the scales of a QuantizeLinear laid along its axis; of an edge, whose rank is not known, only one."""
    if scale.size == 1:
        return scale.reshape(())
    if not isinstance(x, Known):
        raise operation.refused("scales a channel of what is computed from the input have no form here; use one scale")
    shape = [1] * x.values.ndim
    shape[operation.attributes.get("axis", 1)] = scale.size
    return scale.reshape(shape)


def quantised(known: Known, by: Quantiser) -> Known:
    """Return a constant behind its quantiser, as the qonnx package computes it: clipped, then rounded."""
    steps = by.steps(known.values.astype(np.float64) / by.scale)
    return on_grid(steps, by.scale, known.source)


def on_grid(steps: NDArray[np.float64], scale: NDArray[np.float64], source: str) -> Known:
    """Return quantised numbers: steps times a scale."""
    if power_of_two(scale) is not None:
        return Known(steps * scale, source, quantised=True)
    return Known(steps * scale, source, True, steps.astype(np.int64), np.broadcast_to(scale, steps.shape))
