"""Score the golden model's outputs against the labels that travel with a project, and compare with the model's card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import hypot
from typing import Any

from edgephys.applications import registry
from edgephys.core.errors import DataError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph
from edgephys.models.card import Card
from edgephys.models.vectors import HeldOut
from edgephys.targets.emit_again import emit_again

LEAST = 16
"""Fewest labelled vectors of which a statistical error is estimated."""


@dataclass(frozen=True)
class Recomputed:
    """State a figure that was computed again, with its statistical error, beside the card's.

    ``error`` is that of the labelled vectors alone, ``stated_error`` that of the card's own test sample.
    """

    name: str
    value: float
    error: float
    stated: float
    stated_error: float
    vectors: int

    @property
    def tolerance(self) -> float:
        """Largest difference that is no contradiction: 5 standard errors, and more where few vectors estimate them.

        5 + 50 / n exceeds the quantile of Student's t of that probability (6e-7) from 16 vectors on. The card's sample
        is not much smaller than the labelled vectors: an error beyond 3 times theirs is not believed.
        """
        return (5 + 50 / self.vectors) * hypot(self.error, min(self.stated_error, 3 * self.error))

    @property
    def failure(self) -> str | None:
        """Why the card's figure does not hold; None where it does."""
        if abs(self.value - self.stated) <= self.tolerance:  # a card that states NaN fails, too
            return None
        return (
            f"the card states {self.name} {self.stated:.4g} ± {self.stated_error:.2g}, computed again from the labels "
            f"of {self.vectors} vectors it is {self.value:.4g} ± {self.error:.2g}: one of the two is wrong; "
            "emit the project again from a model that you trust"
        )


@dataclass(frozen=True)
class ScoreCheck:
    """Hold the figures that were computed again, what does not hold, and why there are none."""

    figures: tuple[Recomputed, ...] = ()
    failures: tuple[str, ...] = ()
    skipped: str | None = None

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return {
            "figures": [asdict(figure) for figure in self.figures],
            "skipped": self.skipped,
            "failures": list(self.failures),
        }


def check(card: Card, graph: Graph, vectors: HeldOut, outputs: Integers) -> ScoreCheck:
    """Compute the figures of a card again from the labels of its vectors and the golden model's outputs."""
    if not card.metrics:
        return ScoreCheck(skipped="the card states no score: the model was imported without labels")
    if len(outputs) < LEAST:
        return ScoreCheck(
            skipped=f"{len(outputs)} labelled vectors are too few for a statistical error: {LEAST} at least"
        )
    application = registry.of_metrics(card.metrics)
    try:
        computed = application.score_outputs(graph, outputs, vectors.labels, card.scale)
    except DataError as error:
        return ScoreCheck(failures=(f"labels: {error}; {emit_again()}",))
    stated = _flat(card.metrics)
    figures = []
    for name in (name for name in computed if name in stated):
        numbers = stated[name], stated.get(f"{name}_error", 0.0)
        if not all(isinstance(number, int | float) for number in numbers):
            return ScoreCheck(failures=(f"the card must state {name} and its error as numbers, not {numbers}",))
        figures.append(Recomputed(name, computed[name].value, computed[name].error, *numbers, len(outputs)))
    return ScoreCheck(tuple(figures), tuple(figure.failure for figure in figures if figure.failure is not None))


def _flat(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics by the names that a report gives them: the area of class g is auc_g, its error auc_g_error."""
    flat: dict[str, Any] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            of_error = key.endswith("_error")
            flat |= {f"{key.removesuffix('_error')}_{name}{'_error' * of_error}": each for name, each in value.items()}
        else:
            flat[key] = value
    return flat
