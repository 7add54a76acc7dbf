"""Write files and folders whole or not at all, and lock them."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgephys.core.errors import DataError, UsageError
from edgephys.core.names import real_path
from edgephys.core.scratch import file_beside, folder_beside

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""Errors of the place that is written to, whichever file was read or copied when they came."""


def replace_folder(
    out: Path, write: Callable[[Path], None], mark: str, force: bool = False, what: str = "a model"
) -> Path:
    """Write a folder beside ``out``, then put it in its place in one step.

    Raises: UsageError as ``check_free`` does.
    """
    check_free(out, mark, force, what)
    out = out.absolute()
    with naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with folder_beside(out) as scratch:
            fresh = scratch / out.name
            fresh.mkdir()
            write(fresh)
            if out.exists() or out.is_symlink():
                _exchange(fresh, out, scratch / "previous")
            else:
                fresh.rename(out)
    return out


@contextmanager
def naming(out: Path) -> Iterator[None]:
    """Name ``out`` in an error of the system for which no other file can be blamed, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(out)) from error


def check_free(out: Path, mark: str, force: bool, what: str) -> None:
    """Check that a folder may be written, or replaced, as ``out``.

    Raises: UsageError where it exists, does not hold the file ``mark``, and ``force`` is False; where it is the working
    directory, or holds it; as ``check_writable`` does.
    """
    here, real = Path.cwd(), real_path(out)
    if real == here or real in here.parents:
        raise UsageError(f"{out} is, or holds, the folder that you work in, which cannot be replaced; choose another")
    check_writable(out)
    ours = (out / mark).is_file() or (out.is_dir() and not any(out.iterdir()))
    if (out.exists() or out.is_symlink()) and not ours and not force:
        raise UsageError(f"{out} exists and is not {what} of ours ({mark} is not in it); choose another or --force")


def check_writable(out: Path) -> None:
    """Raise UsageError where no file or folder can be made under the name ``out``, before any work is done for it."""
    if not out.name:
        raise UsageError(f"'{out}' is no name for what is written; choose one")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"{out} cannot be written: {above} is a file, not a folder; choose another")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{out} cannot be written: {above} is not yours to write to; choose another")


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
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_beside(path) as scratch:
            with scratch.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            scratch.chmod(0o644)
            os.replace(scratch, path)


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
            with naming(out):
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
