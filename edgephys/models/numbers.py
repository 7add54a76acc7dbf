"""Scores of outputs that are numbers, whatever computed them, with errors from the examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class MeasuredScore:
    """Hold a score; ``shares`` are what each example adds to it, from which its error follows."""

    value: float
    shares: Floats

    @property
    def error(self) -> float:
        """Standard error of the score."""
        return float(np.std(self.shares) / np.sqrt(len(self.shares)))

    def change(self, later: MeasuredScore) -> MeasuredScore:
        """Return by how much a later score of the same examples is larger."""
        return MeasuredScore(later.value - self.value, later.shares - self.shares)


def relative_l2(outputs: Floats, targets: Floats) -> MeasuredScore:
    """Return the L2 norm of the error over all examples, relative to that of the targets."""
    errors, norms = (np.sum(part**2, axis=1) for part in (outputs - targets, targets))
    mean, norm = float(errors.mean()), max(float(norms.mean()), np.finfo(float).tiny)
    value = float(np.sqrt(mean / norm))
    shares = np.zeros_like(errors) if not value else (errors - value**2 * norms) / (2 * value * norm)
    return MeasuredScore(value, shares)


def evaluated(outputs: Floats, targets: Floats, unit: str) -> dict[str, Any]:
    """Return relative L2 error with its own error, R2, mean squared error, and the number of examples under ``unit``.

    R2 is 1 less the squared error over that of the mean target of each output; it is left out where targets are alike.
    Shape: (example, output), alike.
    """
    measured = relative_l2(outputs, targets)
    spread = float(np.mean((targets - targets.mean(axis=0)) ** 2))
    squared = float(np.mean((outputs - targets) ** 2))
    r2 = {"r2": 1 - squared / spread} if spread else {}
    return {
        "relative_l2": measured.value,
        "relative_l2_error": measured.error,
        **r2,
        "mse": squared,
        unit: len(targets),
    }
