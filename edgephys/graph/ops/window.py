"""WINDOW: the channels of every pixel's neighbours, with zeros beyond the edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgephys.graph.interval import Range
from edgephys.graph.ops.op import Move, Nodes

if TYPE_CHECKING:
    from edgephys.graph.graph import Node


@dataclass(frozen=True, eq=False)
class Window(Move):
    """Gather the (rows, columns) of neighbours of each pixel, the pixel among them.

    Shape: (height, width, channel) -> (height, width, rows * columns * channel).
    """

    word = "window"
    adds_zeros = True
    size: tuple[int, int]

    def shape(self, node: Node, operands: Nodes) -> tuple[int, ...]:
        shape = operands[0].shape
        if len(self.size) != 2 or min(self.size) < 1:
            raise node.wrong(f"window must be (rows, columns) of 1 and over, not {self.size}")
        if len(shape) != 3:
            raise node.wrong(f"input must be (height, width, channel), not {shape}")
        return (*shape[:2], prod(self.size) * shape[2])

    def moved(self, x: Any, shape: tuple[int, ...], batch: int = 0, outside: int = 0) -> Any:
        return windows(x, self.size, outside)

    def same_for_rows(self, node: Node, axes: int) -> bool:
        return False

    @property
    def neighbours(self) -> tuple[int, int]:
        return self.size

    def is_identity(self, node: Node, source: Node, range_: Range) -> bool:
        return self.size == (1, 1)

    def to_record(self) -> dict[str, Any]:
        return {"window": list(self.size)}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        rows, columns = map(index, record["window"])
        return cls((rows, columns))


def windows(field: Any, size: tuple[int, int], outside: int = 0) -> Any:
    """Return the channels of the neighbours of every pixel; neighbours beyond the edges are ``outside``.

    Neighbours are in row-major order, each with all its channels: a kernel (height, width, channel, output), reshaped
    to two axes, multiplies them.  A window of even size has one neighbour more after the pixel than before it, as
    Keras' "same" padding has.

    Shape: (..., height, width, channel) -> (..., height, width, rows * columns * channel).
    """
    height, width = field.shape[-3:-1]
    rows, columns = size
    margins = [((length - 1) // 2, length // 2) for length in size]
    padded = np.pad(field, [(0, 0)] * (field.ndim - 3) + [*margins, (0, 0)], constant_values=outside)
    parts = [padded[..., dy : dy + height, dx : dx + width, :] for dy in range(rows) for dx in range(columns)]
    return np.concatenate(parts, -1)
