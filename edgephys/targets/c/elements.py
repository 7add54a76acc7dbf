"""Rules of the element-wise operations: bias, scale, addition, ReLU, tables and requantise in signed integers of C.

A product with a power of two stands for the left shift, which is undefined for negative numbers. ``>>`` rounds down:
the emitted source does not compile where a compiler does not shift arithmetically.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgephys.core.fixed import WIDEST, Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.graph import Node
from edgephys.graph.ops import Bias, Lookup, Op, Scale
from edgephys.targets.c.access import Index, literal, summed
from edgephys.targets.c.chain import Chain, Value
from edgephys.targets.c.plan import NARROW
from edgephys.targets.c.roles import ElementRule


def expression(text: Callable[..., str]) -> ElementRule:
    """Return the rule of an operation that is one expression: ``text`` makes it from the names of the operands.

    It is computed in a type that holds the operands and the result. Operands of an operation that ``aligns`` are in
    steps of the result.
    """

    def write(chain: Chain, node: Node, op: Op, operands: Sequence[Value]) -> Value:
        low, high = chain.range(node)
        shifts = _shifts(chain, node) if op.aligns else [0] * len(operands)
        ctype = chain.writer.carrier(max(abs(low), abs(high), _magnitude(operands, shifts)))
        names = [_raised(x, shift, ctype) for x, shift in zip(operands, shifts, strict=True)]
        return chain.define(low, high, text(*names), ctype)

    return ElementRule(write)


def relu(chain: Chain, node: Node, op: Op, operands: Sequence[Value]) -> Value:
    """Write max(x, 0); nothing where x is never negative."""
    (x,) = operands
    return chain.define(*chain.range(node), f"{x.name} < 0 ? 0 : {x.name}", x.ctype) if x.low < 0 else x


def scale(chain: Chain, node: Node, op: Scale, operands: Sequence[Value]) -> Value:
    """Write the product with a constant."""
    (x,), (low, high) = operands, chain.range(node)
    ctype = chain.writer.carrier(max(abs(low), abs(high), x.magnitude, op.largest_constant))
    return chain.define(low, high, f"{x.as_(ctype)} * {chain.constant(node, op.constant, 0, ctype)}", ctype)


def bias(chain: Chain, node: Node, op: Bias, operands: Sequence[Value]) -> Value:
    """Write the sum with a constant, binary points aligned."""
    (x,), (low, high), shifts = operands, chain.range(node), _shifts(chain, node)
    up = node.fixed.fraction - op.constant.fraction
    ctype = chain.writer.carrier(max(abs(low), abs(high), _magnitude(operands, shifts), op.largest_constant << up))
    return chain.define(
        low, high, f"{_raised(x, shifts[0], ctype)} + {chain.constant(node, op.constant, up, ctype)}", ctype
    )


def lookup(chain: Chain, node: Node, op: Lookup, operands: Sequence[Value]) -> Value:
    """Write the entry of a table, whose tables for the channels follow one another."""
    (x,), (low, high) = operands, chain.range(node)
    terms: list[tuple[int, Index]] = [(op.entries, chain.at[1])] if len(op.tables) > 1 else []
    shift = op.shift(chain.writer.program.graph.by_name[node.inputs[0]])
    place = summed(-op.first, [(1, _raised(x, shift, chain.writer.carrier(x.magnitude << shift))), *terms])
    ctype = chain.writer.carrier(max(abs(low), abs(high)))
    return chain.define(low, high, chain.writer.tables.entry(op.tables, place, ctype), ctype)


def _shifts(chain: Chain, node: Node) -> list[int]:
    """Return how far each operand is shifted left, to be in steps of the node."""
    operands = chain.writer.program.graph.operands(node)
    return [min(node.fixed.fraction - operand.fixed.fraction, WIDEST) for operand in operands]


def _magnitude(operands: Sequence[Value], shifts: Sequence[int]) -> int:
    return max(x.magnitude << shift for x, shift in zip(operands, shifts, strict=True))


def _raised(x: Value, shift: int, ctype: str) -> str:
    """Return a value shifted left."""
    if not shift or not x.magnitude:
        return x.as_(ctype)
    return f"{x.as_(ctype)} * {literal(1 << shift, ctype)}"


# Requantise: edgephys.core.fixed, in C --------------------------------------------------------------


def requantise(chain: Chain, node: Node, op: Op, operands: Sequence[Value]) -> Value:
    """Write the rounding and the overflow into the node's format."""
    (x,), (source,), fixed = operands, chain.writer.program.graph.operands(node), node.fixed
    fraction = source.fixed.fraction
    low, high = (int(fixed.in_steps(end, fraction)) for end in (x.low, x.high))
    drop = fraction - fixed.fraction
    inside = fixed.holds(low, high)
    ends = [x.low, x.high, low, high] if inside else [x.low, x.high, low, high, fixed.low, fixed.high + 1]
    ctype = chain.writer.carrier(max(map(abs, ends)) + (1 << drop if drop > 0 else 0))
    if drop > 0:
        x = chain.define(low, high, _rounded(x, drop, fixed.rounding, ctype), ctype)
    elif drop < 0:
        x = chain.define(low, high, _raised(x, min(-drop, WIDEST), ctype), ctype)
    return x if inside else overflowed(chain, x, fixed)


def overflowed(chain: Chain, x: Value, fixed: Fixed) -> Value:
    """Write what becomes of a rounded number that a format may not hold."""
    ctype = chain.writer.carrier(max(x.magnitude, -fixed.low, fixed.high + 1))
    name, low, high = x.as_(ctype), literal(fixed.low, ctype), literal(fixed.high, ctype)
    below, above = x.low < fixed.low, x.high > fixed.high
    if fixed.overflow is Overflow.SAT_ZERO:
        tests = [f"{name} < {low}"] * below + [f"{name} > {high}"] * above
        return chain.define(min(0, fixed.low), fixed.high, f"{' || '.join(tests)} ? 0 : {name}", ctype)
    if fixed.overflow is Overflow.WRAP:
        mask = literal((1 << fixed.bits) - 1, ctype)
        if not fixed.signed:
            return chain.define(fixed.low, fixed.high, f"{name} & {mask}", ctype)
        sign = literal(1 << (fixed.bits - 1), ctype)
        return chain.define(fixed.low, fixed.high, f"(({name} & {mask}) ^ {sign}) - {sign}", ctype)
    ends = (max(x.low, fixed.low) if x.high >= fixed.low else fixed.low, min(max(x.high, fixed.low), fixed.high))
    text = f"{name} > {high} ? {high} : {name}" if above else name
    text = f"{name} < {low} ? {low} : {text}" if below else text
    return chain.define(min(ends[0], fixed.high), ends[1], text, ctype)


def _rounded(x: Value, drop: int, rounding: Rounding, ctype: str) -> str:
    """Return a value divided by 2**drop: an addition that depends on the rounding mode, then a shift right."""
    v, addend, added = x.as_(ctype), rounding.addend(drop), ""
    if rounding.nearest:
        added += f" + {literal(addend.constant, ctype)}"
    if addend.odd:
        added += f" + (({v} >> {drop}) & 1)"
    if addend.negative and x.low < 0:
        if rounding.nearest:
            added += f" {'+' if addend.negative > 0 else '-'} ({v} < 0)"
        else:
            added += f" + ({v} < 0 ? {literal(addend.negative, ctype)} : 0)"
    if not added:
        return f"{v} >> {drop}"
    text = f"({v}{added})"
    return f"(({ctype}){text}) >> {drop}" if ctype == NARROW else f"{text} >> {drop}"
