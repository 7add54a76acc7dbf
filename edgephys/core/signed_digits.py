"""Signed digits of integers: how many of the canonical form are not zero.

A weight of d non-zero digits in canonical signed digit form costs d - 1 additions (d where its product is added to
others). The form has no two neighbouring non-zero digits; no other form with digits -1, 0, 1 has fewer.
Source: G. W. Reitwiesner, Binary Arithmetic (Advances in Computers 1, 1960).
"""

from __future__ import annotations

import numpy as np

from edgephys.core.fixed import Integers


def count(integers: Integers) -> Integers:
    """Return the number of non-zero signed digits of each integer.

    The canonical form of n is (3n - n) / 2 digit by digit: digit i is not zero where 3n and n differ in bit i + 1.
    """
    magnitudes = np.abs(integers)
    counts: Integers = np.bitwise_count(magnitudes ^ (3 * magnitudes)).astype(np.int64)
    return counts
