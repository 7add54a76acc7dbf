"""Products of two computed matrices, as attention and interaction networks have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgephys.models.files.onnx.elementwise import settled
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.quantise import times
from edgephys.models.files.onnx.reading import Edge, Reading, Value


def multiplied(reading: Reading, operation: Operation, first: Value, second: Value) -> Edge:
    """Return the matrix product of two computed tensors: products of all elements that meet, and their sums.

    Raises: ModelError where their shapes do not fit, or their values have scales of channels.
    """
    edges = [reading.plain(operation, settled(reading, operation, value)) for value in (first, second)]
    shapes = [reading.shape(edge) for edge in edges]
    (rows, inner), (other, columns) = (shape[-2:] if len(shape) > 1 else (0, 0) for shape in shapes)
    if len(shapes[0]) != len(shapes[1]) or not rows or inner != other:
        raise operation.refused(
            f"its inputs must be matrices of one rank behind the batch that fit, not {shapes[0]} and {shapes[1]}; "
            f"Unsqueeze one before"
        )
    if any(edge.scale is not None and edge.scale.ndim for edge in edges):
        raise operation.refused(
            "reads values whose channels have scales of their own; put a Quant of one scale before it"
        )
    try:
        outer = np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2])
    except ValueError as error:
        raise operation.refused(
            f"its inputs of {shapes[0]} and {shapes[1]} must have shapes that broadcast; repeat one before (Gather)"
        ) from error
    layer, builder = reading.layer(operation), reading.builder
    whole = (*outer, rows, inner, columns)
    one = builder.reshape(layer, edges[0].name, (*shapes[0], 1))
    two = builder.reshape(layer, edges[1].name, (*shapes[1][:-2], 1, inner, columns))
    products = builder.mul(layer, *(builder.spread(layer, name, whole) for name in (one, two)))
    result = replace(edges[0], name=builder.sum(layer, products, len(whole) - 2))
    return result if edges[1].scale is None else times(reading, layer, result, edges[1].scale)
