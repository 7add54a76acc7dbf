"""Products of a block of events in straight-line code: each line computes a vector, with a lane for each event.

A vector holds twice as many lanes of 16 bits as of 32. A sum that needs more than 16 bits is therefore split where this
is exact: each weight is written in two or three digits, ``w = d0 + d1 * 2**b``, the products with each digit are summed
in 16 bits, and the few sums are added in 32. Digits are small, so that many inputs have the same one: they are added
before they are multiplied, and a pair of inputs that several sums add or subtract is added once (``pairs``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.targets.c.access import Index, laned, size_of
from edgephys.targets.c.chain import Chain
from edgephys.targets.c.layout import flat
from edgephys.targets.c.loops import SumLoop, indented, loop, over_lanes
from edgephys.targets.c.narrow import Digit, split
from edgephys.targets.c.pairs import Bucket, Ends, SharedPairs, paired
from edgephys.targets.c.plan import NARROW

if TYPE_CHECKING:
    from edgephys.targets.c.products import Segment

IN_A_LOOP = 16
"""SharedPairs that are added in one loop: compilers compare all places in a loop with each other."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Hold the C text of each input of a product with nonzero weights, their weights and their proven ends."""

    texts: tuple[str, ...]
    weights: Integers
    ends: Ends


def block_product(loops: SumLoop, segments: list[Segment]) -> tuple[list[str], int]:
    """Return, for every output, the lines that compute it for all lanes, and the bytes of the array of pairs."""
    writer, value = loops.writer, loops.accumulator
    rows, channels = flat(loops.node.shape)
    row: Index = "r" if rows > 1 else 0
    pointers, inputs = _inputs(loops, segments, row)
    sums = [_digits(inputs, n, value.ctype) for n in range(channels)]
    buckets = [bucket for digits in sums for digit in digits for bucket in digit.buckets]
    shared = paired(buckets, inputs.ends)
    texts = [*inputs.texts, *(f"pair[{laned(str(number), writer.lanes)}]" for number in range(len(shared.members)))]
    lines = [*pointers, *_pair_lines(shared, texts, len(inputs.texts), writer.lanes)]
    rest = iter(shared.buckets)
    for n, digits in enumerate(sums):
        terms = [_terms(digit, [next(rest) for _ in digit.buckets], texts, value.ctype) for digit in digits]
        chain = Chain(writer, (row, n), value)
        result = chain.value(loops.root, stored=False)
        block = [*_sum(digits, terms, value.ctype), *chain.lines, chain.store(loops.root, result)]
        lines += over_lanes(block, writer.lanes)
    array_bytes = len(shared.members) * writer.lanes * size_of(NARROW)
    return (loop("r", rows, lines) if rows > 1 else ["{", *indented(lines), "}"]), array_bytes


def _inputs(loops: SumLoop, segments: Sequence[Segment], row: Index) -> tuple[list[str], Inputs]:
    """Return the lines that define a pointer to each row that is read, and the inputs in these rows."""
    writer = loops.writer
    lines, texts, weights, low, high = [], [], [], [], []
    for number, segment in enumerate(segments):
        used = np.flatnonzero(segment.weights.any(1))
        if not used.size:
            continue
        start = segment.at(0, row, writer)
        place = "" if start == "0" else f" + {writer.lanes} * ({start})"
        lines.append(f"const {segment.ctype} *const x{number} = {segment.array}{place};")
        texts += [f"x{number}[{laned(str(column), writer.lanes)}]" for column in segment.columns[used]]
        weights.append(segment.weights[used])
        low.append(segment.low[used])
        high.append(segment.high[used])
    empty = np.zeros((0, flat(loops.node.shape)[1]), np.int64)
    ends = Ends(np.concatenate([empty[:, 0], *low]), np.concatenate([empty[:, 0], *high]))
    return lines, Inputs(tuple(texts), np.concatenate([empty, *weights]), ends)


def _digits(inputs: Inputs, n: int, ctype: str) -> tuple[Digit, ...]:
    """Return the digits of an output's weights: several narrow ones, or the weights themselves in the sum's type."""
    column = inputs.weights[:, n]
    narrow = None if ctype == "int64_t" else split(column, inputs.ends)
    return (Digit(0, column, ctype),) if narrow is None else narrow


def _pair_lines(shared: SharedPairs, texts: Sequence[str], inputs: int, lanes: int) -> list[str]:
    if not shared.members:
        return []
    lines = [f"{NARROW} pair[{len(shared.members) * lanes}];"]
    sums = [
        f"{texts[inputs + number]} = ({NARROW})({texts[one]} {'+' if sign > 0 else '-'} {texts[other]});"
        for number, (one, other, sign) in enumerate(shared.members)
    ]
    for first in range(0, len(sums), IN_A_LOOP):
        lines += over_lanes(sums[first : first + IN_A_LOOP], lanes)
    return lines


def _terms(digit: Digit, buckets: Sequence[Bucket], texts: Sequence[str], ctype: str) -> str:
    """Return the sum of the products with a digit."""
    wide = digit.ctype == "int64_t"
    text = ""
    for bucket in buckets:
        members = sorted(bucket.signs.items())
        first = members[0][1]
        names = [f"(int64_t){texts[k]}" if wide else texts[k] for k, _ in members]
        inner = names[0] + "".join(
            f" {'+' if sign == first else '-'} {name}" for name, (_, sign) in zip(names[1:], members[1:], strict=True)
        )
        number = f"INT64_C({bucket.magnitude})" if wide else str(bucket.magnitude)
        factor = f"{number} * " if bucket.magnitude > 1 else ""
        inner = f"({inner})" if len(members) > 1 and (factor or first < 0) else inner
        text += f" {'+' if first > 0 else '-'} {factor}{inner}"
    return text.removeprefix(" + ").removeprefix(" ") or "0"


def _sum(digits: Sequence[Digit], terms: Sequence[str], ctype: str) -> list[str]:
    """Return the lines that define the sum from those of its digits."""
    if len(digits) == 1:
        narrow = digits[0].ctype == NARROW
        return [f"const {ctype} sum = {f'({NARROW})({terms[0]})' if narrow else terms[0]};"]
    lines = [f"const {NARROW} sum{at} = ({NARROW})({text});" for at, text in enumerate(terms)]
    added = " + ".join(
        f"sum{at}" if not digit.shift else f"sum{at} * {1 << digit.shift}" for at, digit in enumerate(digits)
    )
    return [*lines, f"const {ctype} sum = {f'({NARROW})({added})' if ctype == NARROW else added};"]
