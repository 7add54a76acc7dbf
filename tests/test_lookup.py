"""A table of results: any function of one narrow integer is the same on numbers, in the witness and on every target."""

from dataclasses import replace

import numpy as np
import pytest
from every_target import FIRMWARE, assert_equal
from hypothesis import given, settings, strategies
from random_graphs import vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.coverage import coverage_of
from edgephys.graph.graph import Graph, from_record, to_record
from edgephys.graph.ops import Lookup
from edgephys.graph.ops.lookup import MOST_ENTRIES
from edgephys.graph.partition import blocks
from edgephys.graph.ranges import derive, reason, require_proven
from edgephys.targets.registry import TARGETS
from edgephys.verify import plain

X = Fixed(True, 6, 3)


def table_graph(results, first=-32, fixed=X, shape=(4, 3), fraction=4) -> Graph:
    builder = Builder("tables")
    return builder.finish(builder.lookup("t", builder.input("x", shape, fixed), first, results, fraction))


def network() -> Graph:
    """Return a network with a table for all channels, and a finer one for each channel of the same layer's result."""
    generator, builder = np.random.default_rng(0), Builder("network")
    x = builder.input("x", (2, 3), Fixed(True, 7, 3))
    x = builder.dense("phi", x, generator.integers(-3, 4, (3, 4)), 2)
    x = builder.requantise("phi", x, Fixed(True, 7, 3, Rounding.RND, Overflow.SAT))
    x = builder.lookup("tanh", x, -64, np.rint(127 * np.tanh(np.arange(-64, 64) / 16)).astype(int), 7)
    x = builder.lookup("any", x, -127, generator.integers(-9, 9, (4, 255)), 3)
    return builder.finish(builder.dense("rho", x, generator.integers(-3, 4, (4, 2)), 2))


def whole(graph: Graph) -> np.ndarray:
    """Return every integer of the input's format, in every element."""
    fixed = graph.input.fixed
    integers = np.arange(fixed.low, fixed.high + 1)
    return np.broadcast_to(integers.reshape(-1, *(1 for _ in graph.input.shape)), (len(integers), *graph.input.shape))


# What it computes ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(strategies.data())
def test_any_table_gives_its_entries_on_numbers_in_the_witness_and_within_exact_ranges(data):
    signed, bits = data.draw(strategies.booleans()), data.draw(strategies.integers(2, 7))
    fixed = Fixed(signed, bits, data.draw(strategies.integers(-2, 4)))
    channels, more = data.draw(strategies.sampled_from([(), (3,)])), data.draw(strategies.integers(0, 3))
    entries = fixed.high - fixed.low + 1 + 2 * more
    width = data.draw(strategies.sampled_from([1, 8, 30, 60]))
    results = np.random.default_rng(data.draw(strategies.integers(0, 99))).integers(
        -(1 << width), 1 << width, (*channels, entries)
    )
    graph = table_graph(results, fixed.low - more, fixed)
    (node,) = (node for node in graph.nodes if isinstance(node.op, Lookup))
    x, tables = whole(graph), results.reshape(-1, entries)
    rows = np.arange(3) if channels else 0
    expected = tables[rows, x - fixed.low + more]
    computed = evaluate.run(graph, x)
    np.testing.assert_array_equal(graph.output.fixed.values(computed), Fixed(True, 62, 58).values(expected))
    np.testing.assert_array_equal(plain.trace(to_record(graph), x)[node.name].astype(np.int64), computed)
    range_ = derive(graph)[node.name]
    np.testing.assert_array_equal(range_.low, computed.min(0))
    np.testing.assert_array_equal(range_.high, computed.max(0))
    assert from_record(to_record(graph)).digest == graph.digest


def test_a_table_of_one_number_is_read_without_an_axis():
    builder = Builder("scalar")
    x = builder.take("x", builder.input("x", (2,), X), np.array(1), 0)
    graph = builder.finish(builder.lookup("t", x, -32, np.arange(64)[::-1], 0))
    x = vectors(graph)
    np.testing.assert_array_equal(evaluate.run(graph, x), 31 - x[:, 1])
    np.testing.assert_array_equal(plain.trace(to_record(graph), x)[graph.output.name], 31 - x[:, 1])


def test_an_operand_whose_step_a_pass_makes_coarser_reads_the_same_results():
    builder = Builder("coarse")
    x = builder.scale("s", builder.input("x", (3,), X), np.array(4), 0)  # its constant is trimmed to 1
    results = np.random.default_rng(0).integers(-99, 99, 300)
    graph = builder.finish(builder.lookup("t", x, -140, results, 0))
    assert graph.by_name["s_scale"].fixed.fraction == X.fraction - 2
    x = whole(graph)
    np.testing.assert_array_equal(evaluate.run(graph, x), results[4 * x + 140])
    np.testing.assert_array_equal(plain.trace(to_record(graph), x)["t_lookup"], results[4 * x + 140])


def test_the_block_of_a_layer_reads_its_table_though_its_input_has_the_range_of_a_format():
    builder = Builder("blocks")
    x = builder.relu("r", builder.input("x", (3,), replace(X, overflow=Overflow.SAT_SYM)))
    x = builder.bias("r", x, np.array(-3), X.fraction)  # -3..28 in a format of -32..31
    graph = builder.finish(builder.lookup("t", x, -3, np.arange(32) ** 2, 0))
    (block,) = (block for block in blocks(graph) if block.layers == ("t",))
    x = np.arange(-3, 29)[:, None] * np.ones(3, int)
    np.testing.assert_array_equal(evaluate.run(block.graph, x), (x + 3) ** 2)


@pytest.mark.parametrize("style", [{}, {"style": "unrolled"}])
def test_c_computes_every_entry(style, tmp_path):
    assert_equal("c", network(), vectors, tmp_path, **style)


@pytest.mark.parametrize("style", [{}, {"style": "float"}])
def test_onnx_computes_every_entry(style, tmp_path):
    assert_equal("onnx", network(), vectors, tmp_path, **style)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), FIRMWARE)
def test_firmware_computes_every_entry_from_sources_that_pass_the_scan(target, options, tmp_path):
    assert_equal(target, network(), vectors, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls"])
def test_a_stream_of_pixels_reads_tables(target, tmp_path):
    builder, generator = Builder("stream"), np.random.default_rng(3)
    x = builder.lookup("first", builder.input("x", (4, 5, 2), Fixed(True, 5, 2)), -16, generator.integers(-9, 9, 32), 3)
    x = builder.dense("conv", builder.window("window", x, (3, 3)), generator.integers(-2, 3, (18, 2)), 1)
    x = builder.requantise("conv", x, Fixed(False, 6, 4, Rounding.RND, Overflow.SAT))
    graph = builder.finish(builder.lookup("last", x, 0, generator.integers(0, 99, (2, 64)), 3))
    assert_equal(target, graph, vectors, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), FIRMWARE)
def test_no_tool_objects_to_a_table(target, options, tmp_path):
    from edgephys.targets.hls import lint as hls_lint
    from edgephys.targets.rtl import lint as rtl_lint

    facts = TARGETS[target].emit(network(), tmp_path, TARGETS[target].options(**options))
    results = (hls_lint if target == "hls" else rtl_lint).of_project(tmp_path, facts)
    for result in results if isinstance(results, tuple) else (results,):
        assert (result.findings, result.skipped) == ((), None)


@pytest.mark.slow
def test_a_table_of_many_entries_is_logic_and_no_block_ram(tmp_path):
    from edgephys.targets.rtl import synth

    fixed = Fixed(True, 12, 3)
    values = np.rint(127 * np.tanh(np.arange(fixed.low, fixed.high + 1) * fixed.step)).astype(int)
    facts = TARGETS["rtl"].emit(table_graph(values, fixed.low, fixed, (1,)), tmp_path, TARGETS["rtl"].options())
    cells = synth.synthesise([tmp_path / name for name in facts["sources"]], facts["top"], flat=True).cells
    assert cells.bram == 0
    assert 0 < cells.lut < 500


# What is said of it --------------------------------------------------------------------------------


def test_coverage_counts_the_entries_that_vectors_read_of_those_that_can_be_read():
    graph = table_graph(np.random.default_rng(0).integers(0, 99, (3, 70)), first=-34)
    assert coverage_of(graph, whole(graph)).shares()["table entries"].to_record() == {"reached": 192, "possible": 192}
    coverage = coverage_of(graph, np.array([[[5, 6, 7]] * 4]))
    assert coverage.shares()["table entries"].to_record() == {"reached": 3, "possible": 192}
    np.testing.assert_array_equal(coverage.add(np.array([[[5, 6, 7]] * 4, [[5, 6, 8]] * 4])), [False, True])
    assert coverage.entries().reached == 4


def test_an_entry_of_an_integer_whose_low_bits_are_always_0_is_not_counted():
    builder = Builder("even")
    x = builder.scale("s", builder.input("x", (1,), X), np.array(2), 0)
    graph = builder.finish(builder.lookup("t", x, -64, np.arange(127), 0))
    assert coverage_of(graph, whole(graph)).entries().to_record() == {"reached": 64, "possible": 64}


def test_explain_says_how_many_entries_a_table_has():
    graph = network()
    ranges = derive(graph)
    reasons = [reason(graph, node, ranges) for node in graph.nodes if isinstance(node.op, Lookup)]
    assert reasons[0] == "looked up in a table of 128 entries: -127..127 steps of 2^-7"
    assert reasons[1].startswith("looked up in a table of 255 entries for each channel: ")


# What is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [0, MOST_ENTRIES + 1])
def test_a_table_has_a_limit_of_entries(entries):
    with pytest.raises(ModelError, match=rf"a table must have 1..4096 entries, not {entries}; round its operand"):
        table_graph(np.zeros(entries, int), 0)


@pytest.mark.parametrize("shape", [(2, 64), (1, 1, 64), ()])
def test_results_are_for_all_channels_or_for_each(shape):
    with pytest.raises(ModelError, match=r"results must be \(entries,\) or \(3, entries\), not "):
        table_graph(np.zeros(shape, int))


@pytest.mark.parametrize(("first", "entries"), [(-31, 63), (-32, 63)])
def test_every_integer_of_the_operand_needs_an_entry(first, entries):
    with pytest.raises(ModelError, match=r"its operand reaches -32..31, which must lie in the table's .*; add entries"):
        table_graph(np.arange(entries), first)


def test_a_record_whose_operand_leaves_the_table_is_not_proven():
    record = to_record(table_graph(np.arange(64)))
    record["nodes"][1]["first"] = -30
    with pytest.raises(ModelError, match=r"its operand reaches -32..31, which must lie in the table's -30..33"):
        require_proven(from_record(record))


def test_an_operand_with_finer_steps_than_the_table_is_refused():
    record = to_record(table_graph(np.arange(64)))
    record["nodes"][1]["operand_fraction"] -= 1
    with pytest.raises(ModelError, match=r"the table is for steps of 2\^-2, not the operand's finer 2\^-3; round the"):
        from_record(record)


def test_qonnx_refuses_a_table_and_says_what_would_work(tmp_path):
    with pytest.raises(
        ModelError, match=r"layer 'tanh': a table of results has no operator in QONNX .* emit it to onnx"
    ):
        TARGETS["qonnx"].emit(network(), tmp_path, TARGETS["qonnx"].options())


def test_rtl_refuses_results_that_alkaid_would_read_inexactly(tmp_path):
    graph = table_graph(np.arange(64) + (1 << 24))
    with pytest.raises(ModelError, match=r"layer 't': lookup 't_lookup' has a constant of 25 bits, RTL takes up to 24"):
        TARGETS["rtl"].emit(graph, tmp_path, TARGETS["rtl"].options())


def test_hls_refuses_integers_that_no_int_holds(tmp_path):
    builder = Builder("far")
    x = builder.bias("b", builder.input("x", (3,), X), np.array(1 << 31), X.fraction)
    graph = builder.finish(builder.lookup("t", x, (1 << 31) - 32, np.arange(64), 0))
    with pytest.raises(
        ModelError, match=r"layer 't': its table is for integers 2147483616..2147483679, of over 30 bits"
    ):
        TARGETS["hls"].emit(graph, tmp_path, TARGETS["hls"].options())
