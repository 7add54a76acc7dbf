"""The task of a network that advances a wave: its frames, the squared error of the next one, its relative error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgephys.applications.application import Score
from edgephys.applications.metrics import relative_l2
from edgephys.applications.task import Examples, Floats, Shares, Task
from edgephys.applications.waves.application import FrameSampling, WaveSimulation
from edgephys.applications.waves.channels import (
    inner,
    last_channel,
    reached_from,
    read_before,
    stride_of,
    surrounded,
)
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.data.scene import ABSORBING
from edgephys.applications.waves.networks.wave_net import (
    MEDIUM,
    OPEN_MEDIUM,
    SPEEDS_BESIDE_ABSORBING,
    WaveNet,
)
from edgephys.core.errors import DataError, UsageError
from edgephys.core.fixed import Fixed, Integers
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained, load
from edgephys.models.vectors import HeldOut
from edgephys.networks.backend import keras, predict

BATCH = 64
EVERY_FRAME = FrameSampling()


@dataclass(frozen=True, eq=False)
class NextFrameTask(Task):
    """Hold fields of frames as a network reads them, and the frames that come next: several where it is unrolled.

    The next frames of ``test`` are integers in steps of the input, as its fields are. They have no pixels around the
    field; those that a network gives there are left out.
    """

    network: ClassVar[type] = WaveNet
    metric: ClassVar[Score] = WaveSimulation.score
    most_vectors: ClassVar[int] = 128
    margin: int = 0

    @cached_property
    def power(self) -> float:
        """Mean square of the next frames, by which losses are divided: a price of adders then weighs the same."""
        return float(np.mean(np.square(self.train[1], dtype=np.float64)))

    def losses(self, target: Any, output: Any) -> Any:
        """Return the squared error of each field over the frames' mean square."""
        return keras.ops.mean(keras.ops.square(inner(output, target) - target), axis=(1, 2, 3)) / self.power

    def loss(self, target: Any, output: Any, teacher_output: Any) -> Any:
        """Return the mean squared error over the frames' mean square; a distillation's share is to the teachers."""
        hard = keras.ops.mean(keras.ops.square(inner(output, target) - target)) / self.power
        if self.distillation is None:
            return hard
        soft = keras.ops.mean(keras.ops.square(output - teacher_output)) / self.power
        return self.distillation.share * soft + (1 - self.distillation.share) * hard

    def unrolled(self, model: Any) -> Any:
        """Return a model that gives as many frames as the targets hold, each made from those before it."""
        count = self.train[1].shape[-1]
        if count == 1:
            return model
        inputs = x = keras.Input(model.input_shape[1:])
        frames = []
        for _ in range(count):
            frames.append(model(x))
            x = keras.ops.concatenate([x[..., 1:-1], frames[-1], x[..., -1:]], -1)
        return keras.Model(inputs, keras.ops.concatenate(frames, -1))

    def validation_metrics(self, model: Any) -> dict[str, Any]:
        """Return the relative L2 error, with its own error, on the validation fields."""
        x, frames = self.validation
        return _metrics(model, x, frames[..., :1])

    def test_metrics(self, model: Any) -> dict[str, Any]:
        """Return the relative L2 error, with its own error, on the test fields: once in a pipeline, at its end."""
        return _metrics(model, *_values(self.test, self.input))

    def vectors(self) -> HeldOut:
        """Return the test fields that are stored with a model: evenly spaced, so that all runs have some."""
        count = len(self.test.inputs)
        chosen = np.unique(np.linspace(0, count - 1, min(count, self.most_vectors)).astype(np.int64))
        return HeldOut(self.test.inputs[chosen], self.test.labels[chosen])

    def network_settings(self, model: Any) -> dict[str, Any]:
        """Return the points of a side and the number of frames that are read, by field of a WaveNet."""
        _, side, _, count = self.train[0].shape
        return {"grid": side - 2 * self.margin, "frames": count - 1}

    def teacher(self, folder: str) -> Trained:
        """Return a trained network that reads the same fields; raise UsageError where it reads others."""
        teacher, shape = load(Path(folder)), self.train[0].shape[1:]
        if teacher.model.input_shape[1:] != shape or teacher.standardisation.output != self.input:
            raise UsageError(
                f"teacher {folder}: it must read fields of {shape} in {self.input}, as the model that it "
                f"teaches, not {teacher.model.input_shape[1:]} in {teacher.standardisation.output}; choose another"
            )
        return teacher

    def teacher_outputs(self, teacher: Trained) -> Any:
        """Return the frames that a teacher makes of the same fields."""
        return predict(teacher.model, self.train[0], BATCH)


def _metrics(model: Any, x: Floats, frames: Any) -> dict[str, Any]:
    measured = relative_l2(inner(predict(model, x, BATCH), frames), frames)
    return {"relative_l2": measured.value, "relative_l2_error": measured.error, "fields": len(x)}


def of_trained(trained: Trained, data: Path, test_data: Path | None = None) -> NextFrameTask:
    """Return the task of a trained network: the runs that trained, validated and tested it.

    Raises: as ``prepare``.
    """
    recipe = trained.card.recipe
    shares = Shares(recipe["validation"], recipe["test"], recipe["seed"])
    side, ready = trained.model.input_shape[1], trained.standardisation
    return _task(ready, side, FrameSampling(recipe["every"]), shares, data, test_data)


def prepare(
    net: WaveNet, sampling: FrameSampling, shares: Shares, data: Path, test_data: Path | None = None
) -> tuple[NextFrameTask, Standardisation]:
    """Return the task of a new network, and the format of its input; the fields of a run are all in one part.

    Validation and test use all frames, whatever the sampling of training.
    Raises: DataError as the reader of waves, for another grid, for amplitudes beyond the input's range, and where a
    part would be empty.
    """
    count = len(net.names)
    ready = Standardisation(net.names, (net.input,) * count, (0,) * count, (1,) * count, (0,) * count, net.input)
    return _task(ready, net.side, sampling, shares, data, test_data, net.grid), ready


def measure(trained: Trained, data: Path) -> dict[str, Any]:
    """Return the relative L2 error, with its own error, of a network's next frames in the runs of a file.

    Raises: as ``prepare``.
    """
    test = read(trained.standardisation, trained.model.input_shape[1], data)
    return _metrics(trained.model, *_values(test, trained.standardisation.output))


def read(ready: Standardisation, side: int, data: Path, limit: int | None = None) -> HeldOut:
    """Return the fields of all runs of a file and their next frames, the first ``limit`` of them.

    Raises: as ``prepare``.
    """
    runs = fitting(data, ready, side)
    every = fields(runs, range(len(runs.frames)), ready, side)
    return HeldOut(every.inputs[:limit], every.labels[:limit])


def fitting(path: Path, ready: Standardisation, side: int, grid: int | None = None) -> waves.Waves:
    """Return the runs of a file whose grid and amplitudes a network of ``side`` points takes.

    ``grid`` are the points of a side within its walls; by default the file decides, where the network reads walls.
    Raises: DataError where it does not take them.
    """
    runs = waves.read(path)
    points = runs.speed.shape[1]
    channel = ready.names[-1]
    if grid is None:
        within = channel in (MEDIUM, OPEN_MEDIUM) and points < side and (side - points) % 2 == 0
        grid = points if within else side
    if runs.speed.shape[1:] != (grid, grid):
        shape = " x ".join(map(str, runs.speed.shape[1:]))
        raise DataError(
            f"file '{path}': expected {grid} x {grid} points, as the network takes, found {shape}; set grid, or make "
            f"it with edgephys data waves --grid {grid}"
        )
    if channel == MEDIUM and ABSORBING in runs.edges:
        raise DataError(
            f"file '{path}': expected runs within walls, as the network takes, found run {runs.edges.index(ABSORBING)} "
            "with edges that absorb; make a network with --set absorbing=7"
        )
    lowest, highest = SPEEDS_BESIDE_ABSORBING
    if channel == OPEN_MEDIUM and not lowest <= runs.speed.min() <= runs.speed.max() <= highest:
        raise DataError(
            f"file '{path}', speed: expected {lowest:g}..{highest:g}, as a network with absorbing pixels takes, found "
            f"{runs.speed.min():.3g}..{runs.speed.max():.3g}"
        )
    form = ready.output
    top = 2.0 ** (form.integer - 1)
    for name, values in (("frames", runs.frames), ("speed", runs.speed)):
        largest = float(np.abs(values).max())
        if largest >= top:
            raise DataError(
                f"file '{path}', {name}: expected numbers below {top:g}, what the network's input holds, found "
                f"{largest:.3g}; raise input_integer"
            )
    return runs


def fields(
    runs: waves.Waves,
    numbers: Sequence[int],
    ready: Standardisation,
    side: int,
    sampling: FrameSampling = EVERY_FRAME,
) -> HeldOut:
    """Return what a network reads of some runs at each time, or at some times, and the frames that come next.

    Shape: inputs (field, side, side, frame and speed), labels (field, row, column, frame); the input's integers.
    """
    stride = stride_of(ready)
    earliest = 1 + stride * (len(ready.names) - 2)
    inputs: list[Integers] = []
    labels: list[Integers] = []
    for number in numbers:
        run, edges = ready.output.quantise(runs.frames[number]), runs.edges[number]
        shown = surrounded(run, side, edges)
        medium = last_channel(ready, runs.speed[number], side, edges)
        first, last = earliest + number % sampling.every, len(run) - stride * sampling.unroll  # no two begin alike
        for time in range(first, last + 1, sampling.every):
            inputs.append(np.stack([*read_before(shown, time, ready), medium], -1))
            labels.append(np.stack(list(reached_from(run, time, ready, sampling.unroll)), -1))
    return HeldOut(np.stack(inputs), np.stack(labels))


def _values(fields_: HeldOut, form: Fixed) -> Examples:
    return form.values(fields_.inputs).astype(np.float32), form.values(fields_.labels).astype(np.float32)


def _task(
    ready: Standardisation,
    side: int,
    sampling: FrameSampling,
    shares: Shares,
    data: Path,
    test_data: Path | None,
    grid: int | None = None,
) -> NextFrameTask:
    form = ready.output
    runs = fitting(data, ready, side, grid)
    test_runs = None if test_data is None else fitting(test_data, ready, side, grid)
    train, validation, test = (
        part.tolist() for part in shares.parts(len(runs.frames), "runs", test_runs is not None, runs.source)
    )
    least = stride_of(ready) * (len(ready.names) - 2 + sampling.unroll) + sampling.every + 1
    if least > runs.frames.shape[1]:
        raise DataError(
            f"file '{runs.source}': expected runs of {least} frames and over, found {runs.frames.shape[1]}; lower "
            "every or unroll, or make longer runs"
        )
    of, numbers = (runs, test) if test_runs is None else (test_runs, range(len(test_runs.frames)))
    return NextFrameTask(
        _values(fields(runs, train, ready, side, sampling), form),
        _values(fields(runs, validation, ready, side, FrameSampling(unroll=sampling.unroll)), form),
        fields(of, numbers, ready, side),
        form,
        margin=(side - runs.speed.shape[1]) // 2,
    )
