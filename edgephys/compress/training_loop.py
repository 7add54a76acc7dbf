"""The training loop of all stages, in which weights can be functions of the variables that are trained.

Keras' own loop trains a model's variables. Here some of them are computed, at each step, from other variables, such as
scores of bits or points of a codebook, while the model itself stays an ordinary one.
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
class TrainingHooks:
    """State which of a model's variables are computed from others, an extra cost, and functions to call in between.

    ``computed`` returns a variable of the model, by its path, as a function of ``variables``, which are trained
    instead; these functions and ``cost`` are compiled without AutoGraph: a condition on a tensor is a `tf.where`.
    Kernels that it does not hold keep their zeros unless ``grows``. ``cost`` is added to the loss. ``ramp``, a
    variable, rises from epoch to epoch and is 1 from half of them on. ``after_step`` is called in each step with the
    gradients, by the path of the trained variable; ``before_epoch`` and ``after_epoch`` with the epoch and the
    optimiser, before its first step and before its weights are validated. ``best_from`` is the first epoch, from 0,
    whose weights may be the best.
    """

    computed: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    variables: tuple[Any, ...] = ()
    cost: Callable[[], Any] | None = None
    grows: bool = False
    ramp: Any = None
    after_step: Callable[[Mapping[str, Any]], None] | None = None
    before_epoch: Callable[[int, Any], None] | None = None
    after_epoch: Callable[[int, Any], None] | None = None
    best_from: int = 0


def train(
    model: Any,
    task: Task,
    plan: Training,
    seed: int,
    hooks: TrainingHooks | None = None,
    progress: Progress | None = None,
    optimizer: Any = None,
) -> dict[str, Any]:
    """Train a model in place; return the epoch whose weights it has and their validation figure.

    The default optimiser is Adam with a learning rate that falls as half a cosine to 0.
    Raises: ModelError where the loss is no longer finite.
    """
    hooks = hooks or TrainingHooks()
    task = task.with_teachers(plan.teacher, plan.temperature, plan.teacher_share)
    computed = {**_masked(model, hooks), **hooks.computed}
    loop = _Loop(model, task, plan, hooks, computed, optimizer)
    random = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    best, best_weights, best_epoch = -inf if task.metric.rising else inf, loop.weights(), 0
    for epoch in range(plan.epochs):
        if hooks.ramp is not None:
            hooks.ramp.assign(min(1.0, 2 * (epoch + 1) / plan.epochs))
        if hooks.before_epoch:
            hooks.before_epoch(epoch, loop.optimizer)
        loss = loop.epoch(random)
        if not math.isfinite(loss):
            raise ModelError(f"training diverged: loss is {loss} after epoch {epoch + 1}; lower learning_rate")
        if hooks.after_epoch:
            hooks.after_epoch(epoch, loop.optimizer)
        weights = loop.weights()
        figure = loop.validated(weights)
        if plan.keep == "last" or (task.better(figure, best) and epoch >= hooks.best_from):
            best, best_weights, best_epoch = figure, weights, epoch + 1
        if progress:
            progress(epoch + 1, plan.epochs, {"loss": loss, f"val_{task.metric.key}": figure})
    for variable, value in zip(_variables(model), best_weights, strict=True):
        variable.assign(value)
    return {"kept_epoch": best_epoch, f"validation_{task.metric.key}": round(best, 5)}


def falling_rate(task: Task, plan: Training) -> Any:
    """Return the learning rate over all steps of a training: half a cosine down to 0."""
    return keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.epochs * _steps(task, plan))


def _steps(task: Task, plan: Training) -> int:
    return max(1, len(task.train[0]) // plan.batch)


def _masked(model: Any, hooks: TrainingHooks) -> dict[str, Callable[[], Any]]:
    """Return functions that keep the zeros of kernels, by the kernel's path."""
    masked: dict[str, Callable[[], Any]] = {}
    for layer in model.layers:
        kernel = kernel_of(layer)
        if hooks.grows or kernel is None or kernel.path in hooks.computed:
            continue
        mask = keras.ops.convert_to_numpy(kernel) != 0
        if not mask.all():
            masked[kernel.path] = partial(_product, kernel, tf.constant(mask.astype(np.float32)))
    return masked


def _product(variable: Any, factor: Any) -> Any:
    return variable.value * factor


class _Loop:
    """Hold the compiled step of a training."""

    def __init__(
        self,
        model: Any,
        task: Task,
        plan: Training,
        hooks: TrainingHooks,
        computed: Mapping[str, Callable[[], Any]],
        optimizer: Any,
    ) -> None:
        self.model, self.task, self.batch, self.computed = model, task, plan.batch, computed
        self.steps = _steps(task, plan)
        self.optimizer = optimizer or keras.optimizers.Adam(falling_rate(task, plan))
        own = [variable for variable in model.trainable_variables if variable.path not in hooks.computed]
        self.step = _compiled(model, task, hooks, computed, self.optimizer, [*own, *hooks.variables])

    def epoch(self, random: np.random.Generator) -> float:
        """Train on every training example once; return the mean loss."""
        x, labels = self.task.train
        teachers = self.task.distillation.outputs if self.task.distillation else np.zeros((len(x), 1), np.float32)
        order = random.permutation(len(x))
        losses = []
        for start in range(0, self.steps * self.batch, self.batch):
            rows = order[start : start + self.batch]
            losses.append(self.step(x[rows], labels[rows], teachers[rows]))
        return float(np.mean([float(loss) for loss in losses]))

    def weights(self) -> list[NDArray[np.float32]]:
        """Return the present values of the model's variables, computed ones too."""
        return [
            keras.ops.convert_to_numpy(self.computed[of.path]() if of.path in self.computed else of.value)
            for of in _variables(self.model)
        ]

    def validated(self, weights: list[NDArray[np.float32]]) -> float:
        """Return the score of weights on the validation examples."""
        variables = _variables(self.model)
        before = [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        score = self.task.validation_score(self.model)
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return score


def _variables(model: Any) -> list[Any]:
    return [*model.trainable_variables, *model.non_trainable_variables]


def _compiled(
    model: Any,
    task: Task,
    hooks: TrainingHooks,
    computed: Mapping[str, Callable[[], Any]],
    optimizer: Any,
    trained: list[Any],
) -> Any:
    optimizer.build(trained)

    def step(x: Any, labels: Any, teacher_output: Any) -> Any:
        with tf.GradientTape() as tape:
            weights = [computed[of.path]() if of.path in computed else of.value for of in model.trainable_variables]
            state = [variable.value for variable in model.non_trainable_variables]
            outputs, after = model.stateless_call(weights, state, x, training=True)
            loss = task.loss(labels, outputs, teacher_output)
            total = loss if hooks.cost is None else loss + hooks.cost()
        gradients = tape.gradient(total, [variable.value for variable in trained])
        optimizer.apply(gradients, trained)
        for variable, value in zip(model.non_trainable_variables, after, strict=True):
            variable.assign(value)
        if hooks.after_step is not None:
            hooks.after_step({of.path: gradient for of, gradient in zip(trained, gradients, strict=True)})
        return loss

    # XLA's depthwise convolutions take eight times as long on a CPU
    depthwise = any(is_depthwise(layer) for layer in model.layers)
    return tf.function(step, jit_compile=not depthwise, autograph=False)
