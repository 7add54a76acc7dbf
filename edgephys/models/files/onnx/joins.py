"""Joins of tensors whose scales have no common step: a Concat, and the largest or smallest of several tensors.

A Concat has the scales of its parts, one an element. Parts behind float operators, and the largest of several tensors,
are no integers times scales. But a quantiser works on each element alone, and rises with what it rounds: each part is
rounded alone, and the results are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np

from edgephys.models.files.onnx.chains import PARTS, Floats, FloatStep, directions
from edgephys.models.files.onnx.file import Operation
from edgephys.models.files.onnx.known import power_of_two
from edgephys.models.files.onnx.pairs import Join, spread
from edgephys.models.files.onnx.reading import Edge, Reading

if TYPE_CHECKING:
    from edgephys.models.files.onnx.search import Rounder

Move = Callable[[Floats], Floats]
Round = Callable[[Reading, Operation, Edge, "Rounder", str], Edge]


@dataclass(frozen=True, eq=False)
class Parts:
    """Hold what a join reads, in one order of axes, and the layer of its result.

    ``axis`` and ``places`` say where a Concat has each part; ``join`` takes the larger or smaller of two, ``turned``
    the other one.
    """

    edges: tuple[Edge, ...]
    layer: str
    axis: int = 0
    places: tuple[range, ...] = ()
    join: Join | None = None
    turned: Join | None = None

    @property
    def word(self) -> str:
        """Operator of the file."""
        return "Concat" if self.join is None else "Max or Min"

    def move(self, at: int, array: Floats) -> Floats:
        """Return a part of a constant that is laid out as the result."""
        return np.take(array, self.places[at], self.axis) if self.places and array.shape[self.axis] > 1 else array


def have_common_step(edges: Sequence[Edge]) -> bool:
    """Tell whether the scales of edges are one each, and powers of two times each other."""
    scales = [np.ones(()) if edge.scale is None else edge.scale for edge in edges]
    return all(scale.ndim == 0 and power_of_two(scale / scales[0]) is not None for scale in scales)


def concatenated(reading: Reading, layer: str, edges: Sequence[Edge], axis: int) -> Edge:
    """Return tensors of one order of axes joined along an axis of their nodes, with the scale of each."""
    name = reading.builder.concat(layer, tuple(edge.name for edge in edges), axis)
    if all(edge.scale is None for edge in edges):
        return replace(edges[0], name=name)
    scales = [np.ones(()) if edge.scale is None else edge.scale for edge in edges]
    lengths = [max(scale.shape[at] if scale.ndim else 1 for scale in scales) for at in range(len(edges[0].axes))]
    shapes = [list(lengths) for _ in edges]
    for shape, edge in zip(shapes, edges, strict=True):
        shape[axis] = reading.builder.shape(edge.name)[axis]
    whole = np.concatenate([np.broadcast_to(scale, shape) for scale, shape in zip(scales, shapes, strict=True)], axis)
    return replace(edges[0], name=name, scale=np.array(whole.flat[0]) if np.all(whole == whole.flat[0]) else whole)


def joined_later(reading: Reading, operation: Operation, edges: Sequence[Edge], axis: int) -> Edge:
    """Return a Concat of parts with float operators, which the next quantiser takes in."""
    layer = reading.layer(operation)
    ends = np.cumsum([reading.builder.shape(edge.name)[axis] for edge in edges]).tolist()
    places = tuple(range(begin, end) for begin, end in zip([0, *ends], ends, strict=False))
    name = reading.builder.concat(layer, tuple(edge.name for edge in edges), axis)  # of which the shape alone is read
    return _then(operation, Edge(name, edges[0].axes), Parts(tuple(edges), layer, axis, places))


def compared(reading: Reading, operation: Operation, edges: Sequence[Edge], join: Join, turned: Join) -> Edge:
    """Return the largest or smallest of tensors of several scales, which the next quantiser takes in.

    Raises: ModelError where the shapes do not broadcast.
    """
    shapes = {reading.shape(edge) for edge in edges}
    if len(shapes) == 1:
        laid = [reading.ordered(operation, edge, edges[0].axes) for edge in edges]
    else:
        if any(edge.chain or (edge.scale is not None and edge.scale.ndim) for edge in edges):
            raise operation.refused(
                f"compares tensors of shapes {' and '.join(map(str, sorted(shapes)))} with scales of their channels or "
                f"float operators; put a Quant before each input"
            )
        try:
            whole = np.broadcast_shapes(*shapes)
        except ValueError as error:
            raise operation.refused(
                f"its inputs of {' and '.join(map(str, sorted(shapes)))} must have shapes that broadcast; repeat one "
                f"before (Gather)"
            ) from error
        laid = [spread(reading, operation, edge, whole) for edge in edges]
    parts = Parts(tuple(laid), reading.layer(operation), join=join, turned=turned)
    return _then(operation, Edge(laid[0].name, laid[0].axes), parts)


def _then(operation: Operation, edge: Edge, parts: Parts) -> Edge:
    return edge.then(FloatStep(PARTS, operation.name, operation.inputs[0], second=parts))


def rounded_parts(reading: Reading, operation: Operation, edge: Edge, rounder: Rounder, rounded: Round) -> Edge:
    """Return the edge of a quantiser's result behind a join: each part is rounded alone.

    Raises: ModelError for operators behind a comparison that do not keep or turn the order, and as ``rounded``.
    """
    step, chain = edge.chain[0], edge.chain[1:]
    parts: Parts = step.second
    join, sign = parts.join, directions(chain)
    if join is not None and (sign is None or np.unique(sign).size > 1):
        raise operation.refused(
            f"rounds the largest or smallest of several scales of '{step.node}' behind an operator that does not keep "
            f"their order; put a Quant right behind '{step.node}'"
        )
    ends = []
    for at, part in enumerate(parts.edges):
        move = partial(parts.move, at)
        own = replace(part, chain=(*part.chain, *(function.moved(move) for function in chain)))
        result = rounded(reading, operation, own, rounder.moved(move), parts.layer)
        ends.append(reading.ordered(operation, result, edge.axes))
    if join is None:
        return concatenated(reading, parts.layer, ends, parts.axis)
    write = parts.turned if sign is not None and np.all(sign < 0) else join
    name = reduce(lambda one, other: write(parts.layer, one, other), [end.name for end in ends])  # type: ignore[misc]
    return replace(ends[0], name=name)
