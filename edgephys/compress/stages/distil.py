"""Distillation: a student, of another net where one is stated, learns what teachers answer.

Source: arXiv 1802.05668, section 2. Ours: a start from the given weights, and none of the paper's buckets: weights
are rounded to the fixed point of their layer. A given model that is trained on is what ``finetune`` does too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgephys.applications.task import Task
from edgephys.compress.model_structure import kernel_layers, rebuilt
from edgephys.compress.stage import Made, Progress, Training, one_of
from edgephys.compress.training_loop import descend
from edgephys.core.errors import ModelError, UsageError
from edgephys.networks.backend import keras
from edgephys.networks.kernels import kernel_of, which
from edgephys.networks.network import Net
from edgephys.train.recipe import script_recipe, with_settings


@dataclass(frozen=True)
class Distil(Training):
    """Train a student, after teachers where there are some.

    ``script`` is the training script that states the student's net, ``settings`` change it as ``edgephys train --set``
    does; without a script the student has the net of the given model. ``start`` says from which weights it starts:
    random, as a script's net does if nothing is said, or the given ones, as the given net does.
    """

    script: str = ""
    settings: tuple[str, ...] = ()
    start: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start:
            one_of("start", self.start, ("random", "weights"))
        if self.settings and not self.script:
            raise UsageError("settings change the net of a script; set script, such as models/jet_deepsets.py")

    def apply(self, model: Any, task: Task, seed: int, progress: Progress | None = None) -> Made:
        """Return the trained student."""
        student = self.student(model, task, seed)
        notes = descend(student, task, self, seed, progress=progress)
        return Made(student, {**notes, "parameters": int(student.count_params())})

    def student(self, model: Any, task: Task, seed: int) -> Any:
        """Return the student as it starts."""
        keras.utils.set_random_seed(seed)
        student = self.net(model, task).build() if self.script else rebuilt(model, lambda layer: None)
        kernel_layers(student)
        if self.start == "random" and not self.script:
            return _anew(student)
        if self.start == "weights":
            _take(student, model)
        return student

    def net(self, model: Any, task: Task) -> Net:
        """Return the student's net as the script and the settings state it.

        Raises: UsageError where it does not read what the task gives, answers otherwise, or has no bits.
        """
        stated = script_recipe(Path(self.script))
        recipe = with_settings(stated, self.settings)
        if strange := [name for name in _differing(stated, recipe) if name != "net"]:
            raise UsageError(
                f"settings: {strange[0]} is of the training, not of the student's net; set it in the stage itself"
            )
        net = recipe.net
        if not isinstance(net, task.network):
            raise UsageError(
                f"student of {self.script}: it must read {task.metric.unit}, as the task does; choose a script whose "
                f"net is a {task.network.__name__}"
            )
        asked = {name: (getattr(net, name), given) for name, given in task.network_settings(model).items()}
        for name, (own, given) in {**asked, "input format": (net.input, task.input)}.items():
            if own != given:
                raise UsageError(
                    f"student of {self.script}: its {name} must be the task's, {_told(given)}, not {_told(own)}; "
                    "change it in settings"
                )
        if net.bits is None:
            raise UsageError(f"student of {self.script}: it must have bits, not be float; put bits=8, say, in settings")
        return net


def _told(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _differing(one: Any, other: Any) -> list[str]:
    return [of.name for of in dataclasses.fields(one) if getattr(one, of.name) != getattr(other, of.name)]


def _anew(model: Any) -> Any:
    """Return a model like another with fresh random weights, drawn as the nets draw theirs."""

    def copy(layer: Any) -> Any:
        config = layer.get_config()
        drawn = {f"{which(layer)}_initializer": "he_normal"} if kernel_of(layer) is not None else {}
        return type(layer).from_config({**config, **drawn})

    return keras.models.clone_model(model, clone_function=copy)


def _take(student: Any, model: Any) -> None:
    wanted, given = ([tuple(weight.shape) for weight in of.weights] for of in (student, model))
    if wanted != given:
        raise ModelError(f"start: the model's weights {given} must be the student's {wanted}; set start = 'random'")
    student.set_weights(model.get_weights())
