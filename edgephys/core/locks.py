"""Locks between processes: files of which one process at a time holds each, and a killed one holds none."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock, as soon as no other process does.

    On a file system without locks nobody waits: both do the same work, and write equal files, each whole.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
