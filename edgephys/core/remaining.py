"""How long work that is done in parts will still take, from the time of the parts that are done."""

from __future__ import annotations

import time
from collections.abc import Callable


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


def in_words(seconds: float) -> str:
    """Return a time with the unit that gives it one or two digits."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.0f} h"
