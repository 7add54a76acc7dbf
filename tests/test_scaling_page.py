"""Page, figure and terminal of the scaling table, on the rows that it keeps."""

import io
import itertools
import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from edgephys.applications.jets.published import DEEP_SETS_8BIT, INTERACTION_8BIT, published
from edgephys.report import scaling, scaling_figure
from edgephys.report.estimator import calibrate
from edgephys.report.render import page, shown

KEPT = Path(__file__).resolve().parents[1] / "hls_projects" / "results" / "scaling.json"


@pytest.fixture
def table():
    """The kept table, one measured row of it."""
    kept = json.loads(KEPT.read_text())
    return {**kept, "rows": [row for row in kept["rows"] if row["model"] == "jet_deepsets_n8_4bit"]}


def big(row, name, family, n, **facts):
    net = {"constituents": n, "bits": 8, "features": ["pt", "etarel", "phirel"]}
    measured = {"lut": 1_134_822, "ff": 312_345, "latency_cycles": 115, "latency_ns": 575.0, "vectors": 12_000}
    beside = published({"script": family, "net": net})
    return {**row, "model": name, "family": family, "n": n, "bits": 8, **measured, "published": beside, **facts}


def test_a_published_row_stands_under_its_own_labelled_and_the_prose_says_why_they_differ(table):
    row = table["rows"][0]
    rows = [
        big(row, "jet_mlp_n8_8bit", "jet_mlp", 8),
        big(row, "jet_deepsets_n8_8bit", "jet_deepsets", 8, lut_stage="estimated", failures=["rtl: LUT estimated: no"]),
    ]
    told = page(scaling.table({**table, "rows": rows, "estimator": calibrate(rows)}), "t")
    lines = told.splitlines()
    under = lines[next(i for i, line in enumerate(lines) if line.startswith("| jet_deepsets_n8_8bit")) + 1]
    assert (
        under.startswith("| *published, other jets, part and tool (arXiv 2402.01876)* | 64.0 |") and "386,000" in under
    )
    assert "LUT 1,134,822 (estimated), published 386,000" in told and "II 1, published 3" in told
    assert "- MLP: no published row" in told
    for reason in ("**Jets**", "**Part**", "**Tool**", "**Clock**", "**II**", "**other jets**"):
        assert reason in told


@pytest.fixture
def family_rows(table):
    """Rows of a paper's table: three networks and widths, other features, an estimate, and one of the whole jet."""
    row = table["rows"][0] | {"features": 3}
    facts = [
        ("jet_mlp", 8, {}),
        ("jet_mlp", 8, {"features": 16}),
        ("jet_deepsets", 8, {}),
        ("jet_deepsets", 8, {"bits": 6}),
        ("jet_deepsets", 8, {"bits": 4}),
        ("jet_deepsets", 8, {"features": 16}),
        ("jet_deepsets", 16, {}),
        ("jet_deepsets", 32, {"lut_stage": "estimated"}),
        ("jet_interaction", 16, {}),
        ("jet_highlevel", 1, {"features": 16, "accuracy": 0.7}),
        ("jet_highlevel", None, {"features": 16}),
    ]
    return [big(row, f"model_{i}", family, n, **fact) for i, (family, n, fact) in enumerate(facts)]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in (legend.get_title(), *legend.get_texts())]


def joined(axes):
    """Return the lines that join rows of ours, each by its numbers of constituents."""
    lines = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "-"]
    return [[2 ** round(math.log2(x)) for x in line] for line in lines if len(line) > 1]


def test_the_figure_has_a_tick_at_each_number_of_constituents_and_leaves_whole_jets_to_the_table(family_rows):
    figure = scaling_figure.draw(family_rows)
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "16", "32"]
        assert axes.get_xscale() == "log" and list(axes.get_xticks()) == [8, 16, 32]
        low, high = axes.get_xlim()
        assert 4 < low < 8 and 32 < high < 64
        assert all(low < x < high for line in axes.lines for x in line.get_xdata())
    assert not any("high-level" in text for text in legend_texts(figure))
    assert scaling_figure.picture(family_rows[-2:]).startswith(b"\x89PNG")  # nothing but whole jets


def test_the_luts_of_the_part_are_a_line_in_the_panel_of_luts(family_rows):
    def parts(rows):
        return [[text.get_text() for text in axes.texts] for axes in scaling_figure.draw(rows).axes]

    rows = [{**row, "part": "xcku035-ffva1156-1-c"} for row in family_rows]
    assert parts(rows) == [[], ["all of xcku035"], []]
    assert parts([{**row, "part": "unknown"} for row in family_rows]) == [[], [], []]
    (line,) = scaling_figure.draw(rows).axes[1].collections
    assert line.get_segments()[0][0][1] == pytest.approx(203.128)


def test_the_figure_joins_rows_of_equal_width_and_input_alone(family_rows):
    for axes in scaling_figure.draw(family_rows).axes:
        assert joined(axes) == [[8, 16, 32]]  # Deep Sets, 8 bits, three features


def test_points_of_other_features_are_hollow_and_estimates_half_filled(family_rows):
    accuracy, lut, _ = scaling_figure.draw(family_rows).axes
    filled = [line.get_markerfacecolor() != "white" for line in accuracy.lines if line.get_marker() == "o"]
    assert filled.count(False) == 2
    assert [line.get_fillstyle() for line in lut.lines].count("bottom") == 1
    assert "bottom" not in [line.get_fillstyle() for line in accuracy.lines]


def test_every_network_has_a_name_in_words_in_figure_and_page(family_rows, table):
    rows = [*family_rows, {**family_rows[0], "family": "jet_graph_net"}]
    assert legend_texts(scaling_figure.draw(rows)) == [
        "network", "MLP", "Deep Sets", "interaction network", "graph net",
        "ours", "8 bits", "6 bits", "4 bits", "16 features, not 3", "LUT estimated",
        "published (arXiv 2402.01876): 8 bits, other jets, part and tool", "Deep Sets", "interaction network",
    ]  # fmt: skip
    told = page(scaling.table({**table, "rows": rows, "estimator": calibrate(rows)}), "t")
    assert "- MLP, MLP on high-level features, graph net: no published row" in told


def test_legends_cover_neither_the_panels_nor_each_other(family_rows):
    figure = scaling_figure.draw(family_rows)
    figure.draw_without_rendering()
    panels = [axes.get_tightbbox() for axes in figure.axes]
    legends = [legend.get_window_extent() for legend in figure.legends]
    for box, other in itertools.combinations([*panels, *legends], 2):
        assert not box.overlaps(other)
    whole = figure.bbox
    for box in (*panels, *legends):
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1


def test_the_terminal_table_fits_100_columns_at_paper_size(table):
    row = table["rows"][0]
    facts = {"emit_seconds": 1234.5, "lut_stage": "estimated", "accuracy": 0.2, "accuracy_error": 0.01}
    rows = [big(row, "jet_interaction_n32_8bit", "jet_interaction", 32, **facts)]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(shown(scaling.table({"rows": rows, "estimator": calibrate(rows)})))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    for cell in ("jet_interaction_n32_8bit", "20.0 ± 1.0", "~1,134,822", "312,345", "1234.5", "12,000"):
        assert cell in text


def test_the_estimator_states_its_error_by_leaving_one_row_out():
    def row(model, estimate, lut, stage="synthesised"):
        return {"model": model, "lut": lut, "lut_estimate": estimate, "lut_stage": stage}

    rows = [row("a", 100, 100), row("b", 100, 120), row("c", 100, 150), row("d", 200, 200, "estimated")]
    found = calibrate(rows)
    assert (found["rows"], found["ratio_median"], found["ratio_min"], found["ratio_max"]) == (3, 1.2, 1.0, 1.5)
    left = found["leave_one_out"]  # predicted: 1.35 for 1.0, 1.25 for 1.2, 1.1 for 1.5
    assert left["relative_error_max"] == pytest.approx(0.35) and left["relative_error_min"] == pytest.approx(-0.4 / 1.5)
    assert rows[3]["lut_calibrated"] == 240 and rows[0]["lut_calibrated"] is None
    assert calibrate(rows[:2])["leave_one_out"] is None
    assert calibrate(rows[3:])["ratio_median"] is None and rows[3]["lut_calibrated"] is None


def test_a_published_row_belongs_to_the_papers_network_input_and_width_alone():
    net = {"constituents": 16, "bits": 8, "features": ["pt", "etarel", "phirel"], "phi": [32, 32, 32], "rho": [32]}
    assert published({"script": "jet_deepsets", "net": net}) is DEEP_SETS_8BIT[16]
    others = ({"bits": 6}, {"bits": None}, {"constituents": 12}, {"phi": [16]}, {"features": ["pt"]})
    for other in (*others, {"activation_bits": 6}):
        assert published({"script": "jet_deepsets", "net": net | other}) is None
    pairs = {key: net[key] for key in ("constituents", "bits", "features")} | {"effects": None}
    assert published({"script": "jet_interaction", "net": pairs}) is INTERACTION_8BIT[16]
    assert published({"script": "jet_interaction", "net": pairs | {"effects": (3,)}}) is None
    assert published({"script": "jet_mlp", "net": pairs}) is None and published({}) is None
