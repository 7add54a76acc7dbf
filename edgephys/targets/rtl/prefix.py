"""Modules of a project under names of their own, so that several emitted models live in one design."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from edgephys.core.errors import UsageError

DEFINED = re.compile(r"^\s*(?:module|entity)\s+(\w+)\b", re.MULTILINE | re.IGNORECASE)
VALID = re.compile(r"[a-z](?:_?[a-z0-9])*", re.ASCII)
"""What Verilog and VHDL take as the start of a name."""
LONGEST = 32
NAMES = frozenset({"top", "probe", "bench", "memory", "module", "sources", "probe_source", "bench_source"})
"""Facts that name modules, or files that are named after one."""


def require_prefix(prefix: str) -> None:
    """Raise UsageError for a prefix with which no name would be valid; an empty one stands for none."""
    if prefix and (len(prefix) > LONGEST or not VALID.fullmatch(prefix)):
        raise UsageError(
            f"prefix must be {LONGEST} or fewer small letters, digits and single underscores between them, a letter "
            f"first, such as tagger, not '{prefix}'"
        )


@dataclass(frozen=True)
class Renaming:
    """Put a prefix and an underscore before each of some names of modules."""

    prefix: str
    names: frozenset[str]

    def text(self, text: str) -> str:
        """Return a source with every module's name replaced, where it is defined and where it is used."""
        if not self.names:
            return text
        return re.sub(r"\b[A-Za-z_]\w*\b", lambda word: self.name(word.group()), text)

    def name(self, name: str) -> str:
        """Return the new name of a module, and any other as it is."""
        return f"{self.prefix}_{name}" if name in self.names else name

    def path(self, path: str) -> str:
        """Return a file's path, whose stem is a module's name."""
        file = PurePosixPath(path)
        return str(file.with_stem(self.name(file.stem)))

    def facts(self, facts: Any, key: str = "") -> Any:
        """Return facts with the names of modules and of their files replaced."""
        if isinstance(facts, Mapping):
            return {inner: self.facts(value, inner) for inner, value in facts.items()}
        if isinstance(facts, list):
            return [self.facts(value, key) for value in facts]
        if isinstance(facts, str) and key in NAMES:
            return self.path(facts) if "/" in facts else self.name(facts)
        return facts


def renaming(prefix: str, texts: Iterable[str]) -> Renaming:
    """Return the renaming of every module that texts define; without a prefix, of none."""
    names = [name for text in texts for name in DEFINED.findall(text)] if prefix else []
    return Renaming(prefix, frozenset(names))
