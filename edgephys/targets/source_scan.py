"""Scan sources for what we do not emit, before a tool compiles or simulates them.

A received project could hold sources that read files or start programs. Each language has a small set of rules here,
the targets state the words that they emit. The rules are strict: what is not known is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgephys.core.errors import ProjectError
from edgephys.core.reading import LARGEST_TEXT, fault, read_bytes
from edgephys.targets.emit_again import emit_again

C_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<text>"[^"\n]*"|'[^'\n]*')|(?P<directive>^[ \t]*\#[^\n]*)"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<number>\.?\d[\w.]*(?:,\s*-?\.?\d[\d.]*)*)|(?P<space>\s*\n|[ \t]+)|(?P<sign>.)""",
    re.DOTALL | re.MULTILINE | re.ASCII | re.VERBOSE,
)
DIGRAPHS = re.compile(r"\?\?|%:|<:|:>|<%|%>")
"""Other spellings of #, [, ], { and }; in templates ``<::`` is not one of ours either."""


@dataclass(frozen=True)
class Token:
    """State a token of a source: its kind, its text and its line."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Scanned:
    """Name a source that is scanned, and refuse a line of it."""

    folder: Path
    path: Path

    @property
    def name(self) -> str:
        """Path of the source within the project."""
        return str(self.path.relative_to(self.folder))

    def refuse(self, line: int, what: str) -> ProjectError:
        """Return the error that says what a line holds."""
        return ProjectError(
            f"{self.folder}: {self.name}, line {line}: {what}, which we do not emit: nothing was compiled or run; "
            f"{emit_again(self.folder)}"
        )

    def read(self) -> str:
        """Return the text; raise ProjectError for bytes that are not ASCII, and for control characters."""
        if self.path.is_symlink() or not self.path.is_file():
            raise self.refuse(1, "a link, or no file")
        try:
            data = read_bytes(self.path, LARGEST_TEXT)
        except ValueError as error:
            raise self.refuse(1, str(error)) from error
        odd = re.search(rb"[^\t\n\x20-\x7e]", data)
        if odd is not None:
            raise self.refuse(data.count(b"\n", 0, odd.start()) + 1, f"the byte 0x{odd.group()[0]:02x}")
        return data.decode("ascii")


def tokens(scanned: Scanned, text: str) -> Iterator[Token]:
    """Yield the tokens of a text in C but white space and comments.

    Raises: ProjectError for a comment that does not end.
    """
    line = 1
    for match in C_TOKEN.finditer(text):
        kind, piece = match.lastgroup or "", match.group()
        if kind == "sign" and text.startswith("/*", match.start()):
            raise scanned.refuse(line, "a comment without an end")
        if kind not in ("space", "comment"):
            yield Token(kind, piece.strip(), line)
        line += piece.count("\n")


@contextmanager
def facts_are_ours(folder: Path) -> Iterator[None]:
    """Raise ProjectError where facts lack a key, or have a value that would reach a tool as something else."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ProjectError(
            f"{folder}: the facts in the manifest are not ours ({fault(error)}); {emit_again(folder)}"
        ) from error


def require_no(scanned: Scanned, text: str, pattern: re.Pattern[str], what: str) -> None:
    """Raise ProjectError for the first place where a pattern matches."""
    match = pattern.search(text)
    if match is not None:
        raise scanned.refuse(text.count("\n", 0, match.start()) + 1, f"{what} '{match.group().strip()[:40]}'".strip())


def c_tokens(
    scanned: Scanned,
    directives: Iterable[re.Pattern[str]],
    texts: re.Pattern[str],
    known: Callable[[str], str] = lambda text: text,
) -> list[Token]:
    """Return the tokens of C or C++ without directives, which must be among ``directives``, as texts among ``texts``.

    ``known`` takes out of a source what needs no scan.
    Raises: ProjectError for a line that is continued, other spellings of characters, other directives and texts.
    """
    text, allowed = known(scanned.read()), tuple(directives)
    require_no(scanned, text, re.compile(r"\\"), "a backslash")
    require_no(scanned, text, DIGRAPHS, "another spelling of a character,")
    own = []
    for token in tokens(scanned, text):
        if token.kind == "directive":
            if not any(pattern.fullmatch(_plain_directive(token.text)) for pattern in allowed):
                raise scanned.refuse(token.line, f"the directive '{token.text[:60]}'")
        elif token.kind == "text":
            if not texts.fullmatch(token.text[1:-1]):
                raise scanned.refuse(token.line, f"the text {token.text[:60]}")
            own.append(token)
        elif token.text in ("#", '"', "'", "$", "@", "`"):
            raise scanned.refuse(token.line, f"the character {token.text}")
        else:
            own.append(token)
    return own


def _plain_directive(text: str) -> str:
    """Return a directive without a comment behind it, with single spaces."""
    return " ".join(re.sub(r"//.*|/\*.*?\*/", " ", text).split())
