"""Weights in digits, so that the sum of the products with each digit fits in 16 bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.targets.c.pairs import LIMIT, Bucket, Ends
from edgephys.targets.c.plan import NARROW

LOW, HIGH = -LIMIT, LIMIT - 1
IN_INT = 1 << 31
MOST_PARTS = 6
"""Sums of 16 bits into which the products with one digit are split, at most."""
MOST_DIGITS = 3
WIDTHS = range(2, 9)
"""Bits of a digit that are tried."""
OF_A_DIGIT, OF_A_WIDE_TERM, OF_A_WIDE_PRODUCT = 6, 2, 4
"""What the addition of a digit's sum costs, and a term and a product of 32 bits, in instructions of 16-bit lanes."""


@dataclass(frozen=True, eq=False)
class Digit:
    """State the digit of each input's weight that counts ``2**shift``, and the type of the sum of their products."""

    shift: int
    integers: Integers
    ctype: str = NARROW

    @cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        """The inputs with the same digit but for the sign, by its magnitude, in the order of their first inputs."""
        signs: dict[int, dict[int, int]] = {}
        for place in np.flatnonzero(self.integers):
            digit = int(self.integers[place])
            signs.setdefault(abs(digit), {})[int(place)] = 1 if digit > 0 else -1
        return tuple(Bucket(magnitude, members) for magnitude, members in signs.items())


def split(weights: Integers, ends: Ends) -> tuple[Digit, ...] | None:
    """Return the digits of weights that take the fewest instructions; None where 32 bits take fewer, or none fit."""
    used = np.flatnonzero(weights)
    whole = weights[used].astype(np.int64)
    if not used.size or np.abs(whole).max() > HIGH or ends.magnitude[used].max() > -LOW:
        return None
    part = Ends(ends.low[used], ends.high[used])
    digits = _split(whole, part, MOST_DIGITS)
    wide = OF_A_WIDE_TERM * used.size + OF_A_WIDE_PRODUCT * _products(whole)
    if digits is None or _cost(digits) > wide or _largest(digits, part) >= IN_INT:
        return None
    placed = []
    for shift, integers in digits:
        every = np.zeros_like(weights)
        every[used] = integers
        placed.append(Digit(shift, every))
    return tuple(placed)


def _split(weights: Integers, ends: Ends, most: int) -> list[tuple[int, Integers]] | None:
    """Return (shift, digits) with the fewest instructions, of at most ``most`` digits; None where no sum fits."""
    whole = _parts(weights, ends)
    if whole is not None and len(whole) == 1:
        return [(0, weights)]
    best = None if whole is None else [(0, part) for part in whole]
    for bits in WIDTHS if most > 1 else ():
        half = 1 << (bits - 1)
        rounded = ((weights + half) & ((1 << bits) - 1)) - half
        for largest in (half, half + half // 2):
            low = np.where(np.abs(weights) <= largest, weights, rounded)
            parts, high = _parts(low, ends), (weights - low) >> bits
            rest = _split(high, ends, most - 1) if parts is not None and high.any() else None
            if parts is None or rest is None:
                continue
            digits = [*((0, part) for part in parts), *((bits + shift, integers) for shift, integers in rest)]
            best = digits if best is None or _cost(digits) < _cost(best) else best
    return best


def _cost(digits: list[tuple[int, Integers]] | None) -> int:
    return sum(int(np.count_nonzero(part)) + _products(part) + OF_A_DIGIT for _, part in digits or ())


def _largest(digits: list[tuple[int, Integers]], ends: Ends) -> int:
    """Return a bound of what the digits' sums add up to in any order."""
    return sum(int((np.abs(part) * ends.magnitude).sum()) << shift for shift, part in digits)


def _products(weights: Integers) -> int:
    """Return the multiplications: inputs with the same weight but for the sign are added first."""
    magnitudes = np.unique(np.abs(weights))
    return int(np.count_nonzero(magnitudes > 1))


def _parts(weights: Integers, ends: Ends) -> list[Integers] | None:
    """Return weights in parts whose sums of products fit in 16 bits, of one input after the other; None for too many.

    Partial sums fit in an int of C then: an input fits in 16 bits, and a part has products that do.
    """
    one, other = weights * ends.low, weights * ends.high
    low, high = np.minimum(one, other), np.maximum(one, other)
    if low.min() < LOW or high.max() > HIGH:
        return None
    if low.sum() >= LOW and high.sum() <= HIGH:
        return [weights]
    number, bottom, top, place = 0, 0, 0, np.zeros(len(weights), np.int64)
    for k, (least, most) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        bottom, top = bottom + least, top + most
        if bottom < LOW or top > HIGH:
            number, bottom, top = number + 1, least, most
        place[k] = number
    parts = [np.where(place == part, weights, 0) for part in range(number + 1)]
    return parts if number < MOST_PARTS else None
