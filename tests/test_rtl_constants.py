"""Constants of every width in RTL: the logic computes the golden integers or is refused; none is silently rounded."""

import re

import numpy as np
import pytest

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.registry import TARGETS
from edgephys.targets.rtl import logic

REFUSED = (
    r"^layer 'l': its logic needs the constant -?[\d.e+-]+ with over 24 significant bits, RTL is exact up to 24; use"
)
INPUT = Fixed(True, 34, 34)
EXACT, REFUSAL = "exact", "refused"


def outcome(operations, fixed=INPUT):
    """Return whether the logic of a layer is refused, after a comparison of its integers where it is not."""
    builder = Builder("g")
    graph = builder.finish(operations(builder, builder.input("x", (1,), fixed)))
    try:
        (part,) = logic.trace(graph, True)
    except ModelError as error:
        assert re.match(REFUSED, str(error)), error
        return REFUSAL
    generator = np.random.default_rng(1)
    near = np.concatenate([sign * ((1 << bits) + np.arange(-3, 4)) for bits in range(1, 33) for sign in (-1, 1)])
    x = np.concatenate([near, generator.integers(fixed.low, fixed.high, 2000, endpoint=True), [fixed.low, fixed.high]])
    x = np.clip(x, fixed.low, fixed.high)[:, None]
    assert part.program is not None
    received = part.program.predict(x.astype(float), n_threads=1)
    np.testing.assert_array_equal(received, evaluate.run(graph, x).reshape(len(x), -1))
    return EXACT


def requantised(bits, integer, rounding=Rounding.TRN, overflow=Overflow.WRAP, signed=True):
    return lambda builder, x: builder.requantise("l", x, Fixed(signed, bits, integer, rounding, overflow))


@pytest.mark.parametrize("overflow", [Overflow.SAT, Overflow.SAT_SYM])
@pytest.mark.parametrize("signed", [True, False])
def test_a_saturation_is_exact_up_to_24_bits_and_refused_or_exact_beyond(overflow, signed):
    ends = {
        bits: outcome(requantised(bits + signed, bits + signed, overflow=overflow, signed=signed))
        for bits in range(20, 32)
    }
    assert all(ends[bits] == EXACT for bits in range(20, 25)), ends


@pytest.mark.parametrize("rounding", list(Rounding))
def test_a_rounding_is_exact_up_to_24_dropped_bits_and_refused_or_exact_beyond(rounding):
    ends = {drop: outcome(requantised(40 - drop, 34, rounding)) for drop in range(1, 6)}
    ends |= {drop: outcome(requantised(34 - drop, 34, rounding)) for drop in range(20, 31)}
    assert all(ends[drop] == EXACT for drop in range(20, 25)), ends


@pytest.mark.parametrize("name", ["bias", "scale"])
def test_a_constant_is_exact_up_to_24_bits_and_refused_beyond(name):
    narrow = Fixed(True, 12, 12)
    for bits in range(20, 32):
        for integer in ((1 << bits) - 1, -(1 << bits) + 1, (1 << (bits - 1)) + 1):
            ended = outcome(lambda b, x, i=integer: getattr(b, name)("l", x, np.array(i), 0), narrow)
            assert ended == (EXACT if bits <= 24 else REFUSAL), (bits, integer)


@pytest.mark.parametrize("rounding", list(Rounding))
@pytest.mark.parametrize("relu", [False, True])
def test_a_bias_and_the_half_of_the_rounding_after_it_are_exact_together_or_refused(rounding, relu):
    def operations(integer, drop):
        def add(builder, x):
            y = builder.bias("l", x, np.array(integer), 0)
            y = builder.relu("l", y) if relu else y
            return builder.requantise("l", y, Fixed(True, 36 - drop, 36, rounding, Overflow.WRAP))

        return add

    ends = [outcome(operations((1 << bits) - 1, drop)) for bits in (8, 20, 23, 24) for drop in (2, 10, 20, 24, 26)]
    assert ends[0] == ends[1] == EXACT


def test_the_reading_of_numbers_is_as_before_after_a_refusal():
    from alkaid.trace import fixed_variable

    before = fixed_variable.get_lsb_loc
    assert outcome(lambda b, x: b.bias("l", x, np.array((1 << 26) - 1), 0)) == REFUSAL
    assert fixed_variable.get_lsb_loc is before


@pytest.mark.parametrize("factor", [-1, -3, -157, 5])
@pytest.mark.parametrize("addend", [3, 8, 823, -822])
@pytest.mark.parametrize("mode", list(Rounding))
def test_a_sum_times_a_negative_number_is_rounded_as_the_golden_model_does(addend, factor, mode):
    def operations(builder, x):
        scaled = builder.scale("l", builder.bias("l", x, np.array([addend]), 5), np.array([factor]), 7)
        return builder.requantise("l", scaled, Fixed(True, 12, 12, mode, Overflow.SAT))

    assert outcome(operations, Fixed(True, 9, 9)) == EXACT


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
