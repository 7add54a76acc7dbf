"""The rounded sum of two tensors whose scales have no common step, as residuals of QDQ networks are.

A sum A * s + B * t is no integer times one scale, but the quantiser behind it is a function of the two integers. It is
tried on every pair of them, and written as

    q(A, B) = clip((m * A + n * B + b) >> k),  or half to even without b,

with the smallest k for which whole m, n and b give every pair its result.
Source: our own derivation; exact, because every pair of the ranges is tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.fixed import Integers, narrowest
from edgephys.core.rounding import Rounding
from edgephys.models.files.fields import bounded, saturating
from edgephys.models.files.functions.affine import roundest
from edgephys.models.files.onnx.chains import NOISE, SUM, Floats, FloatStep, computed
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import power_of_two
from edgephys.models.files.onnx.pairs import joined
from edgephys.models.files.onnx.reading import Edge, Reading

if TYPE_CHECKING:
    from edgephys.models.files.onnx.search import Rounder

MOST_PAIRS = 1 << 20
"""Most pairs of integers that are tried."""
MOST_SHIFT = 40
LINEAR = frozenset({"multiply", "divide", "add", "Relu", "Clip"})
"""Float operators behind the sum that the clip of a shift can be."""


@dataclass(frozen=True)
class Second:
    """Name the second node of a sum of two scales, its scale, and the layer of the sum."""

    name: str
    scale: float
    layer: str


def have_two_scales(one: Edge, other: Edge) -> bool:
    """Tell whether two edges have one scale each, and these no common step."""
    scales = [np.ones(()) if edge.scale is None else edge.scale for edge in (one, other)]
    return all(scale.ndim == 0 for scale in scales) and power_of_two(np.abs(scales[0] / scales[1])) is None


def summed(reading: Reading, operation: Operation, one: Edge, other: Edge) -> Edge:
    """Return the sum of two tensors of two scales, which the next quantiser takes in."""
    seconds: list[Second] = []

    def both(layer: str, x: str, y: str) -> str:
        seconds.append(Second(y, 1.0 if other.scale is None else float(other.scale), layer))
        return x

    edge = joined(reading, operation, one, other, both)
    return edge.then(FloatStep(SUM, operation.name, operation.inputs[0], second=seconds[0]))


def rounded_sum(reading: Reading, operation: Operation, edge: Edge, rounder: Rounder) -> Edge:
    """Return the edge of a quantiser's result behind a sum of two scales.

    Raises: ModelError for too many pairs, scales of channels, functions that are no line, and pairs near a tie.
    """
    second, chain = edge.chain[0].second, edge.chain[1:]
    constants = (rounder.scale, *rounder.constants, *(own.constant for own in chain if own.constant is not None))
    if any(np.ndim(one) for one in constants) or {own.kind for own in chain} - LINEAR:
        raise operation.refused(
            f"rounds the sum of two scales of '{edge.chain[0].node}' (Add) by channels or behind a curve; put a Quant "
            f"of one scale right behind the Add"
        )
    builder = reading.builder
    pairs = _Pairs(operation, builder.range(edge.name), builder.range(second.name))
    steps = [2.0 ** -builder.fraction(edge.name) * (1.0 if edge.scale is None else float(edge.scale))]
    steps.append(2.0 ** -builder.fraction(second.name) * second.scale)
    results = pairs.results(steps, chain, rounder)
    slopes = [step * _slope(chain) / float(rounder.scale) for step in steps]
    form = next(pairs.forms(results, slopes), None)
    if form is None:
        raise operation.refused(
            f"rounds the sum of two scales of '{edge.chain[0].node}' (Add), which no multiplication and shift gives; "
            f"use one scale for both, or fewer bits"
        )
    exponent = power_of_two(rounder.scale)
    fraction = -int(exponent) if exponent is not None else 0
    name = _written(reading, edge.name, second, form, fraction)
    return Edge(name, edge.axes, None if exponent is not None else rounder.scale)


@dataclass(frozen=True)
class _Form:
    """State clip((factors[0] * A + factors[1] * B + addend) / 2**shift, *ends), rounded down, or to the nearest."""

    factors: tuple[int, int]
    addend: int
    shift: int
    ends: tuple[int, int]
    rounding: Rounding


def _odd_part(number: float) -> int:
    """Return the odd integer of which a number is a multiple by a power of two."""
    whole, _ = number.as_integer_ratio()
    return whole // (whole & -whole)


def _slope(chain: tuple[FloatStep, ...]) -> float:
    """Return by how much the operators of a chain multiply."""
    slope = 1.0
    for function in chain:
        if function.kind in ("multiply", "divide"):
            factor = float(np.asarray(function.constant))
            slope = slope * factor if function.kind == "multiply" else slope / factor
    return slope


def _written(reading: Reading, first: str, second: Second, form: _Form, fraction: int) -> str:
    """Add the operations of a form to the Graph, with results at ``2**-fraction``."""
    builder, layer, finer = reading.builder, second.layer, form.shift + fraction
    parts = [
        builder.scale(layer, name, np.array(factor), finer - builder.fraction(name))
        for name, factor in zip((first, second.name), form.factors, strict=True)
    ]
    total = builder.add(layer, *parts)
    moved = builder.bias(layer, total, np.array(form.addend), finer) if form.addend else total
    reading.staircases.emulated.update((*parts, total, moved))
    fixed, (low, high) = saturating(*form.ends, fraction), form.ends
    if fixed is not None:
        return builder.requantise(layer, moved, replace(fixed, rounding=form.rounding))
    range_ = builder.range(moved)
    wide = narrowest(range_.lowest >> form.shift, (range_.highest >> form.shift) + 1, fraction)
    result = builder.requantise(layer, moved, replace(wide, rounding=form.rounding))
    return bounded(builder, reading.staircases.emulated, layer, result, low, high)


class _Pairs:
    """Hold every pair of two ranges of integers, as a column and a row."""

    def __init__(self, operation: Operation, one: Any, other: Any) -> None:
        counts = [range_.highest - range_.lowest + 1 for range_ in (one, other)]
        if counts[0] * counts[1] > MOST_PAIRS:
            raise operation.refused(
                f"rounds the sum of two scales of {counts[0]:,} and {counts[1]:,} integers, too many to try each pair; "
                f"put a Quant before each input of the Add, or use one scale for both"
            )
        self.operation = operation
        self.partials = one.partial, other.partial
        self.first: Integers = np.arange(one.lowest, one.highest + 1)[:, None]
        self.second: Integers = np.arange(other.lowest, other.highest + 1)[None]

    def results(self, steps: list[float], chain: tuple[FloatStep, ...], rounder: Rounder) -> Integers:
        """Return the quantiser's integer for each pair; raise ModelError where two floats round apart."""
        parts = self.first * steps[0], self.second * steps[1]
        total: Floats = parts[0] + parts[1]
        margin = 0.0 if self._exact(steps) else NOISE * (np.abs(parts[0]) + np.abs(parts[1]))
        low, high = computed(chain, total - margin, total + margin)
        one, other = (np.asarray(rounder.call(end, *rounder.constants)) for end in (low, high))
        unsure = np.argwhere(one != other)
        if unsure.size:
            row, column = unsure[0]
            raise self.operation.refused(
                f"for the integers {self.first[row, 0]} and {self.second[0, column]} of a sum of two scales two floats "
                f"round apart; change a scale a little, or use one scale for both"
            )
        return one.astype(np.int64)

    def _exact(self, steps: list[float]) -> bool:
        """Tell whether float64 holds every sum, whatever the order in which a file adds up each part."""
        finest = min(step / _odd_part(step) for step in steps)
        largest: float = sum(partial * step for partial, step in zip(self.partials, steps, strict=True))
        return largest < finest * 2.0**53

    def forms(self, results: Integers, slopes: list[float]) -> Iterator[_Form]:
        """Yield forms that give every pair its result, those of the smallest shift first."""
        ends = int(results.min()), int(results.max())
        near = [(0, 0)]
        if results.size <= MOST_PAIRS >> 3:
            near += [(m, n) for m in (-1, 0, 1) for n in (-1, 0, 1) if m or n]
        for shift in range(MOST_SHIFT + 1):
            whole = [round(slope * (1 << shift)) for slope in slopes]
            for change in near:
                factors = (whole[0] + change[0], whole[1] + change[1])
                total = self.first * factors[0] + self.second * factors[1]
                addend = _addend(total, results, shift, ends)
                if addend is not None:
                    yield _Form(factors, addend, shift, ends, Rounding.TRN)
                elif shift and _is_nearest(total, results, shift, ends):
                    yield _Form(factors, 0, shift, ends, Rounding.RND_CONV)


def _addend(total: Integers, results: Integers, shift: int, ends: tuple[int, int]) -> int | None:
    """Return the addend with which sums, rounded down, give all results; None where there is none."""
    rest = (results << shift) - total
    least = int(rest.max(where=results > ends[0], initial=-(1 << 62)))
    most = int(rest.min(where=results < ends[1], initial=1 << 62)) + (1 << shift) - 1
    return roundest(least, most) if -(1 << 62) < least <= most < 1 << 62 else None


def _is_nearest(total: Integers, results: Integers, shift: int, ends: tuple[int, int]) -> bool:
    """Tell whether sums, rounded half to even, give all results: where a scale is a power of two, there are ties."""
    whole, rest = total >> shift, total & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    up = (rest > half) | ((rest == half) & (whole & 1 == 1))
    return bool(np.array_equal(np.clip(whole + up, *ends), results))
