"""Ranges: every integer of every edge is in its own, and an edge that may overflow is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import graphs, vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate, ranges
from edgephys.graph.build import Builder


@given(graphs(), st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_every_integer_on_every_edge_is_in_its_range_and_its_format(graph, seed):
    found = ranges.derive(graph)
    for name, integers in evaluate.trace(graph, {"x": vectors(graph, 30, seed)}).items():
        assert (found[name].low <= integers).all()
        assert (integers <= found[name].high).all()
        assert graph.by_name[name].fixed.holds(int(integers.min()), int(integers.max()))
        assert graph.by_name[name].fixed.holds(found[name].lowest, found[name].highest)


@given(st.data())
def test_the_range_of_a_dense_with_bias_is_reached_at_both_ends(data):
    fixed = Fixed(data.draw(st.booleans()), data.draw(st.integers(1, 12)), data.draw(st.integers(-3, 8)))
    size, outputs = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    numbers = st.integers(-200, 200)
    weights = np.array(data.draw(st.lists(numbers, min_size=size * outputs, max_size=size * outputs)))
    weights = weights.reshape(size, outputs)
    builder = Builder("g")
    out = builder.dense("l", builder.input("x", (size,), fixed), weights, data.draw(st.integers(-3, 9)))
    graph = builder.finish(builder.bias("l", out, data.draw(numbers), data.draw(st.integers(-3, 20))))
    found = ranges.derive(graph)[graph.output.name]
    corners = np.where(weights.T > 0, fixed.high, fixed.low), np.where(weights.T > 0, fixed.low, fixed.high)
    highest, lowest = (evaluate.run(graph, corner).diagonal().tolist() for corner in corners)
    assert highest == found.high.tolist()
    assert lowest == found.low.tolist()


def test_the_range_of_a_sum_of_two_is_that_of_each_element_and_of_taken_rows_theirs():
    builder = Builder("g")
    x = builder.input("x", (2,), Fixed(True, 4, 4))
    scaled = builder.scale("s", x, [3, -5], 0)
    taken = builder.take("t", scaled, [[1, 0]], 0)
    both = builder.take("u", x, [[0, 1]], 0)
    graph = builder.finish(builder.add("l", taken, both))
    found = ranges.derive(graph)
    assert (found[taken].low.tolist(), found[taken].high.tolist()) == ([[-35, -24]], [[40, 21]])
    assert (found["l_add"].low.tolist(), found["l_add"].high.tolist()) == ([[-43, -32]], [[47, 28]])
    ends = evaluate.run(graph, np.array([[-8, -8], [7, 7], [-8, 7], [7, -8]])).reshape(4, 2)
    assert ends.min(0).tolist() == [-43, -32] and ends.max(0).tolist() == [47, 28]


def test_zeros_beyond_the_edges_are_in_the_range_of_a_window():
    builder = Builder("g")
    x = builder.bias("b", builder.input("x", (1, 2, 1), Fixed(False, 2, 2)), 5, 0)
    found = ranges.derive(builder.finish(builder.window("l", x, (1, 3))))["l_window"]
    assert (found.low.tolist(), found.high.tolist()) == ([[[0, 5, 5], [5, 5, 0]]], [[[0, 8, 8], [8, 8, 0]]])


def test_a_partial_sum_is_bounded_in_any_order():
    builder = Builder("g")
    out = builder.dense("l", builder.input("x", (2,), Fixed(False, 8, 8)), [[100], [-100]], 0)
    found = ranges.derive(builder.finish(out))[out]
    assert (found.lowest, found.highest) == (-255 * 25, 255 * 25)  # 100 = 25 * 2**2, and the point moves
    assert found.partial == 2 * 255 * 25


UNSIGNED = Fixed(False, 62, 62)


TOO_WIDE = {
    "sum": lambda b: b.sum("l", b.input("x", (4,), UNSIGNED), 0),
    "dense": lambda b: b.dense("l", b.input("x", (4,), UNSIGNED), np.ones((4, 1)), 0),
    "bias": lambda b: b.bias("l", b.input("x", (4,), UNSIGNED), [1], 0),
    "scale": lambda b: b.scale("l", b.input("x", (4,), Fixed(False, 40, 40)), [2**40 - 1], 0),
    "add": lambda b: b.add("l", b.input("x", (4,), UNSIGNED), b.input("y", (4,), UNSIGNED)),
    "concat": lambda b: b.concat("l", (b.input("x", (4,), UNSIGNED), b.input("y", (4,), Fixed(False, 1, -5))), 0),
}


@pytest.mark.parametrize("kind", TOO_WIDE)
def test_an_accumulator_that_may_overflow_is_refused(kind):
    builder = Builder("g")
    out = TOO_WIDE[kind](builder)
    with pytest.raises(
        ModelError,
        match=rf"^layer 'l': {kind} 'l_{kind}' may need over 62 bits; use fewer bits in its weights or inputs$",
    ):
        builder.finish(out)
    with pytest.raises(ModelError, match=rf"'l_{kind}' may need over 62 bits"):
        builder.range(builder.relu("after", out))


def test_binary_points_too_far_apart_are_refused():
    for point in (Fixed(False, 8, 48), Fixed(False, 8, 108)):
        builder = Builder("g")
        out = builder.bias("l", builder.input("x", (4,), point), 1, 40)
        with pytest.raises(ModelError, match=r"^layer 'l': bias 'l_bias' may need over 62 bits"):
            builder.finish(out)


@pytest.mark.parametrize("fixed", [UNSIGNED, Fixed(True, 62, 62)])
def test_the_widest_edges_are_saturated_exactly(fixed):
    builder = Builder("g")
    x = builder.input("x", (2,), fixed)
    graph = builder.finish(builder.requantise("l", x, replace(fixed, overflow=Overflow.SAT_SYM)))
    found = ranges.derive(graph)[graph.output.name]
    assert (found.lowest, found.highest) == (-fixed.high if fixed.signed else 0, fixed.high)
    ends = evaluate.run(graph, np.array([[fixed.low, fixed.high]]))
    assert ends.tolist() == [[found.lowest, found.highest]]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_products_are_the_same_in_doubles_and_in_integers(seed):
    generator = np.random.default_rng(seed)
    bits = int(generator.integers(20, 32))  # partial sums on both sides of a double's 53 bits
    weights = generator.integers(-(2**24), 2**24, (4, 3))
    builder = Builder("g")
    graph = builder.finish(builder.dense("l", builder.input("x", (4,), Fixed(True, bits, bits)), weights, 0))
    x = vectors(graph, 10, seed)
    step = 2**graph.output.fixed.integer // 2**graph.output.fixed.bits
    expected = np.array(x.tolist(), object) @ np.array(weights.tolist(), object)
    assert (evaluate.run(graph, x).astype(object) * step).tolist() == expected.tolist()


def test_the_reason_of_every_width_can_be_told():
    builder = Builder("g")
    x = builder.input("x", (4, 3), Fixed(True, 6, 2))
    out = builder.bias("phi", builder.dense("phi", x, np.ones((3, 2)), 3), [1, 2], 5)
    out = builder.requantise("phi", builder.relu("phi", out), Fixed(False, 5, 2, Rounding.RND_CONV, Overflow.SAT))
    out = builder.scale("pool", builder.sum("pool", out, 0), 3, 4)
    out = builder.requantise("more", out, Fixed(False, 9, 1, overflow=Overflow.SAT))
    out = builder.add("twice", out, builder.take("turned", out, [1, 0], 0))
    out = builder.window("near", builder.reshape("field", out, (1, 2, 1)), (1, 3))
    graph = builder.finish(out)
    found = ranges.derive(graph)
    assert {name: ranges.reason(graph, node, found) for name, node in graph.by_name.items()} == {
        "x": "given: what the standardisation hands over, -32..31 steps of 2^-4",
        "phi_dense": "exact sum of 3 products with 1-bit weights: -96..93 steps of 2^-7",
        "phi_bias": "exact bias: -92..101 steps of 2^-7",
        "phi_relu": "exact relu: 0..101 steps of 2^-7",
        "phi_requantise": "chosen by the model's quantiser: 4 bits rounded away; reaches 0..6 steps of 2^-3",
        "pool_sum": "exact sum of 4 elements: 0..24 steps of 2^-3",
        "pool_scale": "exact product with a 2-bit constant: 0..72 steps of 2^-7",
        "more_requantise": "chosen by the model's quantiser: no bit rounded away; reaches 0..144 steps of 2^-8",
        "turned_take": "exact take: 0..144 steps of 2^-8",
        "twice_add": "exact add: 0..288 steps of 2^-8",
        "field_reshape": "exact reshape: 0..288 steps of 2^-8",
        "near_window": "exact window: 0..288 steps of 2^-8",
    }
