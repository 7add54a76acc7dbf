"""Arithmetic of the golden model on symbols: alkaid's, or any object array with the same operations.

A symbol is an integer in steps. Its only rounding is the floor; every other mode is a floor after an addition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow, Rounding

BATCH = 0
"""Leading axes that are not in the Graph's shapes: none."""


def are(x: Any) -> bool:
    """Tell whether an edge holds symbols."""
    return isinstance(x, np.ndarray) and x.dtype == object


def product(x: Any, weight: Integers) -> Any:
    """Multiply rows by a matrix."""
    try:
        return x @ weight.astype(np.float64)
    except StopIteration:  # alkaid 0.8.2 finds no symbol in a row whose products are all known
        return np.sum(x[..., :, None] * weight.astype(np.float64), axis=-2)


def constant(integers: Integers, x: Any) -> Any:
    """Return constant integers as they are."""
    return integers


def larger(x: Any, y: Any) -> Any:
    """Return the larger of two symbols, element by element.

    alkaid 0.8.2 takes the top bit of their difference for its sign; it is none where the difference has one sign alone.
    """
    largest = np.maximum(x, y)
    for place in np.ndindex(largest.shape):
        over = x[place] - y[place]
        if isinstance(over, float):  # of two constants
            continue
        if over.low >= 0 or over.high <= 0:
            largest[place] = x[place] if over.low >= 0 else y[place]
    return largest


def looked_up(x: Any, tables: Integers, channels: Integers, first: int) -> Any:
    """Return symbols that are read from a table.

    An integer that a symbol's own range includes, but not the proven one, gets the entry at the end of the table.
    """
    read, table_of = x.copy(), np.broadcast_to(channels, x.shape)
    for place in np.ndindex(x.shape):
        symbol = x[place]
        reached = np.arange(symbol.low, symbol.high + 1, symbol.step).astype(np.int64)
        entries = tables[table_of[place], np.clip(reached - first, 0, tables.shape[-1] - 1)]
        read[place] = symbol.lookup(entries.astype(np.float64))
    return read


def requantised(x: Any, fraction: int, fixed: Fixed) -> Any:
    """Return symbols at ``2**-fraction`` in a format; raise ModelError for an overflow mode that has no RTL."""
    drop = fraction - fixed.fraction
    value = _each(_positive, x) * 2.0**-drop  # in steps of the new format
    if drop > 0:
        value = _rounded(value, drop, fixed.rounding)
    if fixed.overflow is not Overflow.WRAP and not fixed.overflow.saturates:
        raise ModelError(f"{fixed}: overflow {fixed.overflow.value} has no RTL; use WRAP, SAT or SAT_SYM")
    if fixed.overflow is Overflow.SAT and not fixed.signed:
        value = _each(partial(_saturated, high=fixed.high), value)
    return value.quantize(
        int(fixed.signed), fixed.bits - fixed.signed, 0, overflow_mode=fixed.overflow.value, round_mode="TRN"
    )


def _rounded(value: Any, drop: int, mode: Rounding) -> Any:
    """Round symbols with ``drop`` fraction bits to integers."""
    addend, small, total = mode.addend(drop), 2.0**-drop, value
    if addend.constant:
        total = total + addend.constant * small
    if addend.odd:
        total = total + _floor(value).quantize(0, 1, 0, overflow_mode="WRAP", round_mode="TRN") * small
    if addend.negative > 0:
        total = total + _negative(value) * (addend.negative * small)
    elif addend.negative:
        total = total - _negative(value) * (-addend.negative * small)
    return _floor(total)


def _each(change: Callable[[Any], Any], x: Any) -> Any:
    """Apply a function to every symbol."""
    changed = x.copy()
    for index in np.ndindex(changed.shape):
        changed[index] = change(x[index])
    return changed


def _positive(x: Any) -> Any:
    """Return a symbol that alkaid holds as the negative of n, without an adder: -n = ~(n - 1).

    The 1 is a step of n, which a later addition includes. The step of x is finer where a constant was added.
    """
    if x._factor > 0 or not x.low < 0 < x.high:
        return x
    below = -x - x.step
    lost = below.step - x.step
    inverted, affine = ~below, x._affine + -lost
    if affine.qint.step != inverted.step:  # its lowest bit is always the same: alkaid would leave it away
        return x
    inverted._affine = affine  # alkaid takes any number of as many bits
    return inverted + lost


def _saturated(x: Any, high: int) -> Any:
    """Clip an integer that is not negative at ``high``, which is all ones, by the bits above it and no comparison."""
    signed, integer, fraction = x.kif
    above = integer - high.bit_length()
    if signed or fraction > 0 or above <= 0 or x.low < 0 or x.high <= high:
        return x
    return x.bits[:above].unary_bit_op("any").msb_mux(float(high), x.quantize(0, high.bit_length(), 0, "WRAP", "TRN"))


def _negative(value: Any) -> Any:
    """Return symbols that are 1 where ``value`` is negative and 0 elsewhere: the sign bit alone."""
    _, integer, _ = value.kif
    return _floor(value * 2.0 ** -integer.astype(np.float64)) * -1


def _floor(value: Any) -> Any:
    signed, integer, _ = value.kif
    whole = np.maximum(integer, 0)  # all below one half: a sign bit remains, for -1
    return value.quantize(signed, whole, np.zeros_like(whole), overflow_mode="WRAP", round_mode="TRN")
