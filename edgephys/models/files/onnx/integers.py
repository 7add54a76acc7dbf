"""Rules of QuantizeLinear and DequantizeLinear, the pair that other exporters write for QONNX's Quant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow
from edgephys.models.files.onnx.constants import clip_ends, power_of_two, quantiser
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.reading import Edge, Reading, Value, Values, edge_of, format_of, known_of


def _quantised(reading: Reading, operation: Operation, xs: Values) -> Value:
    by = quantiser(operation, xs)
    edge = edge_of(operation, xs[0])
    if by.exponents.size != 1:
        raise operation.refused("scales a channel of what is computed from the input have no form here; use one scale")
    exponent = int(by.exponents.flat[0])
    name = reading.builder.requantise(reading.owner(operation, edge), edge.name, format_of(by, exponent))
    return replace(edge, name=name, step=exponent)


def _dequantised(reading: Reading, operation: Operation, xs: Values) -> Value:
    edge, scale = edge_of(operation, xs[0]), known_of(operation, xs[1], "scale")
    zero = known_of(operation, xs[2], "zero point").values.astype(np.float64) if len(xs) > 2 else np.zeros(1)
    exponents = power_of_two(scale.values)
    if edge.step is None or exponents is None or exponents.size != 1 or np.any(zero != 0):
        raise operation.refused(
            "must read a QuantizeLinear, with one scale that is a power of two and a zero point of 0; export it so"
        )
    shift = int(exponents.flat[0]) - edge.step
    name = edge.name
    if shift:
        owner = reading.owner(operation, edge)
        name = reading.builder.scale(owner, edge.name, np.array(1), -shift)
    return replace(edge, name=name, step=None)


def _clipped(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Write a Clip as a requantise whose format has these ends, or as a ReLU where the only end is 0."""
    edge = edge_of(operation, xs[0])
    low, high = clip_ends(operation, xs)
    owner, fraction = reading.owner(operation, edge), reading.builder.fraction(edge.name)
    if low == 0 and high is None:
        return replace(edge, name=reading.builder.relu(owner, edge.name))
    unit = fraction + (edge.step or 0)  # of the ends, in steps of the edge
    fixed = None if low is None or high is None else _format(low * 2.0**unit, high * 2.0**unit, fraction)
    if fixed is None:
        raise operation.refused(
            f"its ends {low} and {high} are no format's, such as 0..2**n - 1 or -2**n..2**n - 1 steps; use a Quant"
        )
    return replace(edge, name=reading.builder.requantise(owner, edge.name, fixed))


def _format(low: float, high: float, fraction: int) -> Fixed | None:
    """Return the saturating format whose integers are low..high, where there is one."""
    for signed, overflow in ((False, Overflow.SAT), (True, Overflow.SAT), (True, Overflow.SAT_SYM)):
        bits = int(high + 1).bit_length() - 1 + signed if high > 0 else 0
        if 1 + signed <= bits <= 24:
            fixed = Fixed(signed, bits, bits - fraction, overflow=overflow)
            if (fixed.low, fixed.high) == (low, high):
                return fixed
    return None


def require_values(operation: Operation, xs: Values) -> None:
    """Refuse to compute with the integers between a QuantizeLinear and its DequantizeLinear."""
    if operation.kind in ("DequantizeLinear", "Clip", "Identity"):
        return
    for x in xs:
        if isinstance(x, Edge) and x.step is not None:
            raise operation.refused("reads the integers of a QuantizeLinear; put a DequantizeLinear between them")


INTEGERS: dict[str, Callable[[Reading, Operation, Values], Value]] = {
    "QuantizeLinear": _quantised,
    "DequantizeLinear": _dequantised,
    "Clip": _clipped,
}
