"""What a convolution sees at each pixel: one numpy function for numbers, for their ranges and for symbols."""

from __future__ import annotations

from typing import Any

import numpy as np


def windows(field: Any, size: tuple[int, int], outside: int = 0) -> Any:
    """Return at every pixel the channels of its neighbours, of which those beyond the edges are ``outside``.

    Neighbours come row by row, each with all its channels: the order in which a kernel of
    (height, width, channel, output), reshaped, is a matrix with a column an output. Of an even size one more
    neighbour lies after the pixel than before it, as in Keras' "same" padding.

    Shape: (..., height, width, channel) -> (..., height, width, rows of the window * columns * channel).
    """
    height, width = field.shape[-3:-1]
    rows, columns = size
    margins = [((length - 1) // 2, length // 2) for length in size]
    padded = np.pad(field, [(0, 0)] * (field.ndim - 3) + [*margins, (0, 0)], constant_values=outside)
    moved = [padded[..., dy : dy + height, dx : dx + width, :] for dy in range(rows) for dx in range(columns)]
    return np.concatenate(moved, -1)
