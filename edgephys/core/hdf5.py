"""Write an HDF5 file under its name only when it is complete, and read only complete files of limited size."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import h5py
from numpy.typing import NDArray

from edgephys.core.errors import DataError
from edgephys.core.files import written_in_part
from edgephys.core.reading import MALFORMED, check_unpacked, fault, open_regular

UNREADABLE = (OSError, RuntimeError, SystemError, MemoryError, *MALFORMED)
"""What h5py raises for a damaged file, when it is opened or when it is read: SystemError for a name that is no text."""


@contextmanager
def new_file(out: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to write, as ``files.written_in_part`` does.

    Raises: DataError when the file cannot be written or another process is writing it.
    """
    try:
        with written_in_part(out) as part, h5py.File(part, "w", locking=False) as file:  # the lock is already held
            yield file
    except (OSError, RuntimeError) as failure:  # h5py closes a file on a full disk with RuntimeError
        reason = " ".join(fault(failure).split())
        raise DataError(
            f"file '{out}': expected to write it, found '{reason}'; check the folder and the disk"
        ) from failure


@contextmanager
def whole_file(path: Path, what: str, cache_bytes: int = 2**20) -> Iterator[h5py.File]:
    """Open a file for reading; turn errors of HDF5, now or while it is read, into DataError.

    Raises: DataError where `path` is missing, no regular file, empty, or not a whole HDF5 file, leads to other files,
    or is far larger unpacked than packed; `what` names what it should be.
    """
    if not path.exists():
        raise DataError(
            f"file '{path}': expected a {what}, found no such file; check the path, or make one: `edgephys data`"
        )
    try:
        with open_regular(path, largest=1 << 63) as stream:
            size = stream.seek(0, 2)
    except (OSError, ValueError) as failure:
        raise DataError(f"file '{path}': expected a {what}, found {fault(failure)}; check the path") from failure
    if size == 0:
        raise DataError(f"file '{path}': expected a {what}, found 0 bytes; download or make it again")
    try:
        with h5py.File(path, "r", rdcc_nbytes=cache_bytes) as file:
            require_limited(file, size)
            yield file
    except UNREADABLE as failure:
        reason = " ".join(fault(failure).split())
        raise DataError(
            f"file '{path}': expected a whole HDF5 file, found one that cannot be read "
            f"({reason}); download or make it again"
        ) from failure


def check_content(content: bytes) -> None:
    """Raise ValueError where the content of an HDF5 file is damaged or is refused by ``require_limited``."""
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            require_limited(file, len(content))
    except UNREADABLE as failure:
        raise ValueError(f"an HDF5 file that cannot be read: {fault(failure)}") from failure


def require_limited(file: h5py.File, packed: int) -> None:
    """Check what all datasets of a file hold unpacked, and that none of them lies in another file.

    Raises: ValueError where ``reading.check_unpacked`` refuses the sum for ``packed`` bytes, or a link or a dataset
    leads to another file; what h5py raises for a damaged file.
    """
    sizes: list[int] = []

    # h5py passes no error of these functions on: they return what is wrong, which ends the visit
    def link(name: str, entry: Any) -> str | None:
        return f"'{name}' is a link to another file" if isinstance(entry, h5py.ExternalLink) else None

    def visit(name: str, entry: Any) -> str | None:
        if isinstance(entry, h5py.Dataset):
            if entry.external or entry.is_virtual:
                return f"'{name}' lies in another file"
            sizes.append(max(prod(entry.shape or (0,)), prod(entry.chunks or (0,))) * entry.dtype.itemsize)
        return None

    wrong = file.visititems_links(link) or file.visititems(visit)
    if wrong is not None:
        raise ValueError(wrong)
    check_unpacked(sum(sizes), packed)


def attributes(path: Path) -> dict[str, Any]:
    """Return the attributes at the top of a file, texts as such."""
    with h5py.File(path, "r") as file:
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in file.attrs.items()}


def variables(file: BinaryIO) -> tuple[dict[str, str], dict[str, list[NDArray[Any]]]]:
    """Return the paths of the layers in a file of weights of Keras 3 by their names, and the arrays at every path."""
    paths: dict[str, str] = {}
    arrays: dict[str, list[NDArray[Any]]] = {}
    with h5py.File(file, "r") as weights:

        def visit(path: str, entry: Any) -> None:
            if isinstance(entry, h5py.Group) and path.endswith("/vars"):
                layer = path.removesuffix("/vars")
                paths[str(entry.attrs.get("name", layer))] = layer
                arrays[layer] = [entry[str(at)][()] for at in range(len(entry))]

        weights.visititems(visit)
    return paths, arrays


def copy_group(source: Path, group: str, out: Path, name: str, stated: dict[str, str]) -> None:
    """Write a file of attributes and one group, which is a group of another file or, with no name, all of that file."""
    with h5py.File(source, "r") as file, h5py.File(out, "w") as new:
        new.attrs.update(stated)
        file.copy(file[group] if group else file["/"], new, name)


def dataset(path: Path, file: h5py.File, name: str, dimensions: int, kinds: str, hint: str) -> h5py.Dataset:
    """Return a dataset of a file.

    ``kinds`` are numpy's kinds of numbers that it may hold, such as "fiu", or "text"; ``hint`` says what to do.
    Raises: DataError where the file has none of that name, or one of other dimensions or another kind.
    """
    try:
        entry = file.get(name)
    except (KeyError, RuntimeError):  # a link in a circle
        entry = None
    if not isinstance(entry, h5py.Dataset):
        raise DataError(f"file '{path}': expected a dataset '{name}', found {sorted(file)}; {hint}")
    if entry.ndim != dimensions:
        raise DataError(f"file '{path}', {name}: expected {dimensions} dimensions, found shape {entry.shape}; {hint}")
    text = h5py.check_string_dtype(entry.dtype) is not None
    if text != (kinds == "text") or (not text and entry.dtype.kind not in kinds):
        wanted = {"text": "text", "f": "floating-point numbers"}.get(kinds, "numbers")
        raise DataError(f"file '{path}', {name}: expected {wanted}, found {entry.dtype}; {hint}")
    return entry
