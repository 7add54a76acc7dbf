"""Figures of merit of a classifier, and of predicted fields, each with its one-sigma uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from edgephys.core.errors import DataError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Measured:
    """A value and its standard error."""

    value: float
    error: float


def accuracy(logits: Floats, labels: NDArray[np.integer[Any]]) -> Measured:
    """Return the share of jets whose largest logit is the label's; the error is binomial.

    Shape: logits (jet, class), labels (jet,).  Raises: DataError without jets.
    """
    _check(logits, labels)
    share = float(np.mean(np.argmax(logits, 1) == labels))
    return Measured(share, float(np.sqrt(share * (1 - share) / len(labels))))


def auc(logits: Floats, labels: NDArray[np.integer[Any]], classes: tuple[str, ...]) -> dict[str, Measured]:
    """Return each class's area under the ROC curve, one against the rest, on softmax scores.

    Source of the error: Hanley and McNeil, Radiology 143 (1982) 29, equation 1.
    Raises: DataError where a class has no jet.
    """
    _check(logits, labels)
    scores = softmax(logits)
    areas = {}
    for index, name in enumerate(classes):
        signal = labels == index
        positive, negative = int(signal.sum()), int((~signal).sum())
        if not positive or not negative:
            raise DataError(f"class '{name}': an AUC needs jets of it and of others, found {positive} and {negative}")
        area = float(roc_auc_score(signal, scores[:, index]))
        both, twice = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area) + (positive - 1) * (both - area**2) + (negative - 1) * (twice - area**2)
        areas[name] = Measured(area, float(np.sqrt(max(variance, 0.0) / (positive * negative))))
    return areas


def relative_l2(output: Floats, target: Floats) -> Measured:
    """Return |output - target| / |target|, of each field in the L2 norm, the mean over fields with its standard error.

    Shape: (field, ...), alike.  Raises: DataError without two fields, for other shapes, or for a field of zeros.
    """
    if len(target) < 2 or np.shape(output) != np.shape(target):
        raise DataError(
            f"relative L2 needs as many fields as wanted, 2 or more: {np.shape(output)}, {np.shape(target)}"
        )
    ours, theirs = (np.asarray(of, np.float64).reshape(len(target), -1) for of in (output, target))
    sizes = np.linalg.norm(theirs, axis=1)
    if not sizes.all():
        raise DataError(
            f"relative L2: field {int(np.argmin(sizes))} is 0 everywhere: no error is relative to it; drop it"
        )
    errors = np.linalg.norm(ours - theirs, axis=1) / sizes
    return Measured(float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors))))


def rejection(logits: Floats, labels: NDArray[np.integer[Any]], signal: int, efficiency: float) -> Measured:
    """Return 1 / (background efficiency) of one class at a fixed signal efficiency.

    Raises: DataError where there are no jets of the class or no others, or where none of the others passes.
    """
    _check(logits, labels)
    jets, background = int((labels == signal).sum()), int((labels != signal).sum())
    if not jets or not background:
        raise DataError(f"rejection needs jets of class {signal} and of others, found {jets} and {background}")
    false, true, _ = roc_curve(labels == signal, softmax(logits)[:, signal])
    passed = float(np.interp(efficiency, true, false))
    if passed == 0.0:
        raise DataError(f"rejection at {efficiency:g}: no background jet passes; use more jets")
    return Measured(1 / passed, float(np.sqrt((1 - passed) / (passed * background)) / passed))


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Return class probabilities. Shape: (jet, class), kept."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, 1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _check(logits: Floats, labels: NDArray[np.integer[Any]]) -> None:
    if not len(labels) or len(logits) != len(labels):
        raise DataError(f"metrics need as many logits as labels and at least one: {len(logits)} and {len(labels)}")
