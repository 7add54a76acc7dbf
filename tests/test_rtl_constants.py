"""Constants of every width in RTL: the logic computes the golden integers; none is silently rounded."""

import re

import numpy as np
import pytest
from hypothesis import given, strategies

from edgephys.core.fixed import Fixed, Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.registry import TARGETS
from edgephys.targets.rtl import logic

INPUT = Fixed(True, 34, 34)


def require_exact(operations, fixed=INPUT):
    """Compare the integers of a layer's logic with the golden model's."""
    builder = Builder("g")
    graph = builder.finish(operations(builder, builder.input("x", (1,), fixed)))
    (part,) = logic.trace(graph, True)
    generator = np.random.default_rng(1)
    near = np.concatenate([sign * ((1 << bits) + np.arange(-3, 4)) for bits in range(1, 33) for sign in (-1, 1)])
    x = np.concatenate([near, generator.integers(fixed.low, fixed.high, 2000, endpoint=True), [fixed.low, fixed.high]])
    x = np.clip(x, fixed.low, fixed.high)[:, None]
    received = part.program.predict(x.astype(float), n_threads=1)
    np.testing.assert_array_equal(received, evaluate.run(graph, x).reshape(len(x), -1))


def requantised(bits, integer, rounding=Rounding.TRN, overflow=Overflow.WRAP, signed=True):
    return lambda builder, x: builder.requantise("l", x, Fixed(signed, bits, integer, rounding, overflow))


@pytest.mark.parametrize("overflow", [Overflow.SAT, Overflow.SAT_SYM])
@pytest.mark.parametrize("signed", [True, False])
def test_a_saturation_is_exact_at_every_width(overflow, signed):
    for bits in range(20, 32):
        require_exact(requantised(bits + signed, bits + signed, overflow=overflow, signed=signed))


@pytest.mark.parametrize("rounding", list(Rounding))
def test_a_rounding_is_exact_whatever_it_drops(rounding):
    for drop in range(1, 6):
        require_exact(requantised(40 - drop, 34, rounding))
    for drop in range(20, 31):
        require_exact(requantised(34 - drop, 34, rounding))


@pytest.mark.parametrize(("name", "most"), [("bias", 51), ("scale", 40)])
def test_a_constant_is_exact_at_every_width(name, most):
    narrow = Fixed(True, 12, 12)
    for bits in range(20, most):
        for integer in ((1 << bits) - 1, -(1 << bits) + 1, (1 << (bits - 1)) + 1):
            require_exact(lambda b, x, i=integer: getattr(b, name)("l", x, np.array(i), 0), narrow)


@given(strategies.data())
def test_a_sum_of_products_of_wide_numbers_is_exact(data):
    """The widest partial sum has at most 53 bits, beyond which RTL refuses."""
    bits = data.draw(strategies.integers(2, 12))
    integers = strategies.integers(-(1 << 38), 1 << 38)
    weight = [[data.draw(integers.filter(bool))]]
    addends = [data.draw(strategies.integers(-(1 << 50), 1 << 50)) for _ in range(2)]

    def operations(builder, x):
        y = builder.bias("l", builder.dense("l", x, np.array(weight), 0), np.array(addends[:1]), 0)
        return builder.bias("l", y, np.array(addends[1:]), data.draw(strategies.integers(0, 1)))

    require_exact(operations, Fixed(data.draw(strategies.booleans()), bits, bits))


@pytest.mark.slow
@pytest.mark.parametrize("language", ["verilog", "vhdl"])
def test_wide_constants_are_exact_in_the_emitted_sources(language, tmp_path):
    generator, builder = np.random.default_rng(3), Builder("g")
    x = builder.dense("wide", builder.input("x", (4,), Fixed(True, 12, 12)), generator.integers(-9e8, 9e8, (4, 3)), 0)
    x = builder.bias("wide", x, generator.integers(-(1 << 44), 1 << 44, 3), 0)
    short = builder.requantise("short", x, Fixed(True, 10, 45, Rounding.RND_CONV, Overflow.SAT))
    y = builder.scale("scaled", short, np.array([(1 << 33) + 12345, -(1 << 35) - 777, 3]), 35)
    wide = builder.requantise("sat", x, Fixed(True, 44, 44, Rounding.RND, Overflow.SAT))
    graph, rtl = builder.finish(builder.concat("end", (y, wide), 0)), TARGETS["rtl"]
    facts = rtl.emit(graph, tmp_path, rtl.options(language=language))
    vectors = generator.integers(-2048, 2048, (200, 4))
    received = rtl.run(tmp_path, facts, vectors).outputs
    np.testing.assert_array_equal(received, evaluate.run(graph, vectors))


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("relu", [False, True])
def test_a_bias_and_the_half_of_the_rounding_after_it_are_exact_together(rounding, relu):
    def operations(integer, drop):
        def add(builder, x):
            y = builder.bias("l", x, np.array(integer), 0)
            y = builder.relu("l", y) if relu else y
            return builder.requantise("l", y, Fixed(True, 36 - drop, 36, rounding, Overflow.WRAP))

        return add

    for bits in (8, 20, 24, 25, 30):
        for drop in (2, 10, 20, 24, 26):
            require_exact(operations((1 << bits) - 1, drop))


def test_alkaid_is_as_before_after_a_trace():
    from alkaid.trace import fixed_variable, fixed_variable_array
    from alkaid.trace.passes import canon
    from alkaid.types import CombLogic

    def own():
        modules = fixed_variable, fixed_variable_array, canon
        owners = *modules, fixed_variable.FVariable, fixed_variable_array.FVArray, CombLogic
        return [dict(vars(owner)) for owner in owners]

    before = own()
    require_exact(lambda b, x: b.bias("l", x, np.array((1 << 26) - 1), 0))
    assert own() == before


@pytest.mark.parametrize("factor", [-1, -3, -157, 5])
@pytest.mark.parametrize("addend", [3, 8, 823, -822])
@pytest.mark.parametrize("mode", list(Rounding))
def test_a_sum_times_a_negative_number_is_rounded_as_the_golden_model_does(addend, factor, mode):
    def operations(builder, x):
        scaled = builder.scale("l", builder.bias("l", x, np.array([addend]), 5), np.array([factor]), 7)
        return builder.requantise("l", scaled, Fixed(True, 12, 12, mode, Overflow.SAT))

    require_exact(operations, Fixed(True, 9, 9))


def test_a_copy_of_a_layer_and_a_layer_of_that_name_have_instances_of_their_own(tmp_path):
    builder = Builder("g")
    x = builder.dense("dense", builder.input("x", (3, 2), Fixed(True, 4, 4)), np.ones((2, 2), np.int64), 0)
    x = builder.requantise("dense", x, Fixed(True, 4, 4))
    x = builder.dense("dense_1", builder.reshape("flat", x, (6,)), np.ones((6, 1), np.int64), 0)
    graph = builder.finish(x)
    rtl = TARGETS["rtl"]
    rtl.emit(graph, tmp_path, rtl.options())
    text = (tmp_path / "src" / "edgephys_top.v").read_text()
    names = re.findall(r"^ *layer_\w+ (u_\w+)", text, re.MULTILINE)
    assert names == ["u_dense_0", "u_dense_1", "u_dense_2", "u_dense_1_block"]
