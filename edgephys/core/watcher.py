"""Kill the programs that this process started when it ends without doing so itself, whatever ended it.

A second process reads a pipe that only this one can write to: the number of each group of processes that starts, and
that it ended. When the pipe is closed, as the system does for a process that was killed, it kills the groups that are
left, with all that they started in turn.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_PROGRAM = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""

_lock = threading.Lock()
_watchers: dict[int, subprocess.Popen[str]] = {}
"""The watcher of this process, by the process' number: a process that was forked starts its own."""


def start() -> None:
    """Start the second process, unless it runs: before a program is started, so that it is watched at once."""
    _write("")


@contextmanager
def watched(group: int) -> Iterator[None]:
    """Have a group of processes killed should this process end inside."""
    _write(f"+{group}\n")
    try:
        yield
    finally:
        _write(f"-{group}\n")


def _write(line: str) -> None:
    with _lock, suppress(OSError):  # without a watcher, for want of processes, everything else goes on
        watcher = _watchers.get(os.getpid())
        if watcher is None or watcher.poll() is not None:
            _watchers.clear()
            watcher = _watchers[os.getpid()] = _started()
        if watcher.stdin is not None:
            watcher.stdin.write(line)
            watcher.stdin.flush()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        cwd="/",
    )


@atexit.register
def _end() -> None:
    watcher = _watchers.pop(os.getpid(), None)
    if watcher is not None:
        watcher.communicate()
