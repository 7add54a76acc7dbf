"""The rules of ``GatedOperator``, convolutions, tables of gates and products, and of the ``Edges`` of its field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.decompositions import Part
from edgephys.networks.edges import SHARE_FRACTION, Edges
from edgephys.networks.gated_operator import GatedOperator
from edgephys.networks.stencils import dense_kernel, reverse, transposed

SIGN = Fixed(True, 1, 1, Rounding.TRN, Overflow.SAT)
"""Format of the medium's sign: -1 in walls, 0 elsewhere."""


def gated_operator(reading: KerasReading, layer: GatedOperator, values: Sequence[KerasValue]) -> KerasValue:
    """Return B^T (g(c) * (B u)) of a field and a map of c.  Raises: ModelError for an operator in floats."""
    builder, name = reading.builder, layer.name
    if layer.bits is None:
        raise ModelError(f"layer '{name}': it computes in floats; state bits")
    field, medium = (reading.edge(layer, value) for value in values)
    steps = zip(layer.parts, layer.integers(), strict=True)
    parts = [Weights(part, kernel, layer.format_of(part).fraction) for part, kernel in steps]
    inner = _chain(reading, layer, field, parts, f"{name}_inner", layer.inner_format)
    shape = builder.shape(inner)
    gate = builder.spread(f"{name}_gates", builder.requantise(f"{name}_gates", medium, layer.medium.fixed), shape)
    gate = builder.lookup(f"{name}_gates", gate, layer.medium.fixed.low, layer.tables(), layer.gate_bits)
    product = builder.mul(f"{name}_gated", inner, gate)
    product = builder.requantise(f"{name}_gated", product, layer.inner_format)
    back = [Weights(reverse(of.part), transposed(of.kernel, of.part), of.fraction) for of in reversed(parts)]
    return KerasValue(_chain(reading, layer, product, back, name, layer.result_format))


@dataclass(frozen=True, eq=False)
class Weights:
    """Hold the kernel of a part in steps of 2**-fraction.  Shape: kernel as ``Part.shape``."""

    part: Part
    kernel: Any
    fraction: int


def _chain(
    reading: KerasReading, layer: GatedOperator, x: str, parts: Sequence[Weights], name: str, result: Fixed
) -> str:
    """Return one convolution after the other, the last one rounded to a format."""
    builder = reading.builder
    for of in parts:
        own = f"{name}_{of.part.name}" if of.part.name else name
        x = x if of.part.size == (1, 1) else builder.window(own, x, of.part.size)
        kernel = dense_kernel(np.asarray(of.kernel), of.part)
        x = builder.dense(own, x, kernel.reshape(-1, kernel.shape[-1]), of.fraction)
        x = builder.requantise(own, x, result if of is parts[-1] else layer.between_format)
    return x


def edges(reading: KerasReading, layer: Edges, values: Sequence[KerasValue]) -> KerasValue:
    """Return a motion times a table of the medium: 0 in walls, 1 where it is free.

    Raises: ModelError for absorbing pixels in floats.
    """
    builder, name = reading.builder, layer.name
    motion, medium = (reading.edge(layer, value) for value in values)
    if not layer.absorbing:
        sign = builder.requantise(f"{name}_open", medium, SIGN)
        return KerasValue(builder.mul(name, motion, builder.lookup(f"{name}_open", sign, -1, [0, 1], 0)))
    if layer.result is None:
        raise ModelError(f"layer '{name}': it computes in floats; state result")
    form = layer.medium.fixed
    share = builder.requantise(f"{name}_share", medium, form)
    share = builder.lookup(f"{name}_share", share, form.low, layer.table(), SHARE_FRACTION)
    return KerasValue(builder.requantise(name, builder.mul(name, motion, share), layer.result_format))
