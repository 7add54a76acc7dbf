"""Write any function of an integer as tables: of the integer itself, or of its high bits where it is wide.

A quantised function has few steps on a wide integer x = h * 2**k + l. Where no block of 2**k integers has more than one
step, at l >= T[h], the function is a second table of h and of this comparison:

    q(x) = R[2 * h + (l >= T[h])]

Source: our own derivation; exact, because every integer of the range is in a block.
"""

from __future__ import annotations

import numpy as np

from edgephys.core.fixed import Fixed, Integers, narrowest
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.ops.lookup import MOST_ENTRIES
from edgephys.models.files.keras.reading import KerasReading


def looked_up(reading: KerasReading, owner: str, edge: str, low: int, results: Integers, fraction: int) -> str | None:
    """Return the edge of a function whose results for low, low + 1, ... are given; None where no table holds it.

    Shape: results (integer, channel).
    """
    builder = reading.builder
    if len(results) > MOST_ENTRIES:
        edge, low, results = _clipped(reading, owner, edge, low, results)
    if len(results) <= MOST_ENTRIES:
        return builder.lookup(owner, edge, low, _tables(results), fraction)
    return _by_blocks(builder, owner, edge, low, results, fraction)


def _tables(results: Integers) -> Integers:
    """Return the entries of the channels, or of all of them where they are the same.  Shape: as ``Lookup``'s."""
    alike = np.array_equal(results, np.broadcast_to(results[:, :1], results.shape))
    return results[:, 0] if alike else results.T


def _clipped(reading: KerasReading, owner: str, edge: str, low: int, results: Integers) -> tuple[str, int, Integers]:
    """Return an operand without the integers at both ends for which the function is constant, where this saves a bit.

    The rest is counted from 0, in a format without a sign that saturates.
    """
    builder, steps = reading.builder, np.flatnonzero(np.diff(results, axis=0).any(axis=1))
    first, last = (int(steps[0]), int(steps[-1]) + 1) if steps.size else (0, 0)
    bits, own = max(1, (last - first).bit_length()), builder.fraction(edge)
    if 1 << bits >= len(results):
        return edge, low, results
    counted = builder.bias(owner, edge, np.array(-(low + first)), own)
    reading.emulated.add(counted)
    counted = builder.requantise(owner, counted, Fixed(False, bits, bits - own, Rounding.TRN, Overflow.SAT))
    places = np.minimum(first + np.arange(1 << bits), len(results) - 1)
    return counted, 0, results[places]


def _by_blocks(builder: Builder, owner: str, edge: str, low: int, results: Integers, fraction: int) -> str | None:
    """Write the two tables; None where the blocks must be so small that there are too many."""
    own, dropped = builder.fraction(edge), _block_bits(low, results)
    start, end = low >> dropped, (low + len(results) - 1) >> dropped
    if not dropped or 2 * (end - start + 1) > MOST_ENTRIES:
        return None
    places = np.clip(np.arange(start << dropped, (end + 1) << dropped), low, low + len(results) - 1) - low
    blocks = results[places].reshape(end - start + 1, 1 << dropped, -1)  # (block, integer, channel)
    last = blocks[:, -1:]
    thresholds = (blocks != last).sum(axis=1)  # the first l of the second half
    ends = np.stack([blocks[:, 0], last[:, 0]], axis=1).reshape(-1, results.shape[1])
    high = builder.requantise(owner, edge, narrowest(start, end, own - dropped))
    rest = builder.requantise(owner, edge, Fixed(False, dropped, dropped - own))  # wraps
    missing = builder.lookup(owner, high, start, _tables(1 - thresholds), own)
    second = builder.add(owner, rest, missing)  # l - T[h] + 1: 1 or more behind the step
    second = builder.requantise(owner, second, Fixed(False, 1, 1 - own, Rounding.TRN, Overflow.SAT))
    half = builder.scale(owner, second, np.array(1), 1 - dropped)  # half a block
    return builder.lookup(owner, builder.add(owner, high, half), 2 * start, _tables(ends), fraction)


def _block_bits(low: int, results: Integers) -> int:
    """Return the most bits of a block in which no channel has more than one step."""
    steps = [low + 1 + np.flatnonzero(column) for column in np.diff(results, axis=0).T]  # the first integer behind each
    bits = (len(results) - 1).bit_length()
    while bits and any(_crowded(at, bits) for at in steps):
        bits -= 1
    return bits


def _crowded(steps: Integers, bits: int) -> bool:
    """Tell whether a block has two steps in it; a step at its first integer is none."""
    inside = steps[steps & ((1 << bits) - 1) != 0] >> bits
    return len(np.unique(inside)) < len(inside)
