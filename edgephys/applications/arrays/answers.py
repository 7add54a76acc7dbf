"""What the answers of a user's data mean: class numbers, or numbers for each output."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.arrays.application import AUTO, CLASSIFICATION, RECONSTRUCTION, REGRESSION
from edgephys.core.errors import DataError
from edgephys.models.input_data import classes_of
from edgephys.models.user_data import UserData


def recognised(data: UserData, output: tuple[int, ...]) -> str:
    """Return what a network with an output of this shape is for: a reconstruction without answers."""
    if data.answers is None:
        return RECONSTRUCTION
    return REGRESSION if classes_of(data.answers, (len(data.answers), *output)) is None else CLASSIFICATION


def answers_of(
    data: UserData, task: str, output: tuple[int, ...] | None, where: Path
) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return class numbers, or the numbers of each output, flat; ``output`` is the output's shape where it is known.

    Raises: DataError where the answers do not fit the task or the outputs.
    """
    answers = data.answers
    if task == RECONSTRUCTION or (task == AUTO and answers is None):
        targets = data.inputs
    elif answers is None:
        raise DataError(f"{where}: expected answers, an array y, found none; add them, or set task=reconstruction")
    elif task == CLASSIFICATION:
        shape = output or ((answers.shape[1] if answers.ndim == 2 else max(2, int(answers.max(initial=0)) + 1)),)
        classes = classes_of(answers, (len(answers), *shape))
        if classes is None:
            raise DataError(
                f"{where}: y must be class numbers 0..{max(2, prod(shape)) - 1} or one-hot rows of {prod(shape)}, "
                f"found {answers.dtype} {answers.shape}{_range_of(answers)}; for numbers, set task=regression"
            )
        return classes
    else:
        if answers.dtype.kind not in "iufb" or not np.isfinite(answers).all():
            raise DataError(f"{where}: y must be finite numbers, found {answers.dtype} with others; clean the file")
        targets = answers.reshape(len(answers), -1).astype(np.float64)
    if output is not None and targets.shape[1] != prod(output):
        if task != RECONSTRUCTION and answers is not None and _are_whole(answers) and prod(output) > 1:
            raise DataError(
                f"{where}: y has whole numbers{_range_of(answers)}, but a model of {prod(output)} outputs tells "
                f"classes 0..{prod(output) - 1} apart; number the classes from 0, or give the model an output a class"
            )
        what = "x" if targets is data.inputs else "y"
        raise DataError(
            f"{where}: {what} must have {prod(output)} numbers an example, as the model's output has, found "
            f"{targets.shape[1]}; change the model's last layer"
        )
    return targets


def _are_whole(answers: NDArray[Any]) -> bool:
    """Tell whether answers are one whole number an example, as labels of classes are."""
    return answers.size == len(answers) and bool(np.array_equal(answers, np.rint(answers)))


def _range_of(answers: NDArray[Any]) -> str:
    """Return the range of answers that are whole numbers, in words."""
    return f" from {answers.min():g} to {answers.max():g}" if _are_whole(answers) else ""


def of_one_output(logits: Any) -> Any:
    """Return logits of two classes of those of a single output, which is above 0 for class 1; others as they are."""
    if logits.shape[1] > 1:
        return logits
    return np.concatenate([np.zeros_like(logits), logits], axis=1)


def class_names(count: int) -> tuple[str, ...]:
    """Return the names of so many classes: their numbers."""
    return tuple(map(str, range(count)))
