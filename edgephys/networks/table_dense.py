"""Layer whose every edge is a learnt table: no product by a weight, no activation, a neuron is a sum of tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.networks.backend import keras

WIDEST_INPUT = 8
"""Bits of the widest input: a table of 256 entries."""
MOST_KNOTS = 1 << WIDEST_INPUT
EPSILON = 1e-3
MOMENTUM = 0.95
FIRST_SLOPE, FIRST_BEND = 1.2, 0.5
"""Deviation, at the start, of an edge's line and of its bend, times the root of the number of inputs."""
FIRST_DEVIATION = 0.5
"""Deviation of normalised sums at the start: most lie in [-1, 1), which the next tables read."""


@keras.saving.register_keras_serializable(package="edgephys")
class TableDense(keras.layers.Layer):  # type: ignore[misc]
    """Add up one function of each input for every unit; each function is a table of all values of its input.

    y_o = sum_i T_io[x_i]. T_io is a piecewise linear function of ``knots`` trained knots over the range of the input's
    format, ``reads``, sampled at each value of the format and rounded to 2**-fraction, half to even. With ``normalise``
    the sums are normalised over the batch; the factor and the shift are parts of the tables, before these are rounded,
    in training, too.
    Shape: (..., input) -> (..., unit).  The input must have been rounded to ``reads``.
    Gradient: that of the table with regard to its knots; with regard to the input the mean slope to both neighbours.
    Source: Kolmogorov-Arnold layers at hardware resolution, arXiv 2512.12850 and 2604.22293. Ours: knots, and the
    normalisation within the rounded tables.
    Raises: UsageError for a format or a number of knots without a table.
    """

    def __init__(
        self,
        units: int,
        reads: str,
        fraction: int,
        knots: int = 12,
        normalise: bool = True,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.units, self.fraction, self.knots, self.normalise = int(units), int(fraction), int(knots), bool(normalise)
        self.reads = Fixed.of_text(reads)
        if not 1 <= self.reads.bits <= WIDEST_INPUT:
            raise UsageError(f"layer '{self.name}': a table must read 1..{WIDEST_INPUT} bits, not {self.reads.bits}")
        if not 2 <= self.knots <= MOST_KNOTS:
            raise UsageError(f"layer '{self.name}': knots must be 2..{MOST_KNOTS}, not {self.knots}")

    @property
    def entries(self) -> int:
        """Return the number of entries of a table."""
        return 1 << self.reads.bits

    def build(self, input_shape: Any) -> None:
        """Make the weights.  Shape: knots (input, knot, unit); mask (input, unit), 0 for a pruned edge."""
        inputs = int(input_shape[-1])
        self.function = self.add_weight(
            name="knots", shape=(inputs, self.knots, self.units), initializer=_lines(inputs, self.knots)
        )
        self.mask = self.add_weight(name="mask", shape=(inputs, self.units), initializer="ones", trainable=False)
        if self.normalise:
            self.gain = self.add_weight(
                name="gain", shape=(self.units,), initializer=keras.initializers.Constant(FIRST_DEVIATION)
            )
            self.shift = self.add_weight(name="beta", shape=(self.units,), initializer="zeros")
            self.mean = self.add_weight(name="mean", shape=(self.units,), initializer="zeros", trainable=False)
            self.variance = self.add_weight(name="variance", shape=(self.units,), initializer="ones", trainable=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the sums of the tables' entries."""
        ops = keras.ops
        read = self._read(inputs)
        tables = self._functions()
        if not self.normalise:
            return read @ _rounded(tables, self.fraction)
        if training:
            sums = read @ tables
            axes = tuple(range(len(sums.shape) - 1))
            mean, variance = ops.mean(sums, axes), ops.var(sums, axes)
            for stored, now in ((self.mean, mean), (self.variance, variance)):
                stored.assign(MOMENTUM * stored + (1 - MOMENTUM) * ops.stop_gradient(now))
        else:
            mean, variance = self.mean, self.variance
        return read @ _rounded(self._normalised(tables, mean, variance), self.fraction)

    def tables(self) -> NDArray[np.int64]:
        """Return the tables that the network reads after its training, in steps of 2**-fraction.

        Shape: (input, entry, unit), the entry of the format's lowest value first.
        """
        tables = self._functions()
        if self.normalise:
            tables = self._normalised(tables, self.mean, self.variance)
        values = keras.ops.convert_to_numpy(_rounded(tables, self.fraction)).astype(np.float64)
        steps: NDArray[np.int64] = np.rint(values * 2.0**self.fraction).astype(np.int64)
        return steps.reshape(-1, self.entries, self.units)

    def deviations(self) -> NDArray[Any]:
        """Return by how much each edge's table varies over its entries.  Shape: (input, unit)."""
        return np.asarray(self.tables().std(1) * 2.0**-self.fraction)

    def _read(self, inputs: Any) -> Any:
        """Return a one-hot row of each input's entry.  Shape: (..., input) -> (..., input * entry)."""
        ops = keras.ops
        place = inputs * 2.0**self.reads.fraction - float(self.reads.low)
        at = ops.cast(ops.round(ops.stop_gradient(place)), "int32")
        ahead = ops.one_hot(ops.minimum(at + 1, self.entries - 1), self.entries)
        behind = ops.one_hot(ops.maximum(at - 1, 0), self.entries)
        moved = (place - ops.stop_gradient(place))[..., None] * (ahead - behind) * 0.5  # 0, with the gradient
        return ops.reshape(ops.one_hot(at, self.entries) + moved, (-1, *inputs.shape[1:-1], self._rows()))

    def _rows(self) -> int:
        return int(self.function.shape[0]) * self.entries

    def _functions(self) -> Any:
        """Return the functions at each value of the input, not rounded.  Shape: (input * entry, unit)."""
        ops = keras.ops
        function = (self.function - ops.mean(self.function, 1, keepdims=True)) * self.mask[:, None, :]
        at = np.linspace(0, self.knots - 1, self.entries)
        low = np.minimum(at.astype(int), self.knots - 2)
        share = ops.cast((at - low)[None, :, None], function.dtype)
        values = ops.take(function, low, 1) * (1.0 - share) + ops.take(function, low + 1, 1) * share
        return ops.reshape(values, (self._rows(), self.units))

    def _normalised(self, tables: Any, mean: Any, variance: Any) -> Any:
        ops = keras.ops
        factor = self.gain * ops.rsqrt(variance + EPSILON)
        left = ops.maximum(ops.sum(self.mask, 0), 1.0)  # a unit without edges gets no shift
        shift = self.mask * ((self.shift - mean * factor) / left)
        return tables * factor + ops.reshape(ops.repeat(shift[:, None], self.entries, 1), tables.shape)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        stated = {"units": self.units, "reads": str(self.reads), "fraction": self.fraction, "knots": self.knots}
        return {**super().get_config(), **stated, "normalise": self.normalise}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with a channel a unit."""
        return (*input_shape[:-1], self.units)


def _rounded(values: Any, fraction: int) -> Any:
    rounded = keras.ops.round(values * 2.0**fraction) * 2.0**-fraction
    return values + keras.ops.stop_gradient(rounded - values)


def _lines(inputs: int, knots: int) -> Any:
    """Return an initialiser: each edge a line with a bend in the middle."""

    def values(shape: Any, dtype: Any = None) -> Any:
        at = keras.ops.cast(np.linspace(-1, 1, knots)[None, :, None], dtype or "float32")
        slope, bend = (
            keras.random.normal((shape[0], 1, shape[2]), 0.0, of / inputs**0.5, dtype=dtype)
            for of in (FIRST_SLOPE, FIRST_BEND)
        )
        return slope * at + bend * (keras.ops.abs(at) - 0.5)

    return values
