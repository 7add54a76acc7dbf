"""Read LHC jet files: the public 150-particle files, ours, and folders of them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from edgephys.applications.jets.data import layout
from edgephys.applications.jets.data.layout import CLASSES
from edgephys.core.errors import DataError, UsageError
from edgephys.core.hdf5 import dataset, whole_file

FEATURES: tuple[str, ...] = ("pt", "etarel", "phirel")
PT_MIN_GEV = 2.0
SLICE_JETS = 20_000
PT_STEPS, LOG_STEPS = 16, 4096
"""Steps of 1 GeV, and of a factor of two, in ``log2_pt``."""
DERIVED = {"log2pt": "pt"}
"""Columns that are computed from a stored one (``log2_pt``)."""
CACHE_BYTES = 256 * 2**20
"""Holds the stored chunks of a slice, so that reading column after column unpacks them once."""


@dataclass(frozen=True)
class Jets:
    """Jets ready for a model: hardest constituent first, zeros behind the last.

    Shape: `features` (jet, constituent, feature), `labels` (jet,), indices into `CLASSES`.
    Units: pT, E and momenta in GeV, angles in radians.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class _Columns:
    """Where in one open file the wanted columns are."""

    path: Path
    jets: int
    constituents: int
    pt: int
    wanted: tuple[int, ...]
    names: tuple[str, ...]


def read(
    path: Path | Sequence[Path],
    constituents: int,
    features: Sequence[str] = FEATURES,
    limit: int | None = None,
    pt_min_gev: float = PT_MIN_GEV,
    slice_jets: int = SLICE_JETS,
) -> Jets:
    """Read the hardest constituents of the jets of a file, of several, or of a folder of *.h5.

    Constituents of `pt_min_gev` or less are dropped, the `constituents` hardest of the others are
    kept and zeros fill the rest. Columns are found by name, with or without `j1_`. `limit` is the
    most jets to read. Only what is kept is held in memory, and a slice of `slice_jets`.

    Shape: features (jet, constituent, feature), labels (jet,).
    Units: GeV.
    Raises: DataError on a file that is missing, truncated, or holds what no model may see;
    UsageError on a number out of range.
    Source: Zenodo record 3602260.
    """
    _check_numbers(constituents, len(features), limit, slice_jets)
    files = _files(path)
    total = count(files) if limit is None else min(count(files), limit)
    features_read = np.zeros((total, constituents, len(features)), dtype=np.float32)
    labels = np.zeros(total, dtype=np.int64)
    start = 0
    for part in slices(files, constituents, features, limit, pt_min_gev, slice_jets):
        stop = start + len(part.labels)
        features_read[start:stop], labels[start:stop] = part.features, part.labels
        start = stop
    names = tuple(_bare(name) for name in features)
    return Jets(features_read, labels, names, ", ".join(str(file) for file in files))


def slices(
    path: Path | Sequence[Path],
    constituents: int,
    features: Sequence[str] = FEATURES,
    limit: int | None = None,
    pt_min_gev: float = PT_MIN_GEV,
    slice_jets: int = SLICE_JETS,
) -> Iterator[Jets]:
    """Read as `read` does, but hand over one slice at a time, for files larger than memory.

    Raises: as `read`.
    """
    _check_numbers(constituents, len(features), limit, slice_jets)
    left = limit
    for file_path in _files(path):
        with _open(file_path) as file:
            columns = _find_columns(file_path, file, constituents, features)
            end = columns.jets if left is None else min(columns.jets, left)
            for start in range(0, end, slice_jets):
                stop = min(start + slice_jets, end)
                features_read = _read_constituents(file, columns, slice(start, stop), constituents, pt_min_gev)
                labels = _read_labels(file, columns, slice(start, stop))
                yield Jets(features_read, labels, columns.names, str(file_path))
        if left is not None:
            left -= end
            if left == 0:
                return


def count(path: Path | Sequence[Path]) -> int:
    """Count the jets of a file, of several, or of a folder of *.h5.

    Raises: DataError as `read`.
    """
    total = 0
    for file_path in _files(path):
        with _open(file_path) as file:
            total += _count_jets(file_path, file)
    return total


def shuffle_constituents(features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Put the constituents of each jet, padding included, in a random order of its own.

    Shape: (jet, constituent, feature) to the same.
    """
    draws = np.random.default_rng(seed).random(features.shape[:2])
    order = np.argsort(draws, axis=1, kind="stable")  # (jet, constituent)
    return np.take_along_axis(features, order[:, :, None], axis=1)


def _check_numbers(constituents: int, features: int, limit: int | None, slice_jets: int) -> None:
    for name, number in (
        ("constituents", constituents),
        ("features", features),
        ("limit", 1 if limit is None else limit),
        ("slice_jets", slice_jets),
    ):
        if number < 1:
            raise UsageError(f"jets: {name} must be 1 or more, not {number}; ask for 1 or more")


def _files(path: Path | Sequence[Path]) -> list[Path]:
    if isinstance(path, Sequence) and not isinstance(path, str):
        files = [Path(file) for file in path]
        if not files:
            raise DataError("jet files: expected one or more paths, found none; name a file")
        return files
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.h5"))
    if not files:
        raise DataError(f"folder '{path}': expected files named *.h5, found none; make one with edgephys data jets")
    return files


def _open(path: Path) -> AbstractContextManager[h5py.File]:
    return whole_file(path, "jet file", CACHE_BYTES)


def _dataset(path: Path, file: h5py.File, name: str, dimensions: int, kinds: str = "fiu") -> h5py.Dataset:
    return dataset(path, file, name, dimensions, kinds, "use a file in the layout of Zenodo 3602260")


def _count_jets(path: Path, file: h5py.File) -> int:
    """Count the jets, and check that constituents and labels are of the same jets."""
    particles = _dataset(path, file, layout.PARTICLES_DATASET, 3)
    jets = _dataset(path, file, layout.JETS_DATASET, 2)
    if len(particles) != len(jets):
        raise DataError(
            f"file '{path}': expected as many rows in {layout.JETS_DATASET} as the "
            f"{len(particles)} of {layout.PARTICLES_DATASET}, found {len(jets)}; "
            "download or make it again"
        )
    if len(jets) == 0:
        raise DataError(f"file '{path}', {layout.JETS_DATASET}: expected jets, found 0 rows; make it again")
    if jets.shape[1] < 6:
        raise DataError(
            f"file '{path}', {layout.JETS_DATASET}: expected 6 or more columns (g q w z t undef "
            f"last), found {jets.shape[1]}; use a file in the layout of Zenodo 3602260"
        )
    return len(jets)


def _bare(name: str) -> str:
    return name.removeprefix(layout.PREFIX)


def _find_columns(path: Path, file: h5py.File, constituents: int, features: Sequence[str]) -> _Columns:
    """Find the wanted columns by name and check that the file is wide and deep enough."""
    jets = _count_jets(path, file)
    _, depth, width = file[layout.PARTICLES_DATASET].shape
    stored = _dataset(path, file, layout.PARTICLE_NAMES_DATASET, 1, "text")[:]
    listed = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in stored]
    names = [_bare(name) for name in listed if name not in layout.UNSTORED_NAMES]
    if width < len(names):
        raise DataError(
            f"file '{path}', {layout.PARTICLES_DATASET}: expected {len(names)} columns for the "
            f"names in {layout.PARTICLE_NAMES_DATASET}, found {width}; download or make it again"
        )
    if depth < constituents:
        raise DataError(
            f"file '{path}', {layout.PARTICLES_DATASET}: expected {constituents} or more "
            f"constituents a jet, the file holds {depth}; ask for N <= {depth}, or make a file that holds all "
            "with edgephys data jets"
        )
    names_wanted = tuple(_bare(name) for name in features)
    stored_names = tuple(DERIVED.get(name, name) for name in names_wanted)
    for name in (*stored_names, "pt"):
        if name not in names:
            hint = ", or make a file that holds all columns with edgephys data jets"
            raise DataError(
                f"file '{path}', {layout.PARTICLE_NAMES_DATASET}: expected a column '{name}', "
                f"found {' '.join(names)}; choose among these{hint if name in layout.PARTICLE_NAMES else ''}"
            )
    wanted = tuple(map(names.index, stored_names))
    return _Columns(path, jets, depth, names.index("pt"), wanted, names_wanted)


def _read_constituents(
    file: h5py.File, columns: _Columns, rows: slice, constituents: int, pt_min_gev: float
) -> npt.NDArray[np.float32]:
    """Read one slice: the pT of all constituents, and of the hardest the wanted columns."""
    particles = file[layout.PARTICLES_DATASET]
    pt = particles[rows, :, columns.pt].astype(np.float32)  # (jet, constituent)
    _check_finite(columns.path, "pt", pt, rows.start)
    some = (pt > pt_min_gev).any(axis=1)
    if not some.all():
        raise DataError(
            f"file '{columns.path}', row {rows.start + int(np.argmin(some))}: expected a "
            f"constituent above {pt_min_gev:g} GeV, found none; drop the jet or lower pt_min_gev"
        )
    is_sorted = bool((pt[:, 1:] <= pt[:, :-1]).all())
    depth = constituents if is_sorted else columns.constituents
    order = np.argsort(-pt, axis=1, kind="stable")[:, :constituents]  # (jet, kept)
    keep = np.take_along_axis(pt, order, axis=1) > pt_min_gev
    features_read = np.zeros((*keep.shape, len(columns.wanted)), dtype=np.float32)
    for index, column in enumerate(columns.wanted):
        values = particles[rows, :depth, column].astype(np.float32)
        _check_finite(columns.path, columns.names[index], values, rows.start)
        chosen = values if is_sorted else np.take_along_axis(values, order, axis=1)
        chosen = log2_pt(chosen) if columns.names[index] in DERIVED else chosen
        features_read[:, :, index] = np.where(keep, chosen, 0.0)
    return features_read  # (jet, kept, feature)


def log2_pt(pt_gev: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the logarithm to base 2 of pT in GeV, in steps of 1/4096; 0 below 1 GeV.

    pT is rounded to 1/16 GeV first, so that firmware needs a table of 16 bits. Shape: any, kept.
    Exact: no logarithm of such a number lies so near to half a step that float64 could round it wrongly.
    """
    steps = np.clip(np.rint(pt_gev.astype(np.float64) * PT_STEPS), PT_STEPS, None)
    logarithm: npt.NDArray[np.float64] = np.rint(np.log2(steps / PT_STEPS) * LOG_STEPS) / LOG_STEPS
    return logarithm.astype(np.float32)


def _check_finite(path: Path, name: str, values: npt.NDArray[np.float32], first_row: int) -> None:
    finite = np.isfinite(values)
    if finite.all():
        return
    row, particle = (int(part) for part in np.argwhere(~finite)[0])
    raise DataError(
        f"file '{path}', row {first_row + row}, column '{name}': expected finite numbers, found "
        f"{values[row, particle]} (constituent {particle}); drop the jet or make the file again"
    )


def _read_labels(file: h5py.File, columns: _Columns, rows: slice) -> npt.NDArray[np.int64]:
    """Read one slice of one-hot columns as indices into `CLASSES`."""
    jets = file[layout.JETS_DATASET]
    width = jets.shape[1]
    first, last, _ = layout.LABEL_COLUMNS.indices(width)
    hot: npt.NDArray[Any] = jets[rows, first:last]  # (jet, class)
    good = ((hot == 0) | (hot == 1)).all(axis=1) & (hot.sum(axis=1) == 1)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"file '{columns.path}', {layout.JETS_DATASET}, row {rows.start + row}: expected one "
            f"1 among {' '.join(CLASSES)}, found {hot[row].tolist()}; drop the jet or make the "
            "file again"
        )
    labels: npt.NDArray[np.int64] = np.argmax(hot, axis=1).astype(np.int64)
    return labels
