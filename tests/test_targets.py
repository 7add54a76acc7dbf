"""Every target computes the golden model's integers on random graphs, or refuses the graph by name."""

import re

import numpy as np
import pytest
from alkaid_program import interpreted
from random_graphs import WITH_RTL, random_graph, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.ops import OPS, Requantise, Window
from edgephys.targets.hls import csim
from edgephys.targets.hls import emit as hls
from edgephys.targets.rtl import emit as rtl
from edgephys.targets.rtl import simulate

GRAPHS = range(200)
NO_RTL = r"^.*: overflow SAT_ZERO has no RTL; use WRAP, SAT or SAT_SYM$"


@pytest.mark.parametrize("first", range(0, len(GRAPHS), 20))
def test_alkaids_interpreter_equals_the_golden_model_on_random_graphs(first):
    for seed in GRAPHS[first : first + 20]:
        graph = random_graph(seed, WITH_RTL)
        x = vectors(graph, 200, seed)
        assert (interpreted(graph, x) == evaluate.run(graph, x)).all(), f"seed {seed}"


def test_random_graphs_that_no_rtl_can_compute_are_refused_by_name_and_all_others_are_equal():
    refused = 0
    for seed in range(40):
        graph = random_graph(seed)
        x = vectors(graph, 50, seed)
        try:
            found = interpreted(graph, x)
        except ModelError as error:
            assert re.search(NO_RTL, str(error)), f"seed {seed}: {error}"
            refused += 1
            continue
        assert (found == evaluate.run(graph, x)).all(), f"seed {seed}"
    assert 0 < refused < 40


@pytest.mark.parametrize(("constant", "bits"), [(-2, 5), (3, 1), (40, 5), (-33, 6)])
@pytest.mark.parametrize("signed", [False, True])
def test_a_constant_wraps_in_rtl_as_everywhere(constant, bits, signed):
    builder = Builder("g")
    x = builder.window("ring", builder.input("x", (1, 1, 1), Fixed(True, 4, 4)), (1, 3))  # zeros beside the pixel
    moved = builder.bias("move", x, constant, 0)
    graph = builder.finish(builder.requantise("narrow", moved, Fixed(signed, bits + signed, bits + signed)))
    every = np.arange(-8, 8).reshape(-1, 1, 1, 1)
    assert np.array_equal(interpreted(graph, every), evaluate.run(graph, every))


def test_a_sum_of_one_row_is_an_edge_that_rtl_goes_on_with():
    builder = Builder("g")
    total = builder.relu("relu", builder.sum("sum", builder.input("x", (3,), Fixed(True, 4, 4)), 0))
    graph = builder.finish(builder.requantise("narrow", total, Fixed(False, 3, 4)))
    x = np.random.default_rng(0).integers(-8, 8, (100, 3))
    assert np.array_equal(interpreted(graph, x), evaluate.run(graph, x))


@pytest.mark.parametrize("mode", list(Rounding))
def test_what_rounding_makes_a_constant_of_wraps_in_rtl_as_everywhere(mode):
    for constant in range(-9, 10):
        builder = Builder("g")
        moved = builder.bias("move", builder.input("x", (1,), Fixed(True, 2, 3)), [constant], -1)
        graph = builder.finish(builder.requantise("narrow", moved, Fixed(False, 4, 8, mode, Overflow.WRAP)))
        every = np.arange(-2, 2).reshape(-1, 1)
        assert np.array_equal(interpreted(graph, every), evaluate.run(graph, every)), constant


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("finer", [1, 2, 3])
def test_one_bit_of_a_number_in_finer_steps_is_not_its_top_bit(bits, finer):
    builder = Builder("g")
    positive = builder.relu("relu", builder.input("x", (1,), Fixed(True, 5, 5)))
    narrow = Fixed(False, bits, bits - finer, Rounding.TRN, Overflow.SAT)
    graph = builder.finish(builder.requantise("narrow", positive, narrow))
    every = np.arange(-16, 16).reshape(-1, 1)
    assert np.array_equal(interpreted(graph, every), evaluate.run(graph, every))


def test_a_table_behind_a_saturation_covers_what_alkaid_finds_when_it_traces_again():
    graph = random_graph(131, WITH_RTL)
    x = vectors(graph, 200)
    assert "lookup" in {node.op.word for node in graph.nodes}
    assert np.array_equal(interpreted(graph, x), evaluate.run(graph, x))


def rounded(drop, rounding, overflow):
    builder = Builder("g")
    x = builder.input("x", (2,), Fixed(True, 7, 4))
    return builder.finish(builder.requantise("narrow", x, Fixed(True, 4, 1 + drop, rounding, overflow)))


@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SAT, Overflow.SAT_SYM])
@pytest.mark.parametrize("rounding", Rounding)
def test_every_rounding_of_every_number_is_the_golden_models_on_symbols(rounding, overflow):
    for drop in (-2, 0, 1, 3, 6, 9):
        graph = rounded(drop, rounding, overflow)
        x = np.stack([np.arange(-64, 64), np.arange(-64, 64)[::-1]], -1)
        assert (interpreted(graph, x) == evaluate.run(graph, x)).all(), f"drop {drop}"


def test_the_rtl_refuses_an_overflow_that_it_lacks_before_it_writes(tmp_path):
    with pytest.raises(
        ModelError, match=r"^layer 'narrow': .*: overflow SAT_ZERO has no RTL; use WRAP, SAT or SAT_SYM$"
    ):
        rtl.emit(rounded(2, Rounding.TRN, Overflow.SAT_ZERO), tmp_path, rtl.RtlOptions())
    assert not list(tmp_path.iterdir())


def test_random_graphs_cover_every_kind_and_every_mode():
    nodes = [node for seed in GRAPHS for node in random_graph(seed).nodes]
    assert {type(node.op) for node in nodes} == set(OPS.values())
    rounded = [node.fixed for node in nodes if isinstance(node.op, Requantise)]
    assert {fixed.rounding for fixed in rounded} == set(Rounding)
    assert {fixed.overflow for fixed in rounded} == set(Overflow)
    assert {fixed.signed for fixed in rounded} == {True, False}
    assert any(fixed.integer > fixed.bits for fixed in rounded)
    assert any(fixed.integer < 0 for fixed in rounded)


def windowless(first):
    """Return the first random graph that has no window, for which there is no HLS."""
    found = (random_graph(seed) for seed in range(first, first + 100))
    return next(graph for graph in found if all(not isinstance(node.op, Window) for node in graph.nodes))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_c_simulation_equals_the_golden_model_on_a_random_graph_of_any_modes(seed, tmp_path):
    graph = windowless(100 * seed)
    facts = hls.emit(graph, tmp_path, hls.HlsOptions())
    x = vectors(graph, 300, seed)
    assert (csim.simulate(tmp_path, facts, x) == evaluate.run(graph, x)).all()


def varied(number):
    """Return a seed whose graph's output depends on its input: a simulator measures its latency by that."""
    found = 0
    for seed in range(1000, 2000):
        graph = random_graph(seed, WITH_RTL)
        y = evaluate.run(graph, vectors(graph, 30))
        found += bool((y != y[:1]).any())
        if found > number:
            return seed
    raise AssertionError("too few random graphs with an output that varies")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_simulated_verilog_equals_the_golden_model_on_a_random_graph(number, tmp_path):
    seed = varied(number)
    graph = random_graph(seed, WITH_RTL)
    facts = rtl.emit(graph, tmp_path, rtl.RtlOptions())
    x = vectors(graph, 300, seed)
    found = simulate.simulate(tmp_path, facts, x)
    assert (found.outputs == evaluate.run(graph, x)).all()
    assert found.ii == 1
