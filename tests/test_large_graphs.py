"""Large fields: ranges that hold for every pixel, and as many vectors as a minute allows."""

import tracemalloc
from math import prod
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies
from random_graphs import EVERY, field_graphs, graphs, vectors

from edgephys.core.fixed import Fixed
from edgephys.graph import coverage, evaluate, ranges, stimuli
from edgephys.graph.build import Builder
from edgephys.graph.coverage import coverage_of
from edgephys.graph.graph import Constant, Node
from edgephys.graph.ops import dense
from edgephys.graph.ops.constant import low_zeros
from edgephys.graph.reachable import bits_in_case
from edgephys.graph.round_first import low_zero_bits
from edgephys.models.input_data import most_random


def field(pixels=8):
    """Return a graph of one convolution on a field."""
    builder = Builder("field")
    window = builder.window("conv", builder.input("x", (pixels, pixels, 2), Fixed(True, 4, 4)), (3, 3))
    weight = np.random.default_rng(1).integers(-7, 8, (18, 3))
    return builder.finish(builder.relu("conv", builder.dense("conv", window, weight, 0)))


@pytest.mark.slow
@given(strategies.one_of(graphs(EVERY), field_graphs(EVERY)))
def test_the_shared_range_of_all_pixels_holds_that_of_each(graph):
    each = ranges.derive(graph)
    with mock.patch.object(ranges, "MOST_ELEMENTS", 1):
        shared = ranges.derive(graph)
    for node in graph.nodes:
        one, all_of = each[node.name], shared[node.name]
        assert all_of.low.shape == all_of.high.shape == node.shape
        assert (all_of.low <= one.low).all() and (all_of.high >= one.high).all(), node.name
        assert all_of.partial >= one.partial


@pytest.mark.slow
@given(strategies.one_of(graphs(EVERY), field_graphs(EVERY)))
def test_the_shared_low_zeros_of_all_pixels_are_no_more_than_those_of_each(graph):
    each = low_zero_bits(graph, {})
    with mock.patch.object(ranges, "MOST_ELEMENTS", 1):
        shared = low_zero_bits(graph, {})
    for node in graph.nodes:
        assert shared[node.name].shape == node.shape
        assert (shared[node.name] <= each[node.name]).all(), node.name


@pytest.mark.slow
@given(strategies.one_of(graphs(EVERY), field_graphs(EVERY)))
def test_a_large_edge_is_covered_in_a_channel_where_it_is_in_any_of_its_pixels(graph):
    x = vectors(graph, 20)
    edges, each = evaluate.trace(graph, {graph.input.name: x}), coverage_of(graph, x)
    with mock.patch.object(ranges, "MOST_ELEMENTS", 1), mock.patch.object(coverage, "PIECE", 4):
        shared = coverage_of(graph, x)
    for node in graph.nodes:
        one, own, possible = each.reached[node.name], shared.reached[node.name], shared.possible[node.name]
        rows = tuple(range(len(node.shape) - 1)) if prod(node.shape) > 1 else ()
        for case, bits in enumerate(own.bits):
            reached = np.bitwise_or.reduce(bits_in_case(case, edges[node.name]))
            np.testing.assert_array_equal(bits, np.bitwise_or.reduce(reached, axis=rows) & possible.bits[case])
            assert not (np.bitwise_or.reduce(one.bits[case], axis=rows) & ~bits).any()
        for event, flags in one.events.items():
            np.testing.assert_array_equal(own.events[event], flags.any(axis=rows))
        assert (own.entries >= one.entries).all()


def test_zeros_and_coverage_of_a_convolution_take_memory_for_its_channels():
    """With an array of (pixel, input, output), and masks for each element, the peak was 1.2 GB."""
    builder = Builder("wide")
    window = builder.window("conv", builder.input("x", (64, 64, 64), Fixed(True, 4, 4)), (3, 3))
    weight = np.random.default_rng(1).integers(-7, 8, (576, 64))
    graph = builder.finish(builder.dense("conv", window, weight, 0))
    tracemalloc.start()
    low_zero_bits(graph, {})
    zeros = tracemalloc.get_traced_memory()[1]
    coverage_of(graph, np.zeros((1, 64, 64, 64), np.int64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert zeros < 64 << 20 and peak < 200 << 20


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
def test_low_zeros_of_sums_are_the_fewest_of_their_products_in_pieces_of_any_size(piece):
    generator = np.random.default_rng(piece)
    rows, weight = generator.integers(0, 5, (3, 4, 6)), generator.integers(-8, 9, (6, 5))
    rows[1] = rows[0]
    op = dense.Dense(Constant(weight, 0))
    node = Node("y", op, ("x",), (3, 4, 5), Fixed(True, 8, 8), "l")
    with mock.patch.object(dense, "PIECE", piece):
        np.testing.assert_array_equal(op.zero_bits(node, [rows]), (rows[..., None] + low_zeros(weight)).min(-2))


def test_the_shared_range_is_that_of_the_pixels_inside():
    graph = field()
    each = ranges.derive(graph)
    with mock.patch.object(ranges, "MOST_ELEMENTS", 1):
        shared = ranges.derive(graph)
    for node in graph.nodes:
        np.testing.assert_array_equal(shared[node.name].low[4, 4], each[node.name].low[4, 4])
        np.testing.assert_array_equal(shared[node.name].high[0, 0], each[node.name].high[4, 4])


@pytest.mark.parametrize("bits", [20, 48, 52, 56])
def test_the_range_of_a_product_is_exact_at_every_width(bits):
    builder = Builder("wide")
    x = builder.input("x", (3,), Fixed(True, bits, bits))
    weight = np.array([[1], [3], [-5]])
    graph = builder.finish(builder.dense("y", x, weight, 0))
    (range_,) = [ranges.derive(graph)[graph.output.name]]
    low, high = graph.input.fixed.low, graph.input.fixed.high
    assert (range_.lowest, range_.highest) == (4 * low - 5 * high, 4 * high - 5 * low)


def test_a_large_graph_has_a_few_vectors_with_both_ends_of_its_format():
    graph = field()
    elements = sum(int(np.prod(node.shape)) for node in graph.nodes)
    assert len(stimuli.make(graph)) > stimuli.FEWEST
    with mock.patch.object(stimuli, "COMPUTED_ELEMENTS", 6 * elements):
        vectors = stimuli.make(graph)
        np.testing.assert_array_equal(vectors, stimuli.make(graph))
    assert len(vectors) == 6
    assert (vectors[0] == 7).all() and (vectors[1] == -8).all()
    assert set(np.unique(vectors[2:])) == set(range(-8, 8))


def test_fewer_random_inputs_are_stated_in_a_warning():
    graph, warnings = field(), []
    assert most_random(graph, 100, warnings) == 100 and not warnings
    with mock.patch.object(stimuli, "COMPUTED_ELEMENTS", 1):
        assert most_random(graph, 100, warnings) == stimuli.FEWEST_OF_LARGE
    assert warnings == ["compared on 2 random inputs, not 100: one alone takes long in so large a model"]
