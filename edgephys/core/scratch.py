"""Folders and files that exist while something is written; the next use removes what a kill left behind.

Only names that are made here are removed, of this user, in the folder that is being written to, and only when nothing
in them has changed for a day.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEFT_BEHIND_S = 24 * 3600.0
RANDOM = r"[a-z0-9_]{8}"
"""What tempfile adds to a prefix."""


@contextmanager
def temporary_folder(use: str) -> Iterator[Path]:
    """Yield an empty folder in the system's folder for such, and remove it at the end; ``use`` is in its name."""
    with _folder(Path(tempfile.gettempdir()), f"edgephys-{use}-") as folder:
        yield folder


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield an empty, hidden folder beside a path, and remove it at the end."""
    with _folder(path.parent, _hidden(path)) as folder:
        yield folder


@contextmanager
def file_beside(path: Path) -> Iterator[Path]:
    """Yield an empty, hidden file beside a path, and remove it at the end where it still has its name."""
    sweep(path.parent, _hidden(path))
    handle, name = tempfile.mkstemp(prefix=_hidden(path), dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let libraries of this process that ask the environment make their temporary files in ``folder``."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _hidden(path: Path) -> str:
    return f".{path.name}.edgephys-"


@contextmanager
def _folder(parent: Path, prefix: str) -> Iterator[Path]:
    sweep(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, prefix: str) -> None:
    """Remove what a killed process left in ``folder`` under a prefix of ours over a day ago."""
    pattern, oldest = re.compile(re.escape(prefix) + RANDOM), time.time() - LEFT_BEHIND_S
    with suppress(OSError), os.scandir(folder) as entries:
        for path in [folder / entry.name for entry in entries if pattern.fullmatch(entry.name)]:
            if not _left_behind(path, oldest):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _left_behind(path: Path, oldest: float) -> bool:
    """Tell whether a path is this user's, and neither it nor anything in it has changed since ``oldest``."""
    with suppress(OSError):
        below = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        states = [path.lstat(), *(entry.lstat() for entry in below)]
        return states[0].st_uid == os.getuid() and all(state.st_mtime < oldest for state in states)
    return False
