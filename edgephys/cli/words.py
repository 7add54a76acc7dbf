"""Arguments and options that several commands share, and the command line as it was typed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from edgephys.cli.console import be_quiet

MOST = 10**9
"""The largest number of things that an option may ask for; what they belong to states narrower limits."""
MOST_SEED = 2**31 - 1
"""Seeds fit in 32 bits, and so do those that are counted up from them."""
MOST_SECONDS = 1e7
MOST_WORKERS = 1024
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress; results and failures are still shown.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an output folder even if edgephys did not write it.")]
ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a trained model.")]
ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of an emitted project.")]
TableOut = Annotated[
    Path | None,
    typer.Option(help="Write OUT.json, OUT.md, OUT.csv, OUT.tex and its pictures; without it the table is only shown."),
]
"""One rule for every command that makes a table: it writes no file that was not named."""
DataSeed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same file on any number of cores.")
]
Workers = Annotated[int | None, typer.Option(min=1, max=MOST_WORKERS, help="Processes; all cores by default.")]


def with_quiet(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the option --quiet, which stands before --json."""

    @wraps(command)
    def quiet_command(*, quiet: bool, **words: Any) -> None:
        if quiet:
            be_quiet()
        command(**words)

    signature = inspect.signature(command, eval_str=True)
    entries = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in signature.parameters.values()]
    place = next((at for at, entry in enumerate(entries) if entry.name == "as_json"), len(entries))
    entries.insert(place, inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet))
    quiet_command.__signature__ = signature.replace(parameters=entries)  # type: ignore[attr-defined]
    return quiet_command


def line() -> str:
    """Return the command as it was typed, for tables."""
    return "edgephys " + " ".join(sys.argv[1:])
