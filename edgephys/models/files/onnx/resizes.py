"""Rules of ONNX's operators that change the sides of a field: the nearest pixel, repeated or left out."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import Known
from edgephys.models.files.onnx.reading import Reading, Value, Values, batch_of, edge_of, known_of, named

NEAREST: dict[bytes, Callable[[Any], Any]] = {
    b"floor": np.floor,
    b"ceil": np.ceil,
    b"round_prefer_floor": lambda x: np.ceil(x - 0.5),
    b"round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def resized(reading: Reading, operation: Operation, xs: Values) -> Value:
    """Repeat or leave out pixels, as the nearest one is."""
    edge, attributes = edge_of(operation, xs[0]), operation.attributes
    old = operation.kind == "Upsample" or reading.model.opset < 11
    before = (1, *reading.shape(edge))
    mode = attributes.get("mode", b"nearest")
    shift = attributes.get("coordinate_transformation_mode", b"asymmetric" if old else b"half_pixel")
    nearest = attributes.get("nearest_mode", b"floor" if old else b"round_prefer_floor")
    factors, after = _factors(reading, operation, xs, before)
    known = mode == b"nearest" and shift in (b"half_pixel", b"asymmetric") and nearest in NEAREST
    if not known or len(factors) != len(before):
        raise operation.refused("must be of mode nearest, and asymmetric or half_pixel; use such an upsampling")
    order = np.arange(prod(before)).reshape(before[1:])
    for axis, (count, factor) in enumerate(zip(after[1:], factors[1:], strict=True)):
        points, by = np.arange(count, dtype=np.float32), np.float32(factor)  # as ONNX's runtimes compute them
        at = points / by if shift == b"asymmetric" else (points + np.float32(0.5)) / by - np.float32(0.5)
        order = np.take(order, np.clip(NEAREST[nearest](at), 0, before[axis + 1] - 1).astype(np.int64), axis)
    return reading.spread(operation, edge, order)


def _factors(
    reading: Reading, operation: Operation, xs: Values, before: tuple[int, ...]
) -> tuple[list[float], list[int]]:
    """Return by how much each axis grows, and its new length."""
    if operation.kind == "Upsample" and len(xs) == 1:
        inputs: list[Value | None] = [xs[0], None, Known(np.array(operation.attributes["scales"]), "scales")]
    else:
        inputs = [*named(operation, xs)] + [None] * 3
        if len(operation.inputs) == 2:
            inputs = [inputs[0], None, inputs[1], None]
    if isinstance(inputs[3] if len(inputs) > 3 else None, Known):
        after = [int(n) for n in known_of(operation, inputs[3], "sizes").values]  # type: ignore[arg-type]
        if after[0] not in (0, batch_of(reading)):
            raise operation.refused(
                f"its sizes must keep the batch, not make it {after[0]}; state scales, or the batch"
            )
        return [new / length for new, length in zip(after, before, strict=True)], after
    scales = inputs[2]
    if scales is None:
        raise operation.refused("must state its scales or sizes; export it so")
    factors = [float(n) for n in known_of(operation, scales, "scales").values]
    if factors[0] != 1:
        raise operation.refused(f"its scales must keep the batch, not multiply it by {factors[0]:g}; begin them with 1")
    return factors, [int(np.floor(length * factor)) for length, factor in zip(before, factors, strict=True)]
