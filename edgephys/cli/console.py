"""Output of the program: results on stdout, progress and failures on stderr, each failure one line and an exit code.

With --json, one JSON document on stdout and everything else on stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgephys.core.remaining import Remaining

if TYPE_CHECKING:
    from edgephys.report.table import Table

_printed: list[str] = []
"""The JSON document that was printed, if any: a failure after it prints none."""

LONGEST_LINE = 2000
"""Characters of a failure: what somebody typed, or what a file holds, may be longer."""
SLOW_S = 30
"""Seconds after which the next epoch of a stage is shown in any case."""
err = Console(stderr=True, highlight=False)
_progress = Console(stderr=True, highlight=False)
"""Where progress is shown; it is silent with --quiet."""


def begin() -> None:
    """Forget the document that an earlier command of this process printed, and its --quiet."""
    _printed.clear()
    _progress.quiet = False


def be_quiet() -> None:
    """Show no progress from here on; results, notes and failures are still shown."""
    _progress.quiet = True


def fail(message: str, status: int) -> NoReturn:
    """Print a failure on one line and end the program."""
    line = _shown(" ".join(message.split()))
    if "--json" in sys.argv and not _printed:
        print(json.dumps({"error": line, "exit": status}))
    err.print(f"edgephys: {line}", style="red", soft_wrap=True, markup=False)
    sys.exit(status)


def _shown(line: str) -> str:
    """Return a line that a terminal shows as it is: of limited length, without control characters."""
    signs = (sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)
    shown = "".join(signs)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE // 2]} ... {shown[-LONGEST_LINE // 2 :]}"


def give(as_json: bool, record: Mapping[str, Any], *shown: Callable[[], str | Table]) -> None:
    """Print a command's result: the record as JSON, or the texts and tables that ``shown`` return."""
    if as_json:
        _printed.append(json.dumps(record))
        print(_printed[-1])
        return
    from edgephys.report import render

    wide = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for result in (make() for make in shown):
        wide.print(result if isinstance(result, str) else render.shown(result), soft_wrap=isinstance(result, str))


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Show a progress bar with the time left on stderr; without a terminal, a line every tenth."""
    if not _progress.is_terminal or _progress.quiet:
        remaining = Remaining()
        shown = tenths(total)

        def line(done: int, total: int = total, note: str = "") -> None:
            if done in shown:
                left = remaining.left(done, total)
                _progress.print(f"{label}: {done}/{total}{left} {note}".rstrip(), markup=False)

        yield line
        return
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=_progress) as progress:
        task = progress.add_task(label, total=total, note="")
        yield lambda done, total=total, note="": progress.update(task, completed=done, note=note)


def tenths(total: int) -> set[int]:
    """Return the numbers of parts at which progress without a bar is shown."""
    return {max(1, round(total * i / 10)) for i in range(1, 11)}


def say(text: str) -> None:
    """Print a progress message."""
    _progress.print(f"· {text}", style="dim", markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Print what the reader should know of a result, also with --quiet."""
    err.print(f"· note: {text}", style="dim", markup=False, soft_wrap=True)


def stage_progress(label: str) -> Callable[[int, int, Mapping[str, float]], None]:
    """Return what shows a training stage's epochs with the time left: every tenth of them, and each slow one."""
    remaining, last = Remaining(), [time.monotonic()]

    def tick(done: int, total: int, logs: Mapping[str, float]) -> None:
        if done not in tenths(total) and time.monotonic() - last[0] < SLOW_S:
            return
        last[0] = time.monotonic()
        left = remaining.left(done, total)
        say(f"{label}: epoch {done}/{total}{left} " + " ".join(f"{name} {value:.4f}" for name, value in logs.items()))

    return tick
