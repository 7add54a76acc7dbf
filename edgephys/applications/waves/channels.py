"""What a network reads of a run: its last frames and the map of the medium, within walls where it has a margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgephys.applications.waves.networks.wave_net import MEDIUM
from edgephys.core.fixed import Integers
from edgephys.models.standardise import Standardisation


def stride_of(ready: Standardisation) -> int:
    """Return how many frames of a run a network advances at once: it reads frames so far apart."""
    return -int(ready.names[-3][1:]) if len(ready.names) > 2 else 1


def read_before(frames: Any, start: int, ready: Standardisation) -> Any:
    """Return the frames of runs that a network reads, the latest one just before frame ``start``.

    Shape: (..., frame, row, column) -> the same, with the frames that the network reads.
    """
    stride, count = stride_of(ready), len(ready.names) - 1
    return frames[..., start - 1 - stride * (count - 1) : start : stride, :, :]


def reached_from(frames: Any, start: int, ready: Standardisation, count: int) -> Any:
    """Return the frames that a network reaches in ``count`` steps from the one just before frame ``start``.

    Shape: (..., frame, row, column) -> (..., count, row, column).
    """
    stride = stride_of(ready)
    return frames[..., start - 1 + stride : start + stride * count : stride, :, :]


def walled(frames: Any, side: int) -> Any:
    """Return frames with zeros around them.  Shape: (..., row, column) -> (..., side, side)."""
    return _padded(frames, side, constant_values=0)


def centre(frames: Any, grid: int) -> Any:
    """Return frames without the walls around them.  Shape: (..., row, column) -> (..., grid, grid)."""
    margin = (frames.shape[-1] - grid) // 2
    return frames[..., margin : margin + grid, margin : margin + grid]


def last_channel(ready: Standardisation, speed: Any, side: int) -> Integers:
    """Return the integers of a map of the wave speed c: of the medium, with -c in walls, where a network reads that.

    The speed in a wall is that of the nearest point of the field.
    Shape: (..., row, column) -> (..., side, side).
    """
    integers = ready.output.quantise(speed)
    if ready.names[-1] != MEDIUM:
        return integers
    wall = walled(np.ones(integers.shape, bool), side)
    around = _padded(integers, side, mode="edge")
    return np.asarray(np.where(wall, around, -around))


def channels(ready: Standardisation, frames: Any, speed: Any, side: int) -> Integers:
    """Return what a network reads: frames, the latest last, and the speed or the medium, as integers of its input.

    Shape: frames (..., frame, row, column), speed (..., row, column) -> (..., side, side, frame and speed).
    """
    shown = np.moveaxis(walled(ready.output.quantise(frames), side), -3, -1)
    return np.concatenate([shown, last_channel(ready, speed, side)[..., None]], -1)


def _padded(values: Any, side: int, **how: Any) -> Any:
    margin = (side - values.shape[-1]) // 2
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(margin, margin)] * 2, **({"mode": "constant"} | how))
