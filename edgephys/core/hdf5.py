"""Write an HDF5 file under its name only when it is complete, and read only complete files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from edgephys.core.errors import DataError
from edgephys.core.files import written_in_part


@contextmanager
def new_file(out: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to write, as ``files.written_in_part`` does.

    Raises: DataError when the file cannot be written or another process is writing it.
    """
    try:
        with written_in_part(out) as part, h5py.File(part, "w", locking=False) as file:  # the lock is already held
            yield file
    except (OSError, RuntimeError) as failure:  # h5py closes a file on a full disk with RuntimeError
        reason = " ".join(str(failure).split())
        raise DataError(
            f"file '{out}': expected to write it, found '{reason}'; check the folder and the disk"
        ) from failure


@contextmanager
def whole_file(path: Path, what: str, cache_bytes: int = 2**20) -> Iterator[h5py.File]:
    """Open a file for reading; turn errors of HDF5, now or while it is read, into DataError.

    Raises: DataError where `path` is missing, empty, or not a whole HDF5 file; `what` names what it should be.
    """
    if not path.is_file():
        raise DataError(f"file '{path}': expected a {what}, found no such file; check the path")
    if path.stat().st_size == 0:
        raise DataError(f"file '{path}': expected a {what}, found 0 bytes; download or make it again")
    try:
        with h5py.File(path, "r", rdcc_nbytes=cache_bytes) as file:
            yield file
    except OSError as failure:
        reason = " ".join(str(failure).split())
        raise DataError(
            f"file '{path}': expected a whole HDF5 file, found one that cannot be read "
            f"({reason}); download or make it again"
        ) from failure
