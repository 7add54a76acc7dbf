"""Join two computed tensors of ONNX, one of which may be repeated along an axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.reading import Edge, Reading

Join = Callable[[str, str, str], str]
"""Adds the nodes that join two edges, in a layer, and returns the name of the last."""


def joined(reading: Reading, operation: Operation, one: Edge, other: Edge, join: Join) -> Edge:
    """Return two tensors joined element by element, in a layer of its own; the smaller one is repeated before.

    Raises: ModelError where the shapes do not broadcast.
    """
    shape, second = reading.shape(one), reading.shape(other)
    if shape == second:
        other = reading.ordered(operation, other, one.axes)
    else:
        try:
            whole = np.broadcast_shapes(shape, second)
        except ValueError as error:
            raise operation.refused(
                f"its inputs of {shape} and {second} must have shapes that broadcast; repeat one before (Gather)"
            ) from error
        one, other = (spread(reading, operation, edge, whole) for edge in (one, other))
    return replace(one, name=join(reading.layer(operation), one.name, other.name))


def spread(reading: Reading, operation: Operation, edge: Edge, shape: tuple[int, ...]) -> Edge:
    """Return an edge of one scale repeated along axes of length 1 and new ones in front, in ONNX's order of axes."""
    edge = reading.plain(operation, edge)
    if reading.shape(edge) == shape:
        return edge
    layer = reading.layer(operation, "_repeated")
    return replace(edge, name=reading.builder.spread(layer, edge.name, shape), axes=tuple(range(len(shape))))
