"""Rounding of a product in 16 bits from the sums of its digits, in every mode, and what a digit's sum looks like."""

import re
from itertools import pairwise, product

import numpy as np
import pytest
from c_programs import WARNINGS, run_together
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import vectors
from test_c_batch import emitted

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.c import emit as c
from edgephys.targets.c.batch import LANES, MANY_LANES
from edgephys.targets.c.digit_sums import digit_sum, signed_digits
from edgephys.targets.c.narrow import Digit
from edgephys.targets.c.pairs import Bucket
from edgephys.targets.c.plan import stored_type


def network(rounding, overflow, relu, seed, bits=8, scale=1):
    """Return a product with weights of 8 bits, a bias whose low bits matter, and a rounding that overflows."""
    draw = np.random.default_rng(seed)
    builder = Builder("rounded")
    x = builder.input("x", (40,), Fixed(bool(seed % 2), bits, bits))
    x = builder.dense("layer", x, draw.integers(-128, 128, (40, 12)) * scale, 0)
    x = builder.bias("layer", x, draw.integers(-3000, 3000, 12), 0)
    x = builder.relu("layer", x) if relu else x
    signed = not relu or overflow is Overflow.SAT_SYM
    return builder.finish(builder.requantise("layer", x, Fixed(signed, 8, 15, rounding, overflow)))


@pytest.mark.slow
@pytest.mark.parametrize("rounding", list(Rounding))
def test_every_mode_is_exact_at_ties_and_ends(rounding, tmp_path):
    many = [
        network(rounding, overflow, relu, number % 2)
        for number, (overflow, relu) in enumerate([*product(Overflow, (False, True)), (Overflow.SAT, False)])
    ]
    xs = [vectors(graph, 2 * LANES + 5) for graph in many]
    runs = run_together(tmp_path, many, xs, flags=(*WARNINGS, "-O1"))
    for graph, x, (outputs, _) in zip(many, xs, runs, strict=True):
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


@pytest.mark.parametrize("rounding", [Rounding.RND_CONV, Rounding.RND_INF, Rounding.TRN_ZERO])
def test_a_sum_of_digits_is_rounded_without_an_integer_of_32_bits(rounding, tmp_path):
    for relu in (False, True):
        folder = tmp_path / str(relu)
        graph = network(rounding, Overflow.SAT, relu, 1)
        facts, x = emitted(graph, folder), vectors(graph, 2 * LANES + 5)
        source = (folder / "rounded_batch.c").read_text()
        digits = re.sub(r"#ifdef ROUNDED_WORDS.*?#e", "", source, flags=re.DOTALL)
        assert "int16_t sum1 =" in digits and "int32_t sum" not in digits
        np.testing.assert_array_equal(c.run_batch(folder, facts, x), evaluate.run(graph, x))


@pytest.mark.parametrize("rows", [8, 24, 32, 56, 12])
def test_rows_of_one_event_are_lanes_of_16_bits_where_eight_or_more_fill_them(rows, tmp_path):
    builder = Builder("rows")
    x = builder.input("x", (rows, 20), Fixed(False, 8, 8))
    x = builder.dense("layer", x, np.random.default_rng(rows).integers(-128, 128, (20, 6)), 0)
    x = builder.relu("layer", builder.bias("layer", x, np.arange(-900, 900, 300), 0))
    graph = builder.finish(builder.requantise("layer", x, Fixed(False, 8, 14, Rounding.RND_CONV, Overflow.SAT)))
    facts, x = emitted(graph, tmp_path), vectors(graph, 9)
    assert ("const int16_t sum1" in (tmp_path / "rows.c").read_text()) == (rows % 8 == 0)
    for run in (c.run, c.run_sanitised):
        np.testing.assert_array_equal(run(tmp_path, facts, x), evaluate.run(graph, x))


def test_arrays_of_numbers_of_9_to_15_bits_are_signed():
    assert [stored_type(0, high) for high in (255, 256, 32767, 32768)] == ["uint8_t", "int16_t", "int16_t", "uint16_t"]
    assert stored_type(-1, 255) == "int16_t"


@pytest.mark.parametrize("bits, scale", [(12, 1), (8, 16), (16, 1), (5, 3)])
def test_sums_of_many_digits_and_sums_that_need_32_bits_are_exact_with_sanitisers(bits, scale, tmp_path):
    graph = network(Rounding.RND_CONV, Overflow.SAT, True, bits, bits, scale)
    facts, x = emitted(graph, tmp_path), vectors(graph, LANES + 3)
    for flags in (c.FLAGS, c.SANITISED):
        np.testing.assert_array_equal(c.run_batch(tmp_path, facts, x, flags), evaluate.run(graph, x))


def test_a_layer_that_ends_before_the_rounding_is_recorded_whole(tmp_path):
    builder = Builder("ends")
    x = builder.input("x", (40,), Fixed(False, 8, 8))
    x = builder.dense("first", x, np.random.default_rng(0).integers(-128, 128, (40, 6)), 0)
    graph = builder.finish(builder.requantise("second", x, Fixed(True, 8, 15)))
    facts, x = emitted(graph, tmp_path), vectors(graph, LANES)
    _, edges = c.probe_batch(tmp_path, facts, x, c.FLAGS)
    golden = evaluate.trace(graph, {graph.input.name: x})
    assert "first_dense" in edges
    for node, integers in edges.items():
        np.testing.assert_array_equal(integers, golden[node])


@pytest.mark.slow
def test_a_network_of_many_weights_and_small_arrays_has_blocks_of_more_events(tmp_path):
    lanes = {}
    for rows in (1, 64):
        builder = Builder("large")
        x = builder.input("x", (rows, 70), Fixed(False, 4, 4))
        x = builder.dense("layer", x, np.random.default_rng(0).integers(1, 4, (70, 64)), 0)
        graph = builder.finish(builder.requantise("layer", x, Fixed(False, 4, 8)))
        facts, x = emitted(graph, tmp_path / str(rows)), vectors(graph, 2 * MANY_LANES + 3)
        np.testing.assert_array_equal(c.run_batch(tmp_path / str(rows), facts, x), evaluate.run(graph, x))
        lanes[rows] = facts["batch"]["lanes"]
    assert lanes == {1: MANY_LANES, 64: LANES}


# The sum of a digit --------------------------------------------------------------------------------


@given(st.integers(1, 1 << 20))
def test_signed_digits_are_canonical(number):
    digits = signed_digits(number)
    assert sum(sign << power for power, sign in digits) == number
    powers = [power for power, _ in digits]
    assert all(upper - lower > 1 for lower, upper in pairwise(powers))


@given(st.lists(st.integers(-400, 400), min_size=1, max_size=9), st.lists(st.integers(-99, 99), min_size=9, max_size=9))
def test_the_text_of_a_digit_is_the_sum_of_its_products(numbers, inputs):
    digit = Digit(0, np.array(numbers))
    lines, text = digit_sum(digit, digit.buckets, [f"x{k}" for k in range(9)], "same")
    names = {f"x{k}": value for k, value in enumerate(inputs)}
    for line in lines:
        name, _, value = line.removeprefix("const int32_t ").removesuffix(";").partition(" = ")
        names[name] = eval(value, {}, names)
    assert eval(text, {}, names) == sum(n * x for n, x in zip(numbers, inputs, strict=False))


def test_inputs_with_the_same_number_are_added_before_they_are_multiplied():
    buckets = [Bucket(3, {0: 1, 1: -1}), Bucket(4, {2: 1})]
    lines, text = digit_sum(Digit(0, np.array([3, -3, 4])), buckets, "abc", "same")
    assert lines == ["const int32_t same_3 = a - b;"] and text == "4 * (same_3 + c) - same_3"
