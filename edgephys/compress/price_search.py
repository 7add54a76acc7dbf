"""Choose the price of an adder that brings a model to a number of LUTs: tries one price after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

FIRST = 2e-6
"""First price that is tried: loss of one adder bit."""
STEP = 4.0
"""Factor from price to price until one reaches the target and another does not."""
CLOSE, NEAR = 1.25, 0.9
"""A factor between two prices, and a share of the target, from which on no further price is tried."""
LOWEST, HIGHEST = 1e-10, 1e-1
MOST_TRIES = 8


@dataclass(frozen=True)
class Try:
    """State a price that was tried, and what came of it; ``goodness`` is the validation score, higher is better."""

    price: float
    luts: int
    goodness: float


def next_price(tries: Sequence[Try], target: float) -> float | None:
    """Return the price to try next, None where no other is worth a try."""
    if not tries:
        return FIRST
    reaching = [one for one in tries if one.luts <= target]
    lowest = min((one.price for one in reaching), default=None)
    highest = max(
        (one.price for one in tries if one.luts > target and (lowest is None or one.price < lowest)), default=None
    )
    if len(tries) >= MOST_TRIES or any(NEAR * target <= one.luts for one in reaching):
        return None
    if lowest is None:
        return _within(max(one.price for one in tries) * STEP)
    if highest is None:
        return _within(lowest / STEP)
    return None if lowest / highest < CLOSE else _short(sqrt(lowest * highest))


def _within(price: float) -> float | None:
    return _short(price) if LOWEST <= price <= HIGHEST else None


def _short(price: float) -> float:
    """Return a price of three digits, which names a folder."""
    return float(f"{price:.3g}")


def best(tries: Sequence[Try], target: float) -> Try:
    """Return the try with the best score among those that reach the target; where none does, that of fewest LUTs."""
    reaching = [one for one in tries if one.luts <= target]
    if reaching:
        return max(reaching, key=lambda one: (one.goodness, -one.luts))
    return min(tries, key=lambda one: one.luts)
