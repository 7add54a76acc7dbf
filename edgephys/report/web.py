"""Write a declared page as one HTML file that needs nothing else: style, pictures, CSV and LaTeX are within it."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.errors import UsageError
from edgephys.core.files import check_writable, write_file, write_json
from edgephys.report.latex import tabular
from edgephys.report.page import Page, Statement
from edgephys.report.render import comma_separated, picture_of
from edgephys.report.table import PAGE, Column, Drawing, Row, Table

if TYPE_CHECKING:
    from jinja2 import Template

SUFFIX = ".html"
OURS = b'<meta name="generator" content="edgephys">'
"""Mark of a page of ours, near its begin."""
MOST_HEAD = 2000
MARK = "page.json"
"""File that makes a folder one of tables of ours."""
TEMPLATE = "page.html"
FILES = {"csv": ("CSV", "text/csv", comma_separated), "tex": ("LaTeX", "application/x-tex", tabular)}
"""Files of each table: suffix, name, type, and what writes the text."""
MEDIA = {".png": "image/png", ".svg": "image/svg+xml"}
MOST_BESIDE = 2
"""Columns that stand beside each other on a narrow screen; of a table with more, minor columns do not move."""
WORDS = {True: "good", False: "bad", None: "open"}
"""Classes of a statement in the style sheet."""


def check_page(out: Path) -> None:
    """Raise UsageError where a page cannot be written to a file, before any work is done for it."""
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"--html must be a file name that ends in {SUFFIX}, not '{out}'; write report{SUFFIX}")
    if out.is_dir():
        raise UsageError(f"--html: {out} is a folder; name a file in it")
    check_writable(out)
    if out.exists() and OURS not in out.read_bytes()[:MOST_HEAD]:
        raise UsageError(f"--html: {out} exists and is no page of ours: it is not replaced; choose another name")


def check_tables(folder: Path) -> None:
    """Raise UsageError where a folder cannot be written, or holds files and no tables of ours."""
    check_writable(folder)
    if folder.is_file():
        raise UsageError(f"--tables: {folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(
            f"--tables: {folder} holds files and no {MARK} of ours: nothing is replaced; name another folder"
        )


def write_to(page: Page, out: Path | None, tables: Path | None = None) -> None:
    """Write a page to a file, and its tables to a folder, where they are named; each file whole or not at all."""
    if out is not None:
        write_file(out, html(page).encode())
    if tables is not None:
        write_tables(page, tables)


def write_tables(page: Page, folder: Path) -> None:
    """Write every table of a page to a folder, as CSV and as LaTeX, and every picture."""
    write_json(folder / MARK, {"title": page.title, "made_by": page.made_by})
    for table, name in _named(page):
        for place, picture in enumerate(table.pictures, 1):
            number = f"_{place}" if len(table.pictures) > 1 else ""
            write_file(folder / f"{name}{number}{picture.suffix}", _drawn(picture, table))
        for suffix, (_, _, text) in FILES.items():
            if table.columns:
                write_file(folder / f"{name}.{suffix}", text(table).encode())


def html(page: Page) -> str:
    """Return a page as the text of an HTML file; what it shows is escaped."""
    sections = [_section(table, name) for table, name in _named(page)]
    return _template().render(page=page, sections=sections, word=_word)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("edgephys.report", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template(TEMPLATE)


def _word(statement: Statement) -> str:
    return WORDS[statement.holds]


def _named(page: Page) -> Iterator[tuple[Table, str]]:
    """Yield each table with a name for files and links."""
    for table in page.sections:
        yield table, re.sub(r"[^a-z0-9]+", "_", table.title.lower()).strip("_")


def _section(table: Table, name: str) -> Mapping[str, Any]:
    columns = table.shown_in(PAGE)
    return {
        "name": name,
        "table": table,
        "columns": columns,
        "stacks": 0 < sum(not column.minor for column in columns) <= MOST_BESIDE < len(columns),
        "groups": [(group, [_cells(table, columns, row) for row in rows]) for group, rows in table.groups()],
        "pictures": [(picture.caption, _embedded(picture, table)) for picture in table.pictures],
        "files": [
            (label, f"{name}.{suffix}", _data(media, text(table).encode()))
            for suffix, (label, media, text) in FILES.items()
            if table.columns and table.rows
        ],
    }


def _cells(table: Table, columns: Sequence[Column], row: Row) -> Mapping[str, Any]:
    """Return what the template shows of a row."""
    return {
        "chosen": table.chosen(row),
        "style": table.style(row) or "",
        "cells": [
            {
                "text": column.show(row),
                "column": column,
                "hover": "" if column.hover is None else column.hover(row),
                "under": "" if column.under is None else column.under(row),
                "percent": _percent(column, row),
            }
            for column in columns
        ],
    }


def _percent(column: Column, row: Row) -> float | None:
    share = None if column.bar is None else column.bar(row)
    return None if share is None else round(100 * min(max(share, 0.0), 1.0), 2)


def _embedded(picture: Drawing, table: Table) -> str:
    """Return a picture as an address that holds it: an image, in which no script runs."""
    return _data(MEDIA[picture.suffix], _drawn(picture, table))


def _drawn(picture: Drawing, table: Table) -> bytes:
    """Return the bytes of a picture."""
    return b"" if picture.draw is None else picture_of(table, picture.draw, table.title)


def _data(media: str, content: bytes) -> str:
    return f"data:{media};base64,{b64encode(content).decode()}"
