"""In which order the elements of a tensor are stored, as positions: numpy arrays of integers."""

from __future__ import annotations

from math import prod

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Node
from edgephys.graph.ops import Move
from edgephys.targets.c.access import OUTSIDE


def moved(node: Node, positions: Integers) -> Integers:
    """Return the positions of a view's elements, from those of its operand."""
    if not isinstance(node.op, Move):
        raise node.wrong("an operation with a ViewRule must be a Move; give it another rule")
    places: Integers = node.op.moved(positions, node.shape, outside=OUTSIDE)
    return places


def flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return a shape's (rows, channels)."""
    return prod(shape[:-1]), shape[-1] if shape else 1


def row_major(shape: tuple[int, ...]) -> Integers:
    """Return the positions of elements that are stored row after row."""
    return np.arange(prod(shape)).reshape(shape)


def channel_major(shape: tuple[int, ...]) -> Integers:
    """Return the positions of elements that are stored channel after channel."""
    rows, channels = flat(shape)
    return np.arange(rows * channels).reshape(channels, rows).T.reshape(shape)
