"""Read a user's own data: inputs in the model's own units and shape, and the right answers where there are any.

``.npz`` has ``x`` (or an array for each input, by the input's name or x0, x1, ...) and perhaps ``y``; the ``x`` of
several inputs is flat and joined in their order. ``.npy`` has the inputs alone; ``.csv`` has a number a cell, and the
answers in a column that its first row names y, label, target or class; without a row of names it has the inputs alone.
HDF5 has datasets named as in ``.npz``. Answers are class numbers, one-hot rows, or numbers of any other kind.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import DataError
from edgephys.core.reading import UNREADABLE, array_names, fault, parse_array, read_arrays, read_bytes, read_text

ANSWERS = ("y", "labels", "label", "target", "targets", "class")
INPUTS = ("x", "inputs", "X")


@dataclass(frozen=True, eq=False)
class UserData:
    """Hold inputs and answers.  Shape: inputs (example, values of all inputs, flat); answers (example, ...) or None."""

    inputs: NDArray[np.float64]
    answers: NDArray[Any] | None

    def first(self, limit: int | None) -> UserData:
        """Return the first examples; all without a limit."""
        return UserData(self.inputs[:limit], None if self.answers is None else self.answers[:limit])


def read(path: Path, inputs: Mapping[str, tuple[int, ...]]) -> UserData:
    """Return the data of a file for a model's inputs, by name, each with its shape.

    Raises: DataError where the file is missing, of another kind, or does not fit the inputs.
    """
    if not path.exists():
        raise DataError(
            f"{path}: expected a .npz, .npy, .csv or HDF5 file, found no such file; check the path (`edgephys init` "
            "writes a script that makes sample data)"
        )
    readers = {".npz": _npz, ".npy": _npy, ".csv": _csv, ".h5": _hdf5, ".hdf5": _hdf5}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a .npz, .npy, .csv or HDF5 file (.h5), found '{path.suffix}'; convert it")
    try:
        arrays = reader(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: expected arrays of numbers, found {fault(error)}; write it again") from error
    answers = next((arrays[name] for name in ANSWERS if name in arrays), None)
    if answers is not None and (np.ndim(answers) == 0 or answers.dtype.kind not in "iufb"):
        kind = f"{np.asarray(answers).dtype} {np.shape(answers)}"
        raise DataError(
            f"{path}: the answers y must be numbers of shape (example, ...), not {kind}; number the classes"
        )
    flat = [
        _flat(path, name, shape, array)
        for (name, shape), array in zip(inputs.items(), _arrays_of(path, arrays, inputs), strict=True)
    ]
    counts = {len(array) for array in flat} | ({len(answers)} if answers is not None else set())
    if len(counts) > 1 or not min(counts):
        raise DataError(f"{path}: expected as many examples in every array, 1 or more, found {sorted(counts)}")
    return UserData(np.concatenate(flat, axis=1), answers)


def _arrays_of(path: Path, arrays: Mapping[str, Any], inputs: Mapping[str, tuple[int, ...]]) -> Sequence[Any]:
    """Return the array of each input."""
    if len(inputs) == 1:
        names = (*INPUTS, *inputs, "x0")
        chosen = next((arrays[name] for name in names if name in arrays), None)
        if chosen is not None:
            return [chosen]
    for wanted_names in (list(inputs), [f"x{number}" for number in range(len(inputs))]):
        if all(name in arrays for name in wanted_names):
            return [arrays[name] for name in wanted_names]
    sizes = [prod(shape) for shape in inputs.values()]
    whole = next((np.asarray(arrays[name]) for name in INPUTS if name in arrays), np.zeros(0))
    if len(inputs) > 1 and whole.ndim == 2 and whole.shape[1] == sum(sizes):
        return np.split(whole, np.cumsum(sizes)[:-1], axis=1)
    wanted = "x" if len(inputs) == 1 else f"{', '.join(inputs)} (or x0 .. x{len(inputs) - 1})"
    raise DataError(f"{path}: expected the inputs as {wanted}, found {', '.join(sorted(arrays)) or 'nothing'}")


def _flat(path: Path, name: str, shape: tuple[int, ...], array: Any) -> NDArray[np.float64]:
    array = np.asarray(array)
    fits = array.ndim > 0 and (array.shape[1:] == shape or (array.ndim == 2 and array.shape[1] == prod(shape)))
    if not fits or array.dtype.kind not in "iufb":
        kind = "column" if path.suffix.lower() == ".csv" else "array"
        raise DataError(
            f"{path}: input '{name}' must be numbers of shape (example, {', '.join(map(str, shape))}), "
            f"not {array.dtype} {array.shape}; answers are a {kind} of their own, named y"
        )
    values: NDArray[np.float64] = array.reshape(len(array), prod(shape)).astype(np.float64)
    wrong = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max).all(1))
    if wrong.size:
        raise DataError(
            f"{path}: input '{name}' must be finite, not NaN or infinite in {wrong.size} examples, {wrong[0]} first "
            f"(what float32 does not hold is infinite)"
        )
    return values


def _npz(path: Path) -> dict[str, Any]:
    return dict(read_arrays(path, array_names(path)))


def _npy(path: Path) -> dict[str, Any]:
    return {"x": parse_array(read_bytes(path))}


def _hdf5(path: Path) -> dict[str, Any]:
    from edgephys.core.hdf5 import whole_file

    with whole_file(path, "file of arrays x and y") as file:
        return {name: file[name][()] for name in file if hasattr(file[name], "shape")}


def _csv(path: Path) -> dict[str, Any]:
    rows = list(csv.reader(read_text(path).splitlines()))
    header = [word.strip().lower() for word in rows[0]] if rows and _names(rows[0]) else []
    examples = rows[1:] if header else rows
    if not examples:
        raise ValueError("no row of numbers")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("rows of different lengths")
    columns = np.array(examples, float).T
    at = next((index for index, word in enumerate(header) if word in ANSWERS), None)
    inputs = np.array([column for index, column in enumerate(columns) if index != at]).T
    return {"x": inputs} | ({} if at is None else {"y": columns[at]})


def _names(row: Sequence[str]) -> bool:
    """Say whether a first row names the columns: by a word that is no number, or by 0, 1, ... as pandas does."""
    if len(row) > 1 and [word.strip() for word in row] == [str(number) for number in range(len(row))]:
        return True
    try:
        np.array(row, float)
    except ValueError:
        return True
    return False
