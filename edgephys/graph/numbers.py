"""Arithmetic of the golden model on numbers: integers carried in float32, float64 or int64 (``carriers``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow, rounded_floats

BATCH = 1
"""Leading axes that are not in the Graph's shapes: the vectors."""
PIECE = 1 << 18
"""Most products in one call of the matrix library: for more it starts threads of its own, which are slow on a busy
machine. ``evaluate.run`` starts a thread a chunk of vectors instead."""


def product(x: Any, weight: Integers) -> Any:
    """Multiply the last axis by a matrix (in, out), piece by piece."""
    rows, weight = x.reshape(-1, x.shape[-1]), weight.astype(x.dtype)
    products = np.empty((len(rows), weight.shape[1]), x.dtype)
    size = max(1, PIECE // weight.size)
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        np.matmul(rows[piece], weight, out=products[piece])
    return products.reshape(*x.shape[:-1], weight.shape[1])


def requantised(x: Any, fraction: int, fixed: Fixed) -> Any:
    """Return integers at ``2**-fraction`` in another format, in the same carrier.

    Exact: equals ``Fixed.requantise`` wherever the carrier is the one that ``carriers`` gives.
    """
    if x.dtype.kind != "f":
        return fixed.requantise(x, fraction)
    drop = fraction - fixed.fraction
    x = x * 2.0**-drop  # in steps of the new format
    if drop > 0:
        x = rounded_floats(x, fixed.rounding)
    low, high = float(fixed.low), float(fixed.high)
    if fixed.overflow.saturates:
        return np.clip(x, low, high, out=x)
    if fixed.overflow is Overflow.SAT_ZERO:
        return np.where((x < low) | (x > high), 0, x)
    return x - np.floor((x - low) * 2.0**-fixed.bits) * 2.0**fixed.bits  # WRAP


def constant(integers: Integers, x: Any) -> Any:
    """Return constant integers in the type that carries ``x``."""
    return integers.astype(x.dtype)


def larger(x: Any, y: Any) -> Any:
    """Return the larger of two integers, element by element."""
    return np.maximum(x, y)


def looked_up(x: Any, tables: Integers, channels: Integers, first: int) -> Any:
    """Return the entry for each integer in the table of its channel, in the type that carries ``x``."""
    places = x.astype(np.int64) + (channels * tables.shape[-1] - first)
    return np.take(tables.astype(x.dtype), places)
