"""Write a rounded function of an integer as integer arithmetic: a shift, a multiplication, tables or comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgephys.core.fixed import Fixed, narrowest
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.models.files.functions.affine import MOST_SHIFT, Affine, affine
from edgephys.models.files.functions.steps import Steps
from edgephys.models.files.functions.tables import looked_up

MOST_STEPS = 64
"""Most steps of a function that is computed as a sum of comparisons."""
MOST_DROPPED = 24
"""Most bits that are rounded away in one shift."""


@dataclass(eq=False)
class Staircases:
    """Write functions into a Graph; ``emulated`` collects edges that no framework computes, and so cannot round."""

    builder: Builder
    emulated: set[str] = field(default_factory=set)

    def write(self, owner: str, edge: str, steps: Steps, fraction: int) -> str | None:
        """Return the edge of a function of ``edge``, results at 2**-fraction, in layer ``owner``.

        None where it is no multiplication, addition and shift, has over ``MOST_STEPS`` steps and fits no table.
        """
        whole = self._multiplied(owner, edge, steps, fraction)
        if whole is not None:
            return whole
        if steps.low < 0 < steps.high:
            halves = self._halved(owner, edge, steps, fraction)
            if halves is not None:
                return halves
        table = looked_up(self.builder, self.emulated, owner, edge, steps, fraction)
        if table is not None:
            return table
        if max(len(places) for places in steps.places) > MOST_STEPS:
            return None
        return self._compared(owner, edge, steps, fraction)

    def _multiplied(self, owner: str, edge: str, steps: Steps, fraction: int) -> str | None:
        """Write (m * x + b) >> shift, clipped to a format; None where no such integers give the function.

        A shift alone rounds half to even, as the quantisers do, which no addend does.
        """
        zeros = _low_zeros(steps)
        steps, fraction = steps.of_result(lambda results: results >> zeros), fraction - zeros
        builder, fixed = self.builder, narrowest(steps.lowest, steps.highest, fraction)
        for sign in (1, -1):
            dropped = _shift(steps, sign)
            if dropped is not None:
                coarser = builder.scale(owner, edge, np.array(sign), dropped + fraction - builder.fraction(edge))
                modes = (Rounding.RND_CONV, Overflow.SAT)
                return builder.requantise(owner, coarser, Fixed(fixed.signed, fixed.bits, fixed.integer, *modes))
        fitted = _fitted(steps)
        if not fitted:
            return None
        fitted *= builder.shape(edge)[-1] // len(fitted) if builder.shape(edge) else 1
        shift = fitted[0].shift
        own, finest = builder.fraction(edge), max(one.fraction for one in fitted)
        addends = np.array([one.addend << (finest - one.fraction) for one in fitted])
        finer = shift + fixed.fraction
        moved = builder.bias(owner, edge, addends, own + finest) if addends.any() else edge
        scaled = builder.scale(owner, moved, np.array([one.multiplier for one in fitted]), finer - own)
        offsets = np.array([one.offset for one in fitted])
        self.emulated |= {moved, scaled} - {edge}
        if offsets.any():
            scaled = builder.bias(owner, scaled, offsets, finer)
            self.emulated.add(scaled)
        truncated = Fixed(fixed.signed, fixed.bits, fixed.integer, Rounding.TRN, Overflow.SAT)
        return builder.requantise(owner, scaled, truncated)

    def _halved(self, owner: str, edge: str, steps: Steps, fraction: int) -> str | None:
        """Write f(max(x, 0)) + (f(-max(-x, 0)) - f(0)), where each half is a multiplication; None where one is not."""
        builder, zero = self.builder, steps(np.array([0]))[0]
        below = steps.part(steps.low, 0).mirrored().less(zero)
        upper = self._multiplied(owner, builder.relu(owner, edge), steps.part(0, steps.high), fraction)
        if upper is None:
            return None
        negative = builder.relu(owner, builder.scale(owner, edge, np.array(-1), 0))
        lower = self._multiplied(owner, negative, below, fraction)
        return None if lower is None else builder.add(owner, upper, lower)

    def _compared(self, owner: str, edge: str, steps: Steps, fraction: int) -> str:
        """Write first + sum_k jump_k * [x >= T_k]; a comparison is x - (T - 1), clipped to 0 and 1."""
        builder, own = self.builder, self.builder.fraction(edge)
        bit = Fixed(False, 1, 1 - own, Rounding.TRN, Overflow.SAT)
        jumps = [np.diff(values, prepend=first) for first, values in zip(steps.first, steps.values, strict=True)]
        total: str | None = None
        for number in range(max(len(places) for places in steps.places)):
            there = [number < len(places) for places in steps.places]
            before = [
                int(at[number]) - 1 if inside else steps.low for at, inside in zip(steps.places, there, strict=True)
            ]
            jump = [int(own_jumps[number]) if inside else 0 for own_jumps, inside in zip(jumps, there, strict=True)]
            compared = builder.requantise(owner, builder.bias(owner, edge, -np.array(before), own), bit)
            part = builder.scale(owner, compared, np.array(jump), fraction - own)
            total = part if total is None else builder.add(owner, total, part)
        if total is None:
            total = builder.scale(owner, edge, np.zeros(steps.channels, np.int64), fraction - own)
        return builder.bias(owner, total, steps.first, fraction)


def _low_zeros(steps: Steps) -> int:
    """Return the number of low bits that are 0 in all results."""
    results = np.concatenate([steps.first, *steps.values])
    together = int(np.bitwise_or.reduce(np.abs(results), axis=None))
    return (together & -together).bit_length() - 1 if together else 0


def _shift(steps: Steps, sign: int) -> int | None:
    """Return how many bits are rounded away, half to even, where that is all that a function does, but to saturate.

    ``sign`` is -1 for a function of -x. Both rise or fall all along: where they agree at both ends of every run of
    equal results, they agree on all of it.
    """
    fixed = narrowest(steps.lowest, steps.highest, 0)
    rounded_away = Fixed(fixed.signed, fixed.bits, fixed.integer, Rounding.RND_CONV, Overflow.SAT)
    ends = [steps.ends(channel) for channel in range(steps.channels)]
    for dropped in range(MOST_DROPPED + 1):
        if all(np.array_equal(rounded_away.requantise(sign * x, dropped), results) for x, results in ends):
            return dropped
    return None


def _fitted(steps: Steps) -> list[Affine]:
    """Return a multiplication for each channel, with the smallest shift that will do; none where a channel has none."""
    fixed = narrowest(steps.lowest, steps.highest, 0)
    for shift in range(MOST_SHIFT + 1):
        fitted: list[Affine] = []
        for own in steps.each():
            one = affine(own, (fixed.low, fixed.high), shift)
            if one is None:
                break
            fitted.append(one)
        else:
            return fitted
    return []
