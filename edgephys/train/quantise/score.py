"""Score outputs against answers, with errors from the examples, and two models on the same examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import DataError
from edgephys.models.input_data import classes_of
from edgephys.models.numbers import MeasuredScore, relative_l2
from edgephys.train.quantise.kinds import Kind
from edgephys.train.quantise.steps import Floats, Network

ACCURACY, ERROR, DISTANCE = "accuracy", "relative L2 error", "relative L2 distance from the float model"


@dataclass(frozen=True, eq=False)
class Purpose:
    """Hold what a model is for: the name of its score, and its answers (class numbers, or targets).

    ``threshold`` is where a single output turns from class 0 to 1; ``floats`` tells that the outputs are no logits.
    """

    name: str
    answers: NDArray[Any] | None
    threshold: float
    floats: bool

    def score(self, outputs: Floats, answers: NDArray[Any]) -> MeasuredScore:
        """Return the score of outputs against their answers.  Shape: outputs (example, value)."""
        if self.name == ACCURACY:
            single = outputs.shape[1] == 1
            chosen = (outputs[:, 0] > self.threshold).astype(np.int64) if single else outputs.argmax(1)
            right = (chosen == answers).astype(np.float64)
            return MeasuredScore(float(right.mean()), right)
        return relative_l2(outputs, answers)


def purpose(where: Path, network: Network, answers: NDArray[Any] | None, shapes: Sequence[tuple[int, ...]]) -> Purpose:
    """Return what a model is for, from its answers and outputs.

    ``where`` is the file of the answers, ``shapes`` those of an example's outputs.
    Raises: DataError where they do not fit the outputs.
    """
    last = network.steps[network.outputs[0]]
    floats = last.kind is Kind.LAST
    threshold = 0.5 if floats else 0.0
    if answers is None:
        return Purpose(DISTANCE, None, threshold, floats)
    if len(shapes) == 1:
        classes = classes_of(answers, (len(answers), *shapes[0]))
        if classes is not None:
            return Purpose(ACCURACY, classes, threshold, floats)
    targets, size = answers.reshape(len(answers), -1), sum(map(prod, shapes))
    if targets.shape[1] != size or answers.dtype.kind not in "iufb":
        raise DataError(
            f"{where}: y must be class numbers or {size} numbers an example, as the model's outputs are, not "
            f"{answers.dtype} {answers.shape}"
        )
    return Purpose(ERROR, targets.astype(np.float64), threshold, floats)


def joined(outputs: Sequence[NDArray[Any]]) -> Floats:
    """Return all outputs, flat and joined.  Shape: (example, value)."""
    return np.concatenate([np.asarray(part, np.float64).reshape(len(part), -1) for part in outputs], axis=1)
