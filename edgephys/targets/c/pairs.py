"""Sums of two inputs that several sums contain: they are computed once, greedily the most frequent pair first.

Source: Potkonjak, Srivastava and Chandrakasan, Multiple constant multiplications, IEEE TCAD 15 (1996), the greedy
choice of the pair that the most sums contain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgephys.core.fixed import Integers

LEAST = 3
"""Sums that must contain a pair: to store and to read it takes more than one addition."""
MOST = 256
"""Pairs of a product: their array stays in the nearest cache."""
LIMIT = 1 << 15


@dataclass(frozen=True, eq=False)
class Ends:
    """State the lowest and the highest integer of each input."""

    low: Integers
    high: Integers

    @property
    def magnitude(self) -> Integers:
        """Largest magnitude of each input."""
        largest: Integers = np.maximum(np.abs(self.low), np.abs(self.high))
        return largest


@dataclass(frozen=True, eq=False)
class Bucket:
    """State the signs of inputs, by their number, that are added and then multiplied by ``magnitude``."""

    magnitude: int
    signs: dict[int, int]


@dataclass(frozen=True, eq=False)
class SharedPairs:
    """State pairs as (input, other input, sign of the other), and buckets in which they stand for their members.

    Pair k is input number ``inputs + k``; a member of a later pair can be an earlier one.
    """

    members: tuple[tuple[int, int, int], ...]
    buckets: tuple[Bucket, ...]


def paired(buckets: Sequence[Bucket], ends: Ends) -> SharedPairs:
    """Return the pairs that LEAST buckets or more contain and that fit in 16 bits, and the buckets with them."""
    count = len(ends.low)
    low, high = ([int(end) for end in side] for side in (ends.low, ends.high))
    signs = np.zeros((len(buckets), count + MOST), np.int64)
    for number, bucket in enumerate(buckets):
        for place, sign in bucket.signs.items():
            signs[number, place] = sign
    same = np.zeros((count + MOST,) * 2, np.int64)  # buckets with both, counted with the product of their signs
    both = np.zeros_like(same)
    same[:count, :count] = signs[:, :count].T @ signs[:, :count]
    both[:count, :count] = np.abs(signs[:, :count]).T @ np.abs(signs[:, :count])
    allowed = np.triu(np.ones_like(same, bool), 1)
    members: list[tuple[int, int, int]] = []
    while len(members) < MOST and count:
        new = count + len(members)
        times = np.where(allowed, both + np.abs(same), 0)[:new, :new]
        one, other = (int(place) for place in np.unravel_index(times.argmax(), times.shape))
        if times[one, other] < 2 * LEAST:
            break
        sign = 1 if same[one, other] >= 0 else -1
        span = (low[other], high[other]) if sign > 0 else (-high[other], -low[other])
        ends_of_pair = low[one] + span[0], high[one] + span[1]
        if ends_of_pair[0] < -LIMIT or ends_of_pair[1] >= LIMIT:
            allowed[one, other] = False
            continue
        rows = np.flatnonzero(signs[:, one] * signs[:, other] == sign)
        low.append(ends_of_pair[0])
        high.append(ends_of_pair[1])
        members.append((one, other, sign))
        signs[rows, new] = signs[rows, one]
        signs[rows, one] = signs[rows, other] = 0
        for place in (one, other, new):
            column = signs[:, place]
            same[place] = same[:, place] = column @ signs
            both[place] = both[:, place] = np.abs(column) @ np.abs(signs)
    rest = [
        Bucket(bucket.magnitude, {int(place): int(signs[number, place]) for place in np.flatnonzero(signs[number])})
        for number, bucket in enumerate(buckets)
    ]
    return SharedPairs(tuple(members), tuple(rest))
