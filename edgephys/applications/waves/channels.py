"""What a network reads of a run: its last frames and the map of the medium, and what it shows around the field."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from edgephys.applications.waves.data.scene import ABSORBING, DIRICHLET
from edgephys.applications.waves.networks.wave_net import LONGEST_STRIDE, MEDIUM, OPEN_MEDIUM, SPEED_INTEGER
from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.core.remedies import train_again
from edgephys.models.standardise import Standardisation

EARLIER_FRAME = re.compile(r"u-([0-9]{1,3})", re.ASCII)
"""Name of a channel that is a frame before the last one, with its distance."""


def stride_of(ready: Standardisation) -> int:
    """Return how many frames of a run a network advances at once: it reads frames so far apart.

    Raises: ModelError where the channel before the last frame is not named as ours are, u-1 and the like.
    """
    if len(ready.names) < 3:
        return 1
    match = EARLIER_FRAME.fullmatch(ready.names[-3])
    if match is None or not 1 <= int(match[1]) <= LONGEST_STRIDE:
        raise ModelError(
            f"standardisation: expected the earlier frame as u-1 .. u-{LONGEST_STRIDE}, found '{ready.names[-3]}'; "
            f"{train_again()}"
        )
    return int(match[1])


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


def surrounded(frames: Any, side: int, edges: str = DIRICHLET) -> Any:
    """Return frames with pixels around them: zeros in walls, those of the nearest point beyond edges that absorb.

    Shape: (..., row, column) -> (..., side, side).
    """
    return _padded(frames, side, **({"mode": "edge"} if edges == ABSORBING else {"constant_values": 0}))


def centre(frames: Any, grid: int) -> Any:
    """Return frames without the pixels around them.  Shape: (..., row, column) -> (..., grid, grid)."""
    margin = (frames.shape[-1] - grid) // 2
    return frames[..., margin : margin + grid, margin : margin + grid]


def inner(predicted: Any, frames: Any) -> Any:
    """Return predicted frames without the pixels around the field that true ones do not have.

    Shape: (field, row, column, frame) twice -> as the true frames.
    """
    margin = (predicted.shape[1] - frames.shape[1]) // 2
    return predicted[:, margin:-margin, margin:-margin] if margin > 0 else predicted


def last_channel(ready: Standardisation, speed: Any, side: int, edges: str = DIRICHLET) -> Integers:
    """Return the integers of a map of the wave speed c, or of the medium, where a network reads that.

    The speed around the field is that of the nearest point of the field.
    Shape: (..., row, column) -> (..., side, side).
    """
    integers = ready.output.quantise(speed)
    if ready.names[-1] not in (MEDIUM, OPEN_MEDIUM):
        return integers
    around = _padded(integers, side, mode="edge")
    outside = 1 - _padded(np.ones(integers.shape, np.int64), side)
    if edges == ABSORBING:
        return np.asarray(around + (outside << (ready.output.fraction + SPEED_INTEGER)))
    return np.asarray(np.where(outside, -around, around))


def channels(ready: Standardisation, frames: Any, speed: Any, side: int, edges: str = DIRICHLET) -> Integers:
    """Return what a network reads: frames, the latest last, and the speed or the medium, as integers of its input.

    Shape: frames (..., frame, row, column), speed (..., row, column) -> (..., side, side, frame and speed).
    """
    shown = np.moveaxis(surrounded(ready.output.quantise(frames), side, edges), -3, -1)
    return np.concatenate([shown, last_channel(ready, speed, side, edges)[..., None]], -1)


def _padded(values: Any, side: int, **how: Any) -> Any:
    margin = (side - values.shape[-1]) // 2
    return np.pad(values, [(0, 0)] * (values.ndim - 2) + [(margin, margin)] * 2, **({"mode": "constant"} | how))
