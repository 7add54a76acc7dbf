"""Declare a table once: its columns, rows, notes and pictures; ``render`` writes and shows it in every form.

A table from outside the package needs no more than this module and ``render``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

NONE = "–"
"""Cell of a value that is not known."""
TERMINAL, PAGE, CSV = "terminal", "page", "csv"
EVERYWHERE = (TERMINAL, PAGE, CSV)


def number(value: Any) -> str:
    """Return a value as text: thousands apart, one digit after the point, items of a list apart."""
    if value is None:
        return NONE
    if isinstance(value, float):
        return f"{value:,.1f}".removesuffix(".0")
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def percent(share: float) -> str:
    """Return a share in percent with two digits after the point."""
    return f"{100 * share:.2f}"


def written(form: str, scale: float = 1.0) -> Callable[[float], str]:
    """Return a format such as ``+.2f``, after a multiplication by ``scale``."""
    return lambda value: f"{scale * value:{form}}"


def percents(shares: Mapping[str, float]) -> str:
    """Return several shares in percent."""
    return " ".join(f"{100 * share:.1f}" for share in shares.values())


def value_at(row: Row, key: str) -> Any:
    """Return the value of a key; a point in the key descends into the row. None where there is no value."""
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@dataclass(frozen=True)
class Column:
    """Declare a column: the value of a row, its heading, unit and format.

    ``value`` computes what a row does not hold under ``key``; ``cell`` writes a cell that needs more than one value;
    ``error`` is the key of the error behind ±. ``where`` names the forms that show the column. On a web page ``hover``
    appears over a cell and ``under`` in small letters below its value, ``bar`` returns the share of the cell that is
    filled (0 to 1), and a ``minor`` column moves below the others where the screen is narrow.
    """

    key: str
    heading: str
    unit: str = ""
    text: Callable[[Any], str] = number
    value: Callable[[Row], Any] | None = None
    cell: Callable[[Row], str] | None = None
    error: str = ""
    left: bool = False
    where: tuple[str, ...] = EVERYWHERE
    hover: Callable[[Row], str] | None = None
    under: Callable[[Row], str] | None = None
    bar: Callable[[Row], float | None] | None = None
    minor: bool = False

    @property
    def label(self) -> str:
        """Heading with its unit."""
        return f"{self.heading} {self.unit}".strip()

    def of(self, row: Row) -> Any:
        """Return the value of a row; None where it is not known."""
        return self.value(row) if self.value is not None else value_at(row, self.key)

    def show(self, row: Row) -> str:
        """Return the cell of a row."""
        if self.cell is not None:
            return self.cell(row)
        value, error = self.of(row), value_at(row, self.error) if self.error else None
        if value is None:
            return NONE
        return self.text(value) if error is None else f"{self.text(value)} ± {self.text(error)}"


@dataclass(frozen=True)
class Drawing:
    """Declare a picture beside a table, OUT<suffix>; without ``draw`` the page shows a file that stands there.

    ``draw`` returns the bytes of a file of that suffix, .png or .svg.
    """

    caption: str
    draw: Callable[[Table], bytes] | None
    suffix: str = ".png"


@dataclass(frozen=True)
class Table:
    """Declare a table: columns and rows, the text around them, and the record that is its JSON.

    The page has the title, pictures, ``lead``, rows, ``notes`` and ``sections``; the terminal has ``caption``, rows and
    ``remarks``. ``group`` is a key whose values have a table each. ``style`` colours a row of the terminal,
    ``chosen`` rows are bold. ``beneath`` returns a row of other figures that stands below a row on the page; ``foot``
    are such rows below all. ``sideways`` shows a row as a column of the terminal; ``one_line`` cuts cells of the
    terminal rather than fold them.
    """

    title: str
    columns: tuple[Column, ...] = ()
    rows: Sequence[Row] = ()
    record: Mapping[str, Any] | None = None
    lead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    caption: str = ""
    remarks: tuple[str, ...] = ()
    sections: tuple[Table, ...] = ()
    pictures: tuple[Drawing, ...] = ()
    group: str = ""
    style: Callable[[Row], str | None] = lambda row: None
    chosen: Callable[[Row], bool] = lambda row: False
    beneath: Callable[[Row], Row | None] = lambda row: None
    foot: Sequence[Row] = ()
    sideways: bool = False
    one_line: bool = False

    def shown_in(self, form: str) -> list[Column]:
        """Return the columns of one form."""
        return [column for column in self.columns if form in column.where]

    def column(self, key: str) -> Column:
        """Return the column of a key."""
        return next(column for column in self.columns if column.key == key)

    def groups(self) -> list[tuple[str, list[Row]]]:
        """Return the rows by the value of ``group``, in the order of the rows; all rows without it."""
        groups: dict[str, list[Row]] = {} if self.group else {"": []}
        for row in self.rows:
            groups.setdefault(str(row[self.group]) if self.group else "", []).append(row)
        return list(groups.items())
