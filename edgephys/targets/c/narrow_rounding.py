"""A bias, a ReLU and the rounding behind a product, in 16 bits, from the sums of its digits.

The sum ``v = s0 + s1 * 2**d1 + ...`` takes more than 16 bits, but what is rounded from it does not. With h bits less,
``u = floor(v / 2**h)`` fits, and it follows from the sums by floors alone: a floor of a floor is a floor. The bits
below are needed only for the rounding: ``floor((v + a) / 2**n) = floor((u + floor((r + a) / 2**h)) / 2**(n - h))``
where r is v modulo 2**h and a is what makes the rounding a floor (``Rounding.addend``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgephys.graph.graph import Node
from edgephys.graph.ops import Bias, Relu, Requantise
from edgephys.targets.c.chain import Chain, Value
from edgephys.targets.c.elements import overflowed
from edgephys.targets.c.layout import flat
from edgephys.targets.c.pairs import LIMIT
from edgephys.targets.c.plan import NARROW


@dataclass(frozen=True)
class DigitSum:
    """State the variable of the sum of the products with a digit, which counts ``2**shift``."""

    value: Value
    shift: int


@dataclass(frozen=True, eq=False)
class Ending:
    """State what follows a product: a constant is added, negative numbers may become 0, and ``node`` rounds them.

    ``low`` and ``high`` are the proven ends after the constant; ``ends`` those of what is rounded.
    """

    node: Node
    bias: int
    relu: bool
    low: int
    high: int
    ends: tuple[int, int]
    drop: int


def ending(chain: Chain, product: Node, root: Node, channel: int) -> Ending | None:
    """Return what follows a product up to its rounding; None where it is something else, or a layer ends before."""
    writer, graph, node = chain.writer, chain.writer.program.graph, product
    bias, relu, ends = 0, False, chain.range(product)
    while node is not root and node.name not in writer.notes:
        (reader,) = graph.readers[node.name]
        drop = node.fixed.fraction - reader.fixed.fraction
        if isinstance(reader.op, Requantise):
            return Ending(reader, bias, relu, *ends, chain.range(node), drop) if drop > 0 else None
        if isinstance(reader.op, Bias) and not relu and drop == 0:
            constant = reader.op.constant
            numbers = np.broadcast_to(constant.integers, reader.shape).reshape(flat(reader.shape))[:, channel]
            if (numbers != numbers[0]).any():
                return None
            bias += int(numbers[0]) << (reader.fixed.fraction - constant.fraction)
            ends = chain.range(reader)
        elif isinstance(reader.op, Relu) and drop == 0:
            relu = True
        else:
            return None
        node = reader
    return None


def rounded_in_16_bits(chain: Chain, sums: Sequence[DigitSum], end: Ending) -> bool:
    """Add the lines that round the sum of digits, whose value the chain then knows; False where 16 bits are too few."""
    fixed, drop = end.node.fixed, end.drop
    addend = fixed.rounding.addend(drop)
    most = addend.constant + max(0, addend.negative) + addend.odd
    highest = drop - 1 if end.relu and fixed.rounding.nearest else drop
    fits = (h for h in range(max(part.shift for part in sums), highest + 1) if _fits(end, h, most))
    h = next(fits, None)
    if h is None or (1 << h) + most >= LIMIT:
        return False
    u, rest = _whole_and_rest(chain, sums, end, h)
    if end.relu and u.low < 0:
        u = chain.define(0, max(0, u.high), f"{u.name} < 0 ? 0 : {u.name}", NARROW)
    added = _carried(chain, u, rest, h, drop, end)
    source = chain.writer.program.graph.operands(end.node)[0].fixed.fraction
    low, high = (int(fixed.in_steps(value, source)) for value in end.ends)
    total = f"(({NARROW})({u.name}{added}))" if added else u.name
    value = chain.define(low, high, f"{total} >> {drop - h}" if drop > h else total, NARROW)
    chain.known[end.node.name] = value if fixed.holds(low, high) else overflowed(chain, value, fixed)
    return True


def _fits(end: Ending, h: int, most: int) -> bool:
    """Say whether the number less h bits fits in 16, with what the rounding adds."""
    raised = ((1 << h) - 1 + most) >> h
    return (end.low >> h) > -LIMIT and (end.high >> h) + raised < LIMIT


def _whole_and_rest(chain: Chain, sums: Sequence[DigitSum], end: Ending, h: int) -> tuple[Value, list[str]]:
    """Return floor(v / 2**h), and the terms whose sum is v modulo 2**h; a constant is the last one."""
    levels = sorted({0, h, *(part.shift for part in sums)})
    carry: list[Value] = []
    rest: list[str] = []
    constant = 0
    for level, upper in pairwise(levels):
        width, mask = upper - level, (1 << (upper - level)) - 1
        parts = [*(part.value for part in sums if part.shift == level), *carry]
        number = (end.bias >> level) & mask
        if not parts:
            constant += number << level
            continue
        low, high = sum(part.low for part in parts) + number, sum(part.high for part in parts) + number
        names = [part.name for part in parts]
        above: list[Value] = []
        if low <= -LIMIT or high >= LIMIT:  # carried one by one: their rests are small
            above = [
                chain.define(part.low >> width, part.high >> width, f"{part.name} >> {width}", NARROW) for part in parts
            ]
            names, low, high = [f"({part.name} & {mask})" for part in parts], 0, len(parts) * mask + number
        text = " + ".join([*names, *([str(number)] if number else [])])
        whole = chain.define(low, high, text, NARROW) if " " in text else parts[0]
        carry = [*above, chain.define(whole.low >> width, whole.high >> width, f"{whole.name} >> {width}", NARROW)]
        rest.append(f"({whole.name} & {mask})" + (f" * {1 << level}" if level else ""))
    top = [*(part.value.name for part in sums if part.shift == h), *(part.name for part in carry)]
    number = end.bias >> h
    top += [str(number)] if number else []
    return chain.define(end.low >> h, end.high >> h, " + ".join(top), NARROW), [*rest, str(constant)]


def _carried(chain: Chain, u: Value, rest: list[str], h: int, drop: int, end: Ending) -> str:
    """Return what the rounding adds to u: the carry of the bits below, where it depends on them."""
    addend = end.node.fixed.rounding.addend(drop)
    negative = addend.negative if u.low < 0 else 0
    if not addend.odd and not negative and addend.constant % (1 << h) == 0:
        return f" + {addend.constant >> h}" if addend.constant else ""
    terms = [*rest[:-1], str(int(rest[-1]) + addend.constant)]
    terms += [f"(({u.name} >> {drop - h}) & 1)"] if addend.odd else []
    terms += [f"({u.name} < 0 ? {negative} : 0)"] if negative else []
    ends = (0, (1 << h) + addend.constant + addend.odd + abs(negative))
    below = chain.define(*ends, " + ".join(terms), NARROW)
    return f" + ({below.name} >> {h})" if h else f" + {below.name}"
