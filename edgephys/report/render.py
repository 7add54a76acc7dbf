"""Write and show a declared table: Markdown, JSON, CSV and pictures as files, and a view for a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table as Grid
from rich.text import Text

from edgephys.core.errors import ProjectError, UsageError
from edgephys.core.files import check_writable, write_file
from edgephys.core.reading import drawable, fitting, read_json
from edgephys.report.latex import tabular
from edgephys.report.table import CSV, PAGE, TERMINAL, Column, Row, Table, number, value_at

MANY = 9
"""More columns than these stand close together."""
Declare = Callable[[Mapping[str, Any]], Table]


def write(table: Table, out: Path) -> None:
    """Write OUT.json, OUT.md, OUT.csv, OUT.tex and the pictures, each whole or not at all."""
    record = table.record if table.record is not None else {"title": table.title, "rows": list(table.rows)}
    files = {".json": json.dumps(record, indent=1) + "\n", ".md": page(table, out.name)}
    files |= {".csv": comma_separated(table), ".tex": tabular(table)}
    for suffix, text in files.items():
        write_file(out.with_name(out.name + suffix), text.encode())
    for picture in table.pictures:
        if picture.draw is not None:
            write_file(out.with_name(out.name + picture.suffix), picture_of(table, picture.draw, out))


def picture_of(table: Table, draw: Callable[[Table], bytes], where: Path | str) -> bytes:
    """Return the bytes of a picture; raise ProjectError naming ``where`` for numbers that cannot be drawn."""
    with fitting(where, "a table whose numbers can be drawn", ProjectError), drawable():
        return draw(table)


def writer(out: Path | None, declare: Declare) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that writes a record's table to OUT; without OUT it writes nothing.

    Raises: UsageError where nothing can be written there, or another file than ours is: call it before the work.
    """
    if out is not None:
        check_writable(out)
        _require_ours(out)
    return lambda record: None if out is None else write(declare(record), out)


def _require_ours(out: Path) -> None:
    """Raise UsageError where a file that a table would replace is there without a table of ours beside it."""
    names = [out.with_name(out.name + suffix) for suffix in (".json", ".md", ".csv", ".tex", ".png")]
    present = [path.name for path in names if path.exists()]
    if present and not _is_table(names[0]):
        raise UsageError(
            f"{out}: {present[0]} exists, and {names[0].name} is no table of ours: nothing is replaced; choose another "
            "--out, or move the file"
        )


_MAKER = ("command", "machine")


def _is_table(path: Path) -> bool:
    """Return whether a file is a table of ours: it has rows, or it states the command and the machine that made it."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return False
    if not isinstance(record, dict):
        return False
    return isinstance(record.get("rows"), list) or all(isinstance(record.get(key), str) for key in _MAKER)


# Markdown -----------------------------------------------------------------------------------------


def page(table: Table, name: str) -> str:
    """Return the table as a page in Markdown; pictures are named NAME<suffix>."""
    lines = [f"# {table.title}", ""]
    if table.record is not None and "command" in table.record:
        lines += [f"Made by `{table.record['command']}` on {machine_of(table.record)}.", ""]
    for picture in table.pictures:
        lines += [f"![{picture.caption}]({name}{picture.suffix})", ""]
    lines += _body(table)
    for section in table.sections:
        lines += [f"## {section.title}", "", *_body(section)]
    return "\n".join(lines).rstrip() + "\n"


def machine_of(record: Mapping[str, Any]) -> str:
    """Return the machine of a record, with the versions of the programs if it states them."""
    versions = record.get("versions")
    programs = f"; edgephys {versions['edgephys']}, Keras {versions['keras']}" if versions else ""
    return f"{record['machine']}{programs}"


def _body(table: Table) -> list[str]:
    lines = [line for paragraph in table.lead for line in (paragraph, "")]
    if table.columns:
        for name, rows in table.groups():
            lines += [f"## {name}", ""] if name else []
            lines += [*(_grid(table, rows) if rows or table.foot else ["None."]), ""]
    notes = [f"- {note}" for note in table.notes]
    return [*lines, *notes, *([""] if notes else [])]


def _grid(table: Table, rows: Sequence[Row]) -> list[str]:
    columns = table.shown_in(PAGE)
    lines = [_line([column.label for column in columns]), _line([_rule(column) for column in columns])]
    for row in rows:
        mark = "**" if table.chosen(row) else ""
        lines.append(_line([f"{mark}{column.show(row)}{mark}" for column in columns]))
        below = table.beneath(row)
        lines += [] if below is None else [_line([_other(column, below) for column in columns])]
    return lines + [_line([_other(column, row) for column in columns]) for row in table.foot]


def _other(column: Column, row: Row) -> str:
    """Return a cell of a row from elsewhere, which has some of the keys alone."""
    value = row.get(column.key)
    return number(value) if value is None or isinstance(value, str) else column.text(value)


def _rule(column: Column) -> str:
    return "---" if column.left else "---:"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


# CSV ----------------------------------------------------------------------------------------------


def comma_separated(table: Table) -> str:
    """Return the rows with their unrounded values: a column a key, and one for its error."""
    columns = table.shown_in(CSV)
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow([key for column in columns for key in (column.key, column.error) if key])
    for row in table.rows:
        lines.writerow([_plain(value) for column in columns for value in _values(column, row)])
    return buffer.getvalue()


def _values(column: Column, row: Row) -> list[Any]:
    return [column.of(row), *([value_at(row, column.error)] if column.error else [])]


def _plain(value: Any) -> Any:
    """Return a value for one field: what a mapping or a list holds stands apart by spaces, None is empty."""
    if isinstance(value, Mapping):
        return " ".join(map(str, value.values()))
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


# Terminal -----------------------------------------------------------------------------------------


def shown(table: Table) -> Group:
    """Return the table for a terminal: a caption of any length, the rows, the remarks; "none" where both lack."""
    parts: list[Any] = []
    for name, rows in table.groups():
        parts.append(Text(": ".join(filter(None, (name, table.caption or table.title))), style="italic"))
        if rows:
            parts.append(_sideways(table, rows) if table.sideways else _upright(table, rows))
        elif not table.remarks:
            parts.append(Text("none"))
    return Group(*parts, *table.remarks)


def _upright(table: Table, rows: Sequence[Row]) -> Grid:
    columns = table.shown_in(TERMINAL)
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, int(len(columns) <= MANY), 0, 0), pad_edge=False)
    overflow: Any = "ellipsis" if table.one_line else "fold"
    for column in columns:
        side: Any = "left" if column.left else "right"
        grid.add_column(column.label, justify=side, overflow=overflow, no_wrap=table.one_line)
    for row in rows:
        style = "bold" if table.chosen(row) else table.style(row)
        grid.add_row(*(Text(column.show(row)) for column in columns), style=style)
    return grid


def _sideways(table: Table, rows: Sequence[Row]) -> Grid:
    """Return a line a column and a column a row: many figures of a few models."""
    first, *columns = table.shown_in(TERMINAL)
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    grid.add_column("")
    for row in rows:
        grid.add_column(first.show(row), justify="right", overflow="fold")
    for column in columns:
        grid.add_row(column.label, *(Text(column.show(row)) for row in rows))
    return grid
