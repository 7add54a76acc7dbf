"""Filters B of a symmetric operator B^T (g * (B u)): their parts, and a proven bound of |B^T B|.

A format of ``decompositions`` states the parts. ``full`` is one convolution; ``one_way`` a column of pixels and then a
row, for each filter; ``cp`` mixes ``rank`` of these into the filters. The parts behind the first one are divided by
their largest weight: they use the whole range of their integers, and the first part alone states the size of a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import cos, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.decompositions import FORMATS, Part

FORMATS_OF_STENCILS = ("full", "one_way", "cp")
LIMIT = 4.0
"""Bound of |B^T B| below which the recursion of a wave is stable."""
TRAINED = 3.8
"""Bound that training keeps: rounding the filters moves the norm."""
COARSE, FINE = 64, 512
"""Frequencies along an axis at which the norm is computed in training, and in a proof."""


def parts_of(structure: str, filters: int, size: int, rank: int | None) -> tuple[Part, ...]:
    """Return the convolutions that make the filters of one field, in order.

    Raises: UsageError for a format that is not one of full, one_way, cp, and for a rank where the format has none.
    """
    if structure not in FORMATS_OF_STENCILS:
        raise UsageError(f"format must be one of {', '.join(FORMATS_OF_STENCILS)}, not '{structure}'")
    if rank is not None and structure != "cp":
        raise UsageError(f"rank goes with format=cp, not with {structure}; leave it out")
    parts = FORMATS[structure](1, filters, (size, size), rank or filters)
    if parts[0].name == "mix":  # of one field it is a factor, which the column holds
        parts = (replace(parts[1], inputs=1, depthwise=False), *parts[2:])
    return parts


def stored_shape(part: Part) -> tuple[int, ...]:
    """Return the shape of the weight that holds a part: without an axis of length 1 for its inputs or outputs."""
    return (*part.size, part.outputs) if part.depthwise or part.inputs == 1 else part.shape


def unit(weight: Any, part: Part) -> Any:
    """Return a part's weights over the largest one of each of its inputs, computed in float32."""
    weight = keras.ops.cast(weight, "float32")
    axes = (0, 1) if part.depthwise else (0, 1, 3)
    return weight / keras.ops.max(keras.ops.abs(weight), axis=axes, keepdims=True)


def composed(kernels: Sequence[Any], parts: Sequence[Part]) -> Any:
    """Return the filters that parts make one after the other.

    Shape: kernels as ``Part.shape`` -> (row, column, filter).
    """
    whole = kernels[0]
    for kernel, part in zip(kernels[1:], parts[1:], strict=True):
        if part.depthwise:
            kernel = kernel * keras.ops.cast(np.eye(part.outputs), kernel.dtype)
        rows, columns = (one * other for one, other in zip(whole.shape[:2], part.size, strict=True))
        whole = keras.ops.einsum("abim,cdmo->acbdio", whole, kernel)
        whole = keras.ops.reshape(whole, (rows, columns, 1, part.outputs))  # along an axis, one of both has length 1
    return whole[:, :, 0]


def dense_kernel(kernel: NDArray[np.int64], part: Part) -> NDArray[np.int64]:
    """Return a part's kernel with every pair of channels.  Shape: (row, column, input, output)."""
    return kernel * np.eye(part.outputs, dtype=np.int64) if part.depthwise else kernel


def reverse(part: Part) -> Part:
    """Return the part of B^T that belongs to a part of B."""
    return part if part.depthwise else replace(part, inputs=part.outputs, outputs=part.inputs)


def transposed(kernel: Any, part: Part) -> Any:
    """Return the kernel of B^T that belongs to a kernel of B, as ``Part.shape`` of its reverse."""
    return kernel[::-1, ::-1] if part.depthwise else keras.ops.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))


def largest(filters: Any, frequencies: int) -> float:
    """Return a proven bound of |B^T B| for filters on fields of any size.

    |B^T B| is at most the largest value of the sum over filters of their squared spectrum, a trigonometric polynomial
    whose degree along an axis is one less than the filter's length. Where such a polynomial of degree d is known at M
    evenly spaced places, it is nowhere larger than its largest value there over cos(pi d / M), for each axis.
    Shape: (row, column, filter).  Source: Ehlich and Zeller 1964.
    """
    kernel = np.asarray(filters, np.float64)
    spectrum = np.fft.fft2(kernel, s=(frequencies, frequencies), axes=(0, 1))
    between = [cos(pi * (length - 1) / frequencies) for length in kernel.shape[:2]]
    return float((np.abs(spectrum) ** 2).sum(-1).max() / (between[0] * between[1]))


def to_bound(filters: Any, bound: float = TRAINED) -> Any:
    """Return the factor, at most 1, by which filters keep |B^T B| at most ``bound``.  Shape: (row, column, filter)."""
    rows, columns, count = filters.shape
    flat = keras.ops.reshape(filters, (rows * columns, count))
    power = sum(
        keras.ops.sum(keras.ops.square(keras.ops.matmul(keras.ops.cast(part, flat.dtype), flat)), -1)
        for part in _waves(rows, columns)
    )
    return keras.ops.minimum(1.0, keras.ops.sqrt(bound / keras.ops.max(power)))


def _waves(rows: int, columns: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the cosines and sines by which the spectrum of a filter is computed.  Shape: (frequency, pixel)."""
    angles = 2 * pi / COARSE * np.arange(COARSE)
    halves = angles[: COARSE // 2 + 1]  # the spectrum of a real filter is symmetric
    phases = halves[:, None, None, None] * np.arange(rows)[:, None] + angles[:, None, None] * np.arange(columns)
    flat = phases.reshape(-1, rows * columns)
    return np.cos(flat).astype(np.float32), np.sin(flat).astype(np.float32)
