"""What all lints share: a finding as a line of text, and the cache of what a tool said about the same sources."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgephys.core import builds
from edgephys.core.errors import ToolError
from edgephys.targets.target import Lint

FINDINGS = "findings.json"
STOPPED = "was stopped after"
"""How a tool's error says that its time limit was reached."""


def finding(path: str, line: int, rule: str, detail: str) -> str:
    """Return the line that names the file, the line in it, the rule and what breaks it."""
    return f"{path}:{line}: {rule}: {detail}"


def cached(
    tool: str, version: str, files: Iterable[Path], facts: Sequence[str], read: Callable[[Path], Sequence[str]]
) -> Lint:
    """Return what a tool objects to, from the cache where it read the same content before.

    ``read`` is called with an empty folder and returns the findings; ``facts`` are whatever else they depend on.
    A tool that is stopped by its time limit is skipped, and its result is not cached.
    """

    def build(home: Path) -> None:
        (home / FINDINGS).write_text(json.dumps(list(read(home))))

    try:
        home = builds.built(builds.content_key(files, "lint", tool, version, *facts), build)
    except ToolError as error:
        if STOPPED not in str(error):
            raise
        return Lint(tool, version, skipped=str(error))
    return Lint(tool, version, tuple(json.loads((home / FINDINGS).read_text())))


def missing(tool: str, error: ToolError) -> Lint:
    """Return the record of a tool that is not installed; the error says what to install."""
    return Lint(tool, "none", skipped=str(error))
