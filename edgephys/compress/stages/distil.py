"""Distillation: train a student, of the same or of another network, on teachers' answers.

Source: arXiv 1802.05668, section 2. Ours: the student can start from the model's weights; the paper's buckets are not
used: weights are rounded to the fixed point of their layer. ``finetune`` with a teacher trains the model itself on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from edgephys.applications.task import Task
from edgephys.compress.model_structure import kernel_layers, rebuilt
from edgephys.compress.registry import register
from edgephys.compress.stage import Progress, StageResult, Training, one_of
from edgephys.compress.training_loop import train
from edgephys.core.errors import ModelError, UsageError
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of, which
from edgephys.networks.network import Net
from edgephys.train.recipe import with_settings
from edgephys.train.script import script_recipe


@register("distil")
@dataclass(frozen=True)
class Distil(Training):
    """Train a student on the labels and on teachers' answers.

    ``script`` is the training script that states the student's network, ``settings`` change it as ``edgephys train
    --set`` does; without a script the student has the network of the model. ``start`` states the first weights:
    "random" or the model's "weights"; the default is random with a script, else the model's weights.
    """

    paths: ClassVar[tuple[str, ...]] = ("teacher", "script")
    scripts: ClassVar[tuple[str, ...]] = ("script",)
    script: str = ""
    settings: tuple[str, ...] = ()
    start: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start:
            one_of("start", self.start, ("random", "weights"))
        if self.settings and not self.script:
            raise UsageError("settings change the net of a script; set script, such as models/jet_deepsets.py")

    def check(self, model: Any, task: Task) -> None:
        super().check(model, task)
        if self.script:
            self.net(model, task)

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> StageResult:
        """Return the trained student."""
        student = self.student(model, task, seed)
        notes = train(student, task, self, seed, progress=progress)
        return StageResult(student, {**notes, "parameters": int(student.count_params())})

    def student(self, model: Any, task: Task, seed: int) -> Any:
        """Return the untrained student."""
        keras.utils.set_random_seed(seed)
        student = self.net(model, task).build() if self.script else rebuilt(model)
        kernel_layers(student)
        if self.start == "random" and not self.script:
            return _with_random_weights(student)
        if self.start == "weights":
            _copy_weights(student, model)
        return student

    def net(self, model: Any, task: Task) -> Net:
        """Return the student's network, as the script and the settings state it.

        Raises: UsageError where its input or output is not that of the task, or where it is a float one.
        """
        stated = with_settings(script_recipe(Path(self.script)), ())  # with the application's defaults filled in
        recipe = with_settings(stated, self.settings)
        if others := [name for name in _differing(stated, recipe) if name != "net"]:
            raise UsageError(
                f"settings: {others[0]} is of the training, not of the student's net; set it in the stage itself"
            )
        net = recipe.net
        if not isinstance(net, task.network):
            raise UsageError(
                f"student of {self.script}: it must read {task.metric.unit}, as the task does; choose a script whose "
                f"net is a {task.network.__name__}"
            )
        pairs = {name: (getattr(net, name), required) for name, required in task.network_settings(model).items()}
        for name, (own, required) in {**pairs, "input format": (net.input, task.input)}.items():
            if own != required:
                raise UsageError(
                    f"student of {self.script}: its {name} must be the task's, {_text(required)}, not {_text(own)}; "
                    "change it in settings"
                )
        if net.bits is None:
            raise UsageError(f"student of {self.script}: it must have bits, not be float; put bits=8, say, in settings")
        return net


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _differing(one: Any, other: Any) -> list[str]:
    return [of.name for of in dataclasses.fields(one) if getattr(one, of.name) != getattr(other, of.name)]


def _with_random_weights(model: Any) -> Any:
    """Return a copy of a model with random weights, drawn as a network draws its first ones."""

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        drawn = {f"{which(layer)}_initializer": "he_normal"} if kernel_of(layer) is not None else {}
        return type(layer).from_config({**config, **drawn})

    return keras.models.clone_model(model, clone_function=copy)


def _copy_weights(student: Any, model: Any) -> None:
    own, theirs = ([tuple(weight.shape) for weight in of.weights] for of in (student, model))
    if own != theirs:
        raise ModelError(f"start: the model's weights {theirs} must be the student's {own}; set start = 'random'")
    student.set_weights(model.get_weights())
