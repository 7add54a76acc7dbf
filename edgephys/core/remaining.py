"""How long work that is done in parts will still take, from the time of the parts that are done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any


class Remaining:
    """Estimate the time that is left: that of the parts so far, times the parts to come.

    ``first`` parts were done before the clock started.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, first: int = 0) -> None:
        self._clock, self._first, self._start = clock, first, clock()

    def left(self, done: int, total: int) -> str:
        """Return the time that is left in words, such as ", about 3 min left"; "" where nothing tells it."""
        own = done - self._first
        if own < 1 or done >= total:
            return ""
        return f", about {in_words((self._clock() - self._start) / own * (total - done))} left"


class TimedSteps:
    """Say the number of each step, and the time left where the steps of an earlier run are known.

    ``earlier`` are (step, seconds) of that run, in its order; anything else tells nothing.
    """

    def __init__(
        self, say: Callable[[str], None], total: int, earlier: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._total, self._clock = say, total, clock
        self._earlier = _durations(earlier)
        self._starts: list[tuple[str, float]] = []

    def __call__(self, text: str) -> None:
        """Begin a step and say so."""
        self._starts.append((text, self._clock()))
        self._say(f"{len(self._starts)} of {self._total}: {text}{self._left(text)}")

    def durations(self) -> list[tuple[str, float]]:
        """Return the steps so far with their seconds; the last one ends now."""
        ends = [*(start for _, start in self._starts[1:]), self._clock()]
        return [(text, round(end - start, 2)) for (text, start), end in zip(self._starts, ends, strict=True)]

    def _left(self, text: str) -> str:
        """Return the time that this step and those after it took in the earlier run, in words; "" below 2 s."""
        steps = [step for step, _ in self._earlier]
        if text not in steps:
            return ""
        seconds = sum(seconds for _, seconds in self._earlier[steps.index(text) :])
        return f", about {in_words(seconds)} left" if seconds >= 2 else ""


def _durations(record: Any) -> Sequence[tuple[str, float]]:
    """Return the steps of a record that was read; none where it is another."""
    try:
        steps = [(str(step), float(seconds)) for step, seconds in record or ()]
    except (TypeError, ValueError, OverflowError):
        return ()
    return steps if all(math.isfinite(seconds) and seconds >= 0 for _, seconds in steps) else ()


def in_words(seconds: float) -> str:
    """Return a time with the unit that gives it one or two digits."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.0f} h"
