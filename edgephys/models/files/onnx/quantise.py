"""Rules of operators that round: quantisers, thresholds and truncation, with the float operators before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.models.files.onnx.chains import Floats, FloatStep
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import FLOAT32_BITS, Known, integers, power_of_two
from edgephys.models.files.onnx.quantisers import ROUNDED, Quantiser, quantiser
from edgephys.models.files.onnx.reading import (
    Edge,
    Reading,
    Value,
    Values,
    edge_of,
    format_of,
    known_of,
    laid,
)
from edgephys.models.files.onnx.search import Rounder, rounded


def quant(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Add a Quant, IntQuant or BipolarQuant."""
    by, edge = quantiser(operation, xs), edge_of(operation, xs[0])
    return _quantised(reading, operation, edge, by)


def quantize_linear(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Add a QuantizeLinear, whose tensor has integers; the node has the values that they stand for."""
    by, edge = quantiser(operation, xs), edge_of(operation, xs[0])
    return replace(_quantised(reading, operation, edge, by), grid=(float(by.scale), by.zero))


def _quantised(reading: Reading, operation: Operation, edge: Edge, by: Quantiser) -> Edge:
    exponents = by.exponents
    if not edge.exact or exponents is None or not _has_format(reading, edge, by, exponents):
        scale = laid(reading, operation, edge, Known(by.scale, "scale")).astype(np.float64)
        return rounded(reading, operation, edge, Rounder(lambda y, own: by.steps(y / own), (scale,), scale))
    owner, builder = reading.owner(operation, edge), reading.builder
    different = np.unique(exponents)
    if different.size == 1:
        return replace(edge, name=_rounded(reading, owner, edge.name, by, int(different[0])))
    powers = laid(reading, operation, edge, Known(exponents, "scale")).astype(np.int64)
    up, down = int(powers.max()), int(powers.min())
    if up - down > FLOAT32_BITS:
        raise operation.refused(f"its scales differ by 2**{up - down}, at most by 2**{FLOAT32_BITS}; bring them closer")
    scaled = builder.scale(owner, edge.name, 1 << (up - powers), up)  # in steps, whatever the channel
    whole = _rounded(reading, owner, scaled, by, 0)
    return replace(edge, name=builder.scale(owner, whole, 1 << (powers - down), -down))


def _has_format(reading: Reading, edge: Edge, by: Quantiser, exponents: NDArray[np.int64]) -> bool:
    """Tell whether a quantiser of an exact edge is a requantise into a format of ours."""
    finer = reading.builder.fraction(edge.name) + int(exponents.max())
    if by.bipolar:
        return by.zero == 0
    if by.narrow and not by.signed:
        return False
    return finer <= 0 or (by.mode != "UP" and (by.mode != "CEIL" or finer <= FLOAT32_BITS))


def _rounded(reading: Reading, owner: str, x: str, by: Quantiser, exponent: int) -> str:
    builder = reading.builder
    if by.bipolar:  # the sign: -1 or 0 of the coarsest step, doubled and raised by one
        sign = builder.requantise(owner, x, Fixed(True, 1, 1 + exponent, Rounding.TRN, Overflow.SAT))
        return builder.bias(owner, builder.scale(owner, sign, np.array(2), 0), np.array(1), -exponent)
    if by.zero:
        x = builder.bias(owner, x, np.array(by.zero), -exponent)
    finer = builder.fraction(x) + exponent
    if by.mode == "CEIL" and finer > 0:  # ceil(x) = floor(x + just less than one)
        x = builder.bias(owner, x, np.array((1 << finer) - 1), builder.fraction(x))
    x = builder.requantise(owner, x, format_of(by, exponent))
    return builder.bias(owner, x, np.array(-by.zero), -exponent) if by.zero else x


def dequantize_linear(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Read the integers of a QuantizeLinear as values again, perhaps of another scale and zero point."""
    edge, scale = edge_of(operation, xs[0]), known_of(operation, xs[1], "scale").values.astype(np.float64)
    zero = known_of(operation, xs[2], "zero point").values.astype(np.int64) if len(xs) > 2 else np.zeros(1, np.int64)
    if edge.grid is None or scale.size != 1 or np.unique(zero).size != 1:
        raise operation.refused("must read a QuantizeLinear, with one scale and one zero point; export it so")
    (step, before), own, builder = edge.grid, reading.owner(operation, edge), reading.builder
    edge, number, after = replace(edge, grid=None), float(scale.flat[0]), int(zero.flat[0])
    if edge.chain and (number, after) != (step, before):
        raise operation.refused("its scale and zero point must be those of its QuantizeLinear; export it so")
    if after != before:
        name = builder.bias(own, edge.name, np.array(before - after), builder.fraction(edge.name))
        edge = replace(edge, name=name)
    return edge if number == step else times(reading, own, edge, np.array(number / step))


def times(reading: Reading, owner: str, edge: Edge, factor: Floats) -> Edge:
    """Return an edge without a chain times numbers: a shift where its scale becomes a power of two, else a scale."""
    scale = factor if edge.scale is None else edge.scale * factor
    exponents = power_of_two(np.abs(scale))
    if scale.ndim or exponents is None:
        return replace(edge, scale=scale)
    name = reading.builder.scale(owner, edge.name, np.array(int(np.sign(scale))), -int(exponents))
    return replace(edge, name=name, scale=None)


def multi_threshold(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Add a MultiThreshold: the number of thresholds that a value reaches, times a scale, plus a bias."""
    edge, thresholds = edge_of(operation, xs[0]), known_of(operation, xs[1], "thresholds").values.astype(np.float64)
    attributes, rank = operation.attributes, len(edge.axes) + 1
    layout = attributes.get("data_layout", b"").decode() or {3: "NWC"}.get(rank, "NC")
    at = layout.index("C") if "C" in layout else 1
    scale, bias = (
        float(np.float32(attributes.get(name, end))) for name, end in (("out_scale", 1.0), ("out_bias", 0.0))
    )
    if thresholds.ndim != 2 or scale <= 0 or np.any(np.diff(thresholds, axis=1) < 0):
        raise operation.refused("its thresholds must rise, for each channel or for all, and out_scale be positive")
    shape = [1] * (rank - 1)
    shape[at - 1] = len(thresholds)
    if len(thresholds) not in (1, reading.shape(edge)[at - 1]):
        raise operation.refused(
            f"{len(thresholds)} rows of thresholds do not fit {reading.shape(edge)[at - 1]} channels"
        )
    rows = tuple(laid(reading, operation, edge, Known(column.reshape(shape), "thresholds")) for column in thresholds.T)
    rounder = Rounder(lambda y, *own: sum((y >= one).astype(np.int64) for one in own), rows, np.array(1.0))
    counted = rounded(reading, operation, edge, rounder)
    owner = reading.owner(operation, counted)
    if scale != 1:
        counted = times(reading, owner, counted, np.array(scale))
    if bias and counted.exact:
        return biased(reading, operation, owner, counted, Known(np.array(bias), "out_bias", quantised=True))
    return counted.then(FloatStep("add", operation.name, operation.outputs[0], np.array(bias))) if bias else counted


def truncated(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Add a Trunc: low bits that are left away from the integers of a scale."""
    edge = edge_of(operation, xs[0])
    numbers = [np.unique(known_of(operation, x, "parameters").values.astype(np.float64)) for x in xs[1:]]
    if any(number.size != 1 for number in numbers) or len(numbers) not in (4, 5):
        raise operation.refused("its scale, zero point and bit widths must be one number each; export it so")
    scale, zero, before, *rest = (float(number[0]) for number in numbers)
    mode = operation.attributes.get("rounding_mode", b"FLOOR").decode(errors="replace").upper()
    if mode not in ROUNDED or zero != int(zero):
        raise operation.refused(f"its rounding mode must be one of {', '.join(ROUNDED)}, and its zero point whole")
    if len(rest) == 1:
        dropped, result, offset, ends = before - rest[0], scale, zero, (-np.inf, np.inf)
    else:
        dropped, result = float(np.round(np.log2(rest[0] / scale))), rest[0]
        signed, narrow = (bool(operation.attributes.get(key, end)) for key, end in (("signed", 1), ("narrow", 0)))
        by = Quantiser(np.array(result), 0, int(rest[1]), signed, narrow, mode)
        offset, ends = zero / 2.0**dropped, (by.low, by.high)
    if offset != int(offset):
        raise operation.refused(f"its zero point {zero:g} must stay whole when {dropped:g} bits are left away; use 0")

    def call(y: Floats) -> Floats:
        whole = np.round(y / scale + zero) / 2.0**dropped
        bits: Floats = ROUNDED[mode](np.clip(whole, *ends)) - offset
        return bits

    return rounded(reading, operation, edge, Rounder(call, (), np.array(result)))


def biased(reading: Reading, operation: Operation, owner: str, edge: Edge, bias: Known) -> Edge:
    """Return an exact edge plus a constant of few bits."""
    number, fraction = integers(operation, bias, "bias")
    numbers = laid(reading, operation, edge, bias.of(number))
    return replace(edge, name=reading.builder.bias(owner, edge.name, numbers, fraction))
