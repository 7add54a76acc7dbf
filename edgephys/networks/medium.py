"""The map of the medium: what a field runs through at each pixel, as one number.

It is the wave speed c, 0 <= c < span, where the field is free; -c in walls, where it is 0; c + k span in the absorbing
layer k, of 1, 2, ... ``layers`` from the field outwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.backend import keras


@dataclass(frozen=True)
class MediumMap:
    """State the format of a map: ``bits`` for c with its sign, a span of ``2**integer``, and ``layers``."""

    bits: int
    integer: int
    layers: int = 0

    @cached_property
    def fixed(self) -> Fixed:
        """Return the format of the map, with bits for the numbers of its layers."""
        more = self.layers.bit_length()
        return Fixed(True, self.bits + more, self.integer + 1 + more, Rounding.RND_CONV, Overflow.SAT)

    @property
    def span(self) -> float:
        """Return the number that all speeds lie below."""
        return float(2.0**self.integer)

    def speed(self, medium: Any) -> Any:
        """Return the wave speed at each pixel, of floats."""
        return keras.ops.minimum(keras.ops.abs(medium - self.layer(medium) * self.span), self.span)

    def layer(self, medium: Any) -> Any:
        """Return the number of the layer of each pixel, of floats: 0 where the field is free and in walls."""
        return keras.ops.clip(keras.ops.floor(medium / self.span), 0.0, float(self.layers))

    def hats(self, medium: Any, knots: int) -> Any:
        """Return the weights of knots evenly spaced in 0..span, by which a function of the speed is piecewise linear.

        Shape: (..., 1) -> (..., knot).
        """
        gap = self.span / (knots - 1)
        places = keras.ops.cast(gap * np.arange(knots), medium.dtype)
        return keras.ops.relu(1.0 - keras.ops.abs(self.speed(medium) - places) / gap)

    @cached_property
    def entries(self) -> NDArray[np.int64]:
        """Return every integer of the map, from the lowest on."""
        return np.arange(self.fixed.low, self.fixed.high + 1)

    @property
    def layer_of_entries(self) -> NDArray[np.int64]:
        """Return the number of the layer of each of ``entries``."""
        return np.asarray(np.clip(self.entries >> (self.bits - 1), 0, self.layers))

    def hats_of_entries(self, knots: int) -> tuple[NDArray[np.int64], int]:
        """Return the weights of knots for each of ``entries``, as integers, and the integer that stands for 1.

        Shape: (entry, knot).
        """
        span = 1 << (self.bits - 1)
        speed = np.minimum(np.abs(self.entries - span * self.layer_of_entries), span)
        gap = span // (knots - 1)
        return np.maximum(gap - np.abs(speed[:, None] - gap * np.arange(knots)), 0), gap
