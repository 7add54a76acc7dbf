"""Write files and folders whole or not at all, lock them, and read arrays of integers."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import DataError, ProjectError, UsageError
from edgephys.core.fixed import Integers

UNREADABLE = (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError)
"""What numpy raises for a missing or damaged .npz file."""


def replace_folder(
    out: Path, write: Callable[[Path], None], mark: str, force: bool = False, what: str = "a model"
) -> Path:
    """Write a folder beside ``out``, then put it in its place in one step.

    Raises: UsageError as ``check_free`` does.
    """
    check_free(out, mark, force, what)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        fresh = scratch / out.name
        fresh.mkdir()
        write(fresh)
        if out.exists() or out.is_symlink():
            _exchange(fresh, out, scratch / "previous")
        else:
            fresh.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def check_free(out: Path, mark: str, force: bool, what: str) -> None:
    """Raise UsageError where ``out`` exists, does not hold the file ``mark``, and ``force`` is False."""
    ours = (out / mark).is_file() or (out.is_dir() and not any(out.iterdir()))
    if (out.exists() or out.is_symlink()) and not ours and not force:
        raise UsageError(f"{out} exists and is not {what} of ours ({mark} is not in it); choose another or --force")


def _exchange(fresh: Path, out: Path, previous: Path) -> None:
    """Exchange two names in one step of the kernel, so that a killed process leaves either the old or the new folder.

    A file system without that step (some network ones) gets two renames; the first is undone on failure.
    """
    at_fdcwd, exchange = -100, 2
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(at_fdcwd, os.fsencode(fresh), at_fdcwd, os.fsencode(out), exchange):
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            out.rename(previous)
            try:
                fresh.rename(out)
            except BaseException:
                previous.rename(out)
                raise
            return
        raise OSError(number, os.strerror(number), str(out))


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def json_text(record: Any) -> str:
    """Return a record as the JSON text of our files."""
    return json.dumps(record, indent=1) + "\n"


def write_json(path: Path, record: Any) -> None:
    """Write a record as JSON, whole or not at all."""
    write_file(path, json_text(record).encode())


@contextmanager
def written_in_part(out: Path) -> Iterator[Path]:
    """Yield the path `OUT.part` to write to; rename it to `out` at the end, or remove it on any failure.

    An earlier `out` stays until then. A killed process leaves `OUT.part`; the next one overwrites it.

    Raises: DataError where another process is writing it; OSError where it cannot be written.
    """
    part = out.with_name(out.name + ".part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise DataError(
                f"file '{out}': expected to be the only writer, found another run writing "
                f"'{part.name}'; wait for it or choose another name"
            ) from busy
        try:
            yield part
            os.replace(part, out)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Wait until no other process holds a lock, and hold it; a killed process releases it.

    On a file system without locks nobody waits: both processes do the same work, and write equal files, each whole.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def read_integers(path: Path, names: tuple[str, ...]) -> list[Integers]:
    """Return integer arrays of a .npz file; raise ProjectError where it is missing, damaged or lacks one."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            arrays = [content[name] for name in names]
            if not all(np.issubdtype(array.dtype, np.integer) for array in arrays):
                raise ValueError("numbers that are not integers")
            return [array.astype(np.int64) for array in arrays]
    except UNREADABLE as error:
        raise ProjectError(f"{path}: expected vectors ({', '.join(names)}), found {error!r}; make it again") from error
