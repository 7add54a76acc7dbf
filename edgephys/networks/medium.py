"""The map of the medium: what a field runs through at each pixel, as one number.

It is the wave speed c, 0 <= c < span, where the field is free; -c in walls, where it is 0; c + span where waves are
absorbed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.backend import keras


@dataclass(frozen=True)
class MediumMap:
    """State the format of a map: ``bits`` for c with its sign, a span of ``2**integer``, and whether waves absorb."""

    bits: int
    integer: int
    absorbing: bool = False

    @property
    def fixed(self) -> Fixed:
        """Return the format of the map, of a bit more where pixels absorb."""
        more = int(self.absorbing)
        return Fixed(True, self.bits + more, self.integer + 1 + more, Rounding.RND_CONV, Overflow.SAT)

    @property
    def span(self) -> float:
        """Return the number that all speeds lie below."""
        return float(2.0**self.integer)

    def absorbs(self, medium: Any) -> Any:
        """Return which pixels absorb, of floats."""
        return keras.ops.logical_and(medium >= self.span, self.absorbing)

    def speed(self, medium: Any) -> Any:
        """Return the wave speed at each pixel, of floats."""
        inside = keras.ops.where(self.absorbs(medium), medium - self.span, medium)
        return keras.ops.minimum(keras.ops.abs(inside), self.span)

    def hats(self, medium: Any, knots: int) -> Any:
        """Return the weights of knots evenly spaced in 0..span, by which a function of the speed is piecewise linear.

        Shape: (..., 1) -> (..., knot).
        """
        gap = self.span / (knots - 1)
        places = keras.ops.cast(gap * np.arange(knots), medium.dtype)
        return keras.ops.relu(1.0 - keras.ops.abs(self.speed(medium) - places) / gap)

    @property
    def entries(self) -> NDArray[np.int64]:
        """Return every integer of the map, from the lowest on."""
        return np.arange(self.fixed.low, self.fixed.high + 1)

    @property
    def entries_absorb(self) -> NDArray[np.bool_]:
        """Return which of ``entries`` absorb."""
        return np.asarray((self.entries >= 1 << (self.bits - 1)) & self.absorbing)

    def hats_of_entries(self, knots: int) -> tuple[NDArray[np.int64], int]:
        """Return the weights of knots for each of ``entries``, as integers, and the integer that stands for 1.

        Shape: (entry, knot).
        """
        span = 1 << (self.bits - 1)
        speed = np.minimum(np.abs(self.entries - span * self.entries_absorb), span)
        gap = span // (knots - 1)
        return np.maximum(gap - np.abs(speed[:, None] - gap * np.arange(knots)), 0), gap
