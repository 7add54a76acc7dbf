"""Find an integer multiplication, addition and shift that equals a rounded function on every integer of a range.

A framework computes batch normalisation, a mean over n or a scale that is no power of two in floats, and rounds the
result into a format. The result is a staircase over the integers that go in. If it is one that

    q(x) = clip((m * x + b) >> shift)

gives on **every** integer of the proven range, then these three integers are the function, exactly. The staircase has
its steps at T_k, the first x with q(x) >= k; m and b must put each between T_k - 1 and T_k:

    m * T_k + b >= k * 2**shift > m * (T_k - 1) + b

b is stated as m times a number of few bits that is added to x first: this needs narrower constants than b itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.models.files.functions.steps import Steps

MOST_SHIFT = 40
"""Bits of the shift that are tried; twice as many as a float32 has would never be needed."""
LARGEST = 1 << 40
MOST_POINTS = 2048
"""Most points from which slopes are derived; whether a slope will do is decided by all of them."""
MOST_FRACTION = 16
"""Fraction bits of the number that is added to x."""


@dataclass(frozen=True)
class Affine:
    """State q(x) = clip((multiplier * (x + addend / 2**fraction) + offset) >> shift, low, high).

    ``offset`` is 0 but where ``multiplier`` is.
    """

    multiplier: int
    addend: int
    fraction: int
    offset: int
    shift: int

    def __call__(self, x: Integers) -> Integers:
        """Return the integers before they are clipped."""
        total = self.multiplier * ((x << self.fraction) + self.addend) + (self.offset << self.fraction)
        return total >> (self.shift + self.fraction)


def affine(steps: Steps, ends: tuple[int, int], shift: int) -> Affine | None:
    """Return the integers that give the function of one channel, clipped to ``ends``; None with no such ones.

    Exact: proven by the steps of the staircase, whatever lies between them.
    """
    (first,), (places,), (values,) = steps.first.tolist(), steps.places, steps.values
    before = np.concatenate([steps.first, values[:-1]])
    if np.any(values < before):
        if np.any(values > before):
            return None  # no staircase in one direction
        reverse = affine(steps.mirrored(), ends, shift)
        if reverse is None:
            return None
        return Affine(-reverse.multiplier, -reverse.addend, reverse.fraction, reverse.offset, shift)
    last, one = int(values[-1]) if len(values) else first, 1 << shift
    at_least = [(int(x), int(k)) for x, k in zip(places, values, strict=True)]
    below = [(int(x) - 1, int(k) + 1) for x, k in zip(places, before[: len(places)], strict=True)]
    if first > ends[0]:
        at_least.append((steps.low, first))
    if last < ends[1]:
        below.append((steps.high, last + 1))
    for multiplier in _multipliers(at_least, below, shift):
        least = max((k * one - multiplier * x for x, k in at_least), default=first * one)
        most = min((k * one - 1 - multiplier * x for x, k in below), default=least)
        if least <= most and multiplier == 0:
            return Affine(0, 0, 0, roundest(least, most), shift)
        for fraction in range(MOST_FRACTION + 1) if multiplier else ():
            low_addend = -(-(least << fraction) // multiplier)
            high_addend = (most << fraction) // multiplier
            if low_addend <= high_addend:
                return Affine(multiplier, roundest(low_addend, high_addend), fraction, 0, shift)
    return None


def roundest(low: int, high: int) -> int:
    """Return the integer in [low, high] that is a multiple of the largest power of two: hardware wants few digits."""
    for zeros in range(max(abs(low), abs(high)).bit_length(), -1, -1):
        multiple = -(-low >> zeros) << zeros
        if multiple <= high:
            return multiple
    return low


def _thinned(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return points evenly drawn, with both ends, where there are many."""
    return [points[at] for at in np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(int)]


def _multipliers(at_least: list[tuple[int, int]], below: list[tuple[int, int]], shift: int) -> list[int]:
    """Return multipliers to try: the least, the middle and the largest slope that the steps allow, as integers.

    A point that is reached and one that is not bound the slope: a * (x - y) > k - j.
    """
    if not at_least or not below:
        return [0]
    x, k = np.array(_thinned(at_least), float).T
    y, j = np.array(_thinned(below), float).T
    run, rise = np.subtract.outer(x, y), np.subtract.outer(k, j)
    least = max((rise[run > 0] / run[run > 0]).max(initial=0.0), 0.0)
    most = (rise[run < 0] / run[run < 0]).min(initial=np.inf)
    if not np.isfinite(most):
        most = least + 1.0
    scale = float(1 << shift)
    middle = (least + most) / 2 * scale
    ends = int(np.ceil(least * scale)), int(np.floor(most * scale))
    around = [int(np.floor(middle)), int(np.ceil(middle)), *ends]
    if ends[0] < ends[1]:
        around = [roundest(*ends), *around]
    return [multiplier for multiplier in dict.fromkeys(around) if abs(multiplier) < LARGEST]
