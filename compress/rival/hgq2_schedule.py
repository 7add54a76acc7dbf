"""How the price of EBOPs and the learning rate change over a training.  Plain Python, which tests of ours read, too."""

from __future__ import annotations

from math import cos, pi

Interval = tuple[float, float, str]

RISE: tuple[Interval, ...] = ((0, 1 / 150, "linear"), (2 / 7, 1 / 10, "log"), (1, 1, "constant"))
"""Share of the epochs, share of the last beta, and how beta goes on from there.

Source: configurations of JEDI-linear's public models (2e-8, 3e-7 from epoch 2,000, 3e-6 at 7,000).
"""
RISE_OF_TABLES: tuple[Interval, ...] = ((0, 1 / 2000, "constant"), (1 / 2, 1 / 2000, "log"), (1, 1, "constant"))
"""The same for tables.  Source: arXiv 2604.22293 (5e-7 for long, then along a logarithm to 1e-3); the half is ours."""
LOWEST_RATE, FALLING = 1 / 3000, 0.9
"""The learning rate falls to this share over this share of a cycle, and stays there. Source: as of RISE."""


def betas_of(network: str, beta: float, epochs: int, rises: bool) -> list[Interval]:
    """Return the epochs, counted from 0, at which beta is stated, its values there, and how it goes on from each."""
    if not rises:
        return [(0, beta, "constant")]
    rise = RISE_OF_TABLES if network == "table_set" else RISE
    return [(share * epochs, of * beta, how) for share, of, how in rise]


def rate_of(epoch: int, highest: float, cycle: int) -> float:
    """Return the learning rate of an epoch, counted from 0: half a cosine from the highest, again in each cycle."""
    share = min(epoch % cycle / (FALLING * cycle), 1.0)
    return highest * (LOWEST_RATE + (1 - LOWEST_RATE) * (1 + cos(pi * share)) / 2)
