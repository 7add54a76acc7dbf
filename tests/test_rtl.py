"""The RTL project is one design over all layers, in stages of the clock; what cannot be exact is refused."""

import re

import numpy as np
import pytest
from hypothesis import example, given, strategies
from random_graphs import WITH_RTL, random_graph, vectors
from rtl_graphs import INPUT, assert_same_in_any_process, dense, tagger

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.targets.rtl import block_text, logic, netlist, simulate
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl.netlist import Element, Module
from edgephys.targets.rtl.options import RtlOptions
from edgephys.targets.rtl.schedule import plan

# The emitted text -------------------------------------------------------------------------------


@pytest.mark.slow
@given(strategies.integers(0, 10**6), strategies.sampled_from([0.4, 1.0, 2.5, 100.0]), strategies.booleans())
@example(623, 0.4, False)  # a matrix product of which one row is known beforehand
@example(21, 0.4, False)  # rows along two axes, and a window
def test_the_stages_in_turn_compute_what_the_golden_model_computes(seed, clock_ns, three):
    graph = random_graph(seed, WITH_RTL, 8)
    x = vectors(graph, 20)
    golden = evaluate.trace(graph, {graph.input.name: x})
    made = logic.trace(graph, three)
    delays = {part.block.name: part.delay_ns for part in made}
    schedule = plan(delays, {name: [] for name in delays}, clock_ns)
    edges = {graph.input.name: logic.uniform(graph.input.fixed, x[0].size)}
    for part in made:
        variable = [e.width > 0 for n in part.inputs for e in logic.over_rows(edges[n], part.block.copies)]
        edges |= {name: elements * part.block.copies for name, elements in part.outputs.items()}
        for row in range(part.block.copies):
            given_to = {n: of_row(golden[n], part.block.copies, row) for n in part.block.graph.inputs}
            if part.wires is not None:
                found = follow_wires(part, given_to)
            else:
                found = run_stages(part, schedule, np.concatenate([*given_to.values()], axis=1)[:, variable])
            for name, values in found.items():
                np.testing.assert_array_equal(values, of_row(golden[name], part.block.copies, row))


def of_row(edge: np.ndarray, copies: int, row: int) -> np.ndarray:
    return edge.reshape(len(edge), copies, -1)[:, row]


def follow_wires(part, given_to):
    count = len(next(iter(given_to.values())))
    sources = {**given_to, logic.ZERO.edge: np.zeros((count, 1), np.int64)}
    return {
        name: np.stack([sources[wire.edge][:, wire.index] << wire.shift for wire in wires], axis=1)
        for name, wires in part.wires.items()
    }


def run_stages(part, schedule, x):
    """Run alkaid's interpreter over a block's stages, one after the other."""
    values = x.astype(float)
    if part.program is not None:
        slot = schedule.slots[part.block.name]
        stage_of = [schedule.stage_of(part.block.name, op.latency) for op in part.program.ops]
        for program in block_text.cut(part.program, stage_of, slot.first, slot.last):
            values = program.predict(np.ascontiguousarray(values), n_threads=1)
    columns = iter(values.T)
    return {
        name: np.stack([next(columns) if e.width else np.full(len(x), e.constant) for e in elements], axis=1)
        for name, elements in part.outputs.items()
    }


@given(strategies.data())
def test_connected_bits_carry_the_value(data):
    source = data.draw(elements(), "source")
    inside = data.draw(elements(), "wanted")
    low, high = ends(source)
    value = data.draw(strategies.integers(low, high)) << source.shift
    word = ((value >> source.shift) & ((1 << source.width) - 1)) << source.offset
    found, place = 0, 0
    for piece in netlist.pieces(inside, "signal", source):
        mask = (1 << piece.width) - 1
        if piece.repeated:
            got = mask * (word >> piece.low & 1)
        else:
            got = (word >> piece.low & mask) if piece.signal else piece.constant
        found |= got << place
        place += piece.width
    assert place == inside.width
    assert found == (value >> inside.shift) & ((1 << inside.width) - 1)


@strategies.composite
def elements(draw):
    signed = draw(strategies.booleans())
    width = draw(strategies.integers(1 + signed, 9))
    return Element(draw(strategies.integers(0, 20)), width, signed, draw(strategies.integers(0, 6)))


def ends(element: Element) -> tuple[int, int]:
    if element.signed:
        return -(1 << (element.width - 1)), (1 << (element.width - 1)) - 1
    return 0, (1 << element.width) - 1


def test_a_known_element_is_driven_by_its_bits():
    (piece,) = netlist.pieces(Element(3, 5, True, 1), "", Element(0, 0, False, 0, -6))
    assert (piece.width, piece.constant) == (5, 0b11101)


def test_neighbouring_bits_are_one_assignment():
    module = Module("m", False, {"a": 12}, {"b": 12})
    for i in range(3):
        module.connect("b", Element(4 * i, 4, False, 0), "a", Element(4 * i, 4, False, 0))
    assert "assign b[11:0] = a[11:0];" in netlist.text(module, "verilog")
    assert "b(11 downto 0) <= a(11 downto 0);" in netlist.text(module, "vhdl")


@given(strategies.data())
def test_the_schedule_keeps_the_order_and_the_clock(data):
    delays = data.draw(
        strategies.lists(strategies.sampled_from([0.0, 0.3, 1.1, 4.9, 5.0, 12.7]), min_size=1, max_size=6)
    )
    names = [f"b{i}" for i in range(len(delays))]
    reads = {n: [m for m in names[:i] if data.draw(strategies.booleans())] for i, n in enumerate(names)}
    clock_ns = data.draw(strategies.sampled_from([0.7, 2.5, 5.0, 1000.0]))
    schedule = plan(dict(zip(names, delays, strict=True)), reads, clock_ns)
    assert schedule.period_ns <= clock_ns * (1 + 1e-5)
    assert schedule.stages == 1 or schedule.delay_ns > (schedule.stages - 1) * clock_ns
    for name, delay in zip(names, delays, strict=True):
        slot = schedule.slots[name]
        assert 1 <= slot.first <= slot.last <= schedule.stages
        assert all(schedule.slots[other].last <= slot.first for other in reads[name])
        times = np.linspace(0, delay, 9)
        stages = [schedule.stage_of(name, time) for time in times]
        assert stages == sorted(stages)
        assert stages[-1] == slot.last
        assert all(slot.start_ns + t <= s * schedule.period_ns + 1e-4 for t, s in zip(times, stages, strict=True))


def pairs() -> Graph:
    """Return all ordered pairs of 3 rows, at another binary point each, a layer on them, and their sum by receiver."""
    generator = np.random.default_rng(2)
    builder = Builder("pairs")
    x = builder.input("x", (3, 2), INPUT)
    coarse = builder.requantise("coarse", x, Fixed(True, 5, 4))
    others = np.array([[j for j in range(3) if j != i] for i in range(3)])
    receivers = builder.take("receivers", x, np.repeat(np.arange(3), 2).reshape(3, 2), 0)
    both = builder.concat("both", (receivers, builder.take("senders", coarse, others, 0)), 2)
    effect = builder.sum("received", dense(builder, "effect", both, 3, generator), 1)
    node = builder.concat("node", (coarse, effect), 1)
    return builder.finish(builder.reshape("flat", dense(builder, "object", node, 2, generator), (6,)))


@pytest.mark.slow
def test_layers_that_move_integers_are_wires_without_module_or_time(tmp_path):
    graph = pairs()
    x = vectors(graph, 200)
    facts = rtl.emit(graph, tmp_path, RtlOptions(clock_ns=2.0))
    blocks = {block["name"]: block for block in facts["blocks"]}
    wires = {name for name, block in blocks.items() if block["wires"]}
    assert wires == {"receivers", "senders", "both", "node", "flat"}
    assert {(blocks[name]["module"], blocks[name]["lut_estimate"]) for name in wires} == {(None, 0.0)}
    assert {path.stem for path in (tmp_path / "src").glob("*.v")} == {
        "edgephys_top", *(f"layer_{name}" for name in ("coarse", "effect", "received", "object"))
    }  # fmt: skip
    found, golden = simulate.probe(tmp_path, facts, x), evaluate.trace(graph, {"x": x})
    assert list(found) == [layer for layer, _ in graph.layers()]
    for layer, node in graph.layers():
        np.testing.assert_array_equal(found[layer], golden[node.name])


def convolutions(size: int = 4) -> Graph:
    """Return two convolutions over a field of two channels, the second depthwise along one axis, and their inputs."""
    generator = np.random.default_rng(2)
    builder = Builder("field")
    x = builder.input("x", (size, size, 2), INPUT)
    y = dense(builder, "first", builder.window("first_window", x, (3, 3)), 2, generator)
    each = np.kron([[3], [-5], [2]], np.eye(2, dtype=int))
    y = builder.dense("along", builder.window("along_window", y, (1, 3)), each, 2)
    return builder.finish(builder.concat("both", (y, builder.window("beside", x, (2, 2))), 2))


@pytest.mark.slow
def test_a_convolution_is_wires_and_one_pixels_logic_and_zeros_lie_beyond_the_edges(tmp_path):
    graph = convolutions()
    x = vectors(graph, 200)
    facts = rtl.emit(graph, tmp_path, RtlOptions(clock_ns=2.0, io="parallel"))
    blocks = {block["name"]: block for block in facts["blocks"]}
    assert {name: block["copies"] for name, block in blocks.items() if block["module"]} == {"first": 16, "along": 16}
    wires = {name for name, block in blocks.items() if block["wires"]}
    assert wires == {"first_window", "along_window", "beside", "both"}
    (corner, *_), *_ = blocks["first_window"]["wires"].values()
    assert corner == ["", 0, 0]
    found, golden = simulate.probe(tmp_path, facts, x), evaluate.trace(graph, {"x": x})
    assert list(found) == [layer for layer, _ in graph.layers()]
    for layer, node in graph.layers():
        np.testing.assert_array_equal(found[layer], golden[node.name])
    np.testing.assert_array_equal(simulate.simulate(tmp_path, facts, x).outputs, golden[graph.output.name])


@pytest.mark.parametrize("stages", [1, 2, 7])
def test_the_cutoff_sets_the_stages_and_the_facts_state_it(stages, tmp_path):
    delay = rtl.emit(tagger(), tmp_path / "whole", RtlOptions())["delay_estimate_ns"]
    facts = rtl.emit(tagger(), tmp_path / "cut", RtlOptions(clock_ns=10.0, cutoff_ns=delay / stages))
    assert (facts["stages"], facts["clock_ns"], facts["cutoff_ns"]) == (stages, 10.0, delay / stages)


def test_a_slower_clock_takes_fewer_stages(tmp_path):
    stages = [
        rtl.emit(tagger(), tmp_path / str(i), RtlOptions(clock_ns=ns))["stages"] for i, ns in enumerate((1, 5, 1000))
    ]
    assert stages[0] > stages[1] > stages[2] == 1


def test_a_layer_on_rows_is_written_once(tmp_path):
    few, many = (rtl.emit(tagger(n), tmp_path / str(n), RtlOptions()) for n in (4, 16))
    assert few["sources"] == many["sources"]
    assert [block["copies"] for block in many["blocks"] if block["name"].startswith("phi")] == [16, 16]
    top = (tmp_path / "16" / "src" / "edgephys_top.v").read_text()
    assert len(re.findall(r"layer_phi_1 u_phi_1_\d+ \(", top)) == 16
    assert many["lut_estimate"] > 3 * few["lut_estimate"]


def test_the_clock_is_honoured_over_the_whole_design_not_block_by_block(tmp_path):
    facts = rtl.emit(tagger(), tmp_path, RtlOptions(clock_ns=2.5))
    own = sum(
        int(np.ceil(block["delay_estimate_ns"] / facts["clock_ns"]))
        for block in facts["blocks"]
        if block["name"] != "short"
    )
    assert facts["stages"] == np.ceil(facts["delay_estimate_ns"] / facts["clock_ns"]) < own


@pytest.mark.slow
@pytest.mark.parametrize("language", ["verilog", "vhdl"])
def test_two_emissions_are_the_same_bytes_in_any_process(language, tmp_path):
    program = (
        "import json, sys; from pathlib import Path; sys.path.insert(0, 'tests'); from rtl_graphs import tagger\n"
        "from edgephys.targets.rtl.emit import emit\n"
        "from edgephys.targets.rtl.options import RtlOptions\n"
        "folder = Path(sys.argv[1])\n"
        "facts = emit(tagger(), folder, RtlOptions(sys.argv[2]))\n"
        "(folder / 'facts.json').write_text(json.dumps(facts))\n"
    )
    assert_same_in_any_process(program, tmp_path, language)


# Rounding, and what is refused ------------------------------------------------------------------


def rounded(rounding: Rounding, overflow: Overflow, signed: bool = True) -> Graph:
    builder = Builder("rounded")
    x = builder.input("x", (1,), Fixed(signed, 7, 4))
    return builder.finish(builder.requantise("round", x, Fixed(True, 4, 3, rounding, overflow)))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("overflow", WITH_RTL.overflows)
@pytest.mark.parametrize("rounding", WITH_RTL.roundings)
def test_every_rounding_is_the_golden_one_on_every_number(rounding, overflow, signed):
    graph = rounded(rounding, overflow, signed)
    x = np.arange(graph.input.fixed.low, graph.input.fixed.high + 1)[:, None]
    (part,) = logic.trace(graph, False)
    np.testing.assert_array_equal(part.program.predict(x.astype(float)), evaluate.run(graph, x))


def test_an_overflow_without_rtl_names_the_layer_and_writes_nothing(tmp_path):
    with pytest.raises(ModelError, match=r"layer 'round': .*SAT_ZERO has no RTL; use WRAP, SAT or SAT_SYM"):
        rtl.emit(rounded(Rounding.TRN, Overflow.SAT_ZERO), tmp_path, RtlOptions())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock_ns": 0.0}, r"clock_ns must be 0\.1\.\.1000, not 0\.0"),
        ({"clock_ns": -5.0}, r"clock_ns must be 0\.1\.\.1000"),
        ({"clock_ns": float("nan")}, r"clock_ns must be 0\.1\.\.1000"),
        ({"clock_ns": 1001.0}, r"clock_ns must be .*\.\.1000, not 1001"),
        ({"cutoff_ns": 0.0}, r"cutoff_ns must be 0\.1 or more and finite, not 0\.0; else it is the clock"),
        ({"cutoff_ns": float("inf")}, r"cutoff_ns must be 0\.1 or more and finite, not inf"),
        ({"cutoff_ns": float("nan")}, r"cutoff_ns must be 0\.1 or more and finite, not nan"),
        ({"language": "chisel"}, r"language must be verilog or vhdl, not 'chisel'"),
        ({"part": "virtex"}, r"part 'virtex'.*xcvu13p-flga2577-2-e"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        RtlOptions(**options)


def test_a_weight_that_double_precision_cannot_hold_is_refused(tmp_path):
    builder = Builder("wide")
    x = builder.requantise("none", builder.input("x", (2,), INPUT), Fixed(False, 1, 1))
    x = builder.scale("none", x, np.array(0), 0)
    graph = builder.finish(builder.dense("heavy", x, np.array([[1], [(1 << 54) + 1]]), 0))
    with pytest.raises(ModelError, match=r"layer 'heavy': dense .* a constant of 55 bits, RTL takes up to 53"):
        rtl.emit(graph, tmp_path, RtlOptions())


def test_an_edge_that_double_precision_cannot_hold_is_refused(tmp_path):
    builder = Builder("wide")
    x = builder.input("x", (1,), Fixed(True, 34, 4))
    graph = builder.finish(builder.scale("heavy", x, np.array((1 << 22) + 1), 0))
    with pytest.raises(ModelError, match=r"layer 'heavy': scale .* needs 56 bits, RTL is exact up to 53"):
        rtl.emit(graph, tmp_path, RtlOptions())


def test_a_graph_that_computes_nothing_is_refused(tmp_path):
    builder = Builder("nothing")
    graph = builder.finish(builder.input("x", (1,), INPUT))
    with pytest.raises(ModelError, match=r"its output is its input; there is nothing to build"):
        rtl.emit(graph, tmp_path, RtlOptions())


def test_outputs_known_beforehand_are_driven_by_constants(tmp_path):
    builder = Builder("known")
    x = builder.input("x", (2,), INPUT)
    x = builder.bias("layer", builder.dense("layer", x, np.array([[1, 0], [2, 0]]), 0), np.array([0, -3]), 0)
    graph = builder.finish(builder.scale("double", x, np.array(2), 0))
    facts = rtl.emit(graph, tmp_path, RtlOptions())
    found = facts["blocks"][-1]["outputs"][graph.output.name]
    golden = int(evaluate.run(graph, vectors(graph, 2))[0, 1])
    assert golden < 0
    assert (found[1][1], found[1][4]) == (0, golden)
    assert "'b" in (tmp_path / "src" / "edgephys_top.v").read_text()
