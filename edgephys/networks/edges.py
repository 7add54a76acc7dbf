"""What lies around a field does to its motion: walls hold it at 0, absorbing pixels damp it.

With a share 0 <= a <= 1 of each pixel u+ = u- + a (2 u - 2 u- - A u) is the leapfrog with friction 1/a - 1, which acts
on the velocity (u+ - u-)/2: it is stable wherever the leapfrog without friction is. a = 0 gives u+ = u-.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks.backend import keras
from edgephys.networks.gated_operator import rounded
from edgephys.networks.medium import MediumMap

SHARE_FRACTION = 6
"""Bits behind the point of a share: with 18 bits of a motion a product has 24, which float32 holds."""
ABSORBING_SHARE = 59 / 64
"""Share of absorbing pixels, a friction of 0.085: with 7 or 10 pixels of it waves came back weakest after 25 and 50
frames, of frictions 0.02 to 0.2, uniform or rising outwards."""


@keras.saving.register_keras_serializable(package="edgephys", name="Walls")
class Edges(keras.layers.Layer):  # type: ignore[misc]
    """Return a motion times the share of each pixel: 1 where the field is free, 0 in walls, and where it absorbs.

    With ``absorbing`` pixels a quantised result has the format ``result``: (bits, integer bits with the sign). Without
    them the motion stays as it is where the field is free. (Files call the layer by its earlier name, Walls.)
    Shape: two of (field, row, column, 1), the motion and the map of the medium -> (field, row, column, 1).
    """

    def __init__(
        self,
        absorbing: bool = False,
        speed_bits: int = 7,
        speed_integer: int = 1,
        result: tuple[int, int] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.absorbing, self.speed_bits, self.speed_integer = absorbing, speed_bits, speed_integer
        self.medium = MediumMap(speed_bits, speed_integer, absorbing)
        self.result = None if result is None else tuple(result)

    def call(self, inputs: Any) -> Any:
        """Return the motion within the edges."""
        motion, medium = inputs
        if not self.absorbing:
            return keras.ops.where(medium < 0, keras.ops.zeros_like(motion), motion)
        medium = medium if self.result is None else rounded(medium, self.medium.fixed)
        share = keras.ops.where(self.medium.absorbs(medium), ABSORBING_SHARE, 1.0)
        product = motion * keras.ops.cast(keras.ops.where(medium < 0, 0.0, share), motion.dtype)
        return product if self.result is None else rounded(product, self.result_format)

    @property
    def result_format(self) -> Fixed:
        """Format of the result of a quantised layer."""
        bits, integer = self.result or (0, 0)
        return Fixed(True, bits, integer, Rounding.RND_CONV, Overflow.SAT)

    def table(self) -> NDArray[np.int64]:
        """Return the share of every medium, from its lowest on, in steps.  Shape: (integer of the medium,)."""
        one = 1 << SHARE_FRACTION
        shares = np.where(self.medium.entries_absorb, round(ABSORBING_SHARE * one), one)
        return np.where(self.medium.entries < 0, 0, shares).astype(np.int64)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        names = ("absorbing", "speed_bits", "speed_integer", "result")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the motion."""
        return input_shape[0]
