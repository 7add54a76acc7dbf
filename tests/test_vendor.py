"""Vendor reports become figures with the report's own provenance; a figure without provenance cannot be made."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgephys.core.errors import ModelError, ProjectError
from edgephys.core.figure import Figure, FigureStage, from_record, missing, to_record
from edgephys.targets import vendor
from edgephys.targets.hls.figures import vendor_figures

GOLDEN = Path(__file__).parent / "golden" / "vendor"
READERS = {
    "csynth.xml": vendor.read_csynth,
    "vivado_synth.rpt": vendor.read_vivado,
    "util.rpt": vendor.read_vivado,
    "timing_summary.rpt": vendor.read_vivado,
    "toy.fit.summary": vendor.read_quartus,
}


def values(figures):
    return {figure.name: figure.value for figure in figures}


def changed(tmp_path, name, old, new):
    text = (GOLDEN / name).read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new))
    return path


# The readers --------------------------------------------------------------------------------------


def test_hls_estimates_are_labelled_estimated_and_take_the_worst_case():
    figures = vendor.read_csynth(GOLDEN / "csynth.xml")
    assert values(figures) == {
        "clock_period": 3.61, "latency_cycles": 13, "ii": 2, "lut": 3400, "ff": 1200, "dsp": 7, "bram": 4,
    }  # fmt: skip
    assert {figure.provenance for figure in figures} == {
        "estimated, Vitis HLS 2023.2, xcvu13p-flga2577-2-e, aimed at 5.00 ns"
    }


def test_vivado_hls_names_its_dsp_column_otherwise(tmp_path):
    text = (GOLDEN / "csynth.xml").read_text().replace("DSP>", "DSP48E>").replace("2023.2", "2019.2")
    (tmp_path / "csynth.xml").write_text(text)
    figures = vendor.read_csynth(tmp_path / "csynth.xml")
    assert values(figures)["dsp"] == 7
    assert figures[0].tool == "Vivado HLS"


def test_an_undefined_latency_is_not_measured_rather_than_zero(tmp_path):
    path = changed(tmp_path, "csynth.xml", "<Worst-caseLatency>13", "<Worst-caseLatency>undef")
    latency = vendor.read_csynth(path)[1]
    assert latency.value is None
    assert latency.text == "not measured: csynth.xml says 'undef'"


@pytest.mark.parametrize(
    ("name", "stage", "device", "lut"),
    [
        ("vivado_synth.rpt", FigureStage.SYNTHESISED_BY_VENDOR, "xcvu13p-flga2577-2-e", 2100),
        ("util.rpt", FigureStage.PLACED_BY_VENDOR, "xc7a100tcsg324-1", 2050),
    ],
)
def test_utilisation_takes_its_stage_from_the_design_state(name, stage, device, lut):
    figures = vendor.read_vivado(GOLDEN / name)
    assert values(figures) == {"lut": lut, "ff": 1100, "dsp": 7, "bram": 1.5}
    assert {(f.stage, f.tool, f.version, f.target) for f in figures} == {(stage, "Vivado", "2023.2", device)}


def test_the_achieved_period_is_the_clock_minus_the_worst_slack():
    wns, period = vendor.read_vivado(GOLDEN / "timing_summary.rpt")
    assert (wns.value, period.value, period.unit) == (-0.25, 5.25, "ns")
    assert period.stage is FigureStage.PLACED_AND_ROUTED_BY_VENDOR


STATE = "| Design State : Routed\n"
PATH = """
  Location      Delay type            Incr(ns)  Path(ns)    Netlist Resource(s)
  SLICE_X1Y2    FDRE (Prop)              0.080     0.080 r  a_reg/Q
                net (fo=3, {word})       0.410     0.490    a
"""


@pytest.mark.parametrize(
    ("word", "stage"),
    [
        ("routed", FigureStage.PLACED_AND_ROUTED_BY_VENDOR),
        ("estimated", FigureStage.PLACED_BY_VENDOR),
        ("unplaced", FigureStage.SYNTHESISED_BY_VENDOR),
    ],
)
def test_a_timing_summary_of_2019_has_its_stage_from_its_nets(tmp_path, word, stage):
    path = changed(tmp_path, "timing_summary.rpt", STATE, "")
    path.write_text(path.read_text().replace("2023.2", "2019.2") + PATH.format(word=word))
    wns, period = vendor.read_vivado(path)
    assert (wns.value, period.value) == (-0.25, 5.25)
    assert (wns.stage, wns.version, wns.target) == (stage, "2019.2", "xcvu13p-flga2577")


def test_a_timing_summary_that_states_no_stage_is_read_as_the_weakest(tmp_path):
    wns, _ = vendor.read_vivado(changed(tmp_path, "timing_summary.rpt", STATE, ""))
    assert wns.provenance == "synthesised (vendor), Vivado 2023.2, xcvu13p-flga2577, design state not stated"


def test_without_timed_paths_the_period_is_not_measured(tmp_path):
    wns, period = vendor.read_vivado(changed(tmp_path, "timing_summary.rpt", "-0.250", "    NA"))
    assert wns.value is None
    assert period.text == "not measured: WNS is 'NA'"


def test_with_two_clocks_the_period_is_not_measured(tmp_path):
    row = "ap_clk  {0.000 2.500}      5.000           200.000\n"
    path = changed(tmp_path, "timing_summary.rpt", row, row + row.replace("ap_clk", "io_clk"))
    assert "2 clocks" in (vendor.read_vivado(path)[1].why or "")


def test_quartus_fit_summary():
    figures = vendor.read_quartus(GOLDEN / "toy.fit.summary")
    assert values(figures) == {"alm": 1234, "ff": 2345, "bram": 3, "dsp": 12}
    assert figures[0].provenance == "placed and routed (vendor), Quartus 22.1std.0, Arria 10 10AX115N2F45E1SG"


def test_a_failed_fit_is_an_error(tmp_path):
    path = changed(tmp_path, "toy.fit.summary", "Successful", "Failed")
    with pytest.raises(ProjectError, match=r"toy\.fit\.summary: expected a successful fit, but its status is 'Failed"):
        vendor.read_quartus(path)


# Whole folders --------------------------------------------------------------------------------------


def test_where_no_vendor_tool_ran_there_are_no_figures(tmp_path):
    (tmp_path / "top.v").write_text("module top; endmodule\n")
    assert vendor.read(tmp_path) == ()


def test_a_folder_gives_every_report_once(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "project")
    report = tmp_path / "project" / "csynth.xml"
    shutil.copy(report, report.with_name("toy_csynth.xml"))
    (tmp_path / "project" / "power.rpt").write_text("| Command : report_power\n")
    assert len(vendor.read(tmp_path)) == 7 + 4 + 4 + 2 + 4


HLS_TEXT = "=====\n== Vitis HLS Report for 'toy'\n=====\n* Date: today\n* Version: 2023.2 (Build 1)\n"


def test_the_texts_of_hls_are_named_as_not_read(tmp_path):
    for name in ("csynth.rpt", "toy_csynth.rpt"):
        (tmp_path / name).write_text(HLS_TEXT)
    (alone,) = vendor.read(tmp_path)
    assert alone.name == "csynth.rpt" and alone.value is None
    assert alone.why == "the text (and 1 more) is not read; copy csynth.xml, which states its figures, beside it"
    shutil.copy(GOLDEN / "csynth.xml", tmp_path / "csynth.xml")
    figures = {figure.name: figure for figure in vendor.read(tmp_path)}
    assert figures["lut"].value == 3400
    assert figures["csynth.rpt"].why == "the text (and 1 more) is not read; csynth.xml beside it states these figures"


@pytest.mark.parametrize("name", READERS)
def test_a_broken_report_costs_its_own_rows_alone(tmp_path, name):
    shutil.copytree(GOLDEN, tmp_path / "project")
    whole = vendor.read(tmp_path)
    of_file = READERS[name](GOLDEN / name)
    broken = tmp_path / "project" / name
    broken.write_text(broken.read_text()[:150])
    figures = vendor.read(tmp_path)
    assert len(figures) == len(whole) - len(of_file) + 1
    (row,) = [figure for figure in figures if figure.name == name]
    assert row.value is None and row.why.startswith(f"{broken}: expected ")
    assert set(figures) - {row} == set(whole) - set(of_file)


def emitted(folder):
    return SimpleNamespace(folder=folder, part="xcvu13p-flga2577-2-e", facts={}, versions={})


def test_a_vendors_row_never_stands_beside_no_vendor_report(tmp_path):
    def reasons():
        return {figure.why for figure in vendor_figures(emitted(tmp_path)) if figure.value is None}

    assert reasons() == {"no vendor report in the project; run the vendor's synthesis on it"}
    (tmp_path / "util.rpt").write_text((GOLDEN / "util.rpt").read_text()[:200])
    assert "no vendor report that could be read; see util.rpt" in reasons()
    shutil.copy(GOLDEN / "csynth.xml", tmp_path)
    assert not any(why.startswith("no vendor report") for why in reasons())
    assert "the vendor's reports in the project do not state it" in reasons()  # nanoseconds
    names = [figure.name for figure in vendor_figures(emitted(tmp_path))]
    assert names.count("latency_cycles") == 1


def test_the_report_of_a_sub_function_is_not_the_design(tmp_path):
    shutil.copy(GOLDEN / "csynth.xml", tmp_path / "dense_csynth.xml")
    assert vendor.read(tmp_path) == ()
    shutil.copy(GOLDEN / "csynth.xml", tmp_path / "toy_csynth.xml")
    assert len(vendor.read(tmp_path)) == 7


def test_a_hierarchical_utilisation_report_is_left_alone(tmp_path):
    path = changed(tmp_path, "util.rpt", "report_utilization -file", "report_utilization -hierarchical -file")
    assert vendor.read_vivado(path) == ()


# What is cut short ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_report_raises_wherever_it_ends(tmp_path, name):
    whole = (GOLDEN / name).read_text()
    last = {"timing_summary.rpt": " 200.000", "csynth.xml": "</profile"}.get(name, "DSP")
    ends = {*range(0, whole.rindex(last), 37), whole.rindex(last), whole.rindex(last) + len(last)}
    path = tmp_path / name
    for end in sorted(ends):
        path.write_text(whole[:end])
        with pytest.raises(ProjectError, match=r"expected .* cut short"):
            READERS[name](path)


@pytest.mark.parametrize(
    ("name", "old", "what"),
    [
        ("csynth.xml", "EstimatedClockPeriod", "<PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod>"),
        ("vivado_synth.rpt", "| Command ", "the line '| Command : report_...'"),
        ("vivado_synth.rpt", "| Device ", "the line '| Device : ...'"),
        ("vivado_synth.rpt", "| CLB LUTs*", "a row '| CLB LUTs |'"),
        ("timing_summary.rpt", "WNS(ns)", "the table 'Design Timing Summary' with WNS(ns)"),
        ("timing_summary.rpt", "Waveform(ns)", "the table 'Clock Summary'"),
        ("toy.fit.summary", "Quartus Prime Version", "a line 'Quartus Prime Version : ...'"),
        ("toy.fit.summary", "Logic utilization (in ALMs)", "a line 'Logic utilization (in ALMs) : ...'"),
    ],
)
def test_a_report_without_its_table_raises_naming_file_and_table(tmp_path, name, old, what):
    path = changed(tmp_path, name, old, "gone")
    with pytest.raises(ProjectError) as caught:
        READERS[name](path)
    assert str(caught.value) == f"{path}: expected {what}, but it is not there; is the report cut short?"


def test_an_unknown_design_state_raises(tmp_path):
    with pytest.raises(ProjectError, match=r"a known design state, not 'Vivado v\.2023\.2 .*' and 'Dreamt'"):
        vendor.read_vivado(changed(tmp_path, "util.rpt", "Fully Placed", "Dreamt"))


def test_an_unreadable_report_raises(tmp_path):
    with pytest.raises(ProjectError, match=r"nowhere\.rpt: cannot be read \(No such file"):
        vendor.read_vivado(tmp_path / "nowhere.rpt")


# The record -----------------------------------------------------------------------------------------

GOOD = {
    "name": "lut", "value": 12, "unit": "LUT", "stage": FigureStage.SYNTHESISED,
    "tool": "yosys", "version": "0.70", "target": "xcup",
}  # fmt: skip


@pytest.mark.parametrize("field", ["tool", "version", "target"])
@pytest.mark.parametrize("value", ["", " ", None])
def test_a_figure_without_provenance_cannot_be_made(field, value):
    with pytest.raises(ModelError, match=f"figure 'lut': {field} must say where it comes from, not "):
        Figure(**{**GOOD, field: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "synthesised"}, "stage must be one of estimated, .* not 'synthesised'"),
        ({"value": None}, "without a value it must say why"),
        ({"why": "no reason"}, "has the value 12, so no reason for its absence"),
        ({"value": float("nan")}, "value must be finite, not nan"),
        ({"name": ""}, "name must not be empty"),
    ],
)
def test_a_figure_that_contradicts_itself_cannot_be_made(change, message):
    with pytest.raises(ModelError, match=message):
        Figure(**{**GOOD, **change})


def test_a_figure_prints_its_value_unit_and_provenance():
    assert str(Figure(**{**GOOD, "value": 12345})) == "lut: 12,345 LUT (synthesised, yosys 0.70, xcup)"
    assert Figure(**{**GOOD, "value": 122.0256, "unit": "MHz"}).text == "122 MHz"


def test_an_absent_figure_prints_the_reason_and_never_zero():
    figure = missing("lut", "LUT", FigureStage.SYNTHESISED, "yosys", "0.70", "xcup", "yosys was stopped after 9 s")
    assert figure.text == "not measured: yosys was stopped after 9 s"


@pytest.mark.parametrize("figure", [Figure(**GOOD), Figure(**{**GOOD, "value": None, "why": "too big"})])
def test_a_record_holds_the_whole_figure(figure):
    record = to_record(figure)
    assert from_record(record) == figure
    assert list(record)[:7] == ["name", "value", "unit", "stage", "tool", "version", "target"]
    assert ("why" in record) == (figure.value is None)


def test_a_record_that_lacks_a_field_raises():
    record = to_record(Figure(**GOOD))
    del record["tool"]
    with pytest.raises(ModelError, match="figure 'lut': the record lacks tool"):
        from_record(record)


def test_a_record_of_an_unknown_stage_raises():
    with pytest.raises(ModelError, match=r"figure 'lut': stage must be one of .*, not 'guessed'"):
        from_record({**to_record(Figure(**GOOD)), "stage": "guessed"})
