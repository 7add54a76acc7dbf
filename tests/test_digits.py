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
