"""Train: Recipe -> Trained. A recipe is data; every key of it can be set from the command line."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import math
import platform
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys import __version__, metrics
from edgephys.artefact import HeldOut, Trained
from edgephys.data import inputs, jets, standardise
from edgephys.data.division import Division, divide
from edgephys.data.layout import CLASSES, PARTICLE_NAMES
from edgephys.errors import EdgephysError, ModelError, UsageError
from edgephys.fixed import Fixed
from edgephys.nets.net import Net

Progress = Callable[[int, int, Mapping[str, float]], None]

HELD_OUT = 12_000
"""Most vectors that travel with a model."""

SCHEDULES = ("plateau", "cosine")
"""Learning rates: the paper's, times a factor when the validation loss rests; or half a cosine down to 0, which
lets quantised weights that swing between two steps come to rest."""

WEIGHT_RANGES = ("unit", "fitted")
"""Weights in [-1, 1), as published; or, after a float start, each layer's in a power of two that holds most of them."""

RANGE_JETS = 8192
"""Training jets on which the ranges of a starting model's activations are taken."""


@dataclass(frozen=True)
class Recipe:
    """State how a network is trained. Source of the defaults: arXiv 2402.01876 (methods, training)."""

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
        if self.epochs < 1 or self.batch < 1:
            raise UsageError(f"epochs and batch must be 1 and over, not {self.epochs} and {self.batch}")
        if not (0 < self.validation < 1 and 0 <= self.test < 1 and self.validation + self.test < 1):
            raise UsageError(
                f"validation must be above 0, test 0 and over, their sum below 1, not {self.validation}, {self.test}"
            )

    @property
    def name(self) -> str:
        """Name of the model that it makes: <script>_n<N>_<bits>bit or ..._float."""
        return f"{self.script}_{self.net.label}"

    @property
    def division(self) -> Division:
        """What the network sees, and the jets that it sees."""
        return Division(self.net.constituents, self.net.features, self.validation, self.test, self.seed)

    def rate(self) -> float:
        """Return the learning rate of the nearest stated number of constituents."""
        return self.learning_rate[min(self.learning_rate, key=lambda n: abs(n - self.net.constituents))]


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


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold one model's split data: standardised values and labels, and the raw held-out integers."""

    train: tuple[NDArray[np.float32], NDArray[np.int64]]
    validation: tuple[NDArray[np.float32], NDArray[np.int64]]
    test: HeldOut
    standardisation: standardise.Standardisation


def prepare(recipe: Recipe, data: Path, test_data: Path | None = None) -> Sample:
    """Divide jets and fit their standardisation.

    Raises: DataError as ``divide``, and for a feature without spread.
    """
    parts = divide(recipe.division, data, test_data)
    ready = standardise.fit(parts["train"].features, recipe.net.features, recipe.net.input)
    return standardised(parts, ready)


def standardised(parts: Mapping[str, jets.Jets], ready: standardise.Standardisation) -> Sample:
    """Return divided jets as a model with this standardisation sees them."""

    def values(of: jets.Jets) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return ready.output.values(ready.apply(of.features)).astype(np.float32), of.labels

    test = parts["test"]
    held = HeldOut(ready.apply(test.features), test.labels)
    return Sample(values(parts["train"]), values(parts["validation"]), held, ready)


def fit(
    recipe: Recipe,
    data: Path,
    test_data: Path | None = None,
    progress: Progress | None = None,
    start: Trained | None = None,
) -> Trained:
    """Train a recipe's network on jets; stop early on validation loss and touch the test split once.

    ``start`` is a trained model of the same widths: a float one is equalised first, one of the same bits goes on.
    Raises: DataError as ``prepare``; ModelError where ``start`` has other layers.
    """
    from edgephys.nets.backend import keras

    sample = prepare(recipe, data, test_data)
    keras.utils.set_random_seed(recipe.seed)
    recipe, model, scale = _begin(recipe, start, sample.train[0][:RANGE_JETS])
    model.compile(
        keras.optimizers.Adam(recipe.rate()),
        _loss(scale),
        metrics=["accuracy"],
        jit_compile=True,
    )
    began = time.monotonic()
    history = model.fit(
        *sample.train,
        validation_data=sample.validation,
        batch_size=recipe.batch,
        epochs=recipe.epochs,
        verbose=0,
        callbacks=_callbacks(recipe, progress),
    )
    seconds = time.monotonic() - began
    outcome = {
        "parameters": int(model.count_params()),
        "seconds": round(seconds, 1),
        "epochs_run": len(history.history["loss"]),
        "validation_accuracy": round(history.history["val_accuracy"][int(np.argmin(history.history["val_loss"]))], 5),
        "logit_scale": scale,
        "metrics": evaluate(model, recipe.net.input, sample.test, scale),
    }
    travelling = HeldOut(sample.test.inputs[:HELD_OUT], sample.test.labels[:HELD_OUT])
    card = _card(recipe, data, test_data, sample, outcome)
    if start is not None:
        card["start"] = {"name": start.name, "seed": start.card["seed"], "epochs_run": start.card["epochs_run"]}
    return Trained(model, sample.standardisation, travelling, card)


def _begin(recipe: Recipe, start: Trained | None, x: NDArray[np.float32]) -> tuple[Recipe, Any, float]:
    """Return the model with its first weights, its recipe with their ranges, and the scale of its logits.

    The scale is 1 but for an equalised start.
    """
    if start is None:
        return recipe, recipe.net.build(), 1.0
    net = start.card["recipe"]["net"]
    if net["bits"] is None:
        from edgephys.nets.equalise import Range, begin, rescaled, within

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


def _loss(scale: float) -> Callable[[Any, Any], Any]:
    """Cross entropy of logits that the model gives divided by a power of two."""
    from edgephys.nets.backend import keras

    def cross_entropy(labels: Any, logits: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(labels, logits * scale, from_logits=True)

    return cross_entropy


def _require_finite(epoch: int, logs: Mapping[str, float] | None) -> None:
    for name, value in (logs or {}).items():
        if not math.isfinite(value):
            raise ModelError(f"training diverged: {name} is {value} after epoch {epoch + 1}; lower learning_rate")


def _callbacks(recipe: Recipe, progress: Progress | None) -> list[Any]:
    from edgephys.nets.backend import keras

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


def evaluate(model: Any, input_format: Fixed, test: HeldOut, scale: float = 1.0) -> dict[str, Any]:
    """Return accuracy and AUC by class, with their errors, on held-out integers; logits are times ``scale``."""
    logits = model.predict(input_format.values(test.inputs).astype(np.float32), batch_size=8192, verbose=0)
    share = metrics.accuracy(logits, test.labels)
    areas = metrics.auc(logits * scale, test.labels, CLASSES)
    return {
        "accuracy": share.value,
        "accuracy_error": share.error,
        "auc": {name: area.value for name, area in areas.items()},
        "auc_error": {name: area.error for name, area in areas.items()},
        "jets": len(test.labels),
    }


def score(trained: Trained, data: Path) -> dict[str, Any]:
    """Return accuracy and AUC by class, with their errors, of a trained model on the jets of a file.

    Raises: DataError as the reader of jets does.
    """
    ready = trained.standardisation
    read = inputs.read(data, trained.model.input_shape[1], ready.names)
    held = HeldOut(ready.apply(read.features), read.labels)
    return evaluate(trained.model, ready.output, held, float(trained.card.get("logit_scale", 1.0)))


def _card(
    recipe: Recipe, data: Path, test_data: Path | None, sample: Sample, outcome: dict[str, Any]
) -> dict[str, Any]:
    stated = dataclasses.asdict(recipe)
    stated["learning_rate"] = recipe.rate()
    return {
        "name": recipe.name,
        **outcome,
        "classes": list(CLASSES),
        "recipe": stated,
        "seed": recipe.seed,
        "data": {
            "train": _described(data),
            "test": _described(test_data) if test_data else f"{recipe.test:g} of the same file",
            "jets": {
                "train": len(sample.train[1]),
                "validation": len(sample.validation[1]),
                "test": len(sample.test.labels),
            },
        },
        "versions": {
            "edgephys": __version__,
            **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "qkeras-v3")},
        },
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def _described(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.h5")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return {"file": path.name, "sha256": digest.hexdigest()}
