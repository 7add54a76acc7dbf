"""A softmax in integers: a table of exponentials, their sum, a table of reciprocals, and a product.

    softmax(x) = 2**-bits * round(2**bits * e * R[sum(e) - 1]),  e = E[max(x) - x]

No integers give a framework's float softmax exactly. What is stated of one that is computed so: its integers are the
same on all targets, and how far they are from the float softmax was measured, over stated vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.ops.lookup import MOST_ENTRIES
from edgephys.models.files.fields import difference, largest

GUARD = 2
"""Fraction bits of the entries of both tables beyond those of the result."""
MOST_BITS = 16


@dataclass(frozen=True)
class SoftmaxForm:
    """State how the softmaxes of a model are computed.

    ``keep`` computes one at the end of the model, too, which is left out else: the order of the outputs is the same.
    ``bits`` are those of the result, all behind the point; each table has at most ``entries``.
    """

    keep: bool = False
    bits: int = 12
    entries: int = 1024

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MOST_BITS or not 16 <= self.entries <= MOST_ENTRIES:
            raise UsageError(
                f"a softmax must have 1..{MOST_BITS} bits and tables of 16..{MOST_ENTRIES} entries, not {self.bits} "
                f"and {self.entries}"
            )

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SoftmaxTables:
    """Hold the tables of a softmax over a number of values, and the formats between them.

    ``distance`` is the format of max(x) - x, ``powers`` its exponentials; ``excess`` that of their sum less 1,
    ``reciprocals`` those of the sum. Entries are at ``fraction``.
    """

    distance: Fixed
    powers: Integers
    excess: Fixed
    reciprocals: Integers
    fraction: int
    result: Fixed

    def describe(self) -> str:
        """Return the sizes and the format in words."""
        sizes = f"tables of {len(self.powers):,} exponentials and {len(self.reciprocals):,} reciprocals"
        return f"computed with {sizes} as ufixed<{self.result.bits},{self.result.integer}>"


@dataclass(frozen=True)
class MeasuredSoftmax:
    """State a softmax of a model and its largest difference to the framework's float softmax on so many vectors."""

    layer: str
    form: str
    largest_difference: float
    vectors: int

    def describe(self) -> str:
        """Return the warning to the user."""
        return (
            f"layer '{self.layer}': softmax {self.form}; it differs from the file's float softmax by at most "
            f"{self.largest_difference:.2g} on {self.vectors:,} vectors, and its integers are the same on all targets"
        )


def form_of(record: Mapping[str, Any] | None) -> SoftmaxForm:
    """Return the form of a record, the default one without a record.  Raises: TypeError for a wrong record."""
    return SoftmaxForm(**record) if record else SoftmaxForm()


def tables(form: SoftmaxForm, owner: str, count: int, fraction: int, scale: float = 1.0) -> SoftmaxTables:
    """Return the tables of a softmax over ``count`` values with steps of ``2**-fraction``, each times ``scale``.

    Raises: ModelError where the tables are too small for so many values.
    """
    if not 2 <= count <= form.entries:
        raise ModelError(f"layer '{owner}': a softmax must be over 2..{form.entries} values, not {count}")
    own = form.bits + GUARD
    integer = int(np.ceil(np.log2((own + 1) * log(2) / scale)))  # beyond it an exponential is less than half a step
    finest = min(form.entries.bit_length() - 1 - integer, fraction)
    if integer + finest < 1:
        raise ModelError(
            f"layer '{owner}': the steps of what its softmax reads are 2^{-fraction}, too coarse for one; use more "
            f"fraction bits"
        )
    distance = Fixed(False, integer + finest, integer, Rounding.RND, Overflow.SAT)
    powers = np.exp(-scale * np.ldexp(np.arange(1 << distance.bits), -finest))
    steps = min((form.entries - 1) // (count - 1), 1 << own).bit_length() - 1
    bits = ((count - 1) << steps).bit_length()
    excess = Fixed(False, bits, bits - steps, Rounding.RND, Overflow.SAT)
    reciprocals = 1 / (1 + np.ldexp(np.arange(((count - 1) << steps) + 1), -steps))
    entries = [np.rint(np.ldexp(values, own)).astype(np.int64) for values in (powers, reciprocals)]
    result = Fixed(False, form.bits, 0, Rounding.RND, Overflow.SAT)
    return SoftmaxTables(distance, entries[0], excess, entries[1], own, result)


def integers_of(by: SoftmaxTables, x: NDArray[np.float64]) -> Integers:
    """Return the integers of the result for values without their scale.  Shape: (..., values), the same."""
    powers = by.powers[_steps(by.distance, x.max(-1, keepdims=True) - x)]
    reciprocals = by.reciprocals[_steps(by.excess, np.ldexp(powers.sum(-1, keepdims=True), -by.fraction) - 1.0)]
    return _steps(by.result, np.ldexp((powers * reciprocals).astype(np.float64), -2 * by.fraction))


def _steps(fixed: Fixed, x: NDArray[np.float64]) -> Integers:
    """Return values in steps of a format that rounds half up and saturates."""
    whole = np.floor(np.ldexp(x, fixed.fraction) + 0.5)
    return np.clip(whole, 0, fixed.high).astype(np.int64)


def softmax(builder: Builder, layer: str, x: str, by: SoftmaxTables) -> tuple[str, frozenset[str]]:
    """Return the edge of the softmax over the last axis, and the edges of it that need more than float32."""
    shape = builder.shape(x)
    axis = len(shape) - 1
    highest = largest(builder, layer, x, np.arange(shape[-1]), axis)
    distance = difference(builder, layer, builder.spread(layer, highest, shape), x)
    distance = builder.requantise(layer, distance, by.distance)
    powers = builder.lookup(layer, distance, 0, by.powers, by.fraction)
    total = builder.sum(layer, builder.reshape(layer, powers, (*shape, 1)), axis)
    less = builder.bias(layer, total, np.array(-(1 << by.fraction)), by.fraction)
    reciprocal = builder.lookup(layer, builder.requantise(layer, less, by.excess), 0, by.reciprocals, by.fraction)
    product = builder.mul(layer, powers, builder.spread(layer, reciprocal, shape))
    return builder.requantise(layer, product, by.result), frozenset((total, less, product))
