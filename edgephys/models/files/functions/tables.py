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
from edgephys.models.files.functions.steps import Steps


def looked_up(builder: Builder, emulated: set[str], owner: str, edge: str, steps: Steps, fraction: int) -> str | None:
    """Return the edge of a function, results at 2**-fraction; None where no table holds it.

    Edges that no framework computes are added to ``emulated``.
    """
    if steps.count > MOST_ENTRIES:
        edge, steps = _clipped(builder, emulated, owner, edge, steps)
    if steps.count <= MOST_ENTRIES:
        results = steps(np.arange(steps.low, steps.high + 1))
        return builder.lookup(owner, edge, steps.low, _tables(results), fraction)
    return _by_blocks(builder, owner, edge, steps, fraction)


def _tables(results: Integers) -> Integers:
    """Return the entries of the channels, or of all of them where they are the same.  Shape: as ``Lookup``'s."""
    alike = np.array_equal(results, np.broadcast_to(results[:, :1], results.shape))
    return results[:, 0] if alike else results.T


def _clipped(builder: Builder, emulated: set[str], owner: str, edge: str, steps: Steps) -> tuple[str, Steps]:
    """Return an operand without the integers at both ends for which the function is constant, where this saves a bit.

    The rest is counted from 0, in a format without a sign that saturates.
    """
    places, own = np.concatenate(steps.places), builder.fraction(edge)
    first, last = (int(places.min()) - 1, int(places.max())) if places.size else (steps.low, steps.low)
    bits = max(1, (last - first).bit_length())
    if 1 << bits >= steps.count:
        return edge, steps
    counted = builder.bias(owner, edge, np.array(-first), own)
    emulated.add(counted)
    counted = builder.requantise(owner, counted, Fixed(False, bits, bits - own, Rounding.TRN, Overflow.SAT))
    begun = steps(np.array([first]))[0]
    return counted, Steps(0, (1 << bits) - 1, begun, tuple(own - first for own in steps.places), steps.values)


def _by_blocks(builder: Builder, owner: str, edge: str, steps: Steps, fraction: int) -> str | None:
    """Write the two tables; None where the blocks must be so small that there are too many."""
    own, dropped = builder.fraction(edge), _block_bits(steps)
    start, end = steps.low >> dropped, steps.high >> dropped
    if not dropped or 2 * (end - start + 1) > MOST_ENTRIES:
        return None
    blocks = np.arange(start, end + 1)
    firsts = steps(np.maximum(blocks << dropped, steps.low))
    lasts = steps(np.minimum(((blocks + 1) << dropped) - 1, steps.high))
    thresholds = np.zeros_like(lasts)  # the first l of the second half
    for channel, places in enumerate(steps.places):
        inside = places[places & ((1 << dropped) - 1) != 0]
        thresholds[(inside >> dropped) - start, channel] = inside & ((1 << dropped) - 1)
    ends = np.stack([firsts, lasts], axis=1).reshape(-1, steps.channels)
    high = builder.requantise(owner, edge, narrowest(start, end, own - dropped))
    rest = builder.requantise(owner, edge, Fixed(False, dropped, dropped - own))  # wraps
    missing = builder.lookup(owner, high, start, _tables(1 - thresholds), own)
    second = builder.add(owner, rest, missing)  # l - T[h] + 1: 1 or more behind the step
    second = builder.requantise(owner, second, Fixed(False, 1, 1 - own, Rounding.TRN, Overflow.SAT))
    half = builder.scale(owner, second, np.array(1), 1 - dropped)  # half a block
    return builder.lookup(owner, builder.add(owner, high, half), 2 * start, _tables(ends), fraction)


def _block_bits(steps: Steps) -> int:
    """Return the most bits of a block in which no channel has more than one step."""
    bits = (steps.count - 1).bit_length()
    while bits and any(_crowded(at, bits) for at in steps.places):
        bits -= 1
    return bits


def _crowded(steps: Integers, bits: int) -> bool:
    """Tell whether a block has two steps in it; a step at its first integer is none."""
    inside = steps[steps & ((1 << bits) - 1) != 0] >> bits
    return len(np.unique(inside)) < len(inside)
