"""Scores of the outputs of a classifier, whatever computed them: accuracy, and areas under the curves of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications import metrics
from edgephys.applications.metrics import Measured
from edgephys.core.errors import DataError
from edgephys.core.fixed import Integers

LEAST_OF_CLASS = 50
"""Fewest examples of every class from which areas are computed: with fewer, their error is not known well."""


def evaluated(
    logits: NDArray[np.floating[Any]], labels: Integers, classes: Sequence[str], unit: str, least: int = 0
) -> dict[str, Any]:
    """Return accuracy and AUC by class with their errors, and the number of examples under ``unit``.

    Areas are left out where a class has fewer than ``least`` examples.
    Raises: DataError without examples, and as ``metrics.auc``.
    """
    accuracy = metrics.accuracy(logits, labels)
    counts = np.bincount(labels, minlength=len(classes))
    areas = metrics.auc(logits, labels, tuple(classes)) if counts.min() >= least else {}
    return {
        "accuracy": accuracy.value,
        "accuracy_error": accuracy.error,
        "auc": {name: area.value for name, area in areas.items()},
        "auc_error": {name: area.error for name, area in areas.items()},
        unit: len(labels),
    }


def of_outputs(
    logits: NDArray[np.floating[Any]], labels: Integers, classes: Sequence[str], unit: str
) -> dict[str, Measured]:
    """Return accuracy, and the AUC of each class where these are the classes and there are enough examples of each.

    The error of the accuracy is that of Agresti and Coull, which is not 0 where all examples are right.
    Shape: logits (example, class), labels (example,).  Raises: DataError for labels that are no class of these outputs.
    """
    count = logits.shape[-1]
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(
            f"expected a class for each of {len(logits)} {unit}, found an array of shape {labels.shape}, {labels.dtype}"
        )
    if labels.min() < 0 or labels.max() >= count:
        raise DataError(f"expected classes 0..{count - 1}, found {labels.min()}..{labels.max()}")
    share, examples = metrics.accuracy(logits, labels).value, len(labels)
    moderate = (share * examples + 2) / (examples + 4)
    scores = {"accuracy": Measured(share, float(np.sqrt(moderate * (1 - moderate) / (examples + 4))))}
    if count == len(classes) and np.bincount(labels, minlength=count).min() >= LEAST_OF_CLASS:
        scores |= {f"auc_{name}": area for name, area in metrics.auc(logits, labels, tuple(classes)).items()}
    return scores
