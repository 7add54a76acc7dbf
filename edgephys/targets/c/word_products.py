"""Products of a block of events with words of inputs (``words``), where they take fewer instructions than digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.targets.c.access import Index, size_of
from edgephys.targets.c.block import Inputs, Lanes, block_product, inputs_of
from edgephys.targets.c.layout import flat
from edgephys.targets.c.loops import SumLoop, indented, loop
from edgephys.targets.c.words import BYTES, HALVES, Packing, function_name, guard, together

if TYPE_CHECKING:
    from edgephys.targets.c.products import Segment

IN_A_LOOP = 4
"""Words that are packed in one loop."""
OF_AN_OUTPUT, OF_AN_INPUT = 4, 1
"""Instructions by which the lines behind a sum are more in 32 bits than behind digits in 16; those to pack an input."""

OF_A_WEIGHT = 4
"""Instructions of a product in 32 bits, in the loops over tables."""
MOST_BYTES = 1 << 15
"""Bytes of the array of words: it lies on the stack, and in the nearest cache."""

Looped = Callable[["SumLoop", "list[Segment]"], tuple[list[str], int]]


def in_a_block(loops: SumLoop, segments: list[Segment], straight: bool, looped: Looped) -> tuple[list[str], int]:
    """Return a product for all lanes and the bytes of its arrays: with words, too, where these take fewer instructions.

    The other way is digits in straight-line code, or ``looped(loops, segments)`` where there are too many weights.
    """
    writer, first = loops.writer, len(loops.writer.parts)
    pointers, inputs = inputs_of(loops, segments)
    if straight:
        lines, array_bytes, terms = block_product(loops, inputs, pointers)
    else:
        (lines, array_bytes), terms = looped(loops, segments), OF_A_WEIGHT * int(np.count_nonzero(inputs.weights))
    packing = packing_of(inputs, loops.accumulator.ctype)
    if packing is None or terms <= instructions(inputs, packing, writer.lanes):
        return lines, array_bytes
    if len(inputs.texts) * writer.lanes * size_of("int32_t") > MOST_BYTES * packing.parts:
        return lines, array_bytes
    own, own_bytes = word_product(loops, inputs, pointers, packing)
    writer.packings[loops.root.name] = packing.word
    macro, parts = guard(writer.words.prefix), writer.parts[first:]
    tables, of_words = (
        {*re.findall(rf"{writer.tables.prefix}_table_\d+", " ".join(of))} for of in (lines + parts, own)
    )
    own += [f"(void){name};" for name in sorted(tables - of_words)]  # a compiler warns of a table that nothing reads
    lines += [f"(void){name};" for name in sorted(of_words - tables)]
    if parts:
        writer.parts[first:] = [f"#ifndef {macro}", *parts, "#endif", ""]
    return [f"#ifdef {macro}", *own, "#else", *lines, "#endif"], max(array_bytes, own_bytes)


def packing_of(inputs: Inputs, ctype: str) -> Packing | None:
    """Return the packing with the most inputs in a word that holds inputs and weights; None where there is none."""
    if ctype == "int64_t" or not inputs.texts:
        return None
    low, high = int(inputs.ends.low.min()), int(inputs.ends.high.max())
    least, most = int(inputs.weights.min()), int(inputs.weights.max())
    for packing in (BYTES, HALVES):
        fits = packing.low <= low and high <= packing.high
        if fits and -(1 << (packing.bits - 1)) <= least and most < 1 << (packing.bits - 1):
            return packing
    return None


def instructions(inputs: Inputs, packing: Packing, lanes: int) -> int:
    """Return about how many instructions the products take for as many lanes as a vector of 16 bits has."""
    (count, channels), group = (int(size) for size in inputs.weights.shape), together(lanes)
    words, outputs = -(-count // packing.parts), group * -(-channels // group)
    return 2 * words * outputs + OF_AN_OUTPUT * channels + OF_AN_INPUT * count


def word_product(loops: SumLoop, inputs: Inputs, pointers: dict[str, str], packing: Packing) -> tuple[list[str], int]:
    """Return the lines that compute all outputs for all lanes, and the bytes of the arrays in them."""
    writer, value = loops.writer, loops.accumulator
    rows, channels = flat(loops.node.shape)
    row: Index = "r" if rows > 1 else 0
    lanes, outputs = Lanes("l", writer.lanes), together(writer.lanes)
    words = -(-len(inputs.texts) // packing.parts)
    table = writer.words.name(packing, _table(inputs.weights, packing, outputs))
    lines = [*pointers.values(), f"uint32_t words[{words * lanes.count}];", f"int32_t sums[{outputs * lanes.count}];"]
    packed = [f"words[{lanes.place(k)}] = {_word(inputs.texts, packing, k)};" for k in range(words)]
    for first in range(0, words, IN_A_LOOP):
        lines += lanes.loop(packed[first : first + IN_A_LOOP])
    output: Index = "n" if channels > 1 else 0
    narrow = "" if value.ctype == "int32_t" else f"({value.ctype})"
    ends = lanes.loop([f"const {value.ctype} sum = {narrow}own[l];", *loops.finish((row, output), value)])
    function = function_name(writer.words.prefix, packing)
    own = f"const int32_t *const own = sums + {lanes.count} * (n - first);"
    computed = [
        f"{function}(sums, words, {table} + {words} * first, {words});",
        f"for (int n = first; n < {channels} && n < first + {outputs}; n++) {{",
        *indented([own, *ends]),
        "}",
    ]
    lines += [f"for (int first = 0; first < {channels}; first += {outputs}) {{", *indented(computed), "}"]
    array_bytes = (words + outputs) * lanes.count * size_of("int32_t")
    return (loop("r", rows, lines) if rows > 1 else ["{", *indented(lines), "}"]), array_bytes


def _table(weights: Integers, packing: Packing, outputs: int) -> Integers:
    """Return the words of weights in the order in which they are read. Shape: -> (group of outputs, word, output)."""
    count, channels = weights.shape
    padded = np.zeros((-(-count // packing.parts) * packing.parts, -(-channels // outputs) * outputs), np.int64)
    padded[:count, :channels] = weights
    words = packing.words(padded.reshape(-1, packing.parts, padded.shape[1]).swapaxes(1, 2))
    return words.reshape(len(words), -1, outputs).swapaxes(0, 1)


def _word(texts: tuple[str, ...], packing: Packing, k: int) -> str:
    """Return the word of inputs: in halves of 16 bits first, of which a vector holds more."""
    own = texts[packing.parts * k : packing.parts * (k + 1)]
    step = 16 // packing.bits
    halves = []
    for at in range(0, len(own), step):
        fields = [f"{text} << {packing.bits * n}" if n else text for n, text in enumerate(own[at : at + step])]
        halves.append(f"(uint32_t)(uint16_t)({' | '.join(fields)})")
    return halves[0] if len(halves) == 1 else f"{halves[0]} | {halves[1]} << 16"
