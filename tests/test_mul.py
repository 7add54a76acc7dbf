"""The product of two computed values is the same on numbers, in the witness and on every target."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from c_programs import run_together
from every_target import FIRMWARE, PROCESSORS, assert_equal
from hypothesis import given, settings, strategies
from random_graphs import vectors

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate, stimuli
from edgephys.graph.build import Builder
from edgephys.graph.coverage import coverage_of
from edgephys.graph.graph import Graph, from_record, to_record
from edgephys.graph.passes import tieless
from edgephys.graph.ranges import derive, reason
from edgephys.verify import plain

SIGNED, UNSIGNED = Fixed(True, 7, 3, Rounding.RND, Overflow.SAT), Fixed(False, 5, 1, Rounding.RND_CONV, Overflow.SAT)


def product_of(one: Fixed, other: Fixed, wide: Fixed | None = None) -> Graph:
    """Return the product of the two elements of an input, each in a format of its own."""
    builder = Builder("product")
    x = builder.input("x", (2,), wide or Fixed(True, 32, 16))
    parts = [builder.take("parts", x, [place], 0) for place in range(2)]
    operands = [builder.requantise("formats", part, fixed) for part, fixed in zip(parts, (one, other), strict=True)]
    return builder.finish(builder.mul("product", *operands))


def gate() -> Graph:
    """Return a gate, a square, and products with rows, columns and numbers that are repeated."""
    builder, generator = Builder("gate"), np.random.default_rng(0)
    x = builder.input("x", (2, 3), Fixed(True, 6, 3))
    value = builder.requantise("value", builder.dense("value", x, generator.integers(-3, 4, (3, 3)), 2), SIGNED)
    gate = builder.dense("gate", x, generator.integers(-3, 4, (3, 3)), 2)
    gate = builder.requantise("gate", builder.relu("gate", gate), UNSIGNED)
    gated = builder.requantise("gated", builder.mul("gated", value, gate), Fixed(True, 6, 3, Rounding.RND_CONV))
    square = builder.mul("square", gated, gated)
    row = builder.spread("row", builder.take("row", square, [1], 0), (2, 3))
    column = builder.spread("column", builder.sum("column", builder.reshape("turned", value, (2, 3, 1)), 1), (2, 3))
    number = builder.spread("number", builder.take("number", builder.take("number", gated, 0, 0), 1, 0), (2, 3))
    total = builder.add("total", builder.mul("by_row", row, value), builder.mul("by_column", column, number))
    return builder.finish(builder.dense("out", total, np.array([[1], [-2], [3]]), 0))


# What it computes ----------------------------------------------------------------------------------


@strategies.composite
def formats(draw, widest=30) -> Fixed:
    signed, bits = draw(strategies.booleans()), draw(strategies.integers(1, widest))
    bits = max(bits, 1 + signed)
    return Fixed(signed, bits, bits - draw(strategies.integers(-4, 20)), draw(strategies.sampled_from(Rounding)))


@settings(max_examples=60, deadline=None)
@given(formats(), formats())
def test_any_two_formats_give_the_exact_product_in_the_narrowest_proven_format(one, other):
    graph = product_of(one, other, Fixed(True, 60, 30))
    x = np.concatenate([vectors(graph, 50), stimuli.make(graph)[:100]])
    edges = evaluate.trace(graph, {"x": x})
    operands = [node.name for node in graph.operands(graph.output)]
    expected = np.prod([edges[name].astype(object) for name in operands], axis=0)
    np.testing.assert_array_equal(edges[graph.output.name], expected.astype(np.int64))
    np.testing.assert_array_equal(plain.trace(to_record(graph), x)[graph.output.name], expected)
    assert graph.output.fixed.fraction == one.fraction + other.fraction
    assert from_record(to_record(graph)).digest == graph.digest


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(strategies.lists(strategies.tuples(formats(), formats()), min_size=12, max_size=12))
def test_c_gives_the_product_of_any_two_formats(pairs):
    graphs = [product_of(*pair) for pair in pairs]
    many = [vectors(graph, 40) for graph in graphs]
    with tempfile.TemporaryDirectory() as folder:
        computed = run_together(Path(folder), graphs, many, "loops")
    for graph, x, (outputs, _) in zip(graphs, many, computed, strict=True):
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


def test_the_range_of_a_product_is_that_of_its_ends_and_a_square_is_never_negative():
    builder = Builder("ranges")
    x = builder.input("x", (3,), Fixed(True, 4, 4))  # -8..7
    lifted = builder.bias("lifted", x, np.array([9, -9, 0]), 0)
    graph = builder.finish(builder.concat("all", (builder.mul("p", x, lifted), builder.mul("s", lifted, lifted)), 0))
    ranges = derive(graph)
    assert ranges["p_mul"].low.tolist() == [-128, -119, -56]
    assert ranges["p_mul"].high.tolist() == [112, 136, 64]
    assert ranges["s_mul"].low.tolist() == [1, 4, 0] and ranges["s_mul"].high.tolist() == [256, 289, 64]
    assert reason(graph, graph.by_name["p_mul"], ranges).startswith("exact product of values of 4 and 6 bits: -128..")


def test_a_product_over_62_bits_is_refused_by_its_layer():
    with pytest.raises(ModelError, match=r"layer 'product': mul 'product_mul' may need over 62 bits; use fewer bits"):
        product_of(Fixed(True, 32, 16), Fixed(True, 33, 16))


def test_operands_of_two_shapes_are_refused_and_an_edge_is_spread_as_numpy_broadcasts():
    builder = Builder("shapes")
    x = builder.input("x", (2, 3), SIGNED)
    row = builder.take("row", x, 0, 0)
    with pytest.raises(ModelError, match=r"inputs must have one shape, not \[\(2, 3\), \(3,\)\]"):
        builder.mul("product", x, row)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) must broadcast to \(3,\)"):
        builder.spread("row", x, (3,))
    graph = builder.finish(builder.spread("row", row, (4, 2, 3)))
    x = vectors(graph, 5)
    np.testing.assert_array_equal(evaluate.run(graph, x), np.broadcast_to(x[:, None, :1], (5, 4, 2, 3)))


def test_low_zero_bits_add_up_and_a_product_of_odd_values_meets_no_tie():
    builder = Builder("odd")
    x = builder.bias("odd", builder.input("x", (2,), Fixed(True, 4, 4)), np.array([1, 3]), 1)  # halves, all odd
    y = builder.requantise("last", builder.mul("product", x, x), Fixed(True, 7, 7, Rounding.RND_CONV, Overflow.SAT))
    graph = builder.finish(y)
    assert y in tieless(graph) or graph.output.fixed.rounding is Rounding.RND  # a quarter is no tie
    even = Builder("even")
    x = even.input("x", (2,), Fixed(True, 4, 4))
    twice = even.add("twice", x, x)
    graph = even.finish(even.mul("product", twice, even.dense("four", x, np.eye(2, dtype=int) * 4, 0)))
    assert coverage_of(graph, stimuli.make(graph)).bits().reached > 0
    assert graph.output.fixed.fraction == -2  # the weight's zero bits are in its scale


def test_generated_vectors_reach_the_bits_of_products():
    graph = gate()
    bits = coverage_of(graph, stimuli.make(graph)).bits("accumulator")
    assert bits.reached > 0.9 * bits.possible


# On the targets ------------------------------------------------------------------------------------


def reaching(graph):
    return np.concatenate([vectors(graph), stimuli.make(graph)[:200]])


@pytest.mark.parametrize(("target", "options"), PROCESSORS)
def test_processors_compute_gates_squares_and_repeated_factors(target, options, tmp_path):
    assert_equal(target, gate(), reaching, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), FIRMWARE)
def test_firmware_computes_them_from_sources_that_pass_the_scan(target, options, tmp_path):
    assert_equal(target, gate(), reaching, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls"])
def test_firmware_gives_the_product_of_any_two_formats(target, tmp_path):
    builder, generator, products = Builder("products"), np.random.default_rng(5), []
    x = builder.input("x", (2,), Fixed(True, 16, 8))
    for number in range(12):
        operands = []
        for place in range(2):
            signed, bits = bool(generator.integers(2)), int(generator.integers(2, 13))
            fixed = Fixed(signed, bits, int(generator.integers(-2, 14)), Rounding.RND, Overflow.WRAP)
            part = builder.take(f"p{number}", x, [(number + place) % 2], 0)
            operands.append(builder.requantise(f"p{number}", part, fixed))
        product = builder.mul(f"p{number}", *operands)
        products.append(builder.requantise(f"q{number}", product, Fixed(True, 24, 12, overflow=Overflow.WRAP)))
    assert_equal(target, builder.finish(builder.concat("all", tuple(products), 0)), reaching, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls"])
def test_a_stream_of_pixels_is_gated_and_squared(target, tmp_path):
    builder, generator = Builder("stream"), np.random.default_rng(3)
    x = builder.input("x", (4, 5, 2), Fixed(True, 5, 2))
    near = builder.dense("near", builder.window("window", x, (3, 3)), generator.integers(-2, 3, (18, 2)), 1)
    gate = builder.requantise("gate", builder.relu("gate", near), UNSIGNED)
    graph = builder.finish(builder.add("sum", builder.mul("gated", x, gate), builder.mul("square", x, x)))
    assert_equal(target, graph, reaching, tmp_path)
