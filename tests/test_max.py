"""The larger of two computed values is the same on numbers, in the witness and on every target."""

import numpy as np
import pytest
from every_target import FIRMWARE, PROCESSORS, assert_equal
from hypothesis import given, settings, strategies
from random_graphs import vectors

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph, to_record
from edgephys.graph.passes import tieless
from edgephys.graph.ranges import derive, reason
from edgephys.verify import plain

SAT = Fixed(True, 7, 3, Rounding.RND, Overflow.SAT)


def network() -> Graph:
    """Return maxima of values that differ by a constant, have signs or none, and meet in different steps."""
    builder = Builder("larger")
    x = builder.input("x", (2, 3), Fixed(True, 6, 3))
    near = builder.bias("near", x, np.array([-3, 5, 0]), 5)
    above = builder.bias("above", x, np.array(9), 3)  # always the larger one
    sums = builder.dense("sums", x, np.array([[1, 2, 0], [-3, 1, 1], [1, 1, -2]]), 2)
    sides = builder.max("both", builder.max("one", x, near), builder.max("other", above, x))
    both = builder.add("first", sides, builder.max("third", sums, near))
    return builder.finish(builder.add("second", both, builder.max("fourth", builder.relu("cut", sums), x)))


@settings(max_examples=40, deadline=None)
@given(
    strategies.integers(1, 30), strategies.integers(-20, 20), strategies.integers(1, 30), strategies.integers(-20, 20)
)
def test_any_two_formats_give_the_larger_in_the_wider_of_them(bits, fraction, other_bits, other_fraction):
    builder = Builder("larger")
    x = builder.input("x", (2,), Fixed(True, 40, 20))
    one, other = Fixed(True, bits + 1, bits + 1 - fraction), Fixed(False, other_bits, other_bits - other_fraction)
    edges = [
        builder.requantise("formats", builder.take("parts", x, [place], 0), fixed)
        for place, fixed in enumerate((one, other))
    ]
    graph = builder.finish(builder.max("larger", *edges))
    x, fraction = vectors(graph), graph.output.fixed.fraction
    trace = evaluate.trace(graph, {"x": x})
    expected = np.maximum(
        *(trace[n.name].astype(object) << (fraction - n.fixed.fraction) for n in graph.operands(graph.output))
    )
    np.testing.assert_array_equal(trace[graph.output.name], expected.astype(np.int64))
    np.testing.assert_array_equal(plain.trace(to_record(graph), x)[graph.output.name], expected)


def test_the_range_of_a_maximum_is_no_wider_than_its_operands():
    builder = Builder("ranges")
    x = builder.input("x", (3,), Fixed(True, 4, 4))  # -8..7
    y = builder.bias("y", x, np.array([9, -20, 0]), 0)
    graph = builder.finish(builder.max("m", x, y))
    ranges = derive(graph)
    range_ = ranges["m_max"]
    assert reason(graph, graph.output, ranges) == "the larger of values of 4 and 6 bits: -8..16 steps of 2^0"
    assert range_.low.tolist() == [1, -8, -8] and range_.high.tolist() == [16, 7, 7]


def test_the_larger_of_odd_values_in_one_step_meets_no_tie():
    builder = Builder("odd")
    x = builder.input("x", (2,), Fixed(True, 4, 4))
    odd = [builder.bias(name, x, np.array([1, at]), 2) for name, at in (("a", 3), ("b", -1))]
    largest = builder.max("m", *odd)
    rounded = builder.requantise("q", largest, Fixed(True, 7, 7, Rounding.RND_CONV, Overflow.SAT))
    graph = builder.finish(rounded)
    assert rounded in tieless(graph)
    mixed = builder.max("mixed", odd[0], x)  # the step of x is coarser
    rounded = builder.requantise("q2", mixed, Fixed(True, 7, 7, Rounding.RND_CONV, Overflow.SAT))
    assert rounded not in tieless(builder.finish(rounded))


# On the targets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "options"), PROCESSORS)
def test_processors_compute_maxima(target, options, tmp_path):
    assert_equal(target, network(), vectors, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "options"), FIRMWARE)
def test_firmware_computes_maxima_from_sources_that_pass_the_scan(target, options, tmp_path):
    assert_equal(target, network(), vectors, tmp_path, **options)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["rtl", "hls"])
def test_a_stream_of_pixels_takes_maxima(target, tmp_path):
    builder, generator = Builder("stream"), np.random.default_rng(3)
    x = builder.input("x", (4, 5, 2), Fixed(True, 5, 2))
    near = builder.dense("near", builder.window("window", x, (3, 3)), generator.integers(-2, 3, (18, 2)), 1)
    assert_equal(target, builder.finish(builder.max("larger", near, x)), vectors, tmp_path)
