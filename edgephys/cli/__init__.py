"""The command line: commands in the order of the work, files in between, one exit code per outcome.

Exit codes: 0 done, 1 a failure explained on one line, 2 a usage error. With --json, one JSON document
on stdout and everything else on stderr. Heavy libraries are loaded by the command that needs them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from edgephys import __version__
from edgephys.applications.registry import APPLICATIONS, DATA, load_object
from edgephys.cli import bench, boards, compression, edges, firmware, models, tables
from edgephys.cli.console import begin, fail
from edgephys.cli.words import with_quiet
from edgephys.core.errors import EdgephysError, UsageError

EXAMPLES = """From a trained physics model to silicon, with the same integers on every target.

All steps on the jets that the repository contains:

\b
  edgephys train models/jet_deepsets.py --set bits=6 --data models/samples/jets.h5 --out runs/tagger
  edgephys explain runs/tagger
  edgephys emit runs/tagger --to rtl --out hls_projects/tagger_rtl
  edgephys verify hls_projects/tagger_rtl
  edgephys report hls_projects/tagger_rtl

A model of your own: `edgephys init my_model` writes a script, data and a pipeline, and prints the same steps for them.
"""

WHOLE = "no file is left half-written"
"""True however a command ends; a table that is written row by row keeps its finished rows."""
INTERRUPTED = f"interrupted; {WHOLE}"
TYPER_INTERRUPTED = 130


GROUPS: dict[str, dict[str, Callable[..., None]]] = {
    "Models": {
        "init": models.init,
        "train": models.train,
        "settings": models.settings,
        "score": models.score,
        "import": models.import_,
        "quantise": models.quantise,
    },
    "Compression": {"compress": compression.compress, "gains": compression.gains, "pareto": compression.pareto},
    "Projects for a target": {
        "explain": firmware.explain,
        "draw": edges.draw,
        "emit": firmware.emit,
        "sweep": firmware.sweep,
        "verify": firmware.verify,
        "report": firmware.report,
        "bench": bench.bench,
        "boards": boards.boards,
        "board": boards.board,
        "run-board": boards.run_board,
    },
    "Tables of many models or projects": {
        "cards": models.cards,
        "compare": tables.compare,
        "netlists": tables.netlists,
        "intervals": tables.intervals,
        "bitstreams": boards.bitstreams,
        "scaling": tables.scaling,
        "agree": tables.agree,
        "coverage": tables.coverage,
    },
}
"""The commands in groups, in the order of the work; ``data`` stands behind the first."""
LAST = {"The outside tools": {"doctor": tables.doctor}}
"""What stands behind the commands of applications."""
CLASSES: dict[str, type[TyperCommand]] = {"train": models.TrainCommand}
"""Commands whose help is more than their function states."""
RENAMED = {"street": "compare"}
"""Former names of commands, which work for one release without being listed."""


def grouped_commands() -> dict[str, dict[str, Callable[..., None]]]:
    """Return the commands beside ``data``, in groups, with those of the applications that are registered now."""
    groups: dict[str, dict[str, Callable[..., None]]] = dict(GROUPS)
    for application in APPLICATIONS.values():
        places = {name: place for name, place in application.commands.items() if name != DATA}
        if places:
            own = {name: load_object(place) for name, place in places.items()}
            groups[f"Studies of {application.name}"] = own
    return groups | LAST


def all_commands() -> dict[str, Callable[..., None]]:
    """Return the commands beside ``data``, with those of the applications that are registered now."""
    return {name: command for group in grouped_commands().values() for name, command in group.items()}


class InOrderOfWork(TyperGroup):
    """List the commands in the order of the work, in groups; ``data`` is the second one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        first, *others = all_commands()
        return [first, "data", *others]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group with its title."""
        groups = {title: list(names) for title, names in grouped_commands().items()}
        first = next(iter(groups))
        groups[first].insert(1, "data")
        longest = max(len(name) for names in groups.values() for name in names)
        for title, names in groups.items():
            with formatter.section(title):
                rows = [(name, self._short(ctx, name, formatter.width - 6 - longest)) for name in names]
                formatter.write_dl([(f"{name:<{longest}}", text) for name, text in rows])

    def _short(self, ctx: Any, name: str, limit: int) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit)


def program() -> typer.Typer:
    """Return the program with all commands; ``emit`` has the options of the targets that are registered now."""
    app = typer.Typer(
        cls=InOrderOfWork,
        help=EXAMPLES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        callback=_options,
    )
    data = typer.Typer(help="Make training data.", no_args_is_help=True)
    for application in APPLICATIONS.values():
        if DATA in application.commands:
            data.command(application.name)(with_quiet(load_object(application.commands[DATA])))
    app.add_typer(data, name="data")
    commands = {**all_commands(), "emit": firmware.emit_command()}
    for name, command in commands.items():
        app.command(name, cls=CLASSES.get(name))(with_quiet(command))
    for former, name in RENAMED.items():
        app.command(former, hidden=True)(with_quiet(commands[name]))
    return app


def main() -> None:
    """Run the command line and exit with 0, 1 or 2."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    begin()
    if sys.argv[1:] in ([], ["data"]):
        sys.argv.append("--help")
    try:
        status = program()(standalone_mode=False)
    except TyperException as error:  # what Typer makes of the words on the line
        fail(f"{error.format_message().rstrip('.')}; see `edgephys {_named()}--help`", 2)
    except EdgephysError as error:
        fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except KeyboardInterrupt:
        fail(INTERRUPTED, 1)
    except OSError as error:
        name = error.filename2 or error.filename  # the second one is where something was copied or moved to
        where = f" ({name})" if name else ""
        fail(f"{error.strerror or error}{where}; {WHOLE}; check the folder and the disk", 1)
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        fail(f"out of memory{reason}; {WHOLE}; take fewer vectors or a smaller model", 1)
    except Exception as error:
        if os.environ.get("EDGEPHYS_TRACEBACK"):
            raise
        reason = f"{type(error).__name__}: {error}"
        fail(f"unforeseen: {reason}; EDGEPHYS_TRACEBACK=1 shows where; please report it", 1)
    if status == TYPER_INTERRUPTED:
        fail(INTERRUPTED, 1)
    sys.exit(status or 0)


def _named() -> str:
    """Return the command on the line, for a hint."""
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"{word} " if word in ("data", *all_commands(), *RENAMED) else ""


def train_script(script: str) -> None:
    """Train a script's recipe with the options on its own command line."""
    sys.argv[1:] = ["train", script, *sys.argv[1:]]
    main()


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"edgephys {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options of the program itself."""
