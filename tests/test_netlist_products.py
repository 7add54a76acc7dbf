"""Netlists in which multipliers are cells of their own compute the golden model's integers; a wrong cell is caught."""

import numpy as np
import pytest
from wrong_netlists import replace_in_module

from edgephys.core.errors import ToolError
from edgephys.core.fixed import Fixed
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.rtl import gate_level, place
from edgephys.targets.rtl.emit import emit
from edgephys.targets.rtl.options import RtlOptions

pytestmark = pytest.mark.slow

LAYER = "layer_product"
CELLS = {"xcup": "DSP48E2", "ecp5": "MULT18X18D"}


def product(bits, signed):
    """Return the product of two numbers."""
    builder = Builder("product")
    x = builder.input("x", (2,), Fixed(signed, bits, 4))
    return builder.finish(builder.mul("product", builder.take("left", x, [0], 0), builder.take("right", x, [1], 0)))


def emitted(graph, folder):
    """Return a project of the graph, and vectors for it: random ones and every pair of the lowest and highest."""
    facts = emit(graph, folder, RtlOptions(clock_ns=5.0))
    fixed = graph.input.fixed
    x = np.random.default_rng(2).integers(fixed.low, fixed.high, (100, 2), endpoint=True)
    ends = (fixed.low, fixed.high)
    x[:4] = [(left, right) for left in ends for right in ends]
    return facts, x


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return the product of two signed numbers of 5 bits, its project's folder and facts, and vectors."""
    graph, folder = product(5, True), tmp_path_factory.mktemp("product")
    return graph, folder, *emitted(graph, folder)


@pytest.fixture
def replace_in_netlist(monkeypatch, tmp_path):
    """Return what replaces a text, which must be there, at its first place in the netlist of the product."""
    return lambda before, after: replace_in_module(monkeypatch, tmp_path, LAYER, before, after, 1)


@pytest.mark.slow
@pytest.mark.parametrize("family", gate_level.FAMILIES)
@pytest.mark.parametrize(("bits", "signed"), [(8, True), (16, False), (18, True), (24, True), (25, False)])
def test_a_netlist_with_multipliers_computes_every_product(bits, signed, family, tmp_path):
    graph = product(bits, signed)
    facts, x = emitted(graph, tmp_path)
    assert CELLS[family] in gate_level.synthesised(tmp_path, facts, family).per_module[LAYER].primitives
    assert np.array_equal(gate_level.simulated(tmp_path, facts, family, x).outputs, evaluate.run(graph, x))


@pytest.mark.parametrize("family", [pytest.param("xcup", marks=pytest.mark.slow), "ecp5"])
def test_a_product_in_a_multiplier_is_proven_equal_to_its_rtl(small, family):
    _, folder, facts, _ = small
    proofs = list(gate_level.proofs(folder, facts, [family], lambda message: None))
    assert [proof.holds for proof in proofs if proof.module == LAYER] == [True], proofs


FAULTS = {
    "one bit of an operand is another's, UltraScale+": ("xcup", "model_inp[4:0] }", "model_inp[4:1], model_inp[1] }"),
    "one bit of an operand is another's, ECP5": ("ecp5", ".A0(model_inp[0])", ".A0(model_inp[1])"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "before", "after"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_bit_of_a_multiplier_changes_outputs_and_is_disproven(small, replace_in_netlist, family, before, after):
    graph, folder, facts, x = small
    replace_in_netlist(before, after)
    assert not np.array_equal(gate_level.simulated(folder, facts, family, x).outputs, evaluate.run(graph, x))
    proofs = list(gate_level.proofs(folder, facts, [family], lambda message: None))
    assert [proof.module for proof in proofs if proof.holds is False] == [LAYER]


OTHER_CELLS = {
    "a register, UltraScale+": ("xcup", ".MREG(32'sd0)", ".MREG(32'sd1)", "without registers, a cell has other"),
    "a default, UltraScale+": ("xcup", ".PREG(32'sd0),", "", "without registers, a cell has other"),
    "a mode, UltraScale+": ("xcup", ".OPMODE(9'h005)", ".OPMODE(9'h035)", "a cell has 035, 00, 0"),
    "an unknown parameter, UltraScale+": ("xcup", ".PREG(", '.AUTORESET_PATDET("NO_RESET"), .PREG(', "AUTORESET"),
    "a register, ECP5": ("ecp5", "MULT18X18D", 'MULT18X18D #(.REG_OUTPUT_CLK("CLK0"))', "without registers, a cell"),
    "a shifted input, ECP5": ("ecp5", ".SOURCEA(1'h0)", ".SOURCEA(1'h1)", "a cell has 1 and 0"),
    "an unknown parameter, ECP5": ("ecp5", "MULT18X18D", "MULT18X18D #(.ROUND(1))", "ROUND"),
}


@pytest.mark.parametrize(("family", "before", "after", "message"), OTHER_CELLS.values(), ids=OTHER_CELLS)
def test_a_multiplier_that_is_set_to_anything_else_ends_the_simulation_with_its_name(
    small, replace_in_netlist, family, before, after, message
):
    _, folder, facts, x = small
    replace_in_netlist(before, after)
    with pytest.raises(ToolError, match=message) as raised:
        gate_level.simulated(folder, facts, family, x)
    assert "AUTORESET" in message or "ROUND" in message or CELLS[family] in str(raised.value)


@pytest.mark.parametrize(
    ("family", "before", "after"),
    [
        ("xcup", ".MREG(32'sd0)", ".MREG(32'sd1)"),
        ("ecp5", "MULT18X18D", 'MULT18X18D #(.REG_OUTPUT_CLK("CLK0"))'),
    ],
)
def test_a_multiplier_with_a_register_is_not_proven(small, replace_in_netlist, family, before, after):
    _, folder, facts, _ = small
    replace_in_netlist(before, after)
    (proof,) = (p for p in gate_level.proofs(folder, facts, [family], lambda message: None) if p.module == LAYER)
    assert proof.holds is None and f"{CELLS[family]}_of_other_parameters" in proof.why


@pytest.mark.slow
def test_a_signed_operand_of_all_bits_that_is_read_as_unsigned_changes_outputs(replace_in_netlist, tmp_path):
    graph = product(18, True)
    facts, x = emitted(graph, tmp_path)
    replace_in_netlist(".SIGNEDB(1'h1)", ".SIGNEDB(1'h0)")
    assert not np.array_equal(gate_level.simulated(tmp_path, facts, "ecp5", x).outputs, evaluate.run(graph, x))


@pytest.mark.slow
def test_a_routed_multiplier_computes_every_product(small):
    graph, folder, facts, x = small
    placed = place.place([folder / path for path in facts["sources"]], facts["top"], "25k")
    assert placed.dsp == 1
    result = gate_level.simulated_as_routed(folder, facts, placed.netlist, x)
    assert np.array_equal(result.outputs, evaluate.run(graph, x))
