"""Names that come from files of others, and reach paths, sources and scripts of tools."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

LONGEST = 200
LONGEST_LINE = 2000
"""Characters of a name, and of any other line: a picture cannot show longer ones."""
UNSAFE = frozenset("\"'`\\;$*")
"""Characters that end a string, a comment, a path or a command of some tool."""
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def unused(name: str, used: Container[str]) -> str:
    """Return the name, or the first of ``name_2``, ``name_3`` and so on that is not among those in use."""
    free, number = name, 1
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free


def require_plain(what: str, text: Any) -> str:
    """Return a text that is one printable line without quotes and what tools give a meaning.

    Raises: ValueError, naming ``what``, for another one.
    """
    if not isinstance(text, str) or not text.isprintable() or UNSAFE & set(text) or len(text) > LONGEST_LINE:
        characters = " ".join(sorted(UNSAFE))
        raise ValueError(
            f"{what} must be one printable line of at most {LONGEST_LINE} characters without {characters}, not "
            f"{_shown(text)}"
        )
    return text


def require_name(what: str, text: Any) -> str:
    """Return a name that is safe as the name of a file, too.  Raises: ValueError for another one."""
    require_plain(what, text)
    if not 0 < len(text) <= LONGEST or "/" in text or text[0] in ".-" or text != text.strip():
        raise ValueError(
            f"{what} must have 1..{LONGEST} characters, no / and no . or - at its start, not {_shown(text)}"
        )
    return str(text)


def require_identifier(what: str, text: Any) -> str:
    """Return a name that is an identifier in C, Verilog and VHDL.  Raises: ValueError for another one."""
    if not isinstance(text, str) or not IDENTIFIER.fullmatch(text) or len(text) > LONGEST:
        raise ValueError(f"{what} must be an identifier of letters, digits and _, not {_shown(text)}")
    return text


def require_inside(what: str, text: Any) -> str:
    """Return a relative path that stays below its folder.  Raises: ValueError for another one."""
    path = PurePosixPath(require_plain(what, text))
    if not text or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{what} must be a path inside the project, not {_shown(text)}")
    return str(text)


def require_count(what: str, value: Any) -> int:
    """Return a whole number, 0 and over.  Raises: ValueError for another value."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{what} must be a whole number, 0 and over, not {_shown(value)}")
    return value


def require_all_plain(what: str, value: Any) -> None:
    """Raise ValueError for a text anywhere in JSON types, keys too, that ``require_plain`` refuses."""
    if isinstance(value, str):
        require_plain(what, value)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            require_all_plain(what, key)
            require_all_plain(f"{what}.{key}", entry)
    elif isinstance(value, Iterable):
        for entry in value:
            require_all_plain(what, entry)


def real_path(path: Path | str) -> Path:
    """Return the absolute path with its symbolic links followed; a link that leads to itself stays as it is.

    ``Path.resolve`` raises RuntimeError for such a link, which no reader of a file expects.
    """
    return Path(os.path.realpath(path))


def own_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder.

    Raises: ValueError where the name leads out of the folder, over a symbolic link too.
    """
    path = folder / require_inside("file", name)
    if not real_path(path).is_relative_to(real_path(folder)):
        raise ValueError(f"file {_shown(name)} must lie inside the project, not behind a link to elsewhere")
    return path


def _shown(text: Any) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
