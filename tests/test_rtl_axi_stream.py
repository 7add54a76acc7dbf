"""`--axi-stream`: the same integers through AXI-Stream ports, which keep what the standard asks of both sides."""

import numpy as np
import pytest
from random_graphs import vectors
from rtl_graphs import tagger

from edgephys.core.errors import UsageError
from edgephys.graph import evaluate
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import gate_level, integration, lint, multiplex_simulate, scan, simulate
from edgephys.targets.rtl.bits import of_bits, unpacked
from edgephys.targets.rtl.options import RtlOptions

MONITOR = """module monitor (input wire clk, input wire [{width}:0] in_bits, output wire [{last}:0] out_bits);
  reg [{last}:0] seen;
  wire [{data_last}:0] data;
  wire valid, last, ready;
  edgephys_axis dut (
    .aclk(clk), .aresetn(in_bits[{width}]), .s_axis_tdata({{{pad}'d0, in_bits[{top}:0]}}), .s_axis_tvalid(1'b1),
    .s_axis_tready(ready), .m_axis_tdata(data), .m_axis_tvalid(valid), .m_axis_tlast(last),
    .m_axis_tready(in_bits[{wait}])
  );
  always @(posedge clk) seen <= {{ready, last, valid, in_bits[{wait}], data}};
  assign out_bits = seen;
endmodule
"""


def emitted(folder, graph=None, **options):
    options = RtlOptions(axi_stream=True, **options)
    graph = graph or tagger(8)
    facts = rtl.emit(graph, folder, options)
    integration.write(graph, folder, facts, options)
    return graph, facts


@pytest.mark.slow
@pytest.mark.parametrize("ii", [1, 4])
def test_the_integers_are_those_of_the_golden_model_with_waits_on_both_sides(tmp_path, ii):
    graph, facts = emitted(tmp_path, ii=ii)
    x = vectors(graph, 50)
    expected = evaluate.run(graph, x)
    simulated = simulate.simulate(tmp_path, facts, x)
    assert np.array_equal(simulated.outputs, expected) and (simulated.ii, facts["axi_stream"]["top"]) == (
        ii,
        "edgephys_axis",
    )
    assert np.array_equal(multiplex_simulate.simulate_with_gaps(tmp_path, facts, x), expected)
    assert "edgephys_axis dut" in (tmp_path / facts["bench_source"]).read_text()
    scan.scan(tmp_path, facts)


@pytest.mark.slow
def test_an_output_stays_valid_and_the_same_until_it_is_taken(tmp_path):
    _, facts = emitted(tmp_path, ii=4)
    (port,), (result,) = facts["input"], facts["output"]
    width, given = (of["bits"] * int(np.prod(of["shape"])) for of in (port, result))
    sizes = {name: facts["axi_stream"][f"{name}_bytes"] * 8 for name in ("input", "output")}
    text = MONITOR.format(
        width=width + 1, wait=width, top=width - 1, pad=sizes["input"] - width, data_last=sizes["output"] - 1,
        last=sizes["output"] + 3,
    )  # fmt: skip
    (tmp_path / "sim" / "monitor.v").write_text(text)
    ends = [
        [{**port, "shape": [width + 2], "bits": 1, "signed": False}],
        [{**result, "shape": [sizes["output"] + 4], "bits": 1, "signed": False}],
    ]
    watched = {
        **{key: value for key, value in facts.items() if key != "ii"},
        "bench": "monitor", "bench_source": "sim/monitor.v", "input": ends[0], "output": ends[1],
    }  # fmt: skip
    bench = simulate.build(tmp_path, watched)
    random = np.random.default_rng(3)
    bits = random.integers(0, 2, (600, width + 2))
    bits[:, width + 1] = np.arange(600) > 3  # aresetn
    seen = unpacked(bench.clocked(of_bits(bits.astype(np.uint8))), bench.outputs)[result["node"]]
    data, taken, valid, last = seen[:, : sizes["output"]], seen[:, -4], seen[:, -3], seen[:, -2]
    waits = (valid[:-1] == 1) & (taken[:-1] == 0)
    assert waits.sum() > 20 and (valid[1:][waits] == 1).all() and (data[1:][waits] == data[:-1][waits]).all()
    assert (last[valid == 1] == 1).all() and not data[:, given:].any()


@pytest.mark.slow
def test_no_tool_objects_to_it_and_scripts_name_its_top_and_clock(tmp_path):
    _, facts = emitted(tmp_path, prefix="one")
    assert [(of.tool, of.findings) for of in lint.of_project(tmp_path, facts) if not of.skipped and of.findings] == []
    assert "-top one_edgephys_axis" in (tmp_path / "vivado.tcl").read_text()
    assert "get_ports aclk" in (tmp_path / "constraints.xdc").read_text()
    assert "`s_axis_tdata` of" in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_its_netlist_computes_the_same(tmp_path):
    graph, facts = emitted(tmp_path, ii=4)
    x = vectors(graph, 30)
    simulated = gate_level.simulated(tmp_path, facts, gate_level.FAMILIES[0], x)
    assert np.array_equal(simulated.outputs, evaluate.run(graph, x))


def test_a_language_without_a_handshake_is_refused(tmp_path):
    with pytest.raises(UsageError, match="language must be verilog with an ii above 1 or a handshake, not vhdl"):
        rtl.emit(tagger(8), tmp_path, RtlOptions(axi_stream=True, language="vhdl"))
