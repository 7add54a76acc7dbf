"""The command line: commands in the street's order, files in between, one exit code per outcome.

Exit codes: 0 done, 1 a failure explained on one line, 2 a usage error. With --json, one JSON document
on stdout and everything else on stderr. Heavy libraries are loaded by the command that needs them.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from edgephys import __version__
from edgephys.cli import bench, compression, firmware, models, tables
from edgephys.cli.console import begin, fail
from edgephys.core.errors import EdgephysError, UsageError

EXAMPLES = """From a trained physics model to silicon, with the same integers on every target.

A walk down the street, on the jets that the repository ships:

\b
  edgephys train models/jet_deepsets.py --set bits=6 --data models/samples/jets.h5 --out runs/tagger
  edgephys explain runs/tagger
  edgephys emit runs/tagger --to rtl --out hls_projects/tagger_rtl
  edgephys verify hls_projects/tagger_rtl
  edgephys report hls_projects/tagger_rtl
"""

WHOLE = "no file is left half-written"
"""What holds however a command ends; a table that grows by rows keeps those that were done."""
INTERRUPTED = f"interrupted; {WHOLE}"
TYPER_INTERRUPTED = 130


def _spelled(command: Any) -> str:
    """Return a command as it is typed; a word of Python has a stroke behind it there."""
    return str(command.__name__).removesuffix("_")


class _Street(TyperGroup):
    """List the commands in the order of the work, which begins with data."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return ["data", *map(_spelled, STREET)]


app = typer.Typer(
    cls=_Street,
    help=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Make training data.", no_args_is_help=True)
data_app.command("jets")(models.data_jets)
data_app.command("waves")(models.data_waves)
app.add_typer(data_app, name="data")

STREET = (
    models.train,
    models.score,
    models.cards,
    models.import_,
    compression.compress,
    compression.gains,
    compression.pareto,
    firmware.explain,
    firmware.emit,
    firmware.sweep,
    firmware.verify,
    firmware.report,
    bench.bench,
    tables.street,
    tables.scaling,
    tables.agree,
    tables.waves,
    tables.pace,
    tables.dispersion,
    tables.doctor,
)
"""The commands after ``data``, in the order of the work."""
for _command in STREET:
    app.command(_spelled(_command))(_command)


def main() -> None:
    """Run the command line and exit with 0, 1 or 2."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    begin()
    if sys.argv[1:] in ([], ["data"]):
        sys.argv.append("--help")
    try:
        status = app(standalone_mode=False)
    except TyperException as error:  # what Typer makes of the words on the line
        fail(f"{error.format_message().rstrip('.')}; see `edgephys {_named()}--help`", 2)
    except EdgephysError as error:
        fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        fail(INTERRUPTED, 1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fail(f"{error.strerror or error}{where}; {WHOLE}; check the folder and the disk", 1)
    except Exception as error:
        if os.environ.get("EDGEPHYS_TRACEBACK"):
            raise
        told = f"{type(error).__name__}: {error}"
        fail(f"unforeseen: {told}; EDGEPHYS_TRACEBACK=1 shows where; please report it", 1)
    if status == TYPER_INTERRUPTED:
        fail(INTERRUPTED, 1)
    sys.exit(status or 0)


def _named() -> str:
    """Return the command on the line, for a hint."""
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"{word} " if word in ("data", *map(_spelled, STREET)) else ""


def train_script(script: str) -> None:
    """Train a script's recipe with the options on its own command line."""
    sys.argv[1:] = ["train", script, *sys.argv[1:]]
    main()


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgephys {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options of the program itself."""
