"""The golden model against plain arithmetic: exact in whatever numbers carry it, in whatever pieces it is computed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import Limits, build, graphs, vectors

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import carriers, evaluate, numbers
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph, to_record
from edgephys.verify import plain

WIDE = Limits(input=44)
"""Bits of an input of which some edges need float64."""


def equal_to_plain(graph: Graph, count: int = 6) -> None:
    x = vectors(graph, count)
    expected, edges = plain.trace(to_record(graph), x), evaluate.trace(graph, {graph.input.name: x})
    for name, integers in edges.items():
        assert integers.dtype == np.int64
        assert (integers == expected[name]).all(), name
    run = evaluate.run(graph, x)
    assert run.dtype == np.int64 and (run == edges[graph.output.name]).all()


@given(graphs())
def test_every_edge_holds_what_plain_arithmetic_gives(graph):
    equal_to_plain(graph)


@given(graphs(WIDE))
@settings(max_examples=60)
def test_wide_edges_too_hold_what_plain_arithmetic_gives(graph):
    equal_to_plain(graph)


def test_rows_are_taken_along_their_axis_and_become_the_axes_of_the_indices():
    builder = Builder("g")
    x = builder.input("x", (2, 3), Fixed(True, 8, 8))
    graph = builder.finish(builder.take("l", x, [[0, 2], [2, 2]], 1))
    assert evaluate.run(graph, np.array([[[1, 2, 3], [4, 5, 6]]])).tolist() == [[[[1, 3], [3, 3]], [[4, 6], [6, 6]]]]
    equal_to_plain(graph)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3), (5, 1), (2, 4)])
def test_a_window_and_a_dense_are_a_convolution_with_zeros_beyond_the_edges(size):
    generator = np.random.default_rng(0)
    kernel = generator.integers(-9, 10, (*size, 2, 3))
    builder = Builder("g")
    windows = builder.window("l_window", builder.input("x", (4, 5, 2), Fixed(True, 6, 6)), size)
    graph = builder.finish(builder.dense("l", windows, kernel.reshape(-1, 3), 0))
    x = vectors(graph, 5)
    padded = np.zeros((5, 4 + size[0], 5 + size[1], 2), int)
    top, left = (size[0] - 1) // 2, (size[1] - 1) // 2
    padded[:, top : top + 4, left : left + 5] = x
    expected = np.zeros((5, 4, 5, 3), int)
    for dy, dx in np.ndindex(size):
        expected += padded[:, dy : dy + 4, dx : dx + 5] @ kernel[dy, dx]
    assert (evaluate.run(graph, x) * 2**-graph.output.fixed.fraction == expected).all()
    equal_to_plain(graph)


def test_a_sum_of_two_aligns_their_points():
    builder = Builder("g")
    x = builder.input("x", (2,), Fixed(True, 8, 6))
    graph = builder.finish(builder.add("l", x, builder.scale("s", x, 3, 5)))
    assert (graph.output.fixed.fraction, evaluate.run(graph, np.array([[1, -100]])).tolist()) == (7, [[35, -3500]])
    equal_to_plain(graph)


# What carries the integers ------------------------------------------------------------------------

MODES = [(rounding, overflow) for rounding in Rounding for overflow in Overflow]


def requantising(source: Fixed, target: Fixed) -> Graph:
    builder = Builder("g")
    return builder.finish(builder.requantise("l", builder.input("x", (1,), source), target))


def corners(source: Fixed, drop: int, generator: np.random.Generator) -> np.ndarray:
    """Return integers of a format: its ends, ties and whole steps with their neighbours, and any."""
    halves = generator.integers(-200, 200, 60) << max(0, drop - 1)
    near = (halves[:, None] + np.arange(-1, 2)).ravel()
    ends = np.concatenate([source.low + np.arange(3), source.high - np.arange(3)])
    anywhere = generator.integers(source.low, source.high, 40, endpoint=True)
    every = np.concatenate([near, ends, anywhere])
    return every[(every >= source.low) & (every <= source.high)][:, None]


@pytest.mark.parametrize(("rounding", "overflow"), MODES, ids=lambda mode: mode.value)
@given(st.data())
@settings(max_examples=40)
def test_rounding_equals_the_reference_in_every_mode_and_carrier(rounding, overflow, data):
    bits = data.draw(st.one_of(st.integers(20, 27), st.integers(48, 56), st.integers(1, 60)))
    source = Fixed(data.draw(st.booleans()), bits, bits + data.draw(st.integers(-5, 5)))
    drop = data.draw(st.integers(max(-4, bits - 61), bits + 1))
    bits = data.draw(st.integers(1, min(61, max(2, source.bits - drop + 2))))
    target = Fixed(data.draw(st.booleans()), bits, bits - (source.fraction - drop), rounding, overflow)
    x = corners(source, drop, np.random.default_rng(data.draw(st.integers(0, 9))))
    np.testing.assert_array_equal(evaluate.run(requantising(source, target), x), target.requantise(x, source.fraction))


@pytest.mark.parametrize(
    ("bits", "carrier"),
    [(8, np.float32), (23, np.float32), (24, np.float64), (52, np.float64), (53, np.int64), (60, np.int64)],
)
def test_the_narrowest_numbers_that_hold_every_integer_carry_it(bits, carrier):
    graph = requantising(Fixed(True, bits + 1, 1), Fixed(True, 8, 1))
    assert carriers.carriers(graph)["l_requantise"] == carrier
    builder = Builder("g")
    graph = builder.finish(builder.sum("l", builder.input("x", (2,), Fixed(False, bits - 1, 1)), 0))
    assert carriers.carriers(graph)["l_sum"] == (np.float32 if bits <= 24 else np.float64 if bits <= 53 else np.int64)


def test_a_number_just_below_one_half_is_not_rounded_up_by_the_float_that_adds_the_half():
    source, target = Fixed(False, 24, 0), Fixed(False, 4, 5, Rounding.RND)
    graph = requantising(source, target)
    assert np.float32(source.high) * np.float32(2.0**-25) + np.float32(0.5) == 1.0  # what float32 would make of it
    assert evaluate.run(graph, np.array([[source.high]])).tolist() == [[0]]


def test_a_partial_sum_that_a_float_cannot_hold_is_not_carried_in_it():
    """Operands of 24 bits and a result of two, but sums of 25 bits on the way."""
    builder = Builder("g")
    large = builder.bias("b", builder.input("x", (4,), Fixed(False, 1, 1)), 2**24 - 3, 0)
    graph = builder.finish(builder.dense("l", large, [[1], [1], [-1], [-1]], 0))
    assert [str(carriers.carriers(graph)[name]) for name in ("b_bias", "l_dense")] == ["float32", "float64"]
    x = np.array(list(np.ndindex(2, 2, 2, 2)))
    assert evaluate.run(graph, x).ravel().tolist() == (x @ [1, 1, -1, -1]).tolist()


@given(graphs(WIDE), st.sampled_from([{}, {53: np.dtype(np.float64)}]))
@settings(max_examples=60)
def test_any_carrier_gives_the_same_integers(graph, types):
    x = vectors(graph, 20)
    expected = evaluate.trace(graph, {graph.input.name: x})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carriers, "CARRIERS", types)
        again = Graph(graph.name, graph.nodes, graph.inputs, graph.outputs)
        if not types:
            assert set(carriers.carriers(again).values()) == {np.dtype(np.int64)}
        found = evaluate.trace(again, {graph.input.name: x})
    assert all((found[name] == integers).all() for name, integers in expected.items())


def test_wide_random_graphs_meet_both_floats():
    met = set()
    for seed in range(60):
        generator = np.random.default_rng(seed)
        graph = build(lambda a, b, g=generator: int(g.integers(a, b, endpoint=True)), limits=WIDE)
        met |= {str(kind) for kind in carriers.carriers(graph).values()}
    assert {"float32", "float64"} <= met


# Pieces -------------------------------------------------------------------------------------------


@given(graphs(), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40)
def test_vectors_in_chunks_and_products_in_pieces_give_the_same(graph, chunk, piece):
    x = vectors(graph, 23)
    expected = evaluate.trace(graph, {graph.input.name: x})[graph.output.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "CHUNK", chunk)
        patch.setattr(numbers, "PIECE", piece)
        assert (evaluate.run(graph, x) == expected).all()
        assert evaluate.run(graph, x[:0]).shape == (0, *graph.output.shape)


@given(graphs())
@settings(max_examples=40)
def test_edges_that_nothing_reads_any_more_are_let_go_and_no_other(graph):
    x = vectors(graph, 2)
    left = evaluate._edges(graph, {graph.input.name: x}, evaluate._freed(graph))
    unread = {name for name, readers in graph.readers.items() if not readers}
    assert set(left) == {*graph.outputs, *unread}


def test_an_output_that_is_read_again_is_kept():
    builder = Builder("g")
    first = builder.relu("l", builder.input("x", (2,), Fixed(True, 4, 4)))
    whole = builder.finish(builder.scale("m", first, 3, 0))
    assert evaluate.run(replace(whole, outputs=(first,)), np.array([[-3, 5]])).tolist() == [[0, 5]]


def test_the_callers_numbers_are_never_written():
    builder = Builder("g")
    target = Fixed(True, 4, 4, Rounding.RND_CONV, Overflow.SAT)
    graph = builder.finish(builder.requantise("l", builder.input("x", (3,), Fixed(True, 8, 8)), target))
    x = np.array([[-100, 3, 100]])
    assert evaluate.run(graph, x).tolist() == [[-8, 3, 7]]
    edges = evaluate.trace(graph, {"x": x})
    assert x.tolist() == [[-100, 3, 100]] and edges["x"].tolist() == x.tolist()
