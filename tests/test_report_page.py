"""The web page of a project: self-contained, the verdict first, provenance at every figure, what is missing said."""

import base64
import io
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_curve

from edgephys.core.figure import Figure, FigureStage, missing
from edgephys.project import emit, read, read_result, write_result
from edgephys.report import hardware_sections, project_page, side_by_side, web
from edgephys.report.figure_groups import figures_table, in_groups, screen_table
from edgephys.report.latex import escaped, tabular
from edgephys.report.page import Page, Statement, Verdict
from edgephys.report.render import comma_separated, shown
from edgephys.report.score_sections import SIGNAL, quality, roc_band
from edgephys.report.show import targets_table
from edgephys.report.table import Column, Drawing, Table
from edgephys.targets.capacity import capacity_of

WAVES = Path(__file__).parent.parent / "models" / "waves" / "full_8bit_input14"
MOST_ROWS = 40
"""Rows of a terminal's screen."""


class Elements(HTMLParser):
    """Every start tag with its attributes, and the texts of headings."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self._in = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data):
        if self._in in ("h1", "h2") and data.strip():
            self.headings.append(data)


@pytest.fixture(scope="module")
def reported(c_project, run, tmp_path_factory):
    """A verified project in C with its page, and the tables of the page as files."""
    top = tmp_path_factory.mktemp("reported")
    folder = Path(shutil.copytree(c_project, top / "small"))
    assert run("verify", folder).status == 0
    ended = run("report", folder, "--html", top / "deep" / "report.html", "--tables", top / "tables")
    assert ended.status == 0, ended.err
    return top


@pytest.fixture(scope="module")
def text(reported):
    return (reported / "deep" / "report.html").read_text()


def plain(text):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_a_page_needs_no_other_file_and_no_network(text):
    elements = Elements(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in elements.tags}
    addresses = [of[key] for _, of in elements.tags for key in ("src", "href") if key in of]
    assert addresses and all(address.startswith(("data:", "#")) for address in addresses)
    assert "default-src 'none'" in text and "url(" not in text and "@import" not in text
    assert "@media print" in text


def test_the_verdict_stands_before_everything_else(text):
    words = plain(text)
    assert words.index("exact: no integer differs") < words.index("what the vectors reach") < words.index("Figures")
    assert re.search(r"golden, plain, keras, c\b.*held-out and [\d,]+ generated vectors", words)


def test_a_verification_that_failed_is_the_first_thing_on_the_page(reported, run, tmp_path):
    project = read(Path(shutil.copytree(reported / "small", tmp_path / "wrong")))
    record = {**read_result(project, "verify"), "mismatches": 3}
    write_result(project, "verify", record, project.state())
    assert run("report", project.folder, "--html", tmp_path / "page.html").status == 0
    page = (tmp_path / "page.html").read_text()
    assert page.index('class="statement bad"') < page.index("what the vectors reach")
    assert "no: it does not hold verification failed: 3 outputs differ" in plain(page) and "exact:" not in page


def test_each_figure_states_its_provenance_in_columns_and_over_its_value(reported, text):
    figures = read_figures(reported / "small")
    titles = [of["title"] for tag, of in Elements(text).tags if tag == "td" and "title" in of]
    for figure in figures:
        assert figure.provenance in titles
    assert all(f">{heading}</th>" in text for heading in ("stage", "tool", "target"))


def read_figures(folder):
    from edgephys.core.figure import from_record

    return [from_record(record) for record in read_result(read(folder), "report")["figures"]]


def test_every_part_is_there_and_one_that_was_not_measured_says_so_in_words(text):
    headings = Elements(text).headings
    assert headings[0] == "Report of small" and headings[1:] == [
        "Figures", "Resources by layer", "Pipeline and latency budget", "ROC curves", "Confusion matrix",
        "Widths along the network", "Weights and their signed digits", "Memory plan", "Coverage",
    ]  # fmt: skip
    words = plain(text)
    assert "Not measured: this target has no resources of single layers." in words
    assert "No pipeline: the emission to 'c' states no stages." in words
    assert "alive from" in words and "the plan of its memory" in words


def test_the_tables_of_a_page_are_in_it_and_beside_it_as_csv_and_latex(reported, text):
    links = {of["download"]: of["href"] for tag, of in Elements(text).tags if "download" in of}
    files = {path.name: path.read_bytes() for path in (reported / "tables").iterdir()}
    assert {"figures.csv", "figures.tex", "widths_along_the_network.csv"} <= set(links) <= set(files)
    for name, address in links.items():
        assert base64.b64decode(address.partition("base64,")[2]) == files[name]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("report.htm", "--html must be a file name that ends in .html, not 'report.htm'; write report.html"),
        ("folder.html", "--html: folder.html is a folder; name a file in it"),
    ],
)
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    command, out, message, reported, run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    ended = run(command, reported / "small", "--html", out)
    assert ended.status == 2 and message in ended.err and "Yosys" not in ended.err


# The page of an RTL project, without synthesis -------------------------------------------------------


@pytest.fixture(scope="module")
def rtl(projects, run, tmp_path_factory):
    top = tmp_path_factory.mktemp("rtl")
    folder = Path(shutil.copytree(projects / "rtl", top / "pipelined"))
    shutil.rmtree(folder / "results", ignore_errors=True)  # other tests may have verified the project
    assert run("report", folder, "--no-synth", "--html", top / "rtl.html", "--json").status == 0
    return top


def test_a_project_that_is_not_verified_is_not_called_exact(rtl):
    words = plain((rtl / "rtl.html").read_text())
    assert "not verified run edgephys verify " in words and "exact: no integer" not in words
    assert re.search(r"does it fit the part\? estimated: [\d.]+ % of its LUTs estimated, alkaid", words)


def test_the_latency_budget_adds_up_to_the_stages_of_the_pipeline(rtl):
    from edgephys.report.hardware_sections import pipeline

    project = read(rtl / "pipelined")
    table = pipeline(project)
    assert sum(row["added"] for row in table.rows) == project.facts["stages"]
    assert sum(row["share"] for row in table.rows) == pytest.approx(1)
    assert sum(row["added_ns"] for row in table.rows) == project.facts["stages"] * project.clock_ns
    assert table.pictures[0].draw(table).startswith(b"<?xml")


def test_the_lines_of_a_stream_are_parts_of_its_pipeline_and_its_memory():
    from edgephys.targets.registry import TARGETS

    block = {"name": "step", "first_stage": 120, "last_stage": 121, "delay_estimate_ns": 2.0}
    window = {"module": "lines", "size": [3, 5], "first_stage": 1, "last_stage": 120, "memory_bits": 900}
    delay = {"module": "late", "beats": 119, "memory_bits": 100}
    facts = {"blocks": [block], "windows": [window], "delays": [delay]}
    spans = TARGETS["rtl"].pipeline(facts)
    assert [(span.name, span.first, span.last, span.delay_ns) for span in spans] == [
        ("lines", 1, 120, None), ("step", 120, 121, 2.0),
    ]  # fmt: skip
    parts = TARGETS["rtl"].memory(facts)
    assert [(part.holds, part.bits) for part in parts] == [
        ("lines for 3 x 5 pixels", 900),
        ("119 values that wait", 100),
    ]


def test_a_card_that_states_words_for_numbers_ends_in_one_line(c_project, run, tmp_path):
    folder = Path(shutil.copytree(c_project, tmp_path / "p"))
    card = json.loads((folder / "model" / "card.json").read_text())
    card["metrics"]["accuracy"] = "high"
    (folder / "model" / "card.json").write_text(json.dumps(card))
    ended = run("report", folder, "--html", tmp_path / "page.html")
    assert ended.status in (0, 1) and "unforeseen" not in ended.err


# Curves, matrices and maps -------------------------------------------------------------------------


def test_a_roc_curve_is_that_of_scikit_learn_and_its_band_is_binomial():
    rng = np.random.default_rng(0)
    is_signal = rng.random(4000) < 0.4
    scores = rng.normal(size=4000) + 1.5 * is_signal
    share, error = roc_band(scores, is_signal)
    false, true, _ = roc_curve(is_signal, scores)
    inside = SIGNAL < 1  # at 1, any lower threshold is as good
    assert np.abs(share - np.interp(SIGNAL, true, false))[inside].max() < 0.02 and share[0] == 0
    assert np.allclose(error, np.sqrt(share * (1 - share) / (~is_signal).sum()))


def test_a_wave_network_has_maps_of_its_errors(tmp_path):
    from edgephys.models.frameworks import load
    from edgephys.targets.c.options import COptions

    project = emit(load(WAVES), COptions(), tmp_path / "waves", vectors=4)
    (table,) = quality(project)
    assert table.title == "Errors of the outputs" and [row["of"] for row in table.rows][::4] == ["least", "largest"]
    assert table.pictures[0].draw(table).startswith(b"<?xml")
    (project.folder / "vectors.npz").write_bytes((project.folder / "vectors.npz").read_bytes() + b" ")
    assert "vectors.npz has changed since the emission; emit the project again" in quality(project)[0].lead[0]


# Side by side ---------------------------------------------------------------------------------------


def test_any_number_of_projects_stand_side_by_side_also_of_one_model_and_target(reported, rtl, run, tmp_path):
    again = Path(shutil.copytree(reported / "small", tmp_path / "again"))
    words = (reported / "small", again, rtl / "pipelined")
    ended = run("compare", *words, "--html", tmp_path / "page.html", "--json")
    assert ended.status == 0 and ended.json["projects"] == [str(word) for word in words], ended.err
    page = plain((tmp_path / "page.html").read_text())
    assert page.startswith("3 projects side by side") and page.count("the same integers on every target?") == 3
    assert str(again) in page and "measured, Keras" in page
    assert page.count("exact: no integer differs") == 2


def test_a_comparison_needs_reports_and_different_projects(c_project, reported, run, tmp_path):
    ended = run("compare", c_project, "--html", tmp_path / "a.html")
    assert ended.status == 1 and "expected a report of its sources as they are; run `edgephys report" in ended.err
    ended = run("compare", reported / "small", reported / "small", "--html", tmp_path / "a.html")
    assert ended.status == 2 and "a project is named twice; name each once" in ended.err
    ended = run("compare", reported / "small", "--html", tmp_path / "a.html", "--out", tmp_path / "table")
    assert ended.status == 2 and "--html goes without --out" in ended.err
    assert not list(tmp_path.iterdir())


# One screen -----------------------------------------------------------------------------------------

SOURCE = (FigureStage.MEASURED, "tool", "1.0", "part")


def many():
    names = [
        ("accuracy", ""),
        ("accuracy_error", ""),
        ("latency_cycles", "cycles"),
        ("lut", "LUT"),
        ("arena_bytes", "bytes"),
    ]
    layers = [(f"lut.layer_{number}", "LUT") for number in range(60)]
    absent = [missing(f"absent_{number}", "ns", *SOURCE, "no tool") for number in range(30)]
    return [Figure(name, 10 + place, unit, *SOURCE) for place, (name, unit) in enumerate(names + layers)] + absent


def printed(table):
    out = io.StringIO()
    Console(file=out, width=120).print(shown(table))
    return out.getvalue()


def test_a_report_fits_one_screen_and_says_what_it_leaves_out():
    screen = printed(screen_table("p", many()))
    assert len(screen.splitlines()) <= MOST_ROWS and "10 ± 11" in screen and "accuracy_error" not in screen
    assert "22 of time, 57 of resources by layer left out; --all: every figure" in screen
    assert re.findall(r"lut\.layer_\d+", screen) == ["lut.layer_59", "lut.layer_58", "lut.layer_57"]
    assert "absent_29: not measured: no tool" in " ".join(screen.split())
    everything = printed(figures_table("p", many()))
    assert all(figure.name in everything for figure in many())


def test_every_figure_belongs_to_one_group():
    groups = in_groups(many())
    assert [name for name in groups] == ["model", "time", "resources", "memory", "resources by layer"]
    assert sum(map(len, groups.values())) == len(many())


def test_the_screen_is_the_default_of_the_command_and_all_shows_the_rest(reported, run):
    screen, everything = run("report", reported / "small").out, run("report", reported / "small", "--all").out
    assert len(screen.splitlines()) <= MOST_ROWS < len(everything.splitlines())
    assert "stack_reached_bytes" in everything or "not measured" in everything


# Forms of a table --------------------------------------------------------------------------------------


def test_what_a_page_shows_is_escaped_and_bars_stay_in_their_cells():
    column = Column("name", "name", hover=lambda row: '"><b>', under=lambda row: "<i>", bar=lambda row: row["share"])
    rows = [{"name": "<script>alert(1)</script>", "share": 7.0}, {"name": "b", "share": None}]
    table = Table("T <1>", (column,), rows, lead=("a < b",), pictures=(Drawing("c<d", lambda _: b"P", ".png"),))
    text = web.html(Page("<x>", "s", [Verdict([Statement("a", "<f>", holds=False)])], [table], "m"))
    for raw in ("<script>", "<b>", "<i>", "<f>", "<x>", "c<d"):
        assert raw not in text
    assert "background-size: 100.0% 100%" in text and text.count("background-size") == 1
    assert 'class="statement bad"' in text and "data:image/png;base64,UA==" in text


def test_latex_has_the_columns_of_the_page_and_signs_as_text():
    table = Table(
        "A & B", (Column("a", "name_%", left=True), Column("b", "x", group_unit)), [{"a": "α_1 ± 2", "b": 0.5}]
    )
    lines = tabular(table).splitlines()
    assert lines[0].startswith("% A & B; needs \\usepackage{booktabs}") and lines[1] == "\\begin{tabular}{lr}"
    assert lines[3] == "name\\_\\% & x \\$ \\\\" and lines[5] == "α\\_1 $\\pm$ 2 & 0.5 \\\\"
    assert escaped("a\\b{c}~^") == "a\\textbackslash{}b\\{c\\}\\textasciitilde{}\\textasciicircum{}"
    assert tabular(Table("nothing")) == "% nothing: no table\n"
    grouped = tabular(Table("t", (Column("a", "a"),), [{"a": 1, "g": "x_y"}], group="g"))
    assert "\\multicolumn{1}{l}{\\emph{x\\_y}} \\\\\n1 \\\\" in grouped
    assert comma_separated(table).splitlines() == ["a,b", "α_1 ± 2,0.5"]


group_unit = "$"


def test_the_verdict_says_that_nanoseconds_are_cycles_at_a_clock_that_was_not_routed():
    known = {
        "latency_cycles": Figure("latency_cycles", 9, "cycles", FigureStage.SIMULATED, "verilator", "5", "5 ns stated"),
        "latency_ns": Figure("latency_ns", 45, "ns", FigureStage.ESTIMATED, "edgephys", "0", "not routed"),
    }
    (statement,) = project_page.latency(known)
    assert statement.finding == "9 cycles = 45 ns"
    assert statement.detail == "cycles simulated, verilator 5; ns estimated: not routed"


# Limits of parts, and what was not measured -------------------------------------------------------


def shares(lut=59.84):
    by = (FigureStage.SYNTHESISED, "yosys", "0.70")
    return [
        Figure("lut", 12_446, "LUT", *by, "AMD"),
        Figure("lut_share", lut, "%", *by, "fits; xc7a35t has 20,800 LUT"),
        Figure("dsp", 0, "DSP48E2", *by, "AMD"),
        Figure("dsp_share", 0.0, "%", *by, "fits; xc7a35t has 90 DSP"),
    ]


def of_part(figures):
    return hardware_sections.part(figures, "xc7a35tcsg324-1", capacity_of("xc7a35tcsg324-1"))


def test_resources_are_drawn_against_all_that_the_part_has():
    table = of_part(shares())
    assert [(row["resource"], row["uses"]) for row in table.rows] == [("LUT", 12_446), ("DSP", 0)]
    assert table.rows[0]["share"] == pytest.approx(0.5984) and table.rows[0]["has"] == 20_800
    (picture,) = table.pictures
    assert picture.draw(table).startswith(b"<?xml") and "the line is all that it has" in picture.caption


def test_a_design_beyond_its_part_has_a_bar_beyond_the_line():
    assert hardware_sections.TOO_MUCH.encode() in of_part(shares(140.0)).pictures[0].draw(None)
    assert hardware_sections.TOO_MUCH.encode() not in of_part(shares()).pictures[0].draw(None)


def test_without_a_listed_part_the_section_says_why():
    absent = missing(
        "lut_share", "%", FigureStage.SYNTHESISED, "yosys", "0.70", "part X", "the LUTs of X are not listed"
    )
    table = of_part([absent])
    assert not table.rows and not table.pictures and "not listed" in table.lead[0]


def test_layers_state_their_share_of_the_part_in_a_column_and_their_common_source_once():
    by = (FigureStage.SYNTHESISED, "yosys", "0.70")
    layers = [
        Figure(f"lut.{name}", lut, "LUT", *by, f"AMD UltraScale+, out of context, {name}, 1 copy")
        for name, lut in (("phi", 2080), ("rho", 1040))
    ]
    table = hardware_sections.resources(layers, 20_800)
    assert [row["part_share"] for row in table.rows] == [0.1, 0.05]
    assert table.lead[0].count("AMD UltraScale+, out of context") == 1
    assert "part_share" not in [column.key for column in hardware_sections.resources(layers).columns]


def test_bars_of_what_was_not_measured_are_hatched_and_say_so():
    def bars(name, stage, unit):
        of = SimpleNamespace(part="xc7a35tcsg324-1", target=SimpleNamespace(has_clock=True))
        figure = Figure(name, 9_000, unit, stage, "tool", "1", "target")
        projects = [side_by_side.ReportedProject(label, of, {name: figure}) for label in "ab"]
        return side_by_side._draw_bars(projects, name)

    estimated, synthesised = bars("lut", FigureStage.ESTIMATED, "LUT"), bars("lut", FigureStage.SYNTHESISED, "LUT")
    assert b"<pattern" in estimated and b"<pattern" not in synthesised
    assert b"<pattern" in bars("latency_ns", FigureStage.SIMULATED, "ns")
    assert b"<pattern" not in bars("p50_us", FigureStage.MEASURED, "us")


def test_the_folder_of_tables_has_the_pictures_too(reported):
    assert list((reported / "tables").glob("*.svg"))


def test_a_page_of_several_projects_has_its_tables_and_pictures_in_a_folder(reported, rtl, run, tmp_path):
    words = ("compare", reported / "small", rtl / "pipelined")
    assert run(*words, "--html", tmp_path / "a.html", "--tables", tmp_path / "t").status == 0
    assert (tmp_path / "t" / "figures_side_by_side.csv").is_file()
    ended = run(*words, "--tables", tmp_path / "u")
    assert ended.status == 2 and "--tables goes with --html; leave it out, or name a page" in ended.err


def test_pages_and_folders_of_others_are_not_replaced_and_ours_are(reported, run, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "figures.csv").write_text("mine")
    (tmp_path / "mine.html").write_text("<html>mine</html>")
    report = ("report", reported / "small")
    ended = run(*report, "--html", tmp_path / "mine.html")
    assert ended.status == 2 and "exists and is no page of ours: it is not replaced; choose another name" in ended.err
    ended = run(*report, "--tables", tmp_path / "notes")
    assert ended.status == 2 and "holds files and no page.json of ours: nothing is replaced" in ended.err
    ended = run(*report, "--tables", tmp_path / "mine.html")
    assert ended.status == 2 and "is a file; name a folder" in ended.err
    assert (tmp_path / "notes" / "figures.csv").read_text() == "mine"
    for _ in range(2):
        assert run(*report, "--html", tmp_path / "a.html", "--tables", tmp_path / "t").status == 0


def test_grave_accents_in_a_page_are_code():
    page = Page("t", "s", [Verdict([Statement("a", "b", "run `x <y>`")])], [Table("A", notes=("see `z`",))], "by `w`")
    text = web.html(page)
    assert (
        "<code>x &lt;y&gt;</code>" in text and "<code>z</code>" in text and "<code>w</code>" in text and "`" not in text
    )


def test_the_screen_has_the_share_of_each_layer():
    by = (FigureStage.SYNTHESISED, "yosys", "0.70", "AMD")
    layers = [Figure(f"lut.{name}", lut, "LUT", *by) for name, lut in (("a", 300), ("b", 100), ("top", 0))]
    assert [row["value"] for row in screen_table("p", layers).rows] == ["300 LUT, 75 %", "100 LUT, 25 %", "0 LUT"]


# Words --------------------------------------------------------------------------------------------


def test_one_of_a_counted_unit_has_no_s():
    by = (FigureStage.SIMULATED, "tool", "1", "target")
    texts = [Figure("ii", value, unit, *by).text for value, unit in ((1, "cycles"), (2, "cycles"), (1, "ns"))]
    assert texts == ["1 cycle", "2 cycles", "1 ns"]


def test_a_verification_says_why_the_plain_evaluation_computed_fewer_vectors():
    def remarks(plain):
        targets = {"golden": {"vectors": 20, "generated": 0, "mismatches": 0}, "plain": {"mismatches": 0, **plain}}
        return targets_table({"project": "p", "vectors": 20, "generated": 40, "targets": targets}).remarks

    assert "as it computes in about a second" in remarks({"vectors": 20, "generated": 10})[0]
    assert remarks({"vectors": 20, "generated": 40}) == ()
