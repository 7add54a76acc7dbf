"""Commands that make tables: one rule for what they write, in the help and in the Makefile."""

import inspect
import json
import re
import shutil
from pathlib import Path

import pytest

from edgephys.applications.waves import commands as wave_commands
from edgephys.cli import bench, boards, compression, models, tables
from edgephys.report import render, table

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    bench.bench, models.cards, compression.gains, tables.compare, tables.scaling, tables.agree, tables.coverage,
    tables.netlists, tables.intervals, boards.bitstreams, wave_commands.waves, wave_commands.pace,
    wave_commands.dispersion,
)  # fmt: skip
JETS, WAVES = ROOT / "models" / "zoo" / "jet_deepsets_n8_8bit", ROOT / "models" / "waves" / "full_8bit"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_is_written_only_where_out_says_and_the_help_says_so(command, run):
    assert inspect.signature(command).parameters["out"].default is None
    text = " ".join(run(command.__name__, "--help").out.replace("│", " ").split())
    assert "OUT.csv, OUT.tex and its pictures; without it the table is only shown." in text


@pytest.mark.parametrize("command", [*(command.__name__ for command in COMMANDS), "sweep"])
def test_the_makefile_names_the_place_of_every_table(command):
    recipes = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    lines = re.findall(rf"\$\(CLI\) {command} .*", recipes)
    option = "--results" if command == "sweep" else "--out"
    assert all(option in line for line in lines) and lines


def test_a_table_without_out_replaces_no_kept_one(run, tmp_path, monkeypatch):
    results = Path(shutil.copytree(ROOT / "hls_projects" / "results", tmp_path / "hls_projects" / "results"))
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    done = run("cards", JETS)
    assert done.status == 0 and "jet_deepsets_n8_8bit" in done.out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kept", sorted((ROOT / "hls_projects" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_every_kept_table_is_known_as_ours_and_written_again(tmp_path, kept):
    shutil.copy(kept, tmp_path)
    render.writer(tmp_path / kept.stem, lambda record: table.Table("anew", record=record))({"rows": []})
    assert json.loads((tmp_path / kept.name).read_text()) == {"rows": []}


@pytest.mark.parametrize("suffix", [".json", ".md", ".csv", ".tex", ".png"])
def test_a_table_replaces_no_file_that_is_not_ours_and_its_own_again(run, tmp_path, suffix):
    (tmp_path / f"cards{suffix}").write_text("mine")
    ended = run("cards", JETS, "--out", tmp_path / "cards")
    assert ended.status == 2 and f"cards{suffix} exists, and cards.json is no table of ours" in ended.err
    assert (tmp_path / f"cards{suffix}").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    for _ in range(2):
        assert run("cards", JETS, "--out", tmp_path / "other").status == 0


def test_cards_of_wave_networks_and_of_both_applications_are_tabulated(run, tmp_path):
    done = run("cards", WAVES, JETS, "--out", tmp_path / "cards", "--json")
    assert done.status == 0, done.err
    jets, waves = done.json["rows"]
    assert jets["accuracy"] > 0.5 and jets["constituents"] == 8 and waves["relative_l2"] < 0.1 and waves["grid"] == 32
    text = (tmp_path / "cards.md").read_text()
    assert "# Models: accuracy or relative L2 error on held-out test jets or fields" in text
    assert f"| {waves['model']} | 1 | 2.39 ± 0.03 |" in text


def test_the_former_name_of_compare_works_and_is_not_listed(run, tmp_path):
    assert " street " not in run("--help").out and "compare" in run("--help").out
    told = run("street", tmp_path / "none").err
    assert told == run("compare", tmp_path / "none").err and "none" in told


def test_a_kept_page_is_what_its_table_gives_today():
    """Wording and code agree: each page is written anew from the kept record."""
    from edgephys.applications.waves.study import dispersion_table, firmware, pace_page, table_page
    from edgephys.report import (
        agreement,
        bench,
        cards,
        compare,
        compression,
        coverage,
        intervals,
        netlists,
        pareto,
        pipelining,
        scaling,
    )
    from edgephys.report.render import comma_separated, page

    declared = {
        "accuracy": cards, "agreement": agreement, "bench": bench, "compression": compression,
        "coverage": coverage, "front": pareto, "ii": intervals, "netlists": netlists,
        "pipelining": pipelining, "scaling": scaling, "street": compare, "uniform": scaling, "waves": table_page,
        "waves_dispersion": dispersion_table, "waves_firmware": compare, "waves_operator": table_page,
        "waves_rollout": firmware,
        "waves_speed": pace_page,
    }  # fmt: skip
    results = ROOT / "hls_projects" / "results"
    for name, module in declared.items():
        table = module.table(json.loads((results / f"{name}.json").read_text()))
        assert page(table, name) == (results / f"{name}.md").read_text(), name
        assert comma_separated(table) == (results / f"{name}.csv").read_text(), name
        for column in table.columns:  # what a page says, a file says
            if column.cell is not None and "csv" in column.where:
                assert any(column.of(row) is not None for row in table.rows), (name, column.key)
