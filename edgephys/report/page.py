"""Declare a web page: the verdict on top, then tables with their pictures; ``web`` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgephys.report.table import Table


@dataclass(frozen=True)
class Statement:
    """State one part of a verdict: what it is about, the finding in a few words, and where that comes from.

    ``holds`` is True where all is well, False where something is wrong, None where it is neither or not known.
    """

    about: str
    finding: str
    detail: str = ""
    holds: bool | None = None


@dataclass(frozen=True)
class Verdict:
    """Hold the statements about one project; ``name`` stands above them where a page is about several."""

    statements: Sequence[Statement]
    name: str = ""


@dataclass(frozen=True)
class Page:
    """Declare a page: title, a line below it, the verdict on each project, and the tables in their order."""

    title: str
    subtitle: str
    verdicts: Sequence[Verdict]
    sections: Sequence[Table]
    made_by: str
