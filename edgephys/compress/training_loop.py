"""The one training loop of all stages: what is trained makes the weights, and the weights make the loss.

Keras' own loop trains a model's variables. Here some of them are computed, at each step, from what a stage trains
instead - scores of bits, points of a codebook - while the model itself stays an ordinary one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.applications.task import Task
from edgephys.compress.stage import Progress, Training
from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras, tf
from edgephys.networks.kernels import is_depthwise, kernel_of


@dataclass(frozen=True, eq=False)
class Parameters:
    """State what is trained instead of some of a model's variables, and what is added to the loss.

    ``makes`` computes, by its path, a variable of the model from ``variables``; kernels that are not in it keep
    their zeros unless ``grows``. ``cost`` is added to the loss. ``ramp``, a variable, grows from epoch to epoch, to 1
    at half of them. ``after_step`` runs within each step, with the gradients by the path of what is trained,
    ``before_epoch`` and ``after_epoch`` with the optimiser, before an epoch's first step and before its weights are
    validated. ``kept_from`` is the first epoch, from 0, whose weights may be the best.
    """

    makes: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    variables: tuple[Any, ...] = ()
    cost: Callable[[], Any] | None = None
    grows: bool = False
    ramp: Any = None
    after_step: Callable[[Mapping[str, Any]], None] | None = None
    before_epoch: Callable[[int, Any], None] | None = None
    after_epoch: Callable[[int, Any], None] | None = None
    kept_from: int = 0


def descend(
    model: Any,
    task: Task,
    plan: Training,
    seed: int,
    parameters: Parameters | None = None,
    progress: Progress | None = None,
    optimizer: Any = None,
) -> dict[str, Any]:
    """Train a model in place by a plan; return what there is to say of it.

    Adam, its rate half a cosine down to 0, unless an optimiser is given.
    Raises: ModelError where the loss is no longer finite.
    """
    parameters = parameters or Parameters()
    task = task.with_teachers(plan.teacher, plan.temperature, plan.teacher_share)
    makes = {**_masked(model, parameters), **parameters.makes}
    loop = _Loop(model, task, plan, parameters, makes, optimizer)
    random = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    best, kept, kept_epoch = -inf if task.metric.rising else inf, loop.made(), 0
    for epoch in range(plan.epochs):
        if parameters.ramp is not None:
            parameters.ramp.assign(min(1.0, 2 * (epoch + 1) / plan.epochs))
        if parameters.before_epoch:
            parameters.before_epoch(epoch, loop.optimizer)
        loss = loop.epoch(random)
        if not math.isfinite(loss):
            raise ModelError(f"training diverged: loss is {loss} after epoch {epoch + 1}; lower learning_rate")
        if parameters.after_epoch:
            parameters.after_epoch(epoch, loop.optimizer)
        made = loop.made()
        figure = loop.validated(made)
        if plan.keep == "last" or (task.better(figure, best) and epoch >= parameters.kept_from):
            best, kept, kept_epoch = figure, made, epoch + 1
        if progress:
            progress(epoch + 1, plan.epochs, {"loss": loss, f"val_{task.metric.key}": figure})
    for variable, value in zip(_variables(model), kept, strict=True):
        variable.assign(value)
    return {"kept_epoch": kept_epoch, f"validation_{task.metric.key}": round(best, 5)}


def falling_rate(task: Task, plan: Training) -> Any:
    """Return a plan's learning rate over all its steps: half a cosine down to 0."""
    return keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.epochs * _steps(task, plan))


def _steps(task: Task, plan: Training) -> int:
    return max(1, len(task.train[0]) // plan.batch)


def _masked(model: Any, parameters: Parameters) -> dict[str, Callable[[], Any]]:
    """Kernels that hold exact zeros keep them."""
    found: dict[str, Callable[[], Any]] = {}
    for layer in model.layers:
        kernel = kernel_of(layer)
        if parameters.grows or kernel is None or kernel.path in parameters.makes:
            continue
        mask = keras.ops.convert_to_numpy(kernel) != 0
        if not mask.all():
            held = tf.constant(mask.astype(np.float32))
            found[kernel.path] = partial(_product, kernel, held)
    return found


def _product(variable: Any, factor: Any) -> Any:
    return variable.value * factor


class _Loop:
    """Hold the compiled step of a training."""

    def __init__(
        self,
        model: Any,
        task: Task,
        plan: Training,
        parameters: Parameters,
        makes: Mapping[str, Callable[[], Any]],
        optimizer: Any,
    ) -> None:
        self.model, self.task, self.batch, self.makes = model, task, plan.batch, makes
        self.steps = _steps(task, plan)
        self.optimizer = optimizer or keras.optimizers.Adam(falling_rate(task, plan))
        own = [variable for variable in model.trainable_variables if variable.path not in parameters.makes]
        self.step = _compiled(model, task, parameters, makes, self.optimizer, [*own, *parameters.variables])

    def epoch(self, random: np.random.Generator) -> float:
        """Go once through the training examples; return the mean loss."""
        x, labels = self.task.train
        distillation = self.task.distillation
        outputs = np.zeros((len(x), 1), np.float32) if distillation is None else distillation.outputs
        order = random.permutation(len(x))
        losses = []
        for start in range(0, self.steps * self.batch, self.batch):
            rows = order[start : start + self.batch]
            losses.append(self.step(x[rows], labels[rows], outputs[rows]))
        return float(np.mean([float(loss) for loss in losses]))

    def made(self) -> list[NDArray[np.float32]]:
        """Return the model's weights as they are computed now."""
        return [
            keras.ops.convert_to_numpy(self.makes[of.path]() if of.path in self.makes else of.value)
            for of in _variables(self.model)
        ]

    def validated(self, made: list[NDArray[np.float32]]) -> float:
        """Return the figure of weights on the validation examples."""
        variables = _variables(self.model)
        held = [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variable, value in zip(variables, made, strict=True):
            variable.assign(value)
        figure = self.task.validation_score(self.model)
        for variable, value in zip(variables, held, strict=True):
            variable.assign(value)
        return figure


def _variables(model: Any) -> list[Any]:
    return [*model.trainable_variables, *model.non_trainable_variables]


def _compiled(
    model: Any,
    task: Task,
    parameters: Parameters,
    makes: Mapping[str, Callable[[], Any]],
    optimizer: Any,
    trained: list[Any],
) -> Any:
    optimizer.build(trained)

    def step(x: Any, labels: Any, taught: Any) -> Any:
        with tf.GradientTape() as tape:
            weights = [makes[of.path]() if of.path in makes else of.value for of in model.trainable_variables]
            state = [variable.value for variable in model.non_trainable_variables]
            logits, after = model.stateless_call(weights, state, x, training=True)
            loss = task.loss(labels, logits, taught)
            total = loss if parameters.cost is None else loss + parameters.cost()
        gradients = tape.gradient(total, [variable.value for variable in trained])
        optimizer.apply(gradients, trained)
        for variable, value in zip(model.non_trainable_variables, after, strict=True):
            variable.assign(value)
        if parameters.after_step is not None:
            parameters.after_step({of.path: found for of, found in zip(trained, gradients, strict=True)})
        return loss

    depthwise = any(is_depthwise(layer) for layer in model.layers)  # XLA's take eight times as long on a CPU
    return tf.function(step, jit_compile=not depthwise)
