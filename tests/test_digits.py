"""Signed digits: counted as the canonical form has them, and expected of random bits without enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgephys.compress import digits


def canonical(n):
    """Return the canonical signed digits of an integer, by its definition."""
    found = []
    while n:
        digit = 2 - n % 4 if n % 2 else 0
        found.append(digit)
        n = (n - digit) // 2
    return found


@given(st.integers(-(2**40), 2**40))
def test_the_count_is_that_of_the_canonical_form(n):
    assert digits.count(np.array(n)) == np.count_nonzero(canonical(n))


def test_no_sum_of_signed_powers_has_fewer_terms():
    powers = [s * 2**i for i in range(6) for s in (1, -1)]
    fewest = {0: 0}
    for terms in (1, 2, 3):
        for chosen in product(powers, repeat=terms):
            fewest.setdefault(sum(chosen), terms)
    for n in range(-31, 32):
        assert digits.count(np.array(n)) == fewest[n]


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_expectation_of_certain_bits_is_the_count(bits):
    for n in range(2**bits):
        assert digits.expected([n >> i & 1 for i in range(bits)]) == digits.count(np.array(n))


LIMITS = {(bits, low): (low - 2 ** (bits - 1), 2 ** (bits - 1) - 1) for bits in (3, 6, 8, 16) for low in (0, 1)}


def numbers(limits):
    return np.unique(np.linspace(*limits, 1024).round().astype(np.int64))


@pytest.mark.parametrize("limits", LIMITS.values())
def test_the_first_digits_are_those_of_the_canonical_form_within_the_limits(limits):
    found = numbers(limits)
    most = int(digits.count(found).max())
    for some in range(most + 1):
        made = np.asarray(digits.leading(found, np.full(found.shape, some), limits)).astype(np.int64)
        assert made.min() >= limits[0] and made.max() <= limits[1]
        assert np.all(digits.count(made) == np.minimum(digits.count(found), some))
        for n, few in zip(found.tolist(), made.tolist(), strict=True):
            rest = canonical(n)
            ends = sum(1 for digit in rest if digit) - some
            for i, digit in enumerate(rest):
                if digit and ends > 0:
                    rest[i], ends = 0, ends - 1
            whole = sum(digit * 2**i for i, digit in enumerate(rest))
            assert few == (whole if limits[0] <= whole <= limits[1] else whole // 2)


@pytest.mark.parametrize("limits", LIMITS.values())
def test_each_digit_kept_makes_the_error_smaller(limits):
    found = numbers(limits)
    errors = digits.errors(found, limits)
    assert np.array_equal(errors[0], np.abs(found))
    assert np.array_equal((errors > 0).sum(0), digits.count(found))
    assert np.all((errors[1:] < errors[:-1]) | (errors[1:] == 0))


def test_zeros_have_no_digits_to_lose():
    assert digits.errors(np.zeros((2, 3), np.int64), (-8, 7)).shape == (0, 2, 3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_expectation_is_the_mean_over_all_values_of_the_bits(probabilities):
    mean = 0.0
    for values in product((0, 1), repeat=len(probabilities)):
        chance = np.prod([p if value else 1 - p for p, value in zip(probabilities, values, strict=True)])
        mean += chance * digits.count(np.array(sum(value << i for i, value in enumerate(values))))
    assert digits.expected(probabilities) == pytest.approx(mean)


@given(st.integers(0, 255), st.integers(0, 7))
def test_the_derivative_with_respect_to_a_bit_is_what_setting_it_costs(n, bit):
    def at(value):
        return digits.expected([value if i == bit else n >> i & 1 for i in range(8)])

    with_it, without = digits.count(np.array(n | 1 << bit)), digits.count(np.array(n & ~(1 << bit)))
    assert at(1.0) - at(0.0) == with_it - without
    assert at(0.5) == pytest.approx((at(0.0) + at(1.0)) / 2)
