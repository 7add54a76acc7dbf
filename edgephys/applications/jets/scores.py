"""Score the outputs of a tagger that any program computed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications import metrics
from edgephys.applications.jets.data.layout import CLASSES
from edgephys.applications.metrics import Measured
from edgephys.core.errors import DataError
from edgephys.core.fixed import Integers

LEAST_OF_CLASS = 50
"""Fewest jets of every class from which areas are computed: with fewer, their error is not known well."""


def of_outputs(logits: NDArray[np.floating[Any]], labels: Integers) -> dict[str, Measured]:
    """Return accuracy, and the AUC of each class where the classes are ours and there are enough jets of each.

    The error of the accuracy is that of Agresti and Coull, which is not 0 where all jets are right.
    Shape: logits (jet, class), labels (jet,).  Raises: DataError for labels that are no class of these outputs.
    """
    count = logits.shape[-1]
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise DataError(f"expected a class for each of {len(logits)} jets, found an array of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= count:
        raise DataError(f"expected classes 0..{count - 1}, found {labels.min()}..{labels.max()}")
    share, jets = metrics.accuracy(logits, labels).value, len(labels)
    moderate = (share * jets + 2) / (jets + 4)
    scores = {"accuracy": Measured(share, float(np.sqrt(moderate * (1 - moderate) / (jets + 4))))}
    if count == len(CLASSES) and np.bincount(labels, minlength=count).min() >= LEAST_OF_CLASS:
        scores |= {f"auc_{name}": area for name, area in metrics.auc(logits, labels, CLASSES).items()}
    return scores
