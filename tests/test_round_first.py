"""Rounding first keeps every output, and leaves narrower logic behind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import graphs, vectors

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.ops import Bias
from edgephys.graph.ops.constant import low_zeros
from edgephys.graph.round_first import low_zero_bits, round_first
from edgephys.targets.rtl import logic

FORMAT = Fixed(False, 4, 2, Rounding.RND, Overflow.SAT)


def layer(weights, bias, fraction, fixed=FORMAT, relu=True):
    """Return dense, bias, ReLU and requantise of 5-bit data; weights are at 2**-2, the bias at 2**-fraction."""
    builder = Builder("layer")
    x = builder.input("x", (len(weights),), Fixed(True, 5, 3))
    y = builder.bias("l", builder.dense("l", x, np.array(weights), 2), np.array(bias), fraction)
    return builder.finish(builder.requantise("l", builder.relu("l", y) if relu else y, fixed))


def kinds(graph):
    return [node.op.word for node in graph.nodes[1:]]


def constant(graph):
    return next(node for node in graph.nodes if isinstance(node.op, Bias)).op.constant


def every_vector(graph):
    numbers = np.arange(graph.input.fixed.low, graph.input.fixed.high + 1)
    return np.stack(np.meshgrid(*[numbers] * graph.input.shape[0]), -1).reshape(-1, *graph.input.shape)


@given(graphs())
def test_every_output_of_a_random_graph_stays(graph):
    x = vectors(graph, 50)
    assert (evaluate.run(round_first(graph), x) == evaluate.run(graph, x)).all()


@given(
    st.lists(st.lists(st.integers(-8, 7), min_size=2, max_size=2), min_size=2, max_size=2),
    st.lists(st.integers(-200, 200), min_size=2, max_size=2),
    st.integers(3, 9),
    st.sampled_from(Rounding),
    st.sampled_from(Overflow),
    st.booleans(),
    st.booleans(),
    st.integers(-1, 3),
)
def test_every_output_of_a_layer_stays(weights, bias, fraction, rounding, overflow, relu, signed, integer):
    graph = layer(weights, bias, fraction, Fixed(signed, 4, integer, rounding, overflow), relu)
    x = every_vector(graph)
    assert (evaluate.run(round_first(graph), x) == evaluate.run(graph, x)).all()


def test_half_and_bias_are_one_constant_on_the_grid_of_the_data():
    graph = layer([[4, 8], [4, 16]], [37, -91], 9, Fixed(False, 4, 3, Rounding.RND, Overflow.SAT))
    made = round_first(graph)
    assert kinds(made) == ["dense", "bias", "requantise", "relu", "requantise"]
    assert constant(graph).fraction == 9
    half = 2.0**-2
    grids = np.array([2.0**-2, 2.0**-1])  # 5-bit data has 2 bits behind the point; the least weights are 1 and 2
    assert (constant(made).integers * 2.0 ** -constant(made).fraction).tolist() == (
        np.floor((np.array([37, -91]) * 2.0**-9 + half) / grids) * grids
    ).tolist()


def test_what_only_a_relu_makes_positive_is_rounded_as_positive_numbers_are():
    outward = Fixed(False, 4, 2, Rounding.RND_INF, Overflow.SAT)
    assert Rounding.RND_INF not in {node.fixed.rounding for node in round_first(layer([[1]], [3], 6, outward)).nodes}


@pytest.mark.parametrize("relu", [True, False])
def test_half_to_even_is_no_floor_and_keeps_its_bias(relu):
    even = Fixed(False, 4, 2, Rounding.RND_CONV, Overflow.SAT)
    graph = layer([[1]], [4], 4, even, relu)
    made = round_first(graph)
    assert made is graph if not relu else constant(made).integers.tolist() == constant(graph).integers.tolist()


def test_what_another_node_reads_is_left_alone():
    builder = Builder("branch")
    x = builder.input("x", (1,), Fixed(True, 5, 3))
    y = builder.relu("l", builder.bias("l", builder.dense("l", x, np.array([[1]]), 2), np.array([3]), 6))
    graph = builder.finish(builder.requantise("l", y, FORMAT), y)
    assert round_first(graph) is graph


@given(graphs())
def test_low_zeros_are_zero_in_every_vector(graph):
    found, edges = low_zero_bits(graph, {}), evaluate.trace(graph, {graph.input.name: vectors(graph, 30)})
    for name, zeros in found.items():
        assert (edges[name] & ((1 << zeros) - 1) == 0).all(), name


def test_low_zeros_of_integers_are_counted():
    assert low_zeros(np.array([1, 2, -4, 40, 0, 3])).tolist() == [0, 1, 2, 3, 62, 0]


def test_logic_of_a_layer_has_fewer_luts_than_without(monkeypatch):
    random = np.random.default_rng(3)
    graph = layer(random.integers(-2, 3, (6, 8)).tolist(), (2 * random.integers(-200, 200, 8) + 1).tolist(), 10)
    narrow = sum(found.lut for found in logic.trace(graph, True))
    monkeypatch.setattr(logic, "round_first", lambda graph, zeros: graph)
    assert narrow < 0.85 * sum(found.lut for found in logic.trace(graph, True))
