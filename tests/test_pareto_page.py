"""How a front is shown: page, figure and terminal."""

import io
import itertools

import pytest
from pareto_runs import MODEL, SCALING, run_of
from rich.console import Console

from edgephys.compress.pareto_front import pareto_front
from edgephys.compress.uniform import uniform
from edgephys.report import pareto as pareto_table
from edgephys.report import pareto_figure
from edgephys.report.render import page, shown
from edgephys.workflow.candidates import candidates


@pytest.fixture
def told():
    """The table of a sweep, its front tested, beside uniform and published models."""

    def table(test=True, synthesised=True, beside=True):
        runs = []
        for value, (lut, cycles) in {1e-7: (90_000, 13), 1e-6: (20_000, 11), 1e-5: (5_000, 9)}.items():
            for seed in (1, 2, 3):
                more = {"lut": 2 * lut + seed, "cycles": cycles} if synthesised else {}
                share = {"accuracy": 0.55 + lut * 3e-7, "accuracy_error": 0.002} if test else None
                accuracy = 0.552 + lut * 3e-7 - seed * 1e-3
                name = f"{value}_seed{seed}"
                runs.append(run_of(name, accuracy, lut + seed, value=value, seed=seed, test=share, **more))
        (model,) = candidates([MODEL])
        return {
            "command": "edgephys pareto", "machine": "mine", "model": "jet_deepsets_n8_8bit", "family": "jet_deepsets",
            "n": 8, "pipeline": "mine", "knob": {"stage": "1 frugal", "key": "lut_cost", "values": [1e-7, 1e-6, 1e-5]},
            "seeds": [1, 2, 3], "asked": 10, "failures": {"1e-04_seed1": "training diverged"},
            **pareto_front(runs).to_record(), "beside": uniform(SCALING, model) if beside else [],
        }  # fmt: skip

    return table


def test_the_page_tells_of_every_run_what_it_stands_beside_and_where_figures_come_from(told):
    text = page(pareto_table.table(told()), "pareto")
    members, others = text.split("## Uniform and published models")
    for seed in (1, 2, 3):
        assert (f"| 1e-06_seed{seed} |" in members) == (seed == 1) and f"1e-06_seed{seed}" in text
    assert "| 1e-06_seed1 | 55.70 ± 0.40 | 55.60 ± 0.20 | 40,001 | 20,001 | 11 | 9 |" in members
    assert "| 1e-06_seed1 | kept |" in others and "| jet_deepsets_n8_4bit | 55.52 ± 0.23 | 91,228 |" in others
    assert "*published Deep Sets, other jets, part and tool (arXiv 2402.01876)* | 64.0 | 386,000" in others
    assert "## Not finished\n\n- 1e-04_seed1: training diverged" in others
    assert "9 of 10 runs are finished, 3 of them are on the front." in members
    assert "LUTs synthesised; cycles simulated." in others and "are on **other jets**" in others


def test_the_page_says_what_was_not_measured_not_tested_and_not_given(told):
    text = page(pareto_table.table(told(test=False, synthesised=False, beside=False)), "pareto")
    assert "on the front, 3 of which have not seen the test jets" in text
    assert "LUTs estimated: 9 of 9 runs are not synthesised; cycles estimated." in text
    assert "No uniform models of this network: --beside takes" in text
    empty = {**told(), "runs": [], "failures": {}}
    text = page(pareto_table.table(empty), "pareto")
    assert "0 of 10 runs are finished" in text and "None." in text


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in (legend.get_title(), *legend.get_texts())]


def test_the_figure_shows_the_front_its_seeds_uniform_models_and_published_ones_apart(told):
    figure = pareto_figure.draw(told())
    assert legend_texts(figure) == [
        "ours", "front, on test jets", "front, on validation jets, which chose it", "dominated, on validation jets",
        "spread over the seeds of one lut_cost", "uniform, on test jets", "8 bits", "6 bits", "4 bits",
        "published, other jets, part and tool (arXiv 2402.01876)", "Deep Sets, 8 bits", "interaction network, 8 bits",
    ]  # fmt: skip
    strips, panels = figure.axes[:2], figure.axes[2:]
    assert [axes.get_xlabel() for axes in panels] == [
        "LUT (synthesised by Yosys)", "latency (clock cycles, simulated)",
    ]  # fmt: skip
    for strip, panel in zip(strips, panels, strict=True):
        assert [text.get_text() for text in strip.texts] == ["other jets"] and strip.get_xlim() == panel.get_xlim()
        assert {line.get_markerfacecolor() for line in strip.lines} == {"none"} and panel.get_xscale() == "log"
        assert len(panel.patches) == 3  # a box for the seeds of each value
        front_line = next(line for line in panel.lines if line.get_linestyle() == "--")
        assert len(front_line.get_xdata()) == 3
    assert [text.get_text() for text in panels[0].texts] == ["1e-07", "1e-06", "1e-05"]


def test_the_figure_shows_estimates_beside_estimates_and_no_test_before_there_is_one(told):
    figure = pareto_figure.draw(told(test=False, synthesised=False))
    lut, cycles = figure.axes[2:]
    assert (lut.get_xlabel(), cycles.get_xlabel()) == (
        "LUT (estimated before synthesis)", "latency (clock cycles, estimated)",
    )  # fmt: skip
    assert 67_943 in [x for line in lut.lines for x in line.get_xdata()]  # the estimate of the uniform 4-bit model
    assert "front, on test jets" not in legend_texts(figure)
    alone = pareto_figure.draw({**told(beside=False), "n": 5, "seeds": [1], "runs": []})
    assert len(alone.axes) == 2 and alone.axes[0].texts[0].get_text() == "no run is finished yet"
    assert pareto_figure.picture(told()).startswith(b"\x89PNG")


def test_the_line_of_a_panel_leaves_out_members_that_another_cost_saved():
    rows = [{"x": 3, "accuracy": 0.6}, {"x": 1, "accuracy": 0.5}, {"x": 2, "accuracy": 0.5}, {"x": 1, "accuracy": 0.4}]
    assert pareto_figure.edge(rows, "x") == [rows[1], rows[0]]


def test_legends_cover_neither_the_panels_nor_each_other(told):
    figure = pareto_figure.draw(told())
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [of.get_window_extent() for of in figure.legends]
    for box, other in itertools.combinations(boxes, 2):
        assert not box.overlaps(other)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 for box in boxes)


def test_the_terminal_shows_the_front_from_cheap_to_dear(told):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(shown(pareto_table.table(told())))
    text = console.export_text()
    places = [text.index(name) for name in ("1e-05_seed1", "1e-06_seed1", "1e-07_seed1")]
    assert places == sorted(places) and "seed2" not in text and "chosen on the validation jets." in text
