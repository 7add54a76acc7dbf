"""Held-out vectors: input integers that no training saw, and the right answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgephys.core.errors import ProjectError
from edgephys.core.fixed import Integers
from edgephys.core.reading import read_integers

HELD_OUT = "held_out.npz"


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Hold input integers that no training saw, and the answers: classes, the integers of the next frame, or numbers.

    Shape: inputs (vector, constituent, feature), labels (vector,); of fields (vector, row, column, channel), both.
    """

    inputs: Integers
    labels: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Vectors(HeldOut):
    """Hold vectors with the golden model's outputs, where they are stored.  Shape: expected (vector, *output shape)."""

    expected: Integers | None = None


def read_held_out(folder: Path) -> HeldOut:
    """Return the held-out vectors in a folder; raise ProjectError where the file is missing, damaged or empty."""
    path = folder / HELD_OUT
    held_out = HeldOut(*read_integers(path, ("inputs", "labels"), numbers=("labels",)))
    if not len(held_out.inputs) or len(held_out.inputs) != len(held_out.labels):
        raise ProjectError(
            f"{path}: expected at least 1 vector with a label each, "
            f"found {len(held_out.inputs)} vectors and {len(held_out.labels)} labels"
        )
    return held_out


def read_vectors(path: Path, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Vectors:
    """Return vectors with expected outputs; raise ProjectError where there are none, or arrays of other shapes."""
    inputs, labels, expected = read_integers(path, ("inputs", "labels", "expected"), numbers=("labels",))
    if not len(inputs):
        raise ProjectError(f"{path}: expected at least 1 vector, found 0; nothing can be verified with none")
    for what, array, shape in (("inputs", inputs, input_shape), ("outputs", expected, output_shape)):
        if len(array) != len(inputs) or array.shape[1:] != shape:
            raise ProjectError(
                f"{path}: expected {len(inputs)} {what} of shape {shape}, found {len(array)} of {array.shape[1:]}"
            )
    if len(labels) != len(inputs):
        raise ProjectError(f"{path}: expected {len(inputs)} labels, found {len(labels)}")
    return Vectors(inputs, labels, expected)
