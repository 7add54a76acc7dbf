"""The tasks of a user's own arrays: the cross entropy of classes, or the squared error of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from edgephys.applications.application import Score
from edgephys.applications.arrays.answers import answers_of, class_names
from edgephys.applications.arrays.application import CLASSIFICATION, UNIT, ArrayClasses, ArrayNumbers
from edgephys.applications.arrays.ends import ending
from edgephys.applications.classes import evaluated
from edgephys.applications.logits import LogitTask
from edgephys.applications.task import BATCH, Examples, Shares, Task
from edgephys.core.errors import UsageError
from edgephys.core.fixed import Fixed
from edgephys.models import numbers, user_data
from edgephys.models.input_names import inputs_of, numbered
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained, load
from edgephys.models.vectors import HeldOut
from edgephys.networks.backend import keras, predict
from edgephys.networks.function import FunctionNet

MOST_VECTORS = 10_000
"""Test examples that are stored with a model."""
SMALLEST = 1e-7
"""A probability that a softmax or sigmoid of float32 rounds to 0 is taken for this one."""


class _ArrayTask(Task):
    """Hold what tasks of classes and of numbers have in common."""

    network: ClassVar[type] = FunctionNet
    most_vectors: ClassVar[int] = MOST_VECTORS

    def network_settings(self, model: Any) -> dict[str, Any]:
        """Return nothing that a student must state."""
        return {}

    def teacher(self, folder: str) -> Trained:
        """Return a trained model that reads the inputs of the task; raise UsageError where it reads others."""
        model, shape = load(Path(folder)), self.train[0].shape[1:]
        if model.model.input_shape[1:] != shape or _grid(model.card.input_format) != _grid(self.input):
            raise UsageError(
                f"teacher {folder}: it must read inputs of {shape} in {self.input}, as the model that it teaches, not "
                f"{model.model.input_shape[1:]} in {model.card.input_format}; choose another"
            )
        return model


@dataclass(frozen=True, eq=False)
class ClassTask(_ArrayTask, LogitTask):
    """Hold examples and their classes; ``ending`` is the function at the network's end that makes probabilities."""

    metric: ClassVar[Score] = ArrayClasses.score
    keras_metrics: ClassVar[tuple[str, ...]] = ()
    names: tuple[str, ...]
    ending: str

    def logits(self, output: Any) -> Any:
        """Return logits, one a class: of a single output or of probabilities, those that give the same."""
        if self.ending:
            output = keras.ops.clip(output, SMALLEST, 1 - SMALLEST)
            inverse = keras.ops.log(output)
            output = inverse - keras.ops.log(1 - output) if self.ending == "sigmoid" else inverse
        output = output * self.scale
        return (
            output if output.shape[-1] > 1 else keras.ops.concatenate([keras.ops.zeros_like(output), output], axis=-1)
        )

    def evaluate(self, model: Any, examples: HeldOut) -> dict[str, Any]:
        """Return accuracy and AUC by class, with their errors; areas only where every class has an example."""
        logits = self.predicted(model, self.input.values(examples.inputs).astype(np.float32))
        return evaluated(logits, examples.labels, self.classes, UNIT, least=1)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.names

    def teacher_outputs(self, teacher: Trained) -> Any:
        """Return a teacher's logits.  Shape: (example, class)."""
        stated = teacher.card.net.get("network_ending")  # an import states none
        last = ending(teacher.model, teacher.graph()) if stated is None else str(stated)
        own = dataclasses.replace(self, ending=last, scale=teacher.card.scale)
        return own.predicted(teacher.model, self.train[0])


@dataclass(frozen=True, eq=False)
class NumberTask(_ArrayTask):
    """Hold examples and the numbers that they should give, flat."""

    metric: ClassVar[Score] = ArrayNumbers.score

    @cached_property
    def power(self) -> float:
        """Mean square of the targets' differences from their mean, by which losses are divided; 1 where it is 0."""
        return float(np.var(self.train[1], axis=0, dtype=np.float64).mean()) or 1.0

    def losses(self, target: Any, output: Any) -> Any:
        """Return the squared error of each example over the power of the targets."""
        flat = keras.ops.reshape(output, (-1, self.train[1].shape[1]))
        return keras.ops.mean(keras.ops.square(flat - target), axis=1) / self.power

    def loss(self, target: Any, output: Any, teacher_output: Any) -> Any:
        """Return the mean squared error over the power of the targets; a distillation's share is to the teachers."""
        hard = keras.ops.mean(self.losses(target, output))
        if self.distillation is None:
            return hard
        soft = keras.ops.mean(self.losses(teacher_output, output))
        return self.distillation.share * soft + (1 - self.distillation.share) * hard

    def validation_metrics(self, model: Any) -> dict[str, Any]:
        """Return the errors on the validation examples."""
        x, targets = self.validation
        return numbers.evaluated(_predicted(model, x), np.asarray(targets, np.float64), UNIT)

    def test_metrics(self, model: Any) -> dict[str, Any]:
        """Return the errors on the test examples: once in a pipeline, at its end."""
        return _errors(model, self.input, self.test)

    def teacher_outputs(self, teacher: Trained) -> Any:
        """Return a teacher's outputs, flat.  Shape: (example, number)."""
        return self.own_outputs(teacher.model)

    def own_outputs(self, model: Any) -> Any:
        """Return a model's outputs for the training examples, flat.  Shape: (example, number)."""
        return _predicted(model, self.train[0])


def prepare(net: FunctionNet, shares: Shares, data: Path, test_data: Path | None) -> tuple[Task, Standardisation]:
    """Return the task of a network whose task, format and shapes are known, and the format of its input.

    Raises: DataError as the reader of a user's data, for answers that do not fit, and for an empty part.
    """
    ready = standardisation(net)
    return _task(dataclasses.asdict(net), ready, shares, 1.0, data, test_data), ready


def standardisation(net: FunctionNet) -> Standardisation:
    """Return what puts a user's inputs, in the model's own units, on the grid of a network's input."""
    channels = net.network_input[-1] if net.network_input else 1
    names = numbered(net.network_inputs) or tuple(f"x{number}" for number in range(channels))
    form = net.input
    return Standardisation(names, (form,) * channels, (0,) * channels, (1,) * channels, (0,) * channels, form)


def of_trained(trained: Trained, data: Path, test_data: Path | None = None) -> Task:
    """Return the task of a trained network: the examples that trained, validated and tested it.

    Raises: DataError as ``prepare``.
    """
    recipe = trained.card.recipe
    shares = Shares(recipe["validation"], recipe["test"], recipe["seed"])
    return _task(recipe["net"], trained.standardisation, shares, trained.card.scale, data, test_data)


def measure(trained: Trained, data: Path) -> dict[str, Any]:
    """Return the metrics of a network on all examples of a file.  Raises: DataError as ``prepare``."""
    net, ready = trained.card.net, trained.standardisation
    read_examples = read(ready, tuple(net["network_input"]), net["task"], tuple(net["network_output"]), data)
    if net["task"] != CLASSIFICATION:
        return _errors(trained.model, ready.output, read_examples)
    none = np.zeros(0, np.float32), np.zeros(0)
    names = tuple(trained.card.classes)
    of_classes = ClassTask(none, none, read_examples, ready.output, trained.card.scale, names, net["network_ending"])
    return of_classes.test_metrics(trained.model)


def read(
    ready: Standardisation,
    shape: tuple[int, ...],
    task: str,
    output: tuple[int, ...] | None,
    data: Path,
    limit: int | None = None,
) -> HeldOut:
    """Return the inputs of a file as integers, and their answers.  Raises: DataError as ``prepare``."""
    users = user_data.read(data, inputs_of(ready.names) or {"x": shape})
    answers = answers_of(users, task, output, data)
    return HeldOut(_integers(ready, users.inputs[:limit], shape), answers[:limit])


def _task(
    net: Mapping[str, Any], ready: Standardisation, shares: Shares, scale: float, data: Path, test_data: Path | None
) -> Task:
    shape, output, form = tuple(net["network_input"]), tuple(net["network_output"]), ready.output
    every = read(ready, shape, net["task"], output, data)
    rows = shares.parts(len(every.inputs), UNIT, test_data is not None, data)
    train, validation = (_examples(every, part, form) for part in rows[:2])
    test = HeldOut(every.inputs[rows[2]], every.labels[rows[2]])
    if test_data is not None:
        test = read(ready, shape, net["task"], output, test_data)
    if net["task"] != CLASSIFICATION:
        return NumberTask(train, validation, test, form)
    names = class_names(max(2, output[0]))
    return ClassTask(train, validation, test, form, scale, names, net["network_ending"])


def _examples(examples: HeldOut, rows: Any, form: Fixed) -> Examples:
    labels = examples.labels[rows]
    return (
        form.values(examples.inputs[rows]).astype(np.float32),
        labels.astype(np.float32) if labels.dtype.kind == "f" else labels,
    )


def _grid(form: Fixed) -> tuple[bool, int, int]:
    """Return the values of a format: all inputs are rounded and limited in one way."""
    return form.signed, form.bits, form.integer


def _integers(ready: Standardisation, flat: Any, shape: tuple[int, ...]) -> Any:
    """Return flat inputs as integers in their shape; what lies far beyond the format is clipped first."""
    form = ready.output
    bounded = np.clip(flat, (form.low - 1) * form.step, (form.high + 1) * form.step)
    return ready.apply(bounded.reshape(-1, *shape))


def _predicted(model: Any, x: Any) -> Any:
    values = np.asarray(predict(model, x, BATCH), np.float64)
    return values.reshape(len(values), -1)


def _errors(model: Any, form: Fixed, examples: HeldOut) -> dict[str, Any]:
    return numbers.evaluated(_predicted(model, form.values(examples.inputs).astype(np.float32)), examples.labels, UNIT)
