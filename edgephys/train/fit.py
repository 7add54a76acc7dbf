"""Train: Recipe -> Trained."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgephys import __version__
from edgephys.applications import registry
from edgephys.applications.task import Shares, Task
from edgephys.core import machine
from edgephys.core.errors import ModelError, UsageError
from edgephys.core.reading import UNLIMITED, only_os_errors, open_regular
from edgephys.models.card import Card
from edgephys.models.standardise import Standardisation
from edgephys.models.trained import Trained
from edgephys.train.recipe import Recipe

Progress = Callable[[int, int, Mapping[str, float]], None]

RANGE_EXAMPLES = 8192
RANGE_ELEMENTS = 1 << 23
"""Training examples on which the ranges of a starting model's activations are measured: fewer where they are large
fields, so that their inputs have at most this many elements."""


def prepare(recipe: Recipe, data: Path, test_data: Path | None = None) -> tuple[Task, Standardisation]:
    """Divide the examples and fit their standardisation.  Raises: DataError where the data do not fit the network."""
    shares = Shares(recipe.validation, recipe.test, recipe.seed)
    application = registry.of_network(recipe.net)
    return application.prepare(recipe.net, recipe.task_settings(), shares, data, test_data)


def fit(
    recipe: Recipe,
    data: Path,
    test_data: Path | None = None,
    progress: Progress | None = None,
    start: Trained | None = None,
) -> Trained:
    """Train a recipe's network on its examples; stop early on validation loss and use the test split once.

    ``start`` is a trained model with the same layers: a float one is equalised first, training of another continues.
    With 0 epochs its weights stay as they are, for inputs of another size or other data.
    Raises: DataError as ``prepare``; ModelError where ``start`` has other layers; UsageError for 0 epochs without it.
    """
    from edgephys.networks.backend import keras

    if not recipe.epochs and start is None:
        raise UsageError("epochs must be 1 and over without --start, whose weights 0 epochs keep as they are")
    task, ready = prepare(recipe, data, test_data)
    keras.utils.set_random_seed(recipe.seed)
    recipe, model, scale = _first_weights(recipe, start, task)
    task = task.scaled(scale)
    fitted = task.unrolled(model)
    optimizer = keras.optimizers.Adam(recipe.rate())
    fitted.compile(optimizer, task.losses, metrics=list(task.keras_metrics), jit_compile=task.jit)
    began = time.monotonic()
    history = fitted.fit(
        *task.train,
        validation_data=task.validation,
        batch_size=recipe.batch,
        epochs=recipe.epochs,
        verbose=0,
        callbacks=_callbacks(recipe, progress),
    ).history
    seconds = time.monotonic() - began
    name = task.metric.key
    scores = history.get(f"val_{name}")
    score = task.validation_score(model) if scores is None else scores[int(np.argmin(history["val_loss"]))]
    begun = None
    if start is not None:
        begun = {"name": start.name, "seed": start.card.seed, "epochs_run": start.card.epochs_run}
    card = Card(
        name=recipe.name,
        parameters=int(model.count_params()),
        seconds=round(seconds, 1),
        epochs_run=len(history.get("loss", [])),
        validation={name: round(score, 5)},
        logit_scale=scale,
        metrics=task.test_metrics(model),
        classes=list(task.classes),
        recipe=recipe.to_record(),
        seed=recipe.seed,
        data=data_record(recipe.test, data, test_data, task),
        versions=_versions(),
        machine=machine.name(),
        start=begun,
        standardisation=ready,
    )
    return Trained(model, task.vectors(), card)


def _first_weights(recipe: Recipe, start: Trained | None, task: Task) -> tuple[Recipe, Any, float]:
    """Return the recipe with the ranges of its weights, the model with its first weights, and the scale of its outputs.

    The scale is 1 unless the start was equalised.
    """
    if start is None:
        return recipe, recipe.net.build(), 1.0
    net = start.card.net
    ranged = "weight_integers" not in recipe.net.settled
    if ranged and net["bits"] is None and recipe.net.bits is not None:
        return _equalised(recipe, start, task)
    recipe = _with_ranges(recipe, net.get("weight_integers", {})) if ranged else recipe
    model = recipe.net.build()
    shapes = [[weight.shape for weight in of.get_weights()] for of in (start.model, model)]
    if shapes[0] != shapes[1]:
        raise ModelError(f"starting model '{start.name}': its weights {shapes[0]} must be the recipe's {shapes[1]}")
    shifts = [[layer.shift for layer in of.layers if hasattr(layer, "shift")] for of in (start.model, model)]
    if shifts[0] != shifts[1]:
        raise ModelError(
            f"starting model '{start.name}': it divides its sums by other powers of two than the recipe; start from a "
            "float model, or train it again"
        )
    model.set_weights(start.model.get_weights())
    return recipe, model, start.card.scale


def _equalised(recipe: Recipe, start: Trained, task: Task) -> tuple[Recipe, Any, float]:
    from edgephys.networks.backend import keras
    from edgephys.train import equalise

    x = task.train[0]
    count = min(RANGE_EXAMPLES, max(1, RANGE_ELEMENTS // x[0].size))
    first = equalise.rescaled(
        _without_normalisation(recipe.net, start),
        recipe.net.build(),
        x[:count],
        equalise.percentiles(recipe.net.bits or 8),
        equalise.WeightRange(recipe.weight_range),
        logits=bool(task.classes),
    )
    recipe = _with_ranges(recipe, first.integers)
    keras.utils.set_random_seed(recipe.seed)  # as if no network had been built before this one
    model = recipe.net.build()
    equalise.assign(model, first)
    return recipe, model, first.scale


def _without_normalisation(net: Any, start: Trained) -> Any:
    """Return a float model in whose weights its batch normalisations are folded."""
    from edgephys.networks.backend import keras
    from edgephys.train.fold import folded

    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in start.model.layers):
        return start.model
    if not hasattr(net, "batch_norm"):
        raise ModelError(
            f"starting model '{start.name}': a {type(net).__name__} has no batch normalisation to fold; start from a "
            "model without it"
        )
    plain = dataclasses.replace(net, bits=None, activation_bits=None, weight_integers={}, batch_norm=False)
    return folded(start.model, plain.build())


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


def data_record(test_share: float, data: Path, test_data: Path | None, task: Task) -> dict[str, Any]:
    """Return the files and the number of examples of each part."""
    counts = {"train": len(task.train[1]), "validation": len(task.validation[1]), "test": len(task.test.labels)}
    test = _described(test_data) if test_data else f"{test_share:g} of the same file"
    return {"train": _described(data), "test": test, task.metric.unit: counts}


def _versions() -> dict[str, str]:
    packages = ("tensorflow", "keras", "qkeras-v3")
    return {"edgephys": __version__} | {name: importlib.metadata.version(name) for name in packages}


def _described(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.h5")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with only_os_errors(file), open_regular(file, UNLIMITED) as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return {"file": path.name, "sha256": digest.hexdigest()}
