"""Read files that anybody may have written: regular files only, of limited sizes, packed and unpacked.

Every limit is stated here. What is wrong with a file is a ValueError in a few words, to which the caller adds the file
and what it should be.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import EdgephysError, ProjectError

LARGEST_BYTES = 1 << 31
"""Bytes of the largest file that is read whole."""
UNLIMITED = 1 << 63
LARGEST_TEXT = 1 << 30
"""Bytes of the largest file of text."""
MOST_DIGITS = 300
"""Digits of an integer that a float can hold, too."""
SMALL_BYTES = 1 << 26
LARGEST_RATIO = 100
"""A packed file may hold SMALL_BYTES, or LARGEST_RATIO times its own size: ours unpack to 5 times theirs at most."""

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What a record of another form raises where its fields are read."""
UNREADABLE = (OSError, *MALFORMED)
"""What a file raises that is missing, damaged or of another form."""


class NotOpenedError(OSError):
    """A file that the system does not open; its text is the reason alone, for the message of whoever reads the file."""

    def __str__(self) -> str:
        """Return the reason in the system's words, without number and path."""
        return str(self.strerror).lower()


def open_regular(path: Path, largest: int = LARGEST_BYTES) -> io.BufferedReader:
    """Open a file to read; neither a device nor a pipe is waited for.

    Raises: OSError where it cannot be opened; ValueError where it is no regular file or is too large.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotOpenedError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    try:
        state = os.fstat(handle)
        if stat.S_ISDIR(state.st_mode):
            raise ValueError("a folder")
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("a device or a pipe")
        if state.st_size > largest:
            raise ValueError(f"{state.st_size >> 20:,} MiB; at most {largest >> 20:,} MiB are read")
    except ValueError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """Return the content of a file.  Raises: as ``open_regular``."""
    with open_regular(path, largest) as stream:
        return stream.read()


def fault(error: Exception) -> str:
    """Return what is wrong with a file or record, from the error that reading it raised, for the reader's message."""
    if isinstance(error, SystemError) and isinstance(
        error.__cause__, Exception
    ):  # from a library in C: its cause says why
        return fault(error.__cause__)
    if isinstance(error, KeyError):
        return f"no {error}"
    if isinstance(error, OSError):
        return error.strerror.lower() if error.strerror else str(error)
    return f"a value of another kind: {error}" if isinstance(error, (AttributeError, TypeError)) else str(error)


@contextmanager
def only_os_errors(path: Path) -> Iterator[None]:
    """Turn the ValueError of a file that is not regular, or too large, into an OSError that names it."""
    try:
        yield
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error


def sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file of any size.

    Raises: OSError where it cannot be read or is no regular file.
    """
    with only_os_errors(path), open_regular(path, UNLIMITED) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def read_text(path: Path) -> str:
    """Return the text of a file.  Raises: as ``open_regular``; ValueError where it is no UTF-8."""
    content = read_bytes(path, LARGEST_TEXT)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError("bytes that are no text") from error


def read_json(path: Path) -> Any:
    """Return what a file of JSON states.  Raises: as ``read_text`` and ``parse_json``."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes, finite: bool = True) -> Any:
    """Return what a text of JSON states; raise ValueError where it is none or is nested too deeply.

    Numbers that are NaN or infinite raise, too, where ``finite``.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_no_number if finite else None)
    except RecursionError as error:
        raise ValueError("lists nested too deeply") from error


def _integer(word: str) -> int:
    if len(word) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(word):,} digits; at most {MOST_DIGITS} are read")
    return int(word)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word}, which is no number of JSON")


_KINDS: Mapping[type, str] = {str: "a word", int: "a whole number", dict: "a table", list: "a list"}


def require_types(record: Mapping[str, Any], types: Mapping[str, type | tuple[type, type]]) -> None:
    """Raise ValueError where a field of a record that was read is there, is not null, and is of another type.

    A pair of types is a table or list, and what each of its entries is.
    """
    for name, kind in types.items():
        value = record.get(name)
        if value is not None:
            _require_type(name, value, kind[0] if isinstance(kind, tuple) else kind)
            if isinstance(kind, tuple):
                for part in value.values() if isinstance(value, dict) else value:
                    _require_type(f"each of {name}", part, kind[1])


def _require_type(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name} must be {_KINDS[kind]}, not {str(value)[:40]!r}")


@contextmanager
def fitting(source: Path | str, what: str, error: type[EdgephysError]) -> Iterator[None]:
    """Explain what goes wrong inside where a record that was read has other fields, or fields of other types.

    ``what`` says what ``source`` should state.  Raises: ``error``.
    """
    try:
        yield
    except MALFORMED as reason:
        raise error(
            f"{source}: expected {what}, found one that does not fit ({fault(reason)}); make it again"
        ) from reason


@contextmanager
def drawable() -> Iterator[None]:
    """Turn the RuntimeError of a picture, which numbers far beyond its axes cause, into a ValueError.

    That such a picture has no room for its labels either is not said besides.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Tight layout not applied")
            yield
    except RuntimeError as reason:
        raise ValueError(f"numbers that cannot be drawn: {reason}") from reason


# Packed files -----------------------------------------------------------------------------------


def check_unpacked(unpacked: int, packed: int) -> None:
    """Raise ValueError where a file is far larger unpacked than packed."""
    if unpacked > max(SMALL_BYTES, LARGEST_RATIO * packed):
        raise ValueError(
            f"{packed:,} bytes that unpack to {unpacked:,}; at most {SMALL_BYTES >> 20} MiB, or {LARGEST_RATIO} times "
            "its own size, is unpacked"
        )


def open_archive(stream: BinaryIO) -> zipfile.ZipFile:
    """Return the zip archive in a file; its members hold no more than they state.

    Raises: ValueError where it is none, or too large unpacked.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except Exception as error:  # zipfile raises many kinds; all mean that this is no whole archive
        raise ValueError(f"no whole zip archive ({fault(error)})") from error
    check_unpacked(sum(entry.file_size for entry in archive.infolist()), stream.seek(0, os.SEEK_END))
    return archive


def array_names(path: Path) -> list[str]:
    """Return the names of the arrays of a .npz file.  Raises: as ``read_arrays``."""
    with open_regular(path) as stream, open_archive(stream) as archive:
        return [entry.filename.removesuffix(".npy") for entry in archive.infolist()]


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, NDArray[Any]]:
    """Return arrays of a .npz file, and the ``optional`` ones that it holds.

    Raises: OSError where it cannot be opened; ValueError where it is none, lacks an array, holds one that is no plain
    numbers, or is too large unpacked.
    """
    with open_regular(path) as stream, open_archive(stream) as archive:
        members = {entry.filename.removesuffix(".npy") for entry in archive.infolist()}
        if missing := [name for name in names if name not in members]:
            raise ValueError(f"no array '{missing[0]}', but {', '.join(sorted(members)) or 'none'}")
        wanted = [*names, *(name for name in optional if name in members)]
        try:
            return {name: parse_array(archive.read(f"{name}.npy")) for name in wanted}
        except Exception as error:  # zipfile, zlib and numpy raise many kinds
            raise ValueError(f"arrays that cannot be read ({' '.join(fault(error).split())})") from error


def parse_array(content: bytes) -> NDArray[Any]:
    """Return the array of a .npy file, whose header is compared with the size before anything is allocated."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"version {version} of .npy")
    shape, by_columns, kind = headers[version](stream)
    if kind.kind not in "biuf":
        raise ValueError(f"{kind} instead of numbers")
    stated, left = prod(shape) * kind.itemsize, len(content) - stream.tell()
    if min(shape, default=0) < 0 or stated != left:
        raise ValueError(f"a header for {stated:,} bytes before {left:,}")
    flat = np.frombuffer(content, kind, offset=stream.tell())
    return flat.reshape(shape, order="F" if by_columns else "C")


def read_integers(path: Path, names: tuple[str, ...], numbers: Sequence[str] = ()) -> list[NDArray[Any]]:
    """Return integer arrays of a .npz file; raise ProjectError where it is missing, damaged or lacks one.

    Those in ``numbers`` may be floats, too, all finite.
    """
    try:
        arrays = read_arrays(path, names)
        floats = {name for name in numbers if np.issubdtype(arrays[name].dtype, np.floating)}
        if not all(np.issubdtype(array.dtype, np.integer) for name, array in arrays.items() if name not in floats):
            raise ValueError("numbers that are not integers")
        if not all(np.isfinite(arrays[name]).all() for name in floats):
            raise ValueError("NaN or infinity")
        if any(array.ndim == 0 for array in arrays.values()):
            raise ValueError("a single number")
        if any(array.dtype == np.uint64 and array.max(initial=0) >> 63 for array in arrays.values()):
            raise ValueError("integers beyond 64 bits with a sign")
        return [arrays[name].astype(np.float64 if name in floats else np.int64) for name in names]
    except (OSError, ValueError) as error:
        raise ProjectError(
            f"{path}: expected vectors ({', '.join(names)}), found {fault(error)}; make it again"
        ) from error
