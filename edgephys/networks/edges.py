"""What the edges of a field do to its motion: walls hold it at 0, absorbing layers damp it.

With a share 0 <= a <= 1 of each pixel u+ = u- + a (2 u - 2 u- - A u) is the leapfrog with friction s = 1/a - 1, whose
velocity is (u+ - u-)/2: it is stable wherever the leapfrog without friction is. a = 0 gives u+ = u-.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.backend import keras
from edgephys.networks.gated_operator import integers, rounded
from edgephys.networks.medium import MediumMap

SHARE_FRACTION = 6
"""Bits behind the point of a share: with 18 bits of a motion a product has 24, which float32 holds."""


@keras.saving.register_keras_serializable(package="edgephys", name="Walls")
class Edges(keras.layers.Layer):  # type: ignore[misc]
    """Return a motion times the share of each pixel: 1 where the field is free, 0 in walls, trained in ``layers``.

    In a layer the share is piecewise linear in c, between ``knots`` values. Quantised, it has ``SHARE_FRACTION`` bits
    behind the point, and the result the format ``result``: (bits, integer bits with the sign). Without layers the
    motion stays as it is where the field is free. (Files call the layer by its earlier name, Walls.)
    Shape: two of (field, row, column, 1), the motion and the map of the medium -> (field, row, column, 1).
    """

    def __init__(
        self,
        layers: int = 0,
        knots: int = 5,
        speed_bits: int = 7,
        speed_integer: int = 1,
        result: tuple[int, int] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.layers, self.knots, self.speed_bits, self.speed_integer = layers, knots, speed_bits, speed_integer
        self.medium = MediumMap(speed_bits, speed_integer, layers)
        self.result = None if result is None else tuple(result)

    def build(self, input_shape: Any) -> None:
        """Make the knots of the shares."""
        if self.layers:
            self.shares = self.add_weight(name="shares", shape=(self.knots, self.layers), initializer=_falling)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the motion within the edges."""
        motion, medium = inputs
        if not self.layers:
            return keras.ops.where(medium < 0, keras.ops.zeros_like(motion), motion)
        shares = keras.ops.clip(self.shares, 0.0, 1.0)
        if self.result is not None:
            shares, medium = rounded(shares, SHARE), rounded(medium, self.medium.fixed)
        share = keras.ops.matmul(self.medium.hats(medium, self.knots), shares)
        share = share if self.result is None else rounded(share, SHARE)
        number = self.medium.layer(medium)
        own = keras.ops.cast(number == keras.ops.cast(1 + np.arange(self.layers), number.dtype), share.dtype)
        share = keras.ops.where(number == 0, keras.ops.ones_like(number), keras.ops.sum(share * own, -1, keepdims=True))
        product = motion * keras.ops.where(medium < 0, keras.ops.zeros_like(share), share)
        return product if self.result is None else rounded(product, self.result_format)

    @property
    def result_format(self) -> Fixed:
        """Format of the result of a quantised layer."""
        bits, integer = self.result or (0, 0)
        return Fixed(True, bits, integer, Rounding.RND_CONV, Overflow.SAT)

    def table(self) -> NDArray[np.int64]:
        """Return the share of every medium, from its lowest on, in steps.  Shape: (integer of the medium,)."""
        hats, one = self.medium.hats_of_entries(self.knots)
        shares = integers(np.clip(keras.ops.convert_to_numpy(self.shares), 0.0, 1.0), SHARE)
        trained = np.rint(hats @ shares / one).astype(np.int64)
        every = np.column_stack([np.full(len(trained), 1 << SHARE_FRACTION), trained])
        steps = np.take_along_axis(every, self.medium.layer_of_entries[:, None], 1)[:, 0]
        return np.where(self.medium.entries < 0, 0, steps)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        names = ("layers", "knots", "speed_bits", "speed_integer", "result")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the motion."""
        return input_shape[0]


SHARE = Fixed(False, SHARE_FRACTION + 1, 1, Rounding.RND_CONV, Overflow.SAT)
"""Format of a share, of which 1 is the largest."""


def _falling(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Return shares that fall from layer to layer, outwards."""
    knots, layers = shape
    start = np.tile(1.0 - 0.6 * (1 + np.arange(layers)) / layers, (knots, 1))
    return keras.ops.cast(start, dtype or "float32")
