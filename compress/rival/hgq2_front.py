"""The epochs of a training that are worth a circuit: those of the front of validation accuracy against EBOPs.

Plain Python, as both environments read it. Nothing here knows of test jets.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, exp, log, log10
from pathlib import Path

POINTS = 3
"""Limits that are chosen where none is stated."""
WITHIN = 0.04
"""The cheapest of them is for the cheapest epoch whose validation accuracy is at most this far below the best one's."""
DIGITS = 3
"""Significant digits of these limits, rounded up."""


@dataclass(frozen=True)
class Epoch:
    """State what a network was worth after an epoch: accuracy on the validation jets, and EBOPs.

    ``run`` is the folder of the training, ``number`` counts from 1.
    """

    run: str
    number: int
    accuracy: float
    ebops: int


def epochs_of(history: Path, run: str = "") -> list[Epoch]:
    """Return the epochs that a file of history holds, in order; none where there is no file."""
    lines = history.read_text().splitlines() if history.is_file() else []
    records = [json.loads(line) for line in lines]
    return [Epoch(run, int(one["epoch"]), one["val_accuracy"], int(one["ebops"])) for one in records]


def forget_after(history: Path, epoch: int) -> None:
    """Remove the epochs after ``epoch`` from a file of history: a resumed training runs them again."""
    if history.is_file():
        lines = history.read_text().splitlines()
        history.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["epoch"] <= epoch))


def front(epochs: Iterable[Epoch]) -> list[Epoch]:
    """Return the epochs that no other one matches in both accuracy and EBOPs, the cheapest first.

    Of equal ones the first is returned. Accuracy and EBOPs both rise along the result.
    """
    best: list[Epoch] = []
    for epoch in sorted(epochs, key=lambda one: (one.ebops, -one.accuracy)):
        if not best or epoch.accuracy > best[-1].accuracy:
            best.append(epoch)
    return best


def best_within(epochs: Iterable[Epoch], limit: float) -> Epoch | None:
    """Return the most accurate epoch of at most ``limit`` EBOPs, the cheapest of equal ones; None where none is."""
    cheap = [epoch for epoch in front(epochs) if epoch.ebops <= limit]
    return cheap[-1] if cheap else None


def limits_of(epochs: Iterable[Epoch], count: int = POINTS, within: float = WITHIN) -> list[int]:
    """Return ``count`` limits of EBOPs, evenly apart in their logarithm, the lowest first; fewer where they are equal.

    They go from the cheapest epoch that is at most ``within`` less accurate than the best one, to the best one, and
    are rounded up to three digits. None where there are no epochs.
    """
    best = front(epochs)
    if not best:
        return []
    low = next(epoch for epoch in best if epoch.accuracy >= best[-1].accuracy - within)
    first, last = log(max(low.ebops, 1)), log(max(best[-1].ebops, 1))
    shares = [step / (count - 1) for step in range(count)] if count > 1 else [1.0]
    return sorted({rounded_up(exp(first + share * (last - first))) for share in shares})


def rounded_up(number: float) -> int:
    """Return a positive number rounded up to DIGITS significant digits; exact multiples stay."""
    step = 10 ** max(0, ceil(log10(number) + 1e-12) - DIGITS)
    return ceil(number / step - 1e-9) * step


def chosen(epochs: Sequence[Epoch], limits: Sequence[int]) -> dict[int, Epoch]:
    """Return the best epoch within each limit of EBOPs; a limit that no epoch meets is left out."""
    best = {limit: best_within(epochs, limit) for limit in limits}
    return {limit: epoch for limit, epoch in best.items() if epoch is not None}
