"""Netlists of streams compute the golden model's integers, with gaps and with lines in block RAM; faults are caught."""

import numpy as np
import pytest
from mutation_graphs import OUTPUT, Layers, wave
from wrong_netlists import replace_in_module

from edgephys.core.errors import MismatchError, ToolError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.targets.rtl import equivalence, gate_level, place, simulate, synth, verilator
from edgephys.targets.rtl.cell_models import cell_models
from edgephys.targets.rtl.emit import emit
from edgephys.targets.rtl.options import RtlOptions

RAM = {"xcup": "RAMB18E2", "ecp5": "DP16KD"}
WINDOW = "layer_down_window"


def lines(columns, channels, bits):
    """Return a sum over three neighbours in a column, whose line buffer has ``columns`` words of pixels."""
    layers = Layers("lines", 4)
    builder = layers.builder
    x = builder.input("x", (3, columns, channels), Fixed(True, bits, 1))
    down = layers.dense("down", builder.window("down_window", x, (3, 1)), 1, None)
    return builder.finish(builder.requantise("next", down, OUTPUT))


def emitted(graph, folder, frames):
    """Return the facts of a stream of the graph, and random frames."""
    fixed = graph.input.fixed
    x = np.random.default_rng(2).integers(fixed.low, fixed.high, (frames, *graph.input.shape), endpoint=True)
    return emit(graph, folder, RtlOptions(clock_ns=5.0, io="stream")), x


@pytest.fixture
def with_replaced(monkeypatch, tmp_path):
    """Return what replaces a text, which must be there, everywhere in the netlist of the window."""
    return lambda before, after: replace_in_module(monkeypatch, tmp_path, WINDOW, before, after)


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
def test_the_netlist_of_a_stream_computes_the_golden_models_integers_in_the_time_of_the_rtl(family, tmp_path):
    graph = wave()
    facts, x = emitted(graph, tmp_path, 100)
    result = gate_level.simulated(tmp_path, facts, family, x)
    assert np.array_equal(result.outputs, evaluate.run(graph, x))
    rtl = simulate.simulate(tmp_path, facts, x)
    expected = (rtl.latency_cycles, rtl.first_cycles, rtl.ii)
    assert (result.latency_cycles, result.first_cycles, result.ii) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("family", "enabled"), [("xcup", ".CE(advance)"), ("ecp5", ".CE(advance)")])
def test_registers_that_do_not_wait_in_a_gap_are_caught(family, enabled, with_replaced, tmp_path):
    facts, x = emitted(wave(), tmp_path, 20)
    with_replaced(enabled, ".CE(1'h1)")
    with pytest.raises(MismatchError, match="gaps between its pixels"):
        gate_level.simulated(tmp_path, facts, family, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "field", "cells"),
    [
        ("xcup", (512, 1, 8), {"RAMB18E2": 1}),  # one port
        ("xcup", (512, 4, 9), {"RAMB36E2": 1}),  # one port reads, the other writes
        ("ecp5", (512, 1, 8), {"DP16KD": 1}),
        ("ecp5", (64, 2, 8), {"DP16KD": 1}),  # one port reads, the other writes
    ],
)
def test_lines_in_block_ram_compute_the_golden_models_integers(family, field, cells, tmp_path):
    graph = lines(*field)
    facts, x = emitted(graph, tmp_path, 3)
    primitives = gate_level.synthesised(tmp_path, facts, family).per_module[WINDOW].primitives
    assert cells.items() <= primitives.items()
    assert np.array_equal(gate_level.simulated(tmp_path, facts, family, x).outputs, evaluate.run(graph, x))


OTHER_CELLS = {
    "a write mode, UltraScale+": ("xcup", '("READ_FIRST")', '("NO_CHANGE")', "with one width and READ_FIRST, a cell"),
    "two widths, UltraScale+": ("xcup", ".READ_WIDTH_A(32'd18)", ".READ_WIDTH_A(32'd9)", "has widths 9, 18, 0, 0"),
    "a register, UltraScale+": ("xcup", ".DOA_REG(32'sd0)", ".DOA_REG(32'sd1)", "with one width and READ_FIRST"),
    "a reset, UltraScale+": ("xcup", ".RSTRAMARSTRAM(1'h0)", ".RSTRAMARSTRAM(1'h1)", "without resets and sleep"),
    "a write mode, ECP5": ("ecp5", '("READBEFOREWRITE")', '("NORMAL")', "DP16KD is modelled with one width"),
    "a register, ECP5": ("ecp5", '.REGMODE_A("NOREG")', '.REGMODE_A("OUTREG")', "DP16KD is modelled with one width"),
    "a reset, ECP5": ("ecp5", ".RSTA(1'h0)", ".RSTA(1'h1)", "DP16KD is modelled without resets"),
    "an unknown parameter, ECP5": ("ecp5", ".REGMODE_A(", '.SLEEP("ON"), .REGMODE_A(', "SLEEP"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "before", "after", "message"), OTHER_CELLS.values(), ids=OTHER_CELLS)
def test_a_block_ram_that_is_set_to_anything_else_ends_the_simulation(
    family, before, after, message, with_replaced, tmp_path
):
    facts, x = emitted(lines(512, 1, 8), tmp_path, 1)
    with_replaced(before, after)
    with pytest.raises(ToolError, match=message):
        gate_level.simulated(tmp_path, facts, family, x)


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
def test_a_word_that_is_not_written_is_caught_and_no_proof_of_a_memory_is_begun(family, with_replaced, tmp_path):
    graph = lines(512, 1, 8)
    facts, x = emitted(graph, tmp_path, 2)
    part = gate_level.synthesised(tmp_path, facts, family).per_module[WINDOW]
    proof = equivalence.prove("netlist", WINDOW, part, cell_models(family)[0])
    assert proof.holds is None and "it holds state" in proof.why and proof.seconds == 0.0
    with_replaced(*{"xcup": ("d })", "d[7:1], 1'h0 })"), "ecp5": (".DIA3(d[3])", ".DIA3(d[2])")}[family])
    assert not np.array_equal(gate_level.simulated(tmp_path, facts, family, x).outputs, evaluate.run(graph, x))


MEMORY = """\
module top (input wire clk, input wire [BITS+10:0] in_bits, output reg [BITS-1:0] out_bits);
  reg [BITS-1:0] memory [0:511];
  integer i;
  initial for (i = 0; i < 512; i = i + 1) memory[i] = {3{i * 41 + 5}};
  always @(posedge clk) begin
    if (in_bits[9]) out_bits <= memory[in_bits[8:0]];
    if (in_bits[9] && in_bits[10]) memory[in_bits[8:0]] <= in_bits[BITS+10:11];
  end
endmodule
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
@pytest.mark.parametrize("bits", [9, 18, 36, 72])
def test_a_block_ram_begins_with_its_contents_and_keeps_a_word_that_is_not_enabled(bits, family, tmp_path):
    source = tmp_path / "top.v"
    source.write_text(MEMORY.replace("BITS", str(bits)))
    design = synth.synthesise([source], "top", family)
    assert design.cells.bram
    words = np.random.default_rng(3).integers(0, 1 << 32, (3000, -(-(bits + 11) // 32)), np.uint32)
    words[:, -1] &= (1 << (bits + 11) % 32) - 1
    words[0, 0] |= 1 << 9  # the first clock reads, so that no output is undefined
    sides = [source], [design.per_module["top"].netlist, *cell_models(family)]
    rtl, netlist = (
        verilator.clocked(verilator.built(side, "top", (bits + 11, bits), (), 300.0), words, (bits + 11, bits), 60.0)
        for side in sides
    )
    assert np.array_equal(rtl, netlist) and len(np.unique(rtl)) > 400


@pytest.mark.slow
def test_a_routed_stream_with_memory_in_luts_computes_the_golden_models_integers(tmp_path):
    graph = wave()
    facts, x = emitted(graph, tmp_path, 1)
    placed = place.place([tmp_path / path for path in facts["sources"]], facts["top"], "25k")
    assert "TRELLIS_RAMW" in placed.netlist.read_text()
    routed = gate_level.simulated_as_routed(tmp_path, facts, placed.netlist, x)
    np.testing.assert_array_equal(routed.outputs, evaluate.run(graph, x))
