"""A function of an integer, kept as the places at which its result changes: most quantised functions have few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgephys.core.fixed import Integers


@dataclass(frozen=True, eq=False)
class Steps:
    """Hold a function of every integer from ``low`` to ``high``, for each channel.

    Shape: first (channel,), the result of ``low``; places and values one array a channel: from places[i] on the result
    is values[i]. One channel stands for any number of channels that are alike.
    """

    low: int
    high: int
    first: Integers
    places: tuple[Integers, ...]
    values: tuple[Integers, ...]

    @classmethod
    def of_results(cls, low: int, results: Integers) -> Steps:
        """Return the function whose results for low, low + 1, ... are given.  Shape: results (integer, channel)."""
        if np.array_equal(results, np.broadcast_to(results[:, :1], results.shape)):
            results = results[:, :1]
        changes = [np.flatnonzero(column) + 1 for column in np.diff(results, axis=0).T]
        values = tuple(results[at, channel] for channel, at in enumerate(changes))
        return cls(low, low + len(results) - 1, results[0], tuple(low + at for at in changes), values)

    @property
    def count(self) -> int:
        """Number of integers."""
        return self.high - self.low + 1

    @property
    def channels(self) -> int:
        """Number of channels that are kept apart."""
        return len(self.first)

    @property
    def lowest(self) -> int:
        """Lowest result."""
        return min(int(self.first.min()), *(int(values.min(initial=self.first[0])) for values in self.values))

    @property
    def highest(self) -> int:
        """Highest result."""
        return max(int(self.first.max()), *(int(values.max(initial=self.first[0])) for values in self.values))

    def __call__(self, x: Integers) -> Integers:
        """Return the results of integers.  Shape: (integer,) -> (integer, channel)."""
        columns = [
            np.concatenate([first[None], values])[np.searchsorted(places, x, side="right")]
            for first, places, values in zip(self.first, self.places, self.values, strict=True)
        ]
        return np.stack(columns, axis=1)

    def each(self) -> Iterator[Steps]:
        """Yield the function of each channel."""
        for channel in range(self.channels):
            yield replace(
                self,
                first=self.first[channel : channel + 1],
                places=(self.places[channel],),
                values=(self.values[channel],),
            )

    def of_result(self, function: Callable[[Integers], Integers]) -> Steps:
        """Return the function after another one, which is one to one."""
        return replace(self, first=function(self.first), values=tuple(function(values) for values in self.values))

    def less(self, zero: Integers) -> Steps:
        """Return the function less a number for each channel."""
        values = tuple(own - number for own, number in zip(self.values, zero, strict=True))
        return replace(self, first=self.first - zero, values=values)

    def part(self, low: int, high: int) -> Steps:
        """Return the function of some of the integers."""
        inside = [(places > low) & (places <= high) for places in self.places]
        places = tuple(own[at] for own, at in zip(self.places, inside, strict=True))
        values = tuple(own[at] for own, at in zip(self.values, inside, strict=True))
        return Steps(low, high, self(np.array([low]))[0], places, values)

    def mirrored(self) -> Steps:
        """Return the function of -x."""
        befores = [np.concatenate([first[None], values]) for first, values in zip(self.first, self.values, strict=True)]
        return Steps(
            -self.high,
            -self.low,
            np.array([before[-1] for before in befores]),
            tuple(1 - places[::-1] for places in self.places),
            tuple(before[-2::-1] for before in befores),
        )

    def ends(self, channel: int) -> tuple[Integers, Integers]:
        """Return the first and last integer of every run of equal results, in order, and their results."""
        places, values = self.places[channel], self.values[channel]
        x = np.concatenate([[self.low], np.stack([places - 1, places], 1).ravel(), [self.high]])
        results = np.concatenate([self.first[channel : channel + 1], values])
        return x, np.repeat(results, 2)
