"""The task of a network that advances a wave: its frames, the squared error of the next one, its relative error."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgephys.applications.metrics import relative_l2
from edgephys.applications.task import Examples, Floats, Lesson, Task, Times
from edgephys.applications.waves.data import files as waves
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.core.errors import DataError, UsageError
from edgephys.core.fixed import Fixed, Integers
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import HeldOut, Trained, load
from edgephys.networks.backend import keras

BATCH = 64
ALL_TIMES = Times()


@dataclass(frozen=True, eq=False)
class Advance(Task):
    """Hold fields of frames as a network sees them, and the frames that come next: more of them where it is unrolled.

    The next frames of ``test`` are integers in steps of the input, as its fields are.
    """

    reads: ClassVar[type] = WaveCnn
    figure: ClassVar[str] = "relative_l2"
    rising: ClassVar[bool] = False
    unit: ClassVar[str] = "fields"
    watched: ClassVar[tuple[str, ...]] = ()
    travelling: ClassVar[int] = 128
    jit: ClassVar[bool] = False

    @cached_property
    def power(self) -> float:
        """Mean square of the frames to come, in whose units the loss is: a price of adders then weighs the same."""
        return float(np.mean(np.square(self.train[1], dtype=np.float64)))

    def losses(self, wanted: Any, given: Any) -> Any:
        """Return the squared error of each field as a share of the frames' mean square."""
        return keras.ops.mean(keras.ops.square(given - wanted), axis=(1, 2, 3)) / self.power

    def unrolled(self, model: Any) -> Any:
        """Return a model that gives as many frames as the answers hold, each made from those before it."""
        count = self.train[1].shape[-1]
        if count == 1:
            return model
        given = x = keras.Input(model.input_shape[1:])
        frames = []
        for _ in range(count):
            frames.append(model(x))
            x = keras.ops.concatenate([x[..., 1:-1], frames[-1], x[..., -1:]], -1)
        return keras.Model(given, keras.ops.concatenate(frames, -1))

    def loss(self, wanted: Any, given: Any, taught: Any) -> Any:
        """Return the mean squared error as a share of the frames' mean square, or what the lesson makes of it."""
        hard = keras.ops.mean(keras.ops.square(given - wanted)) / self.power
        if self.lesson is None:
            return hard
        soft = keras.ops.mean(keras.ops.square(given - taught)) / self.power
        return self.lesson.share * soft + (1 - self.lesson.share) * hard

    def judged(self, model: Any) -> float:
        """Return the relative L2 error on the validation fields."""
        return float(self.score(model)["relative_l2"])

    def score(self, model: Any) -> dict[str, Any]:
        """Return the relative L2 error, with its own error, on the validation fields."""
        x, wanted = self.validation
        return _score(model, x, wanted[..., :1])

    def test_score(self, model: Any) -> dict[str, Any]:
        """Return the relative L2 error, with its own error, on the test fields: once a pipeline, at its end."""
        values = (self.input.values(of).astype(np.float32) for of in (self.test.inputs, self.test.labels))
        return _score(model, *values)

    def asks(self, model: Any) -> dict[str, Any]:
        """Return the points of a side and the frames that are seen, by field of a WaveCnn."""
        _, grid, _, seen = self.train[0].shape
        return {"grid": grid, "frames": seen - 1}

    def taught(self, teachers: Sequence[str], temperature: float, share: float) -> Advance:
        """Return the task with a lesson: the mean of what trained networks answer to the same fields.

        A frame has no temperature: whatever it is, the answers are taken as they are.
        Raises: ModelError where a folder is no model; UsageError where a teacher reads other fields.
        """
        if not teachers:
            return self
        x = self.train[0]
        answers = []
        for folder in teachers:
            teacher = load(Path(folder))
            if teacher.model.input_shape[1:] != x.shape[1:] or teacher.standardisation.output != self.input:
                raise UsageError(
                    f"teacher {folder}: it must read fields of {x.shape[1:]} in {self.input}, as the model that it "
                    f"teaches, not {teacher.model.input_shape[1:]} in {teacher.standardisation.output}; choose another"
                )
            answers.append(teacher.model.predict(x, batch_size=BATCH, verbose=0))
        return dataclasses.replace(self, lesson=Lesson(np.mean(answers, axis=0), temperature, share))


def _score(model: Any, x: Floats, wanted: Any) -> dict[str, Any]:
    found = relative_l2(model.predict(x, batch_size=BATCH, verbose=0), wanted)
    return {"relative_l2": found.value, "relative_l2_error": found.error, "fields": len(x)}


def of_fields(trained: Trained, data: Path, test_data: Path | None = None) -> Advance:
    """Return the task of a network that advances a wave: the runs that trained, validated and tested it.

    Raises: as ``prepare``.
    """
    recipe = trained.card["recipe"]
    shares = recipe["validation"], recipe["test"]
    read, more = _read(trained, data), None if test_data is None else _read(trained, test_data)
    return _task(trained.standardisation, read, more, shares, recipe["seed"], Times(recipe["every"]))


def prepare(
    net: WaveCnn, shares: tuple[float, float], seed: int, times: Times, data: Path, test_data: Path | None = None
) -> tuple[Advance, Standardisation]:
    """Divide runs by the shares of validation and test; a run's fields are all on one side.

    Of the times of a training run one in ``times.every`` is learnt from; the others keep all.
    Raises: DataError as the reader of waves, for another grid, for amplitudes beyond the input's range, and where a
    part would be empty.
    """
    names = (*(f"u{time - net.frames + 1}" for time in range(net.frames)), "speed")
    count = len(names)
    ready = Standardisation(names, (net.input,) * count, (0,) * count, (1,) * count, (0,) * count, net.input)
    read = fitting(data, net.grid, net.input)
    more = None if test_data is None else fitting(test_data, net.grid, net.input)
    return _task(ready, read, more, shares, seed, times), ready


def score(trained: Trained, data: Path) -> dict[str, Any]:
    """Return the relative L2 error, with its own error, of a network's next frames in the runs of a file.

    Raises: as ``prepare``.
    """
    read = _read(trained, data)
    held = fields(read, range(len(read.frames)), trained.standardisation)
    values = (trained.standardisation.output.values(of).astype(np.float32) for of in (held.inputs, held.labels))
    return _score(trained.model, *values)


def fitting(path: Path, grid: int, form: Fixed) -> waves.Waves:
    """Return the runs of a file whose grid and amplitudes a network takes.  Raises: DataError where it does not."""
    read = waves.read(path)
    if read.speed.shape[1:] != (grid, grid):
        found = " x ".join(map(str, read.speed.shape[1:]))
        raise DataError(
            f"file '{path}': expected {grid} x {grid} points, as the network takes, found {found}; set grid, or make "
            f"it with edgephys data waves --grid {grid}"
        )
    top = 2.0 ** (form.integer - 1)
    for name, of in (("frames", read.frames), ("speed", read.speed)):
        largest = float(np.abs(of).max())
        if largest >= top:
            raise DataError(
                f"file '{path}', {name}: expected numbers below {top:g}, what the network's input holds, found "
                f"{largest:.3g}; raise input_integer"
            )
    return read


def fields(of: waves.Waves, runs: Sequence[int], ready: Standardisation, times: Times = ALL_TIMES) -> HeldOut:
    """Return what a network sees of some runs at each time, or some of them, and the frames that come next.

    Shape: inputs (field, row, column, frame and speed), labels (field, row, column, frame); the input's integers.
    """
    frames = len(ready.names) - 1
    seen: list[Integers] = []
    wanted: list[Integers] = []
    for number in runs:
        whole, speed = ready.output.quantise(of.frames[number]), ready.output.quantise(of.speed[number])
        first, last = frames + number % times.every, len(whole) - times.unroll  # no two runs begin alike
        for time in range(first, last + 1, times.every):
            seen.append(np.stack([*whole[time - frames : time], speed], -1))
            wanted.append(np.stack(list(whole[time : time + times.unroll]), -1))
    return HeldOut(np.stack(seen), np.stack(wanted))


def _read(trained: Trained, data: Path) -> waves.Waves:
    return fitting(data, trained.model.input_shape[1], trained.standardisation.output)


def _task(
    ready: Standardisation,
    read: waves.Waves,
    more: waves.Waves | None,
    shares: tuple[float, float],
    seed: int,
    times: Times,
) -> Advance:
    parts = _divided(read, more is not None, shares, seed)
    least = len(ready.names) + times.every + times.unroll - 1
    if least > read.frames.shape[1]:
        raise DataError(
            f"file '{read.source}': expected runs of {least} frames and over, found {read.frames.shape[1]}; lower "
            "every or unroll, or make longer runs"
        )

    def values(of: HeldOut) -> Examples:
        return tuple(ready.output.values(part).astype(np.float32) for part in (of.inputs, of.labels))  # type: ignore[return-value]

    train = values(fields(read, parts[0], ready, times))
    validation = values(fields(read, parts[1], ready, Times(unroll=times.unroll)))
    test = fields(read, parts[2], ready) if more is None else fields(more, range(len(more.frames)), ready)
    return Advance(train, validation, test, ready.output)


def _divided(read: waves.Waves, tested: bool, shares: tuple[float, float], seed: int) -> list[list[int]]:
    """Return the runs that train, validate and test."""
    runs = len(read.frames)
    order = np.random.default_rng(seed).permutation(runs)
    validate, test = (round(share * runs) for share in shares)
    test = 0 if tested else test
    parts = [sorted(map(int, part)) for part in np.split(order, [runs - validate - test, runs - test])]
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        if not part and not (tested and name == "test"):
            raise DataError(f"{read.source}: the {name} split of its {runs} runs is empty; give more runs or a share")
    return parts
