"""Netlists are simulated with the models of their cells and proven equal; a wrong bit is caught in both ways."""

import dataclasses
import json
import re

import numpy as np
import pytest
from rtl_graphs import INPUT, dense

from edgephys.core import processes as tools
from edgephys.core.errors import ToolError, UsageError
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.report.render import page
from edgephys.report.show import proofs_table
from edgephys.targets.rtl import aiger, cell_models, equivalence, gate_level, place, routed, simulate, synth
from edgephys.targets.rtl.bits import to_bits
from edgephys.targets.rtl.emit import emit
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.target import Proof

PHI = "layer_phi_1"


@pytest.fixture(scope="module")
def graph():
    """Return two rows through one layer, and their sum."""
    builder = Builder("small")
    phi = dense(builder, "phi_1", builder.input("x", (2, 3), INPUT), 3, np.random.default_rng(1))
    return builder.finish(builder.sum("sum", phi, 0))


@pytest.fixture(scope="module")
def emitted(graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("netlist")
    return folder, emit(graph, folder, RtlOptions(clock_ns=2.0))


@pytest.fixture(scope="module")
def x(graph):
    fixed = graph.input.fixed
    return np.random.default_rng(2).integers(fixed.low, fixed.high, (300, *graph.input.shape), endpoint=True)


def flipped(path, to):
    """Copy a netlist with one bit of the truth table of one of its LUTs flipped, and return the copy."""
    text = path.read_text()
    matches = list(re.finditer(r"LUT[3-6] #\(\s*\.INIT\(\d+'h([0-9a-f]+)\)", text))
    match = matches[len(matches) // 2]
    wrong = f"{int(match[1], 16) ^ 1:0{len(match[1])}x}"
    to.write_text(text[: match.start(1)] + wrong + text[match.end(1) :])
    return to


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Flip a bit of the netlist of phi_1, whatever the family."""
    synthesise = synth.synthesise

    def with_fault(*words, **options):
        design = synthesise(*words, **options)
        part = design.per_module[PHI]
        wrong = dataclasses.replace(part, netlist=flipped(part.netlist, tmp_path / f"{design.family}.v"))
        return dataclasses.replace(design, per_module={**design.per_module, PHI: wrong})

    monkeypatch.setattr(synth, "synthesise", with_fault)


def proofs_of(emitted, family):
    return list(gate_level.proofs(*emitted, [family], lambda message: None))


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
def test_a_netlist_computes_the_golden_models_integers_in_the_latency_of_the_rtl(graph, emitted, x, family):
    folder, facts = emitted
    result = gate_level.simulated(folder, facts, family, x)
    assert np.array_equal(result.outputs, evaluate.run(graph, x))
    rtl = simulate.simulate(folder, facts, x)
    assert (result.latency_cycles, result.ii) == (rtl.latency_cycles, rtl.ii)


@pytest.mark.slow
def test_a_flipped_bit_of_one_lut_changes_the_outputs_in_simulation(graph, emitted, x, broken):
    folder, facts = emitted
    assert not np.array_equal(gate_level.simulated(folder, facts, "ecp5", x).outputs, evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["xcup", "ecp5"])
def test_every_module_of_a_small_network_is_proven_equal_to_its_rtl(emitted, family):
    proofs = proofs_of(emitted, family)
    assert {"edgephys_top", PHI} <= {proof.module for proof in proofs}
    assert all(proof.holds for proof in proofs), proofs


@pytest.mark.slow
@pytest.mark.parametrize("family", [pytest.param("xcup", marks=pytest.mark.slow), "ecp5"])
def test_a_flipped_bit_of_one_lut_is_disproven_in_its_module_alone(emitted, broken, family):
    proofs = proofs_of(emitted, family)
    assert [proof.module for proof in proofs if not proof.holds] == [PHI]
    (wrong,) = (proof for proof in proofs if not proof.holds)
    assert wrong.holds is False and "an input for which the netlist differs" in wrong.why


@pytest.mark.slow
def test_a_routed_design_computes_the_golden_models_integers_and_an_inverted_lut_does_not(graph, emitted, x, tmp_path):
    folder, facts = emitted
    placed = place.place([folder / path for path in facts["sources"]], facts["top"], "25k")
    result = gate_level.simulated_as_routed(folder, facts, placed.netlist, x)
    assert np.array_equal(result.outputs, evaluate.run(graph, x))
    assert result.latency_cycles == simulate.simulate(folder, facts, x).latency_cycles
    (design,) = (record := json.loads(placed.netlist.read_text()))["modules"].values()
    lut = next(cell for cell in design["cells"].values() if all(cell["connections"].get(pin) for pin in "CDF"))
    lut["parameters"]["INITVAL"] = lut["parameters"]["INITVAL"].translate(str.maketrans("01", "10"))
    broken = tmp_path / "routed.json"
    broken.write_text(json.dumps(record))
    wrong = gate_level.simulated_as_routed(folder, facts, broken, x)
    assert not np.array_equal(wrong.outputs, evaluate.run(graph, x))


def test_what_nextpnr_leaves_to_convention_is_stated_for_the_models():
    cells = [
        {
            "type": "TRELLIS_COMB",
            "parameters": {"MODE": "DPRAM", "WREMUX": "WRE", "WCKMUX": "WCK"},
            "connections": {"A": [2], "B": []},
            "port_directions": {},
        },
        {"type": "TRELLIS_FF", "parameters": {"SD": "0 "}, "connections": {"M": [4]}, "port_directions": {}},
        {"type": "TRELLIS_FF", "parameters": {"SD": "1 "}, "connections": {"DI": [5]}, "port_directions": {}},
        {
            "type": "MULT18X18D",
            "parameters": {"C0MUX": "0 ", "A1MUX": "1 ", "CLK0MUX": "INV"},
            "connections": {"A0": [6], "C0": []},
            "port_directions": {},
        },
    ]
    for cell in cells:
        routed._explicit(cell)
    memory, second, first, multiplier = cells
    assert memory["parameters"] == {"MODE": "DPRAM", "WREMUX": "WRE"}
    assert memory["connections"] == {"A": [2], "B": ["1"], "C": ["1"], "D": ["1"]}
    assert second["connections"]["DI"] == [4] and first["connections"] == {"DI": [5]}
    assert second["parameters"] == first["parameters"] == {}
    assert multiplier["connections"] == {"A0": [6], "C0": ["0"], "A1": ["1"]}
    assert multiplier["parameters"] == {"CLK0MUX": "INV"}  # no constant: the model refuses it


def value_of(cells, bits, out):
    """Return the value of a net of Yosys' tables and multiplexers, where ``bits`` are the values of the nets below."""
    if out in ("0", "1"):
        return int(out)
    if out in bits:
        return bits[out]
    cell = next(cell for cell in cells.values() if cell["connections"]["Y"] == [out])
    pins = cell["connections"]
    if cell["type"] == "$mux":
        return value_of(cells, bits, pins["B" if value_of(cells, bits, pins["S"][0]) else "A"][0])
    place = sum(value_of(cells, bits, bit) << number for number, bit in enumerate(pins["A"]))
    return int(cell["parameters"]["LUT"], 2) >> place & 1


MODEL = """\
module bench (input wire clk, input wire [8:0] in_bits, output reg [{last}:0] out_bits);
  wire [{last}:0] out;
{cells}
  always @(posedge clk) out_bits <= out;
endmodule
"""
OF_MODEL = """\
  TRELLIS_COMB #(.MODE("{mode}"), .INITVAL(16'd{init}), .CCU2_INJECT1("{inject}"), .IS_Z1({z1})) cell_{n} (
    .A(in_bits[0]), .B(in_bits[1]), .C(in_bits[2]), .D(in_bits[3]), .FCI(in_bits[4]), .M(in_bits[5]), .F1(in_bits[6]),
    .FXA(in_bits[7]), .FXB(in_bits[8]), .F(out[{f}]), .FCO(out[{fco}]), .OFX(out[{ofx}]));
"""


@pytest.mark.slow
def test_the_tables_of_a_routed_lut_are_those_of_its_model(tmp_path, monkeypatch):
    from edgephys.targets.rtl import routed_luts, verilator

    generator = np.random.default_rng(6)
    kinds = [("LOGIC", "NO", 0), ("LOGIC", "NO", 1), ("CCU2", "NO", 0), ("CCU2", "YES", 0)]
    kinds = [(*kind, int(generator.integers(0, 1 << 16))) for kind in kinds for _ in range(4)]
    texts = []
    for n, (mode, inject, z1, init) in enumerate(kinds):
        places = {"f": 3 * n, "fco": 3 * n + 1, "ofx": 3 * n + 2}
        texts.append(OF_MODEL.format(n=n, mode=mode, inject=inject, z1=z1, init=init, **places))
    (tmp_path / "bench.v").write_text(MODEL.format(last=3 * len(kinds) - 1, cells="".join(texts)))
    widths = (9, 3 * len(kinds))
    built = verilator.built([*cell_models.cell_models("ecp5"), tmp_path / "bench.v"], "bench", widths, (), 600.0)
    words = np.arange(1 << 9, dtype=np.uint32)[:, None]
    bits = to_bits(verilator.clocked(built, words, widths, 600.0))
    for n, (mode, inject, z1, init) in enumerate(kinds):
        names = ["A", "B", "C", "D", "FCI", "M", "F1", *(("FXA", "FXB") if z1 else ())]
        pins = {name: [number] for number, name in enumerate(names)}
        pins |= {"F": [20], "OFX": [22]} | ({"FCO": [21]} if mode == "CCU2" else {})
        parameters = {"MODE": mode if mode == "CCU2" else "", "INITVAL": f"{init:016b}", "CCU2_INJECT1": inject}
        cell = {"type": "TRELLIS_COMB", "parameters": parameters, "connections": pins}
        assert routed_luts.is_lut(cell)
        cells = routed_luts.replaced("cell", cell, iter([30]).__next__)
        for word in range(1 << 9):
            inputs = {number: word >> number & 1 for number in range(9)}
            ours = [value_of(cells, inputs, out) for out in (20, *([21] if mode == "CCU2" else []), 22)]
            of_model = [bits[word, 3 * n], *([bits[word, 3 * n + 1]] if mode == "CCU2" else []), bits[word, 3 * n + 2]]
            assert ours == of_model, (mode, inject, z1, word)


def test_a_routed_lut_without_nets_on_its_pins_reads_ones_there():
    from edgephys.targets.rtl import routed_luts

    pins = {"A": [2], "B": [], "F": [], "OFX": [5], "FXA": [3], "FXB": [4], "M": [6]}
    cell = {"type": "TRELLIS_COMB", "parameters": {"INITVAL": "0" * 16}, "connections": pins}
    table, mux = routed_luts.replaced("cell", cell, iter([30]).__next__).values()
    assert table["connections"] == {"A": [2, "1", "1", "1"], "Y": [30]}
    assert mux["connections"] == {"A": [3], "B": [4], "S": [6], "Y": [5]}


def test_a_routed_cell_without_a_model_is_refused_by_name(tmp_path):
    path = tmp_path / "routed.json"
    path.write_text(
        json.dumps(
            {"modules": {"top": {"cells": {"product": {"type": "ALU54B", "parameters": {}, "connections": {}}}}}}
        )
    )
    models, _ = cell_models.cell_models("ecp5")
    with pytest.raises(ToolError, match="module 'edgephys_top': there is no simulation model of its cells ALU54B"):
        routed.verilog(path, "edgephys_top", models)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"type": "TRELLIS_IO", "parameters": {"DIR": "BIDIR"}, "connections": {"I": [2], "O": [3], "B": [4]}},
         "cell 'pin': there is no simulation model of a TRELLIS_IO BIDIR with I, O, B"),
        ({"type": "DCCA", "parameters": {}, "connections": {"CLKI": [2], "CLKO": [3], "CE": [4]}},
         "cell 'pin': there is no simulation model of a DCCA  with CLKI, CLKO, CE"),
    ],
)  # fmt: skip
def test_a_pin_of_both_directions_and_a_clock_that_can_be_switched_off_are_refused(cell, message, tmp_path):
    path = tmp_path / "routed.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": {"pin": cell}}}}))
    models, _ = cell_models.cell_models("ecp5")
    with pytest.raises(ToolError, match=message):
        routed.verilog(path, "edgephys_top", models)


MEMORY = """\
module memory (input wire clk, input wire write, input wire [3:0] to, input wire [3:0] from, input wire [2:0] data,
  output reg [2:0] q);
  reg [2:0] words [0:15];
  reg [3:0] place;
  always @(posedge clk) begin
    if (write) words[to] <= data;
    place <= from;
    q <= words[place];
  end
endmodule
"""


@pytest.mark.slow
def test_a_routed_memory_of_luts_is_the_memory(tmp_path, monkeypatch):
    from edgephys.targets.rtl import verilator

    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "memory.v"
    source.write_text(MEMORY)
    placed = place.place([source], "memory", "25k")
    (design,) = json.loads(placed.netlist.read_text())["modules"].values()
    cells = design["cells"].values()
    assert any(cell["type"] == "TRELLIS_RAMW" for cell in cells)
    ports = ".clk(clk), .write(in_bits[0]), .to(in_bits[4:1]), .from(in_bits[8:5]), .data(in_bits[11:9]), .q(out_bits)"
    bench = tmp_path / "bench.v"
    bench.write_text(
        "module bench (input wire clk, input wire [11:0] in_bits, output wire [2:0] out_bits);\n"
        f"memory dut ({ports});\nendmodule\n"
    )
    words = np.random.default_rng(3).integers(0, 1 << 12, (4000, 1)).astype(np.uint32)
    models = cell_models.cell_models("ecp5")
    netlist = routed.verilog(placed.netlist, "memory", models[0])
    of_rtl, of_routed = (
        verilator.clocked(verilator.built([*of, bench], "bench", (12, 3), (), 600.0), words, (12, 3), 600.0)
        for of in ([source], [netlist, *models])
    )
    assert np.array_equal(of_rtl[200:], of_routed[200:]) and len(set(of_rtl[200:, 0])) == 8


def test_the_carry_of_a_placed_lut_leaves_its_cell():
    models, _ = cell_models.cell_models("ecp5")
    assert "assign FCO = " in models.read_text() and "wire FCO = " not in models.read_text()


def test_an_and_inverter_graph_is_unrolled_through_its_registers_with_constants_simplified():
    # q1 = x, q2 = q1 and y; the output is q2: x of two clocks before and y of one before
    text = "aag 5 2 2 1 1\n2\n4\n6 2\n8 10\n8\n10 6 4\ni0 x\ni1 y\no0 z\nc\ntwo registers\n"
    unrolled = aiger.Unrolled(100)
    outputs = unrolled.add(aiger.read(text))
    assert set(unrolled.inputs) == {("x", 2), ("y", 1)} and len(unrolled.gates) == 1
    assert unrolled.written(outputs) == b"aig 3 2 0 1 1\n6\n\x02\x02"
    assert unrolled.add(aiger.read(text)) == outputs and len(unrolled.gates) == 1
    constant = aiger.read("aag 4 1 1 2 2\n2\n4 8\n6\n9\n6 2 1\n8 6 3\ni0 x\no0 a\no1 b\n")
    assert unrolled.add(constant) == {"a": unrolled.inputs["x", 0], "b": 1}


def test_a_circuit_with_feedback_and_one_that_is_too_large_are_not_unrolled():
    with pytest.raises(aiger.HoldsStateError):
        aiger.Unrolled(100).add(aiger.read("aag 3 1 1 1 1\n2\n4 6\n4\n6 4 2\ni0 x\no0 z\n"))
    with pytest.raises(aiger.TooLargeError):
        aiger.Unrolled(2).add(aiger.read("aag 3 2 0 1 1\n2\n4\n6\n6 4 2\ni0 x\ni1 y\no0 z\n"))


@pytest.mark.slow
def test_a_proof_that_takes_too_long_says_so_and_is_tried_again(emitted, monkeypatch, tmp_path):
    run = tools.run

    def slow_abc(command, folder, timeout_s, *words, **options):
        if options.get("name") == "ABC":
            raise ToolError(f"ABC was stopped after {timeout_s:g} s; give it more time or a smaller design")
        return run(command, folder, timeout_s, *words, **options)

    design = gate_level.synthesised(*emitted, "ecp5")
    models, _ = cell_models.cell_models("ecp5")
    part = design.per_module[PHI]
    monkeypatch.setenv("EDGEPHYS_CACHE", str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(tools, "run", slow_abc)
        proof = equivalence.prove("netlist_ecp5", PHI, part, models)
    assert proof.holds is None and proof.why == "time over: ABC had not decided after 60 s"
    assert equivalence.prove("netlist_ecp5", PHI, part, models).holds is True


def test_a_cell_without_a_model_is_refused_by_name():
    models, _ = cell_models.cell_models("ecp5")
    cell_models.require_models(models, ["LUT4", "CCU2C", "TRELLIS_FF", "PFUMX", "L6MUX21"], "layer")
    with pytest.raises(ToolError, match="module 'layer': there is no simulation model of its cells ALU54B, RAMB18E2"):
        cell_models.require_models(models, ["LUT4", "RAMB18E2", "ALU54B"], "layer")


def test_vhdl_has_no_netlist_here():
    with pytest.raises(UsageError, match="--netlist goes with Verilog"):
        gate_level.require_verilog({"language": "vhdl"})


def test_a_netlist_of_many_cells_is_simulated_on_fewer_vectors():
    assert gate_level.most({"lut_estimate": 100.0}) > 100_000
    assert gate_level.most({"lut_estimate": 20_000.0, "io": "stream", "field": [64, 64]}) == gate_level.FEWEST


def test_the_table_of_proofs_says_what_is_proven_and_why_the_rest_is_not():
    proofs = [
        Proof("netlist_ecp5", "layer_a", True, "ABC, equal for every input", 1.25),
        Proof("netlist_ecp5", "layer_b", None, "time over: ABC had not decided after 60 s", 60.0),
        Proof("netlist_ecp5", "layer_c", False, "ABC has an input for which the netlist differs from the RTL", 2.0),
    ]
    text = page(proofs_table({"proofs": [proof.to_record() for proof in proofs]}), "proofs")
    assert "1 of 3 modules proven" in text
    assert "| layer_b | no | time over: ABC had not decided after 60 s | 60.0 |" in text
    assert "| layer_c | differs |" in text
