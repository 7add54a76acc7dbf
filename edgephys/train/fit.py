"""Train: Recipe -> Trained. A recipe is data; every key of it can be set from the command line."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import math
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgephys import __version__
from edgephys.applications.jets.data.layout import PARTICLE_NAMES
from edgephys.core import machine
from edgephys.core.errors import EdgephysError, ModelError, UsageError
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import HeldOut, Trained
from edgephys.networks.network import Net

if TYPE_CHECKING:
    from edgephys.applications.task import Task

Progress = Callable[[int, int, Mapping[str, float]], None]

SCHEDULES = ("plateau", "cosine")
"""Learning rates: the paper's, times a factor when the validation loss rests; or half a cosine down to 0, which
lets quantised weights that swing between two steps come to rest."""

WEIGHT_RANGES = ("unit", "fitted")
"""Weights in [-1, 1), as published; or, after a float start, each layer's in a power of two that holds most of them."""

RANGE_JETS = 8192
"""Training jets on which the ranges of a starting model's activations are taken."""


@dataclass(frozen=True)
class Recipe:
    """State how a network is trained. Source of the defaults: arXiv 2402.01876 (methods, training).

    ``learning_rate`` is stated by the network's size. Of waves, one in ``every`` times is learnt from, and the loss is
    that of ``unroll`` frames, each made from the ones before it.
    """

    script: str
    net: Net
    learning_rate: Mapping[int, float]
    epochs: int = 100
    batch: int = 1024
    schedule: str = "plateau"
    weight_range: str = "unit"
    plateau_factor: float = 0.8
    plateau_patience: int = 10
    stop_patience: int = 20
    validation: float = 0.1
    test: float = 0.3
    seed: int = 1
    every: int = 1
    unroll: int = 1

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise UsageError(f"schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule}")
        if self.weight_range not in WEIGHT_RANGES:
            raise UsageError(f"weight_range must be one of {', '.join(WEIGHT_RANGES)}, not {self.weight_range}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"seed must be 0..{2**32 - 1}, not {self.seed}")
        if not all(math.isfinite(rate) and 0 < rate <= 1 for rate in self.learning_rate.values()):
            raise UsageError(f"learning_rate must be above 0 and at most 1, not {self.rate()}")
        if not 0 < self.plateau_factor < 1 or self.plateau_patience < 1 or self.stop_patience < 1:
            raise UsageError("plateau_factor must be between 0 and 1, plateau_patience and stop_patience 1 and over")
        for name in ("epochs", "batch", "every", "unroll"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 and over, not {getattr(self, name)}")
        if not (0 < self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise UsageError(
                f"validation must be above 0, test 0 and over, their sum below 1, not {self.validation}, {self.test}"
            )

    @property
    def name(self) -> str:
        """Name of the model that it makes: <script>_n<N>_<bits>bit or ..._float."""
        return f"{self.script}_{self.net.label}"

    def rate(self) -> float:
        """Return the learning rate of the nearest stated size."""
        return self.learning_rate[min(self.learning_rate, key=lambda size: abs(size - self.net.size))]


def script_recipe(script: Path) -> Recipe:
    """Return the RECIPE that a training script states; raise UsageError where it states none."""
    if not script.is_file():
        raise UsageError(f"{script}: no such training script; models/ holds them, such as models/jet_deepsets.py")
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise UsageError(f"{script}: expected a Python file; models/ holds training scripts")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except EdgephysError:
        raise
    except Exception as error:  # whatever the script does wrong is the script's, not ours
        raise UsageError(f"{script}: {type(error).__name__} when it was read: {error}; mend the script") from error
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise UsageError(
            f"{script}: expected RECIPE = Recipe(...), found {type(recipe).__name__}; see models/jet_deepsets.py"
        )
    return recipe


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return the recipe with ``key=value`` settings applied to it or to its network.

    Raises: UsageError naming the valid keys, or the type that a value must have.
    """
    net_fields = {f.name for f in dataclasses.fields(recipe.net)}
    own_fields = {f.name for f in dataclasses.fields(recipe)} - {"script", "net"}
    changes: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in net_fields | own_fields:
            raise UsageError(
                f"--set {setting}: expected KEY=VALUE with KEY one of {', '.join(sorted(net_fields | own_fields))}"
            )
        owner = recipe.net if key in net_fields else recipe
        changes[key in net_fields][key] = _parse(key, text, typing.get_type_hints(type(owner))[key])
    return dataclasses.replace(recipe, net=dataclasses.replace(recipe.net, **changes[True]), **changes[False])


def _parse(key: str, text: str, kind: Any) -> Any:
    """Read a setting as its field's type: a number, a word, a list of them, or 'none' where it may be left out.

    A width may be 'float', which is none; features may be 'all', every column of a constituent.
    """
    optional = NoneType in typing.get_args(kind)
    if optional:
        kind = next(part for part in typing.get_args(kind) if part is not NoneType)
    if optional and (text == "none" or (text == "float" and kind is int)):
        return None
    if key == "features" and text == "all":
        return PARTICLE_NAMES
    item, *_ = typing.get_args(kind) or (kind,)
    try:
        if typing.get_origin(kind) is tuple:
            return tuple(item(part) for part in text.replace("-", ",").split(",")) if text else ()
        if typing.get_origin(kind) is Mapping:
            return {0: float(text)}
        return kind(text)
    except ValueError:
        wanted = {tuple: "a list of numbers such as 32,32,32", Mapping: "float"}.get(
            typing.get_origin(kind), item.__name__
        )
        raise UsageError(f"--set {key}={text}: expected {wanted}, found {text!r}") from None


def prepare(recipe: Recipe, data: Path, test_data: Path | None = None) -> tuple[Task, Standardisation]:
    """Divide examples and fit their standardisation.  Raises: DataError as their readers."""
    from edgephys.applications import choose
    from edgephys.applications.task import Times

    times = Times(recipe.every, recipe.unroll)
    return choose.prepare(recipe.net, (recipe.validation, recipe.test), recipe.seed, times, data, test_data)


def fit(
    recipe: Recipe,
    data: Path,
    test_data: Path | None = None,
    progress: Progress | None = None,
    start: Trained | None = None,
) -> Trained:
    """Train a recipe's network on its examples; stop early on validation loss and touch the test split once.

    ``start`` is a trained model of the same widths: a float one is equalised first, one of the same bits goes on.
    Raises: DataError as ``prepare``; ModelError where ``start`` has other layers.
    """
    from edgephys.networks.backend import keras

    task, ready = prepare(recipe, data, test_data)
    keras.utils.set_random_seed(recipe.seed)
    recipe, model, scale = _begin(recipe, start, task.train[0][:RANGE_JETS])
    task = task.scaled(scale)
    pupil = task.unrolled(model)
    pupil.compile(keras.optimizers.Adam(recipe.rate()), task.losses, metrics=list(task.watched), jit_compile=task.jit)
    began = time.monotonic()
    history = pupil.fit(
        *task.train,
        validation_data=task.validation,
        batch_size=recipe.batch,
        epochs=recipe.epochs,
        verbose=0,
        callbacks=_callbacks(recipe, progress),
    ).history
    seconds = time.monotonic() - began
    watched = f"val_{task.figure}"
    best = history[watched][int(np.argmin(history["val_loss"]))] if watched in history else task.judged(model)
    outcome = {
        "parameters": int(model.count_params()),
        "seconds": round(seconds, 1),
        "epochs_run": len(history["loss"]),
        f"validation_{task.figure}": round(best, 5),
        "logit_scale": scale,
        "metrics": task.test_score(model),
    }
    card = _card(recipe, data, test_data, task, outcome)
    if start is not None:
        card["start"] = {"name": start.name, "seed": start.card["seed"], "epochs_run": start.card["epochs_run"]}
    return Trained(model, ready, _travelling(task), card)


def _travelling(task: Task) -> HeldOut:
    """Return the test examples that go with a model: the first ones, or, of runs, some of each."""
    count = len(task.test.inputs)
    chosen = np.arange(min(count, task.travelling)) if task.classes else _spread(count, task.travelling)
    return HeldOut(task.test.inputs[chosen], task.test.labels[chosen])


def _spread(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _begin(recipe: Recipe, start: Trained | None, x: NDArray[np.float32]) -> tuple[Recipe, Any, float]:
    """Return the model with its first weights, its recipe with their ranges, and the scale of its logits.

    The scale is 1 but for an equalised start.
    """
    if start is None:
        return recipe, recipe.net.build(), 1.0
    net = start.card["recipe"]["net"]
    if net["bits"] is None:
        from edgephys.train.equalise import Range, begin, rescaled, within

        first = rescaled(start.model, x, within(recipe.net.bits or 8), Range(recipe.weight_range))
        recipe = _with_ranges(recipe, first.integers)
        model = recipe.net.build()
        begin(model, first)
        return recipe, model, first.scale
    recipe = _with_ranges(recipe, net.get("weight_integers", {}))
    model = recipe.net.build()
    shapes = [[weight.shape for weight in of.get_weights()] for of in (start.model, model)]
    if shapes[0] != shapes[1]:
        raise ModelError(f"starting model '{start.name}': its weights {shapes[0]} must be the recipe's {shapes[1]}")
    model.set_weights(start.model.get_weights())
    return recipe, model, float(start.card.get("logit_scale", 1.0))


def _with_ranges(recipe: Recipe, integers: Mapping[str, int]) -> Recipe:
    stated = {name: integer for name, integer in integers.items() if integer}
    return dataclasses.replace(recipe, net=dataclasses.replace(recipe.net, weight_integers=stated))


def _require_finite(epoch: int, logs: Mapping[str, float] | None) -> None:
    for name, value in (logs or {}).items():
        if not math.isfinite(value):
            raise ModelError(f"training diverged: {name} is {value} after epoch {epoch + 1}; lower learning_rate")


def _callbacks(recipe: Recipe, progress: Progress | None) -> list[Any]:
    from edgephys.networks.backend import keras

    rates = {
        "plateau": keras.callbacks.ReduceLROnPlateau(factor=recipe.plateau_factor, patience=recipe.plateau_patience),
        "cosine": keras.callbacks.LearningRateScheduler(
            lambda epoch: recipe.rate() * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
        ),
    }
    callbacks = [
        rates[recipe.schedule],
        keras.callbacks.EarlyStopping(patience=recipe.stop_patience, restore_best_weights=True),
        keras.callbacks.LambdaCallback(on_epoch_end=_require_finite),
    ]
    if progress is not None:
        callbacks.append(
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: progress(epoch + 1, recipe.epochs, logs or {})
            )
        )
    return callbacks


def _card(recipe: Recipe, data: Path, test_data: Path | None, task: Task, outcome: dict[str, Any]) -> dict[str, Any]:
    stated = dataclasses.asdict(recipe)
    stated["learning_rate"] = recipe.rate()
    return {
        "name": recipe.name,
        **outcome,
        "classes": list(task.classes),
        "recipe": stated,
        "seed": recipe.seed,
        "data": {
            "train": _described(data),
            "test": _described(test_data) if test_data else f"{recipe.test:g} of the same file",
            task.unit: {
                "train": len(task.train[1]),
                "validation": len(task.validation[1]),
                "test": len(task.test.labels),
            },
        },
        "versions": {
            "edgephys": __version__,
            **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "qkeras-v3")},
        },
        "machine": machine.name(),
    }


def _described(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.h5")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return {"file": path.name, "sha256": digest.hexdigest()}
