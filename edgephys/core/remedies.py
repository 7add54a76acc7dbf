"""The commands that help: messages end in one of them, so that each is stated in one place."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_coming_in: ContextVar[tuple[str, str, str]] = ContextVar("coming_in", default=("FILE", "DATA", "FOLDER"))
"""Model file, data and folder of the command that brings a model in."""


def command(*words: str | Path) -> str:
    """Return a command of edgephys as it is typed; words in capitals stand for what only the reader knows."""
    return f"`edgephys {shlex.join(map(str, words))}`"


def train_again(folder: Path | None = None) -> str:
    """Return how a model of ours is trained again, into its folder where that is known."""
    return f"train again: {command('train', 'SCRIPT', '--data', 'FILE', '--out', folder or 'FOLDER')}"


def train_one() -> str:
    """Return the commands that make a model of ours: from a script, from a quantised file, and from a float one."""
    trained = command("train", "SCRIPT", "--data", "FILE", "--out", "FOLDER")
    return f"{trained} makes one, or {command('import', 'FILE')} of a file of yours"


def import_again(folder: Path | None = None) -> str:
    """Return how a model is brought in again, into its folder where that is known."""
    return f"import it again: {bring_in('FILE', folder)}"


def bring_in(file: str | Path = "FILE", folder: Path | None = None) -> str:
    """Return the command that brings in a quantised model."""
    return command("import", file, "--data", "DATA", "--out", folder or "FOLDER")


def quantise() -> str:
    """Return the command that quantises a float model: the one that is brought in now, where that is known."""
    file, data, out = _coming_in.get()
    return command("quantise", file, "--data", data, "--bits", "8", "--out", out)


@contextmanager
def coming_in(file: Path, data: Path | None, out: Path | None) -> Iterator[None]:
    """Put the files of a command that brings a model in into the remedies of its errors."""
    token = _coming_in.set((str(file), str(data or "DATA"), str(out or "FOLDER")))
    try:
        yield
    finally:
        _coming_in.reset(token)


def not_verified(folder: Path) -> str:
    """Return that a project was not verified as it is now, and the command that does it."""
    return f"not verified as it stands; run {command('verify', folder)}"
