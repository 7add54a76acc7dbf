"""Products of a block of events in straight-line code: each line computes a vector, with a lane for each event.

A vector holds twice as many lanes of 16 bits as of 32. A sum that needs more than 16 bits is therefore split where this
is exact: each weight is written in two or three digits, ``w = d0 + d1 * 2**b``, the products with each digit are summed
in 16 bits, and the few sums are added in 32. Digits are small, so that many inputs have the same one: they are added
before they are multiplied, and a pair of inputs that several sums add or subtract is added once (``pairs``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.targets.c.access import Index, size_of, summed
from edgephys.targets.c.chain import Chain, Value
from edgephys.targets.c.digit_sums import digit_sum
from edgephys.targets.c.layout import flat
from edgephys.targets.c.loops import SumLoop, indented, loop
from edgephys.targets.c.narrow import Digit, split
from edgephys.targets.c.narrow_rounding import DigitSum, ending, rounded_in_16_bits
from edgephys.targets.c.pairs import LIMIT, Bucket, Ends, SharedPairs, paired
from edgephys.targets.c.plan import NARROW

if TYPE_CHECKING:
    from edgephys.targets.c.products import Segment

IN_A_LOOP = 16
"""Pairs that are added in one loop: compilers compare all places in a loop with each other."""
IN_A_FUNCTION = 400
"""Terms of a function, about: a compiler keeps what is common in a longer one on the stack, and takes minutes."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Hold the C text of each input of a product with nonzero weights, their weights and their proven ends."""

    texts: tuple[str, ...]
    weights: Integers
    ends: Ends


@dataclass(frozen=True)
class Lanes:
    """State the variable of the innermost loop, and the lanes that it runs over; elements lie lanes by lanes."""

    variable: str
    count: int

    def place(self, element: int) -> str:
        """Return the place of a lane of an element."""
        return summed(0, [(1, self.variable), (self.count, element)])

    def loop(self, lines: list[str]) -> list[str]:
        """Return lines in the loop over the lanes."""
        return loop(self.variable, self.count, lines)


@dataclass(frozen=True, eq=False)
class LaneLoop:
    """State the loop over lanes that computes one output, or some pairs, and the terms in it."""

    lines: list[str]
    terms: int


def block_product(loops: SumLoop, inputs: Inputs, pointers: dict[str, str]) -> tuple[list[str], int, int]:
    """Return, for every output, the lines that compute it for all lanes, the bytes of the array of pairs, and terms."""
    rows, _ = flat(loops.node.shape)
    row: Index = "r" if rows > 1 else 0
    lanes = Lanes("l", loops.writer.lanes)
    blocks, pairs = output_loops(loops, inputs, row, lanes)
    lines = [f"{NARROW} pair[{pairs * lanes.count}];"] if pairs else []
    lines += _called(loops, blocks, pointers, rows, bool(pairs))
    array_bytes, terms = pairs * lanes.count * size_of(NARROW), sum(block.terms for block in blocks)
    return (loop("r", rows, lines) if rows > 1 else ["{", *indented(lines), "}"]), array_bytes, terms


def output_loops(
    loops: SumLoop, inputs: Inputs, row: Index, lanes: Lanes, outputs: str | None = None
) -> tuple[list[LaneLoop], int]:
    """Return the loops over lanes that add pairs and compute the outputs, and the number of pairs.

    ``outputs`` is the type of the array ``y`` that they are written to, lanes by lanes; without it each is written
    to its place in the array of the stored node.
    """
    writer, value = loops.writer, loops.accumulator
    channels = flat(loops.node.shape)[1]
    sums = [_digits(inputs, n, value.ctype) for n in range(channels)]
    buckets = [bucket for digits in sums for digit in digits for bucket in digit.buckets]
    shared = paired(buckets, inputs.ends)
    texts = [*inputs.texts, *(f"pair[{lanes.place(number)}]" for number in range(len(shared.members)))]
    blocks = _pair_blocks(shared, texts, len(inputs.texts), lanes)
    rest = iter(shared.buckets)
    for n, digits in enumerate(sums):
        own = [[next(rest) for _ in digit.buckets] for digit in digits]
        chain = Chain(writer, (row, n), value)
        block = _sum(chain, loops, inputs.ends, digits, own, texts)
        result = chain.value(loops.root, stored=False)
        stored = f"y[{lanes.place(n)}] = {result.as_(outputs)};" if outputs else chain.store(loops.root, result)
        terms = sum(len(bucket.signs) for members in own for bucket in members)
        blocks.append(LaneLoop(lanes.loop([*block, *chain.lines, stored]), max(1, terms)))
    return blocks, len(shared.members)


def _called(loops: SumLoop, blocks: Sequence[LaneLoop], pointers: dict[str, str], rows: int, pairs: bool) -> list[str]:
    """Return the lines of blocks, or the calls of the functions that they are written into where they are many."""

    def text_of(group: Sequence[LaneLoop]) -> list[str]:
        lines = [line for block in group for line in block.lines]
        words = " ".join(lines)
        return [*(line for name, line in pointers.items() if f"{name}[" in words), *lines]

    if sum(block.terms for block in blocks) <= 2 * IN_A_FUNCTION:
        return text_of(blocks)
    groups: list[list[LaneLoop]] = [[]]
    for block in blocks:
        if sum(other.terms for other in groups[-1]) >= IN_A_FUNCTION:
            groups.append([])
        groups[-1].append(block)
    writer = loops.writer
    step = next(step for step in writer.program.steps if step.node is loops.root)
    parameters = {buffer.name: f"const {buffer.ctype} *restrict {buffer.name}" for buffer in step.reads}
    parameters[step.writes.name] = f"{step.writes.ctype} *restrict {step.writes.name}"
    parameters |= ({"pair": f"{NARROW} *restrict pair"} if pairs else {}) | ({"r": "int r"} if rows > 1 else {})
    calls = []
    for group in groups:
        lines = text_of(group)
        used = set(re.findall(r"\w+", " ".join(lines)))
        names = [name for name in parameters if name in used]
        function = f"{writer.tables.prefix}_part{writer.parts.count('{')}"
        head = f"static void {function}({', '.join(parameters[name] for name in names)})"
        writer.parts.extend([head, "{", *indented(lines), "}", ""])
        calls.append(f"{function}({', '.join(names)});")
    return calls


def inputs_of(loops: SumLoop, segments: Sequence[Segment]) -> tuple[dict[str, str], Inputs]:
    """Return the line that defines a pointer to each row that is read, by its name, and the inputs in these rows."""
    writer, lanes = loops.writer, Lanes("l", loops.writer.lanes)
    row: Index = "r" if flat(loops.node.shape)[0] > 1 else 0
    lines: dict[str, str] = {}
    texts, weights, low, high = [], [], [], []
    for number, segment in enumerate(segments):
        used = np.flatnonzero(segment.weights.any(1))
        if not used.size:
            continue
        start = segment.at(0, row, writer)
        place = "" if start == "0" else f" + {writer.lanes} * ({start})"
        lines[f"x{number}"] = f"const {segment.ctype} *const x{number} = {segment.array}{place};"
        texts += [f"x{number}[{lanes.place(int(column))}]" for column in segment.columns[used]]
        weights.append(segment.weights[used])
        low.append(segment.low[used])
        high.append(segment.high[used])
    empty = np.zeros((0, flat(loops.node.shape)[1]), np.int64)
    ends = Ends(np.concatenate([empty[:, 0], *low]), np.concatenate([empty[:, 0], *high]))
    return lines, Inputs(tuple(texts), np.concatenate([empty, *weights]), ends)


def mostly_narrow(inputs: Inputs, ctype: str) -> bool:
    """Say whether half of the outputs or more are sums of 16 bits, and every input fits in them."""
    if not inputs.texts or inputs.ends.magnitude.max() >= LIMIT:
        return False
    channels = inputs.weights.shape[1]
    return bool(2 * sum(_digits(inputs, n, ctype)[0].ctype == NARROW for n in range(channels)) >= channels)


def _digits(inputs: Inputs, n: int, ctype: str) -> tuple[Digit, ...]:
    """Return the digits of an output's weights: several narrow ones, or the weights themselves in the sum's type."""
    column = inputs.weights[:, n]
    narrow = None if ctype == "int64_t" else split(column, inputs.ends)
    return (Digit(0, column, ctype),) if narrow is None else narrow


def _pair_blocks(shared: SharedPairs, texts: Sequence[str], inputs: int, lanes: Lanes) -> list[LaneLoop]:
    """Return the loops that add pairs."""
    sums = [
        f"{texts[inputs + number]} = ({NARROW})({texts[one]} {'+' if sign > 0 else '-'} {texts[other]});"
        for number, (one, other, sign) in enumerate(shared.members)
    ]
    groups = [sums[first : first + IN_A_LOOP] for first in range(0, len(sums), IN_A_LOOP)]
    return [LaneLoop(lanes.loop(group), 3 * len(group)) for group in groups]


def _sum(
    chain: Chain,
    loops: SumLoop,
    ends: Ends,
    digits: Sequence[Digit],
    buckets: Sequence[Sequence[Bucket]],
    texts: Sequence[str],
) -> list[str]:
    """Return the lines that define the sum, or those of its digits where the chain rounds it without the sum."""
    ctype = loops.accumulator.ctype
    lines: list[str] = []
    if len(digits) == 1:
        before, text = digit_sum(digits[0], buckets[0], texts, "same")
        text = f"({NARROW})({text})" if digits[0].ctype == NARROW else text
        return [*before, f"const {ctype} sum = {text};"]
    sums = []
    for at, (digit, own) in enumerate(zip(digits, buckets, strict=True)):
        before, text = digit_sum(digit, own, texts, f"same{at}")
        lines += [*before, f"const {NARROW} sum{at} = ({NARROW})({text});"]
        products = digit.integers * ends.low, digit.integers * ends.high
        low, high = int(np.minimum(*products).sum()), int(np.maximum(*products).sum())
        sums.append(DigitSum(Value(f"sum{at}", NARROW, low, high), digit.shift))
    end = ending(chain, loops.node, loops.root, int(chain.at[1]))
    if end is not None and rounded_in_16_bits(chain, sums, end):
        return lines
    added = " + ".join(part.value.name if not part.shift else f"{part.value.name} * {1 << part.shift}" for part in sums)
    return [*lines, f"const {ctype} sum = {f'({NARROW})({added})' if ctype == NARROW else added};"]
