"""What an import makes of a user's data: a format for the input, integers in it, and answers with a score."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import DataError, ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import stimuli
from edgephys.graph.graph import Graph

Result = TypeVar("Result")

MOST_BITS = 16
"""Bits of an input's format that is proposed: what the first layer's sums take in exactly, and not more."""
FEWEST_BITS = 4
LARGEST_INTEGER = 60


def proposed(values: NDArray[np.float64], bits: int) -> Fixed:
    """Return the format with the finest steps that holds all values in so many bits, or in fewer where they suffice."""
    signed, ends = bool(values.min() < 0), np.array([values.min(), values.max()])
    if np.abs(ends).max() >= 2.0**LARGEST_INTEGER:
        raise DataError(
            f"the inputs reach {ends[0]:g}..{ends[1]:g}; they must be below 2^{LARGEST_INTEGER}: scale them, or state "
            f"--input-format, which clips them"
        )
    for integer in range(-bits, LARGEST_INTEGER):
        fixed = Fixed(signed, bits, integer, Rounding.RND_CONV, Overflow.SAT)
        low, high = np.rint(np.ldexp(ends, fixed.fraction))
        if fixed.low <= low and high <= fixed.high:
            break
    while fixed.bits > 1 + signed:
        fewer = Fixed(signed, fixed.bits - 1, fixed.integer, Rounding.RND_CONV, Overflow.SAT)
        if not np.array_equal(fewer.values(fewer.quantise(values)), values):
            break
        fixed = fewer
    return Fixed(fixed.signed, fixed.bits, fixed.integer)


def widest(
    values: NDArray[np.float64], lower: Callable[[Fixed], Result], refusal: type[ModelError], warnings: list[str]
) -> Result:
    """Return what ``lower`` makes of the widest proposed format that it takes, and say in a warning which that is.

    Raises: the refusal of the widest one, where all are refused.
    """
    refused: list[ModelError] = []
    for bits in range(MOST_BITS, FEWEST_BITS - 1, -1):
        fixed = proposed(values, bits)
        try:
            result = lower(fixed)
        except refusal as error:
            refused.append(error)
            continue
        warnings.append(f"input format {fixed}, which holds the data; --input-format states another")
        return result
    raise refused[0]


def quantised(values: NDArray[np.float64], fixed: Fixed, warnings: list[str], scale: float = 1.0) -> Integers:
    """Return values as integers of a format, and warn of those that it does not hold; its steps are times ``scale``.

    Shape: any, kept.
    """
    grid = Fixed(fixed.signed, fixed.bits, fixed.integer, Rounding.RND_CONV, Overflow.SAT)
    steps = np.ldexp(values / scale, fixed.fraction)
    clipped = int(np.count_nonzero((steps < fixed.low - 0.5) | (steps > fixed.high + 0.5)))
    if clipped:
        times = "" if scale == 1 else f" times {scale:g}"
        warnings.append(
            f"{clipped:,} of {values.size:,} input values are beyond {fixed}{times} and are clipped; the data reach "
            f"{values.min():g}..{values.max():g}"
        )
    return grid.quantise(np.clip(values / scale, (fixed.low - 1) * fixed.step, (fixed.high + 1) * fixed.step))


def most_random(graph: Graph, count: int, warnings: list[str]) -> int:
    """Return how many of ``count`` random inputs a graph is compared on, with a warning where these are fewer."""
    most = stimuli.most_for(graph)
    if count > most:
        warnings.append(f"compared on {most:,} random inputs, not {count:,}: one alone takes long in so large a model")
    return min(count, most)


def classes_of(answers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64] | None:
    """Return class numbers from numbers or one-hot rows; None where the answers are no classes of such outputs.

    Shape: answers (example, ...); ``shape`` is (example, output).
    """
    if len(shape) != 2:
        return None
    if answers.ndim == 2 and answers.shape[1] == shape[1] > 1:
        one_hot = np.all((answers == 0) | (answers == 1)) and np.all(np.count_nonzero(answers, axis=1) == 1)
        return np.asarray(answers.argmax(-1), np.int64) if one_hot else None
    flat = answers.reshape(len(answers), -1)
    if flat.shape[1] != 1 or not np.array_equal(flat, np.rint(flat)):
        return None
    if flat.min() < 0 or flat.max() >= max(2, shape[1]):
        return None
    return flat[:, 0].astype(np.int64)


def misfit(answers: NDArray[Any], shape: tuple[int, ...], only_classes: bool = False) -> str:
    """Say which answers outputs of ``shape`` are scored on, and which were found.

    Shape: answers (example, ...); ``shape`` is (example, ...). ``only_classes``: the outputs are no numbers of y.
    """
    count, wanted = prod(shape[1:]), []
    if len(shape) == 2:
        rows = f" or one-hot rows of {count}" if count > 1 else ""
        wanted.append(f"class numbers 0..{max(2, count) - 1}{rows}")
    if not only_classes:
        wanted.append(f"{count} finite number{'s' if count > 1 else ''} an example")
    span = f" from {answers.min():g} to {answers.max():g}" if answers.size else ""
    return (
        f"y must be {', or '.join(wanted) or 'left out'}, as the outputs have it, found {answers.dtype} "
        f"{answers.shape}{span}"
    )


def accuracy(outputs: Integers, classes: NDArray[np.int64]) -> dict[str, Any]:
    """Return the metrics of classes: the largest output is the class, a single one is class 1 where it is above 0.

    Shape: outputs (example, output), classes (example,).
    """
    answered = outputs.argmax(-1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(np.int64)
    right = float(np.mean(answered == classes))
    error = float(np.sqrt(right * (1 - right) / len(classes)))
    return {"accuracy": right, "accuracy_error": error, "examples": len(classes)}


def targets_of(answers: NDArray[Any], outputs: Integers) -> NDArray[np.float64] | None:
    """Return the numbers that outputs should be; None where the answers are none of as many.

    Shape: answers (example, ...), outputs (example, ...) -> (example, number).
    """
    targets = answers.reshape(len(answers), -1)
    fits = targets.shape[1] == outputs[0].size and answers.dtype.kind in "iuf" and np.isfinite(answers).all()
    return targets.astype(np.float64) if fits else None
