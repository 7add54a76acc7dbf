"""What programs build from sources, cached by the content of the sources, never by name or time."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgephys.core.errors import ToolError
from edgephys.core.scratch import sweep

BUILDING = ".building-"
BUILT = "built.sha256"
"""File in a cached folder with the hash of the other files."""


def cache_root() -> Path:
    """Return the folder of cached builds: $EDGEPHYS_CACHE, else edgephys under $XDG_CACHE_HOME or ~/.cache."""
    folder = os.environ.get("EDGEPHYS_CACHE")
    return Path(folder or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgephys")


class ContentKey(str):
    """A SHA-256 over files and facts, which knows them: a build is only kept while they are the same."""

    files: tuple[Path, ...]
    facts: tuple[str, ...]

    def holds(self) -> bool:
        """Tell whether the files still have this content."""
        try:
            return content_key(self.files, *self.facts) == self
        except OSError:
            return False


def content_key(files: Iterable[Path], *facts: str) -> ContentKey:
    """Return a SHA-256 over the names and bytes of files, of all files in folders, and over facts."""
    files = tuple(files)
    digest = hashlib.sha256()
    for fact in (platform.machine(), *facts):
        digest.update(fact.encode() + b"\0")
    for top in files:
        below = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for path in below:
            digest.update(str(path.relative_to(top.parent)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    key = ContentKey(digest.hexdigest())
    key.files, key.facts = files, facts
    return key


def built(key: str, build: Callable[[Path], None]) -> Path:
    """Return the cached folder of ``key``; call ``build(folder)`` to fill it where the cache has none.

    A build that fails leaves nothing in the cache; what one that was killed left goes at a build over a day later.
    The hash of all files that were built lies beside them; a folder with other files is built again, so that only what
    was built here runs.

    Raises: ToolError where the files of the key change during the build: what was built may be of others.
    """
    folder = cache_root() / key[:2] / key
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    for other in cache_root().iterdir():
        sweep(other, BUILDING)
    scratch = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder.parent))
    try:
        fresh = scratch / "new"
        fresh.mkdir()
        build(fresh)
        if isinstance(key, ContentKey) and not key.holds():
            raise ToolError(f"the sources changed while they were built ({_named(key.files)}); start again")
        (fresh / BUILT).write_text(_contents(fresh))
        if folder.is_dir() and not _is_whole(folder):
            folder.rename(scratch / "previous")
        try:
            fresh.rename(folder)
        except OSError:
            if not _is_whole(folder):  # else another process finished the same build first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _named(files: Sequence[Path]) -> str:
    """Return the first file, or a missing one, and how many there are."""
    first = next((path for path in files if not path.exists()), files[0])
    return f"{first}, one of {len(files)}" if len(files) > 1 else str(first)


def _is_whole(folder: Path) -> bool:
    """Tell whether a cached folder holds the files that were built, and no others."""
    stated = folder / BUILT
    return stated.is_file() and stated.read_text() == _contents(folder)


def _contents(folder: Path) -> str:
    """Return a SHA-256 over the names and bytes of all files in a folder but the one that states it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / BUILT):
        with path.open("rb") as stream:
            digest.update(f"{path.relative_to(folder)}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\0".encode())
    return digest.hexdigest()
