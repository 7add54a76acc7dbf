"""The command that emits a project again, with its options, for the messages about damaged projects."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgephys.core.reading import UNREADABLE, read_json
from edgephys.core.remedies import command

MANIFEST = "edgephys.json"
"""File that makes a folder a project of ours."""
PLAIN = re.compile(r"[A-Za-z0-9][\w.,-]{0,80}")
"""Words of a manifest that may stand in a command that a reader copies."""
DEEPEST = 4
"""Folders between a source and its project, at most."""


def emit_again(path: Path | None = None, to: str = "TARGET") -> str:
    """Return how a project is emitted again: from the manifest above ``path``, as far as it can be read.

    Only options that are not the target's defaults are stated, and no word that a shell would read as something else.
    ``to`` is the target where the manifest does not say it.
    """
    folder = _project(path)
    manifest = _manifest(folder)
    kind, options = _kind(manifest), manifest.get("options")
    words = _flags(kind, options) if kind is not None and isinstance(options, dict) else []
    out = folder if folder is not None else "PROJECT"
    return f"emit the project again: {command('emit', 'MODEL', '--to', kind or to, *words, '--out', out)}"


def _project(path: Path | None) -> Path | None:
    """Return the folder with a manifest that is or holds ``path``; where there is none, ``path`` if it is no file."""
    if path is None:
        return None
    above = (path, *path.parents)[: DEEPEST + 1]
    return next((folder for folder in above if (folder / MANIFEST).is_file()), None if path.is_file() else path)


def _manifest(folder: Path | None) -> Mapping[str, Any]:
    """Return the manifest of a project; empty where it cannot be read."""
    try:
        record = read_json(folder / MANIFEST) if folder is not None else {}
    except UNREADABLE:
        return {}
    return record if isinstance(record, dict) else {}


def _kind(manifest: Mapping[str, Any]) -> str | None:
    """Return the target that a manifest names; None where there is none of that name."""
    from edgephys.targets.registry import TARGETS  # the targets themselves import this module

    kind = manifest.get("kind")
    return kind if isinstance(kind, str) and kind in TARGETS else None


def _flags(kind: str, values: Mapping[str, Any]) -> list[str]:
    """Return the options that are not at their defaults, as they are typed."""
    from edgephys.targets.options import declared
    from edgephys.targets.registry import TARGETS

    record = TARGETS[kind].options
    defaults = record()
    words = []
    for option in declared(record):
        value = values.get(option.name)
        if value == getattr(defaults, option.name) or value is None:
            continue
        if isinstance(value, bool):
            words.append(option.flag if value else option.flag.replace("--", "--no-", 1))
        elif PLAIN.fullmatch(_text(value)):
            words += [option.flag, _text(value)]
    return words


def _text(value: Any) -> str:
    """Return a value as it is typed; empty for what is no word and no finite number."""
    if isinstance(value, str):
        return value
    return f"{value:.9g}" if isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e9 else ""
