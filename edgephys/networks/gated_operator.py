"""A symmetric operator on a field, whose norm has a bound: B^T (g(c) * (B u)), with filters B and gates 0 <= g(c) < 1.

A map of the medium (``medium``) states the wave speed c of each pixel, walls, and pixels that absorb.

With |B^T B| <= 4 the recursion u+ = 2 u - u- - B^T (g(c) * (B u)) is stable for every field and every c, as the
leapfrog of a wave is below its limit: the operator is symmetric, its eigenvalues lie within 0..4. Source: the stability
limit of the leapfrog (Courant, Friedrichs, Lewy 1928); the network is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.networks import stencils
from edgephys.networks.backend import keras
from edgephys.networks.decompositions import Part
from edgephys.networks.medium import MediumMap

EXTRA_BITS = 3
"""Bits that a part hands on beyond those of inner products: what is rounded there is small beside what is there."""


@keras.saving.register_keras_serializable(package="edgephys")
class GatedOperator(keras.layers.Layer):  # type: ignore[misc]
    """Return B^T (g * (B u)) of a field u and a map of the medium; zeros lie beyond the edges.

    ``format`` states the parts of the filters (``stencils``), with its ``rank`` where that is cp.
    g is piecewise linear between ``knots`` evenly spaced values of c in [0, 2**speed_integer], one function a filter.
    Quantised, filters are multiples of ``2**-filter_fraction`` of ``bits`` bits, further parts have ``bits`` bits in
    [-1, 1); inner products have the format ``inner``, what a part hands on has ``EXTRA_BITS`` more, gates have
    ``gate_bits`` bits in [0, 1), c has ``speed_bits`` bits with the sign of the map, and the result the format
    ``result``: each (bits, integer bits with the sign), rounded half to even and saturated. ``bits`` None computes in
    floats.
    Shape: two of (field, row, column, 1) -> (field, row, column, 1).
    Raises: UsageError for filters of an even length and for knots that no power of two divides.
    """

    def __init__(
        self,
        filters: int,
        size: int,
        bits: int | None = None,
        filter_fraction: int = 8,
        inner: tuple[int, int] = (13, 3),
        result: tuple[int, int] = (15, 3),
        gate_bits: int = 8,
        speed_bits: int = 7,
        speed_integer: int = 1,
        knots: int = 17,
        format: str = "full",
        rank: int | None = None,
        absorbing: bool = False,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.absorbing, self.medium = absorbing, MediumMap(speed_bits, speed_integer, absorbing)
        self.format, self.rank = format, rank
        self.filters, self.size, self.bits, self.filter_fraction = filters, size, bits, filter_fraction
        self.inner, self.result, self.gate_bits = tuple(inner), tuple(result), gate_bits
        self.speed_bits, self.speed_integer, self.knots = speed_bits, speed_integer, knots
        try:
            self.parts = stencils.parts_of(format, filters, size, rank)
        except UsageError as wrong:
            raise UsageError(f"layer '{self.name}': {wrong}") from wrong
        if size % 2 == 0:
            raise UsageError(f"layer '{self.name}': size must be odd, not {size}")
        if knots < 3 or (knots - 1) & (knots - 2):
            raise UsageError(f"layer '{self.name}': knots must be 3, 5, 9, 17, ..., not {knots}")

    def build(self, input_shape: Any) -> None:
        """Make the weights of the filters and the knots of the gates."""
        self.weights_of_parts = []
        for part in self.parts:
            first = part is self.parts[0]
            start = keras.initializers.RandomNormal(0.0, 0.3 / self.size if first else 1.0)
            weight = self.add_weight(
                name=part.name or "stencils",
                shape=stencils.stored_shape(part),
                initializer=start,
                constraint=self._within_bound if first else None,
            )
            self.weights_of_parts.append(weight)
        self.gates = self.add_weight(name="gates", shape=(self.knots, self.filters), initializer=_rising)
        self.built = True

    def _within_bound(self, first: Any) -> Any:
        return first * stencils.to_bound(
            stencils.composed(self._kernels([first, *self.weights_of_parts[1:]]), self.parts)
        )

    def _kernels(self, weights: Sequence[Any]) -> list[Any]:
        """Return the kernels of the parts, in floats.  Shape: as ``Part.shape``."""
        first = keras.ops.reshape(weights[0], self.parts[0].shape)
        rest = zip(weights[1:], self.parts[1:], strict=True)
        return [first, *(stencils.unit(keras.ops.reshape(weight, part.shape), part) for weight, part in rest)]

    def call(self, inputs: Any) -> Any:
        """Return the operator's result."""
        field, medium = inputs
        kernels, gates = self._kernels(self.weights_of_parts), keras.ops.clip(self.gates, 0.0, 1.0)
        if self.bits is not None:
            kernels = [rounded(kernel, self.format_of(part)) for kernel, part in zip(kernels, self.parts, strict=True)]
            gates, medium = rounded(self.gates, self.gate_format), rounded(medium, self.medium.fixed)
        kernels = [keras.ops.cast(kernel, field.dtype) for kernel in kernels]
        gate = keras.ops.matmul(self.medium.hats(medium, self.knots), gates)
        if self.bits is not None:
            gate = rounded(gate, self.gate_format)
        inner = self._chain(field, kernels, self.parts, self.inner_format)
        inner = self._narrowed(inner * gate, self.inner_format)
        back = [stencils.transposed(kernel, part) for kernel, part in zip(kernels, self.parts, strict=True)]
        return self._chain(inner, back[::-1], [stencils.reverse(part) for part in self.parts[::-1]], self.result_format)

    def _chain(self, x: Any, kernels: Sequence[Any], parts: Sequence[Part], result: Fixed) -> Any:
        """Return one convolution after the other, the last one rounded to a format."""
        for kernel, part in zip(kernels, parts, strict=True):
            convolve = keras.ops.depthwise_conv if part.depthwise else keras.ops.conv
            x = convolve(x, kernel, padding="same", data_format="channels_last")
            x = self._narrowed(x, result if part is parts[-1] else self.between_format)
        return x

    def _narrowed(self, values: Any, fixed: Fixed) -> Any:
        return values if self.bits is None else rounded(values, fixed)

    def format_of(self, part: Part) -> Fixed:
        """Return the format of a part's weights."""
        bits = self.bits or 0
        return _format(True, bits, bits - self.filter_fraction if part is self.parts[0] else 1)

    @property
    def inner_format(self) -> Fixed:
        """Format of the inner products, before and behind the gates."""
        return _format(True, *self.inner)

    @property
    def between_format(self) -> Fixed:
        """Format of what a part hands on to the next one."""
        return _format(True, self.inner[0] + EXTRA_BITS, self.inner[1])

    @property
    def result_format(self) -> Fixed:
        """Format of the result."""
        return _format(True, *self.result)

    @property
    def gate_format(self) -> Fixed:
        """Format of the gates."""
        return _format(False, self.gate_bits, 0)

    def integers(self) -> list[NDArray[np.int64]]:
        """Return the kernels of the parts in their steps.  Shape: as ``Part.shape``."""
        kernels = zip(self._kernels(self.weights_of_parts), self.parts, strict=True)
        return [integers(keras.ops.convert_to_numpy(kernel), self.format_of(part)) for kernel, part in kernels]

    def filters_that_ship(self) -> NDArray[np.float64]:
        """Return the filters that the integers of all parts make, or those of the floats.

        Shape: (row, column, filter).
        """
        if self.bits is None:
            kernels = [keras.ops.convert_to_numpy(kernel) for kernel in self._kernels(self.weights_of_parts)]
        else:
            steps = zip(self.integers(), self.parts, strict=True)
            kernels = [kernel * 2.0 ** -self.format_of(part).fraction for kernel, part in steps]
        return np.asarray(stencils.composed([keras.ops.cast(kernel, "float64") for kernel in kernels], self.parts))

    def tables(self) -> NDArray[np.int64]:
        """Return the gate of every medium, from its lowest on, in steps.  Shape: (filter, integer of the medium)."""
        hats, one = self.medium.hats_of_entries(self.knots)
        steps = hats @ integers(keras.ops.convert_to_numpy(self.gates), self.gate_format)
        return np.asarray(np.clip(np.rint(steps / one).astype(np.int64), 0, self.gate_format.high).T)

    def proven(self) -> float:
        """Return a bound of |B^T B| for the filters that ship."""
        return stencils.largest(self.filters_that_ship(), stencils.FINE)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        names = (
            "filters",
            "size",
            "bits",
            "filter_fraction",
            "gate_bits",
            "speed_bits",
            "speed_integer",
            "knots",
            "format",
            "rank",
            "absorbing",
        )
        stated = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **stated, "inner": list(self.inner), "result": list(self.result)}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the field."""
        return input_shape[0]


def _format(signed: bool, bits: int, integer: int) -> Fixed:
    return Fixed(signed, bits, integer, Rounding.RND_CONV, Overflow.SAT)


def rounded(values: Any, fixed: Fixed) -> Any:
    """Return values in a format, with the gradient of the clipping."""
    step = 2.0**-fixed.fraction
    clipped = keras.ops.clip(values, fixed.low * step, fixed.high * step)
    rounded = keras.ops.round(clipped * 2.0**fixed.fraction) * step
    return clipped + keras.ops.stop_gradient(rounded - clipped)


def integers(values: NDArray[np.floating[Any]], fixed: Fixed) -> NDArray[np.int64]:
    """Return values in steps of a format, rounded half to even and saturated."""
    steps = np.rint(values.astype(np.float64) * 2.0**fixed.fraction)
    return np.clip(steps, fixed.low, fixed.high).astype(np.int64)


def _rising(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """Return gates that rise as the square of c, as those of a wave equation do."""
    knots, filters = shape
    return keras.ops.cast(np.tile(np.linspace(0.0, 0.9, knots)[:, None] ** 2, (1, filters)), dtype or "float32")
