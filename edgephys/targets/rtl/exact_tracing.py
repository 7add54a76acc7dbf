"""alkaid 0.8.2 as this package uses it: what it would read or compute inexactly is corrected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import floor, frexp, ldexp
from threading import Lock
from typing import Any

import numpy as np

SINGLE = 24
"""Significant bits of the factors of one product of alkaid's, which holds them in float32."""
DOUBLE = 53
"""Bits of the numbers that alkaid computes with, in float64."""
ADDED = 31
"""Bits of the magnitude of one constant that alkaid adds."""
NO_BIT = 127
"""What alkaid states as the lowest bit of 0."""
CHOICE = 6
"""The operation of alkaid's programs that chooses by the top bit of its last operand."""
ALL_BITS = 9
"""The operation on all bits of one number: its complement, whether one of them is 1, whether all are."""
COMPLEMENT, ALL = 0, 2
_TRACING = Lock()


@contextmanager
def exact_tracing() -> Iterator[None]:
    """Trace exactly within: one thread at a time.

    - alkaid finds the lowest bit of a number, its own sums and products of constants too, in float32: of a number with
      more than 24 significant bits it finds another one. It is found in float64 here.
    - alkaid holds the factors of a product in float32. One of more bits is the sum of several of at most 24, and so is
      its product.
    - alkaid adds constants of up to 32 bits with their sign. A wider one is added in parts.
    - alkaid wraps a constant into a bit too many: -1 into 5 bits without a sign gives 63. It is wrapped here.
    - When alkaid traces its own logic again, the interval of a variable can come out wider than before. A table for the
      narrower one then covers it with entries that are never read.
    - alkaid reads the single bit of a shifted number as the number's top bit wherever both have one weight. That holds
      above the top bit of a signed number alone, and is undone elsewhere.
    - alkaid takes the larger of x + y and x by the top bit of their difference, y: its sign only where y has one. Where
      the interval of the difference says which number is larger, no logic chooses.
    - When alkaid traces its own logic again, a number can have lost its sign or its top bits, as -x * x has once it is
      known as a square. The top bit and the complement are those of the format that the number had before.

    Numbers of up to 53 bits are exact so.
    """
    from alkaid.trace import affine_interval, fixed_variable, tracer
    from alkaid.trace import fixed_variable_array as arrays
    from alkaid.trace.passes import canon
    from alkaid.types import CombLogic

    variables = fixed_variable.FVariable
    lowest_bit, lookup, quantize = fixed_variable.get_lsb_loc, variables.lookup, variables.quantize
    add, multiply, product = variables._const_add, variables.__mul__, arrays.cmvm
    largest, smallest = variables.max_of, variables.min_of
    top_bits, execute = canon.canonicalize_msb_wraps, CombLogic.exec_op

    def in_parts(variable: Any, constant: Any) -> Any:
        if not constant or variable.opr == "cadd":  # alkaid adds the constants of both to the operand of the first
            return add(variable, constant)
        for part in _parts(float(constant) / variable._factor, ADDED):
            variable = _added(variable, part)
        return variable

    def scaled(variable: Any, factor: Any) -> Any:
        if isinstance(factor, fixed_variable.FVariable) or variable.low == variable.high:
            return multiply(variable, factor)
        first, *others = _parts(float(factor), SINGLE) or [0.0]
        total = multiply(variable, first)
        for part in others:
            total = total + multiply(variable, part)
        return total

    def multiplied(matrix: Any, vector: Any, options: Any) -> Any:
        total, remaining = None, np.asarray(matrix, np.float64)
        while total is None or remaining.any():
            part = remaining.astype(np.float32).astype(np.float64)
            result, remaining = product(part, vector, options), remaining - part
            total = result if total is None else total + result
        return total

    def covering(variable: Any, table: Any, original_qint: tuple[float, float, float] | None = None) -> Any:
        if original_qint is not None:
            lowest, highest, step = original_qint
            more = [max(0, round(gap / step)) for gap in (lowest - variable.low, variable.high - highest)]
            if any(more):
                table = fixed_variable.LookupTable(np.pad(table.float_table, more, "edge"))
                original_qint = (lowest - more[0] * step, highest + more[1] * step, step)
        return lookup(variable, table, original_qint)

    def wrapped(variable: Any, k: Any, i: Any, f: Any, overflow_mode: str = "WRAP", round_mode: str = "TRN") -> Any:
        if variable.low != variable.high or (overflow_mode, round_mode) != ("WRAP", "TRN"):
            return quantize(variable, k, i, f, overflow_mode, round_mode)
        bits, fraction = int(k + i + f), int(f)
        below = 1 << bits - 1 if k and bits > 0 else 0
        integer = floor(float(variable.low) * 2.0**fraction) + below
        value = (integer % (1 << bits) - below) * 2.0**-fraction if bits > 0 else 0.0
        return variable.from_const(value, hwconf=variable.hwconf)

    def signs(logic: Any) -> Any:
        changed = top_bits(logic)
        pairs = zip(logic.ops, changed.ops, strict=True)
        return changed._replace(ops=[new if new == old or is_sign(old, logic) else old for old, new in pairs])

    def is_sign(operation: Any, logic: Any) -> bool:
        return bool(operation.data[0] < 0 and logic.ops[operation.addr[0]].qint.min < 0)

    def larger(variable: Any, other: Any) -> Any:
        return _ordered(variable, other, largest, lambda low, high: high)

    def smaller(variable: Any, other: Any) -> Any:
        return _ordered(variable, other, smallest, lambda low, high: low)

    def again(logic: Any, operation: Any, values: Any, inputs: Any) -> Any:
        if operation.opcode in (CHOICE, ALL_BITS):
            variable, before = values[operation.addr[-1]], logic.ops[operation.addr[-1]].qint
            read = 2 if operation.opcode == CHOICE else 3  # the step of a number does not matter to its top bit
            if isinstance(variable, variables) and tuple(variable.kif)[:read] != tuple(before.kif)[:read]:
                return _in_old_format(operation, values, variable, before)
        return execute(logic, operation, values, inputs)

    modules = (affine_interval, fixed_variable, arrays, tracer, canon)
    with _TRACING:
        try:
            for module in modules:
                module.get_lsb_loc = _lowest_bit
            variables.lookup, variables.quantize = covering, wrapped
            variables._const_add, variables.__mul__, arrays.cmvm = in_parts, scaled, multiplied
            variables.max_of, variables.min_of = larger, smaller
            canon.canonicalize_msb_wraps, CombLogic.exec_op = signs, again
            yield
        finally:
            for module in modules:
                module.get_lsb_loc = lowest_bit
            variables.lookup, variables.quantize = lookup, quantize
            variables._const_add, variables.__mul__, arrays.cmvm = add, multiply, product
            variables.max_of, variables.min_of = largest, smallest
            canon.canonicalize_msb_wraps, CombLogic.exec_op = top_bits, execute


def _lowest_bit(value: float) -> int:
    """Return the place of the lowest bit of a number that is 1."""
    mantissa, exponent = frexp(value)
    integer = int(ldexp(mantissa, DOUBLE))
    return (integer & -integer).bit_length() - 1 + exponent - DOUBLE if integer else NO_BIT


def _parts(value: float, bits: int) -> list[float]:
    """Return numbers of at most so many significant bits whose sum is a number, the largest first."""
    parts = []
    while value:
        mantissa, exponent = frexp(value)
        parts.append(ldexp(float(int(ldexp(mantissa, bits))), exponent - bits))
        value -= parts[-1]
    return parts


def _added(variable: Any, constant: float) -> Any:
    """Return a variable plus a constant in steps of its factor, as an addition of its own."""
    fraction = -_lowest_bit(constant)
    return type(variable)(
        _affine=variable._affine + constant * variable._factor,
        _from=(variable,),
        _factor=variable._factor,
        _data=fraction << 32 | int(ldexp(constant, fraction)) & 0xFFFFFFFF,
        opr="cadd",
        hwconf=variable.hwconf,
    )


def _ordered(variable: Any, other: Any, choose: Any, ordered: Any) -> Any:
    """Return the choice of two numbers: one of them, where the interval of their difference says which is larger."""
    if isinstance(other, type(variable)) and variable.low < variable.high and other.low < other.high:
        difference = variable - other
        if difference.low >= 0:
            return ordered(other, variable)
        if difference.high <= 0:
            return ordered(variable, other)
    return choose(variable, other)


def _in_old_format(operation: Any, values: Any, variable: Any, before: Any) -> Any:
    """Return what an operation that reads the top bit, or all bits, makes of a number whose format has changed.

    ``before`` is the interval that the number had where the operation was made; its value is the same.
    """
    signed, integer, fraction = (int(n) for n in before.kif)
    if operation.opcode == CHOICE:
        one, other = values[operation.addr[0]], values[operation.addr[1]] * 2.0 ** operation.data[0]
        if not signed:  # the top bit is 1 from this number on, not below 0
            variable, one, other = variable - 2.0 ** (integer - 1), other, one
        if variable.low >= 0:
            return other
        return one if variable.high < 0 else variable.msb_mux(one, other, operation.qint)
    ones = (0.0 if signed else 2.0**integer) - 2.0**-fraction
    if operation.data[0] == COMPLEMENT:
        return (-variable + ones) * (operation.qint.step / before.step)
    return variable._eq(ones) if operation.data[0] == ALL else variable._ne(0.0)
