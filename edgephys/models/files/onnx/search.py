"""Any quantiser behind any float operators as one function of an integer: find the integers at which it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.models.files.functions.steps import Steps
from edgephys.models.files.onnx.chains import NOISE, PARTS, SUM, Floats, computed, directions
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.joins import rounded_parts
from edgephys.models.files.onnx.known import power_of_two
from edgephys.models.files.onnx.reading import Edge, NeedsFloat64Error, Reading
from edgephys.models.files.onnx.two_scales import rounded_sum

MOST_RESULTS = 1 << 24
"""Most results of a quantiser, over all channels, whose places are searched."""
MOST_COMPUTED = 1 << 25
"""Most integers, over all channels, on which a function that does not rise everywhere is computed."""
CHUNK = 1 << 20
FLOAT64_BITS = 53


@dataclass(frozen=True, eq=False)
class Rounder:
    """State a quantiser of any kind: ``call(y, *constants)`` gives integers that rise with y; times ``scale``.

    ``constants`` and ``scale`` are laid out as the node.
    """

    call: Callable[..., Any]
    constants: tuple[Floats, ...]
    scale: Floats

    def moved(self, move: Callable[[Floats], Floats]) -> Rounder:
        """Return the rounder with its constants moved as the elements are."""
        constants = tuple(move(array) if array.ndim else array for array in self.constants)
        return Rounder(self.call, constants, move(self.scale) if self.scale.ndim else self.scale)


def rounded(reading: Reading, operation: Operation, edge: Edge, rounder: Rounder, layer: str | None = None) -> Edge:
    """Return the edge of a quantiser's result, whatever float operators are before it.

    Its nodes stand in ``layer``, or in that of the edge.
    Raises: ModelError where an integer is so close to a tie that two orders of summation round it apart.
    """
    if not reading.double:
        raise NeedsFloat64Error
    if edge.chain and edge.chain[0].kind == SUM:
        return rounded_sum(reading, operation, edge, rounder)
    if edge.chain and edge.chain[0].kind == PARTS:
        return rounded_parts(reading, operation, edge, rounder, rounded)
    owner, carried = layer or reading.owner(operation, edge), reading.builder.shape(edge.name)
    axes = {
        axis
        for array in (edge.scale, rounder.scale, *rounder.constants, *(own.constant for own in edge.chain))
        if array is not None and array.ndim
        for axis, length in enumerate(array.shape)
        if length > 1
    }
    if len(axes) == 1 and axes != {len(carried) - 1}:
        (axis,) = axes
        order = [other for other in range(len(carried)) if other != axis] + [axis]
        rounder = rounder.moved(lambda array: array.transpose(order))
        edge = reading.ordered(operation, edge, tuple(order.index(old) for old in edge.axes))
    elif len(axes) > 1:
        rounder = rounder.moved(lambda array: np.broadcast_to(array, carried).reshape(-1))
        flat = reading.builder.reshape(reading.layer(operation), edge.name, (prod(carried),))
        edge = edge.moved(flat, edge.axes, lambda array: np.broadcast_to(array, carried).reshape(-1))
    steps = _Search(reading, operation, edge, rounder, bool(axes)).steps()
    exponents = power_of_two(rounder.scale)
    fraction = -int(exponents.flat[0]) if exponents is not None and exponents.size == 1 else 0
    name = reading.staircases.write(owner, edge.name, steps, fraction)
    if name is None:
        raise operation.refused(
            f"its rounded function of {steps.count} integers is no multiplication, addition and shift, has too many "
            f"steps to be compared and needs too large a table; use fewer bits before it"
        )
    edge = Edge(name, edge.axes)
    if exponents is not None and exponents.size > 1:
        down = int(exponents.min())
        edge = replace(edge, name=reading.builder.scale(owner, name, 1 << (exponents - down), -down))
    elif exponents is None:
        edge = replace(edge, scale=rounder.scale)
    if len(axes) > 1:
        name = reading.builder.reshape(reading.builder.layer(edge.name), edge.name, carried)
        edge = edge.moved(name, edge.axes, lambda array: array.reshape(carried))
    return edge


@dataclass(frozen=True, eq=False)
class _Search:
    """Find the integers at which the result changes, for each channel where ``apart``."""

    reading: Reading
    operation: Operation
    edge: Edge
    rounder: Rounder
    apart: bool

    def __post_init__(self) -> None:
        range_ = self.reading.builder.range(self.edge.name)
        channels = self.reading.builder.shape(self.edge.name)[-1] if self.apart else 1
        low, high = (ends.reshape(-1, channels) for ends in (range_.low, range_.high))
        if range_.partial >= 1 << FLOAT64_BITS:
            raise self.operation.refused(
                f"it reads a sum of {range_.partial.bit_length()} bits, of which float64 holds {FLOAT64_BITS}; use "
                f"fewer weight or activation bits before it"
            )
        values: dict[str, Any] = {
            "low": range_.lowest,
            "high": range_.highest,
            "partial": range_.partial,
            "own": (low.min(0), high.max(0)),
            "channels": channels,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    low: int = 0
    high: int = 0
    partial: int = 0
    channels: int = 1
    own: tuple[Integers, Integers] = (np.zeros(1, np.int64), np.zeros(1, np.int64))

    def steps(self) -> Steps:
        """Return the function."""
        sign = directions(self.edge.chain)
        if sign is None:
            return self._computed()
        if self.edge.scale is not None:
            sign = sign * np.where(self.edge.scale < 0, -1.0, 1.0)
        return self._searched(np.broadcast_to(_flat(sign), self.channels).astype(np.int64))

    def _results(self, x: Integers) -> tuple[Integers, Integers]:
        """Return the results for both ends of the interval of each integer.  Shape: (any, channel)."""
        edge, step = self.edge, 2.0 ** -self.reading.builder.fraction(self.edge.name)
        low: Floats = x.astype(np.float64) * step
        high = low
        if edge.scale is not None:
            scale = _flat(edge.scale)
            margin = NOISE * np.abs(scale) * self.partial * step
            low, high = low * scale - margin, low * scale + margin
        chain = tuple(own.moved(_flat) for own in edge.chain)
        low, high = computed(chain, low, high)
        rounder = self.rounder.moved(_flat)
        one, other = (np.asarray(rounder.call(end, *rounder.constants)) for end in (low, high))
        if not (np.all(np.isfinite(one)) and np.all(np.isfinite(other))):
            raise self.operation.refused("its float operators before it give NaN or infinity; train the model again")
        shape = np.broadcast_shapes(one.shape, x.shape)
        return tuple(np.broadcast_to(end, shape).astype(np.int64) for end in (one, other))  # type: ignore[return-value]

    def _searched(self, sign: Integers) -> Steps:
        """Find the places by bisection: the function rises with t = sign * x."""
        begin, end = np.where(sign > 0, self.low, -self.high), np.where(sign > 0, self.high, -self.low)
        base = self._results((sign * begin)[None])[0][0]
        count = int((self._results((sign * end)[None])[1][0] - base).max())
        if count * self.channels > MOST_RESULTS:
            raise self.operation.refused(f"it has {count} results in {self.channels} channels; use fewer bits")
        levels = base + 1 + np.arange(count)[:, None]
        first, last = (self._reached(sign, begin, end, levels, which) for which in (1, 0))  # the upper end comes first
        own = [np.where(sign > 0, one, -other) for one, other in (self.own, self.own[::-1])]
        unsure = (first < last) & (first <= own[1]) & (last - 1 >= own[0])
        if unsure.any():
            level, channel = np.argwhere(unsure)[0]
            self._refuse(int(sign[channel] * max(first[level, channel], own[0][channel])))
        each = []
        for channel in range(self.channels):
            column = last[:, channel]
            places = np.unique(column[(column > begin[channel]) & (column <= end[channel])])
            values = base[channel] + np.searchsorted(column, places, side="right")
            start = base[channel] + np.searchsorted(column, begin[channel], side="right")
            steps = Steps(int(begin[channel]), int(end[channel]), np.array([start]), (places,), (values,))
            each.append(steps if sign[channel] > 0 else steps.mirrored())
        return Steps(
            self.low,
            self.high,
            np.concatenate([steps.first for steps in each]),
            tuple(steps.places[0] for steps in each),
            tuple(steps.values[0] for steps in each),
        )

    def _reached(self, sign: Integers, begin: Integers, end: Integers, levels: Integers, which: int) -> Integers:
        """Return the smallest t for which each level is reached; one beyond the end where none is."""
        below, above = np.broadcast_to(begin - 1, levels.shape).copy(), np.broadcast_to(end + 1, levels.shape).copy()
        for _ in range((self.high - self.low + 2).bit_length()):
            middle = (below + above) >> 1
            middle = np.clip(middle, begin, end)
            results = self._results(sign * middle)[which]
            reached = results >= levels
            above = np.where(reached & (middle < above), middle, above)
            below = np.where(~reached & (middle > below), middle, below)
        return above

    def _computed(self) -> Steps:
        """Compute the function on every integer."""
        count = self.high - self.low + 1
        if count * self.channels > MOST_COMPUTED:
            raise self.operation.refused(
                f"it rounds a function of {count} integers in {self.channels} channels, too many to compute each; use "
                f"fewer bits before it"
            )
        parts, size = [], max(1, CHUNK // self.channels)
        for start in range(self.low, self.high + 1, size):
            x = np.arange(start, min(start + size, self.high + 1))[:, None]
            one, other = self._results(np.broadcast_to(x, (len(x), self.channels)))
            unsure = (one != other) & (x >= self.own[0]) & (x <= self.own[1])
            if unsure.any():
                self._refuse(int(x[np.argwhere(unsure)[0][0], 0]))
            parts.append(one)
        return Steps.of_results(self.low, np.concatenate(parts))

    def _refuse(self, x: int) -> None:
        raise self.operation.refused(
            f"for the sum {x} (of {self.low}..{self.high}) two floats round apart: the value is as close to a tie as "
            f"floats are to each other; change its scale a little, or use scales that are powers of two"
        )


def _flat(array: Floats) -> Floats:
    """Return a constant, of which only the last axis has a length, as one number a channel."""
    return array.reshape(-1) if array.ndim else array
