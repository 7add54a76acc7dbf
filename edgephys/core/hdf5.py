"""Write an HDF5 file so that its name only ever holds a whole one, and read none but whole ones."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from edgephys.core.errors import DataError


@contextmanager
def new_file(out: Path) -> Iterator[h5py.File]:
    """Open `OUT.part` to write; give it the name `out` at the end, or remove it on any failure.

    An earlier `out` stays as it was until then. A killed process leaves `OUT.part` behind, which
    the next one overwrites; two at once are told apart by a lock on it.

    Raises: DataError when the file cannot be written or another run is writing it.
    """
    part = out.with_name(out.name + ".part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as failure:
        raise _unwritable(out, failure) from failure
    try:
        _take(lock, out)
        try:
            with h5py.File(part, "w", locking=False) as file:  # ours is the lock
                yield file
            os.replace(part, out)
        except (OSError, RuntimeError) as failure:  # h5py closes a file on a full disk with RuntimeError
            raise _unwritable(out, failure) from failure
        finally:
            part.unlink(missing_ok=True)
    finally:
        os.close(lock)


@contextmanager
def whole_file(path: Path, what: str, cache_bytes: int = 2**20) -> Iterator[h5py.File]:
    """Open a file to read; whatever HDF5 says, now or while it is read, becomes a DataError.

    Raises: DataError when `path` is missing, empty, or not a whole HDF5 file; `what` says what it should be.
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


def _take(lock: int, out: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as busy:
        raise DataError(
            f"file '{out}': expected to be the only writer, found another run writing "
            f"'{out.name}.part'; wait for it or choose another name"
        ) from busy


def _unwritable(out: Path, failure: Exception) -> DataError:
    reason = " ".join(str(failure).split())
    return DataError(f"file '{out}': expected to write it, found '{reason}'; check the folder and the disk")
