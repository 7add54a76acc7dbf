"""Declare the table of a training script's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgephys.report.table import Column, Table


def table(script: Path, settings: Sequence[Mapping[str, str]]) -> Table:
    """Declare the settings of a script, a row each."""
    return Table(
        title=f"{script}: settings, changed by --set KEY=VALUE of `edgephys train`",
        columns=(
            Column("key", "KEY", left=True),
            Column("kind", "VALUE", left=True),
            Column("default", "default", left=True),
            Column("of", "of", left=True),
        ),
        rows=settings,
    )
