"""What several commands take on their line, and the line itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, all else on stderr.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output folder even if it is not ours.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.")]
ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of an emitted project.")]
TableOut = Annotated[
    Path | None,
    typer.Option(help="Write OUT.json, OUT.md, OUT.csv and its pictures; without it the table is only shown."),
]
"""One rule for every command that makes a table: it writes no file that was not named."""


def line() -> str:
    """Return the command on the line, as tables state it."""
    return "edgephys " + " ".join(sys.argv[1:])
