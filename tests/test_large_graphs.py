"""Large fields: ranges that hold for every pixel, and as many vectors as a minute allows."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, strategies
from random_graphs import EVERY, field_graphs, graphs

from edgephys.core.fixed import Fixed
from edgephys.graph import ranges, stimuli
from edgephys.graph.build import Builder
from edgephys.models.input_data import most_random


def field(pixels=8):
    """Return a graph of one convolution on a field."""
    builder = Builder("field")
    window = builder.window("conv", builder.input("x", (pixels, pixels, 2), Fixed(True, 4, 4)), (3, 3))
    weight = np.random.default_rng(1).integers(-7, 8, (18, 3))
    return builder.finish(builder.relu("conv", builder.dense("conv", window, weight, 0)))


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
