"""Roll-out: a network that advances a wave is fed with its own frames, and how far it gets from the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.metrics import Measured
from edgephys.applications.task import Floats
from edgephys.applications.waves.channels import centre, channels, reached_from, read_before, stride_of
from edgephys.applications.waves.data.files import Waves
from edgephys.core.errors import DataError, UsageError
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained

BATCH = 64

COMPILED_STEPS = 200
"""Steps from which on a roll-out compiles the network: that takes seconds, and each frame is then ten times faster."""

FAINT = 0.1
"""A frame that holds less than this share of its run's root mean square is weighed as if it held it: behind open edges
a wave goes out, and an error relative to nothing says nothing."""


@dataclass(frozen=True)
class Horizon:
    """State how far runs are rolled out: ``steps`` frames from each of ``starts``, the first predicted frame."""

    steps: int = 50
    starts: tuple[int, ...] = (2, 13)

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.starts or min(self.starts) < 1:
            raise UsageError(f"roll-out: steps and starts must be 1 and over, not {self.steps} and {self.starts}")


def check(of: Waves, horizon: Horizon, ready: Standardisation) -> None:
    """Raise DataError where the runs of a file do not reach from the first frames seen to the last one predicted."""
    frames = stride_of(ready) * (len(ready.names) - 2) + 1
    first, needed = min(horizon.starts), max(horizon.starts) + stride_of(ready) * calls(horizon, ready)
    if needed > of.frames.shape[1] or first < frames:
        raise DataError(
            f"file '{of.source}': expected runs of {needed} frames and over to roll {horizon.steps} out, {frames} seen "
            f"before frame {first}, found {of.frames.shape[1]}; make longer runs, roll out less or start later"
        )


def calls(horizon: Horizon, ready: Standardisation) -> int:
    """Return how often a network is run to reach the last frame of a horizon."""
    return -(-horizon.steps // stride_of(ready))


def roll_out(model: Any, first: Floats, steps: int) -> Floats:
    """Return the frames that a network predicts from the first ones, each from the frames before it.

    Exact: the network gives frames in its input's format, so that they are fed back as they are.
    Shape: first (field, row, column, frame and speed) -> (field, step, row, column).
    """
    x, frames = np.array(first, np.float32), []
    for _ in range(steps):
        frame = _next_frame(model, x, steps)
        frames.append(frame[..., 0])
        x = np.concatenate([x[..., 1:-1], frame, x[..., -1:]], -1)
    return np.stack(frames, 1)


def _next_frame(model: Any, x: Floats, steps: int) -> Floats:
    from edgephys.networks.backend import predict

    if steps >= COMPILED_STEPS and len(x) <= BATCH:
        return np.asarray(model.predict_on_batch(x))
    return np.asarray(predict(model, x, BATCH))


def stays_within(model: Any, first: Floats, steps: int, share: float) -> bool:
    """Return whether no value of a roll-out is over ``share`` times the largest of the first frames.

    Shape: first (field, row, column, frame and speed).
    """
    from edgephys.networks.backend import predict

    x, limit = np.array(first, np.float32), share * float(np.abs(first[..., :-1]).max())
    for _ in range(steps):
        frame = predict(model, x, BATCH)
        if np.abs(frame).max() > limit:
            return False
        x = np.concatenate([x[..., 1:-1], frame, x[..., -1:]], -1)
    return True


def straight_on(first: Floats, steps: int) -> Floats:
    """Return the linear extrapolation of the last two frames: the prediction of a network that has learnt nothing.

    Shape: as ``roll_out``.
    """
    before, last = first[..., -3], first[..., -2]
    return np.stack([last + (step + 1) * (last - before) for step in range(steps)], 1)


def first_frames(trained: Trained, of: Waves, start: int) -> Floats:
    """Return what a network sees of every run just before frame ``start``.

    Shape: (run, row, column, frame and speed).
    """
    ready, side = trained.standardisation, trained.model.input_shape[1]
    frames = read_before(of.frames, start, ready)
    runs = zip(frames, of.speed, of.edges, strict=True)
    each = [channels(ready, shown, speed, side, edges) for shown, speed, edges in runs]
    return ready.output.values(np.stack(each)).astype(np.float32)


def relative_errors(predicted: NDArray[np.floating[Any]], wanted: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the L2 error of each frame relative to the true one, or to ``FAINT`` of the run where that is more.

    Pixels around the predicted frames are left out.
    Shape: (run, step, row, column) twice -> (run, step).
    """
    predicted = centre(predicted, wanted.shape[-1])
    sizes = np.linalg.norm(np.asarray(wanted, np.float64), axis=(2, 3))
    least = FAINT * np.sqrt(np.mean(sizes**2, 1, keepdims=True))
    gaps = np.linalg.norm(np.asarray(predicted, np.float64) - wanted, axis=(2, 3))
    return np.asarray(gaps / np.maximum(sizes, least))


def growth(trained: Trained, of: Waves, horizon: Horizon) -> NDArray[np.float64]:
    """Return how a network's error grows in every run, the mean over the starts.  Shape: (run, step).

    Frames that a network with a stride passes over have the error of the next one that it reaches.
    Raises: DataError as ``check``.
    """
    ready = trained.standardisation
    check(of, horizon, ready)
    count = calls(horizon, ready)
    errors = [
        relative_errors(
            roll_out(trained.model, first_frames(trained, of, start), count),
            reached_from(of.frames, start, ready, count),
        )
        for start in horizon.starts
    ]
    return each_frame(np.asarray(np.mean(errors, 0)), horizon, ready)


def each_frame(errors: NDArray[np.float64], horizon: Horizon, ready: Standardisation) -> NDArray[np.float64]:
    """Return the error at each frame of a horizon.  Shape: (run, call) -> (run, step)."""
    return np.repeat(errors, stride_of(ready), 1)[:, : horizon.steps]


def growth_straight_on(trained: Trained, of: Waves, horizon: Horizon) -> NDArray[np.float64]:
    """Return how the error of going on as before grows, of the same frames.  Shape: (run, step)."""
    ready = trained.standardisation
    count = calls(horizon, ready)
    errors = [
        relative_errors(
            straight_on(first_frames(trained, of, start), count), reached_from(of.frames, start, ready, count)
        )
        for start in horizon.starts
    ]
    return each_frame(np.asarray(np.mean(errors, 0)), horizon, ready)


def at(errors: NDArray[np.float64], step: int) -> Measured:
    """Return the mean error over the runs after so many steps, and its standard error.  Shape: errors (run, step)."""
    column = errors[:, step - 1]
    spread = float(column.std(ddof=1) / np.sqrt(len(column))) if len(column) > 1 else float("inf")
    return Measured(float(column.mean()), spread)


def steps_of(horizon: Horizon, wanted: Sequence[int]) -> tuple[int, ...]:
    """Return those of some numbers of steps that a roll-out reaches."""
    return tuple(step for step in wanted if step <= horizon.steps)
