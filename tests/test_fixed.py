"""The number format: every mode equals UG1399's definition, computed here anew with fractions."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edgephys.core.errors import ModelError
from edgephys.core.fixed import WIDEST, Fixed, narrowest
from edgephys.core.rounding import Overflow, Rounding, rounded, rounded_floats

MONOTONE = (Overflow.SAT, Overflow.SAT_SYM)


def reference(value: Fraction, fixed: Fixed) -> int:
    """Return what AMD UG1399, tables "Quantization Modes" and "Overflow Modes" of ap_fixed, say of a value."""
    steps = value / Fraction(2) ** (fixed.integer - fixed.bits)
    below, above = floor(steps), ceil(steps)
    nearest = [n for n in {below, above} if abs(n - steps) == min(steps - below, above - steps)]
    chosen = {
        Rounding.TRN: below,  # towards minus infinity
        Rounding.TRN_ZERO: below if steps >= 0 else above,  # towards zero
        Rounding.RND: max(nearest),  # halves towards plus infinity
        Rounding.RND_MIN_INF: min(nearest),  # halves towards minus infinity
        Rounding.RND_ZERO: min(nearest, key=abs),  # halves towards zero
        Rounding.RND_INF: max(nearest, key=abs),  # halves away from zero
        Rounding.RND_CONV: nearest[0] if len(nearest) == 1 else next(n for n in nearest if n % 2 == 0),
    }[fixed.rounding]
    highest = 2 ** (fixed.bits - 1) - 1 if fixed.signed else 2**fixed.bits - 1
    lowest = -(2 ** (fixed.bits - 1)) if fixed.signed else 0
    if fixed.overflow is Overflow.SAT_SYM and fixed.signed:
        lowest = -highest
    if fixed.overflow is Overflow.WRAP:
        kept = chosen % 2**fixed.bits
        return kept - 2**fixed.bits if kept > highest else kept
    if lowest <= chosen <= highest:
        return chosen
    if fixed.overflow is Overflow.SAT_ZERO:
        return 0
    return highest if chosen > highest else lowest


@st.composite
def formats(draw, overflows=tuple(Overflow)):
    """Draw any format, its integer part down to -70 and up to 130."""
    signed, bits = draw(st.booleans()), draw(st.integers(1, WIDEST))
    integer = draw(st.integers(-70, 130))
    return Fixed(signed, bits, integer, draw(st.sampled_from(Rounding)), draw(st.sampled_from(overflows)))


@st.composite
def near(draw, fixed):
    """Draw (integer, fraction) whose value lies around the format: ties, ends and beyond them included."""
    drop = draw(st.integers(-20, 40))
    steps = draw(
        st.one_of(
            st.integers(-4, 4),
            st.sampled_from([fixed.low, fixed.high]).flatmap(lambda end: st.integers(end - 2, end + 2)),
            st.integers(-(2**40), 2**40),
        )
    )
    if drop <= 0:
        return int(steps) >> -drop, fixed.fraction + drop
    below = draw(st.one_of(st.sampled_from([0, 1, -1]).map(lambda d: (1 << (drop - 1)) + d), st.integers(0, 2**drop)))
    value = (int(steps) << drop) + below
    assume(abs(value) < 1 << WIDEST)
    return value, fixed.fraction + drop


@st.composite
def cases(draw, overflows=tuple(Overflow)):
    fixed = draw(formats(overflows))
    return fixed, *draw(near(fixed))


@given(cases())
def test_requantise_is_the_standards_rule_in_every_mode(case):
    fixed, integer, fraction = case
    assert int(fixed.requantise(integer, fraction)) == reference(Fraction(integer) / Fraction(2) ** fraction, fixed)


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("signed", [True, False])
def test_every_mode_is_the_standards_rule_on_every_small_number(signed, rounding, overflow):
    for bits, integer in ((1, 1), (2, 2), (3, 1), (3, -2), (3, 6)):
        fixed = Fixed(signed, bits, integer, rounding, overflow)
        for drop in (0, 1, 3):
            fraction = fixed.fraction + drop
            numbers = np.arange(-100, 101)
            expected = [reference(Fraction(int(n)) / Fraction(2) ** fraction, fixed) for n in numbers]
            assert fixed.requantise(numbers, fraction).tolist() == expected
            assert fixed.quantise(numbers * 2.0**-fraction).tolist() == expected


@given(formats(), st.floats(-8, 8), st.integers(-6, 3))
@example(Fixed(True, 8, 8, Rounding.RND_MIN_INF), -0.5 + 2.0**-54, 0)
@example(Fixed(True, 8, 8, Rounding.RND_INF), -0.5 + 2.0**-54, 0)
@example(Fixed(True, 62, 62, Rounding.RND), 2.0**53 + 2, 0)
def test_quantise_is_the_standards_rule_for_every_float(fixed, mantissa, scale):
    """A float's remainder is not a float: -0.5 + 2**-54 once passed for a tie."""
    value = mantissa * 2.0 ** (scale - fixed.fraction)
    assume(abs(mantissa) * 2.0**scale < 2.0**WIDEST)
    assume(value == 0 or abs(value) > 1e-290)
    assert int(fixed.quantise(value)) == reference(Fraction(value), fixed)


@given(cases())
def test_quantise_equals_requantise_on_dyadic_values(case):
    fixed, integer, fraction = case
    assume(abs(integer) < 2**53)
    assume(abs(Fraction(integer) * Fraction(2) ** (fixed.fraction - fraction)) < 2**WIDEST)
    assert fixed.quantise(integer * 2.0**-fraction) == fixed.requantise(integer, fraction)


@given(cases())
def test_requantise_is_idempotent_and_stays_in_its_range(case):
    fixed, integer, fraction = case
    once = fixed.requantise(integer, fraction)
    assert fixed.holds(int(once), int(once))
    assert fixed.requantise(once, fixed.fraction) == once


@given(cases(MONOTONE), st.data())
def test_saturating_formats_are_monotone(case, data):
    fixed, one, fraction = case
    other = data.draw(st.integers(one - 1000, one + 1000))
    low, high = fixed.requantise([min(one, other), max(one, other)], fraction)
    assert low <= high


@given(st.integers(-(2**WIDEST) + 1, 2**WIDEST - 1), st.integers(-(2**WIDEST) + 1, 2**WIDEST - 1), st.integers(-70, 70))
def test_the_narrowest_format_holds_its_range_and_one_bit_less_does_not(one, other, fraction):
    low, high = min(one, other), max(one, other)
    try:
        fixed = narrowest(low, high, fraction)
    except ModelError:
        assert low < 0 and max(-low - 1, high) >= 2 ** (WIDEST - 1)
        return
    assert fixed.holds(low, high)
    assert fixed.fraction == fraction
    assert fixed.signed == (low < 0)
    assert fixed.bits == 1 or not Fixed(fixed.signed, fixed.bits - 1, fixed.integer - 1).holds(low, high)


@given(formats(), st.data())
def test_values_of_integers_quantise_to_themselves(fixed, data):
    integer = data.draw(st.integers(max(fixed.low, -(2**53)), min(fixed.high, 2**53)))
    assert fixed.quantise(fixed.values(integer)) == integer


def test_shapes_are_kept():
    fixed = Fixed(True, 8, 4)
    assert fixed.requantise(np.zeros((2, 0, 3), np.int64), 9).shape == (2, 0, 3)
    assert fixed.quantise(np.zeros((2, 3))).shape == (2, 3)
    assert fixed.quantise(0.3).shape == ()


def test_the_symmetric_mode_has_no_lowest_number():
    assert Fixed(True, 8, 1, overflow=Overflow.SAT_SYM).low == -127
    assert Fixed(True, 8, 1, overflow=Overflow.SAT).low == -128
    assert Fixed(False, 8, 1, overflow=Overflow.SAT_SYM).low == 0


def test_a_format_says_its_name():
    assert str(Fixed(True, 12, 4)) == "fixed<12,4>"
    assert str(Fixed(False, 8, -2, Rounding.RND_CONV, Overflow.SAT)) == "ufixed<8,-2,RND_CONV,SAT>"
    assert Fixed(True, 8, 10).step == 4.0


@pytest.mark.parametrize("bits", [0, -1, WIDEST + 1])
def test_a_width_out_of_range_is_refused(bits):
    with pytest.raises(ModelError, match=rf"^fixed-point format: bits must be 1\.\.62, not {bits}$"):
        Fixed(True, bits, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0**62, -(2.0**62)])
def test_values_that_no_integer_holds_are_refused(value):
    with pytest.raises(ModelError, match=r"^fixed<8,8>: values must be finite and below 2\*\*62 steps$"):
        Fixed(True, 8, 8).quantise([0.0, value])


def test_a_shift_out_of_62_bits_is_refused_but_not_for_zeros():
    fixed = Fixed(True, 8, -60)
    with pytest.raises(ModelError, match=r"^fixed<8,-60>: a value of 2 bits shifted by 61 leaves 62 bits$"):
        fixed.requantise([3, 0], 7)
    assert fixed.requantise([1, 0], 7).tolist() == [0, 0]  # 2**61 wraps
    assert fixed.requantise([0, 0], -100).tolist() == [0, 0]


def test_rounding_more_than_62_bits_away_is_refused():
    assert Fixed(True, 8, 8).requantise(-1, 62) == -1
    with pytest.raises(ModelError, match=r"^fixed<8,8>: 63 bits to round away; at most 62 can be$"):
        Fixed(True, 8, 8).requantise(-1, 63)


def test_a_range_over_62_bits_has_no_format():
    with pytest.raises(ModelError, match=r"^a range of -1\.\.\d+ steps needs 63 bits; at most 62 are exact$"):
        narrowest(-1, 2**62 - 1, 0)


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("drop", [1, 2, 5])
def test_every_mode_is_a_floor_after_its_addend(mode, drop):
    x = np.arange(-200, 200)
    addend = mode.addend(drop)
    total = x + addend.constant + addend.negative * (x < 0) + addend.odd * ((x >> drop) & 1)
    assert np.array_equal(total >> drop, rounded(x, drop, mode))
    assert np.array_equal(rounded_floats(x / 2.0**drop, mode), rounded(x, drop, mode))
    assert mode.adds_constant == (not addend.negative and not addend.odd)
    positive = x[x >= 0]
    assert np.array_equal(rounded(positive, drop, mode.of_positive), rounded(positive, drop, mode))
