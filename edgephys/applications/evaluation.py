"""Outputs of a model beside the answers of its examples, as pictures of a report show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers


@dataclass(frozen=True, eq=False)
class ClassOutputs:
    """Hold the logits of examples, their classes as numbers, and the names of the classes.

    Shape: logits (example, class), labels (example,).
    """

    logits: NDArray[np.floating[Any]]
    labels: Integers
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NumberOutputs:
    """Hold the outputs of examples and the numbers that they should be.

    Shape: both (example, ...); fields are (field, row, column, channel).
    """

    outputs: NDArray[np.floating[Any]]
    answers: NDArray[np.floating[Any]]


Evaluated = ClassOutputs | NumberOutputs
