"""Signed digits of weights: their number in a constant multiplication, and its expectation for random bits.

The form is that of ``core.signed_digits``; the expectation is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.core.signed_digits import count as count
from edgephys.networks.backend import keras


def leading(integers: Any, counts: Any, limits: tuple[int, int]) -> Any:
    """Return the value of the first ``counts`` signed digits of each integer, from the most significant one.

    ``limits`` are the lowest and the highest representable integer. A value beyond them, a power of two, is replaced
    by its half. The highest digit of n is 2**i with 2**i < 3/2 |n| < 2**(i + 1).
    """
    ops = keras.ops
    integers, left = (ops.cast(of, "float32") for of in (integers, counts))
    rest = integers
    for i in reversed(range(limits[1].bit_length() + 1)):
        digit = ops.where((3.0 * ops.abs(rest) > 2.0 ** (i + 1)) & (left > 0), ops.sign(rest), 0.0)
        rest, left = rest - digit * 2.0**i, left - ops.abs(digit)
    values = integers - rest
    return ops.where((values < limits[0]) | (values > limits[1]), values / 2.0, values)


def errors(integers: Integers, limits: tuple[int, int]) -> Integers:
    """Return the error of each integer when only its first 0, 1, 2, ... signed digits stay.

    Shape: (digits, ...).
    """
    most = int(count(integers).max(initial=0))
    rounded = [leading(integers, np.full(integers.shape, some), limits) for some in range(most)]
    differences = [np.abs(integers - keras.ops.convert_to_numpy(of).astype(np.int64)) for of in rounded]
    return np.stack(differences) if differences else np.zeros((0, *integers.shape), np.int64)


def expected(bits: Sequence[Any]) -> Any:
    """Return the expected number of non-zero signed digits of a magnitude with independent random bits.

    ``bits`` holds the probability that each bit is 1, from the least to the most significant. The result is linear in
    each of them. At probabilities of 0 and 1 it is the count; its derivative with respect to a bit is the number of
    digits that setting this bit adds.
    Exact: the recoding depends on lower bits only through the sum of bit and carry, 0, 1 or 2; a digit is not zero
    where that sum is 1.
    """
    zero, one, two = 1.0, 0.0, 0.0  # probabilities of bit + carry
    total: Any = 0.0
    for bit in (*bits, 0.0):
        zero, one, two = (
            (1.0 - bit) * (zero + one),
            bit * zero + (1.0 - bit) * two,
            bit * (one + two),
        )
        total = total + one
    return total
