"""A table from outside the package: declared once, without touching a file of it, and given in every form."""

import csv
import io
import json

import pytest
from rich.console import Console

from edgephys.report.plot import plot
from edgephys.report.render import page, shown, write, writer
from edgephys.report.table import PAGE, Column, Drawing, Table, percent, percents, written

ROWS = [
    {"model": "a|b", "bits": 8, "score": 0.5, "score_error": 0.01, "auc": {"g": 0.81, "q": 0.9}, "time_ns": 12.5},
    {"model": "small", "bits": 4, "score": 0.25, "score_error": None, "auc": {}, "time_ns": None},
]


DRAW = plot("bits", [["score"], ["time_ns", "bits"]], {"score": (0.3, "aim")})


def toy(record=None):
    return Table(
        title="Toy models",
        columns=(
            Column("model", "model", left=True),
            Column("bits", "bits"),
            Column("score", "score", "%", percent, error="score_error"),
            Column("auc", "AUC", "%", percents),
            Column("time_ns", "time", "ns", written(".2f")),
            Column("twice", "twice the bits", value=lambda row: 2 * row["bits"], where=(PAGE,)),
        ),
        rows=(record or {"rows": ROWS})["rows"],
        record=record,
        notes=("score: of nothing",),
        pictures=(Drawing("score against bits", DRAW),),
        chosen=lambda row: row["bits"] == 8,
        beneath=lambda row: {"model": "*published*", "score": 0.4} if row["bits"] == 8 else None,
    )


def test_every_file_comes_from_one_declaration(tmp_path):
    record = {"command": "toy", "machine": "mine", "rows": ROWS}
    write(toy(record), tmp_path / "deep" / "toy")
    read = {path.suffix: path for path in (tmp_path / "deep").iterdir()}
    assert set(read) == {".json", ".md", ".csv", ".tex", ".png"}
    assert json.loads(read[".json"].read_text()) == record
    assert read[".png"].read_bytes().startswith(b"\x89PNG")
    lines = read[".md"].read_text().splitlines()
    assert lines[:5] == ["# Toy models", "", "Made by `toy` on mine.", "", "![score against bits](toy.png)"]
    assert lines[6:11] == [
        "| model | bits | score % | AUC % | time ns | twice the bits |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| **a\\|b** | **8** | **50.00 ± 1.00** | **81.0 90.0** | **12.50** | **16** |",
        "| *published* | – | 40.00 | – | – | – |",
        "| small | 4 | 25.00 |  | – | 8 |",
    ]
    assert lines[-1] == "- score: of nothing"
    first, _ = csv.DictReader(io.StringIO(read[".csv"].read_text()))
    assert first == {
        "model": "a|b", "bits": "8", "score": "0.5", "score_error": "0.01", "auc": "0.81 0.9", "time_ns": "12.5",
    }  # fmt: skip


def test_without_a_record_the_json_has_the_title_and_the_rows(tmp_path):
    write(toy(), tmp_path / "toy")
    assert json.loads((tmp_path / "toy.json").read_text()) == {"title": "Toy models", "rows": ROWS}


def test_nothing_is_written_without_a_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer(None, toy)({"rows": ROWS})
    assert not list(tmp_path.iterdir())
    writer(tmp_path / "toy", toy)({"rows": ROWS})
    assert (tmp_path / "toy.csv").is_file()


@pytest.mark.parametrize("sideways", [False, True])
def test_the_terminal_shows_its_columns_and_remarks(sideways):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(shown(Table("Toy", toy().columns, ROWS, remarks=("that is all",), sideways=sideways)))
    text = console.export_text()
    assert "50.00 ± 1.00" in text and "twice" not in text and text.rstrip().endswith("that is all")
    assert ("time ns" in text.splitlines()[2]) is not sideways


def test_groups_have_a_table_each_and_an_empty_table_says_so():
    grouped = page(Table("Toy", toy().columns[:2], ROWS, group="model"), "toy")
    assert [line for line in grouped.splitlines() if line.startswith("#")] == ["# Toy", "## a|b", "## small"]
    nothing = Table("Toy", sections=(Table("Rows", toy().columns),))
    assert page(nothing, "toy") == "# Toy\n\n## Rows\n\nNone.\n"


@pytest.mark.parametrize(("remarks", "below"), [((), "none"), (("Not measured: no tool.",), "Not measured: no tool.")])
def test_a_table_without_rows_shows_no_empty_columns_in_a_terminal(remarks, below):
    text = io.StringIO()
    Console(file=text).print(shown(Table(title="figures", columns=(Column("a", "A"),), rows=[], remarks=remarks)))
    assert text.getvalue().split("\n") == ["figures", below, ""]
