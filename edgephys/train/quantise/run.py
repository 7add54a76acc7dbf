"""Quantise a float model with data: calibrate, perhaps fine-tune, measure what it lost, and import the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import DataError, MismatchError, UsageError
from edgephys.core.files import check_free
from edgephys.core.fixed import Fixed
from edgephys.core.scratch import temporary_folder
from edgephys.models import user_data
from edgephys.models.card import CARD
from edgephys.models.files.keras import file as keras_file
from edgephys.models.import_plan import ImportPlan
from edgephys.models.imported_keras import import_keras, inputs_of
from edgephys.models.model import Imported
from edgephys.models.numbers import relative_l2
from edgephys.models.user_data import UserData
from edgephys.networks.backend import keras
from edgephys.networks.widths import check_bits
from edgephys.train.quantise import build, plan, score
from edgephys.train.quantise.formats import MODES, rounded
from edgephys.train.quantise.losses import losses, names_of
from edgephys.train.quantise.score import Purpose, joined
from edgephys.train.quantise.steps import Floats, Network, network_of
from edgephys.train.quantise.tune import Progress, tune

MOST_ELEMENTS = 1 << 24
"""Elements of all tensors that are computed at a time for calibration, and for the table."""
MOST_VECTORS = 10_000
"""Held-out examples that go into the model's folder, for verification."""
BATCH = 512
TOLERANCE = 1e-2
"""Relative L2 error of the float model that is taken apart: float32 in another order, slopes of few bits."""
BEFORE = "/before"
"""Ends the name of a tensor before it is rounded."""


@dataclass(frozen=True)
class Settings:
    """State how to quantise: ``held_out`` is the share of the data that only measures; ``epochs`` of fine-tuning."""

    bits: int = 8
    input_format: Fixed | None = None
    epochs: int = 0
    held_out: float = 0.2
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Quantised:
    """Hold the imported quantised model, and the record of what it lost."""

    imported: Imported
    record: Mapping[str, Any]


def quantise(
    path: Path, data: Path, out: Path, settings: Settings, force: bool = False, progress: Progress | None = None
) -> Quantised:
    """Quantise the float model of a file and write a model's folder, as an import does.

    Raises: ModelError naming the layer that is refused; DataError for data that do not fit; UsageError for settings.
    """
    check_free(out, CARD, force, "a model")
    check_bits("--bits", settings.bits)
    if not 0 < settings.held_out < 1:
        raise UsageError(f"--held-out must be between 0 and 1, not {settings.held_out}")
    model = _float_model(path)
    network = network_of(model)
    users = user_data.read(data, inputs_of(model))
    if settings.epochs and users.answers is None:
        raise UsageError(f"--epochs needs answers, but {data} has no y; add it or leave --epochs out")
    work = _Work(network, model, data, users, settings)
    formats = work.calibrated()
    quantised = build.built(network, out.absolute().name, formats)
    purpose = work.purpose()
    if settings.epochs:
        work.require_one_output()
        x = work.inputs(work.rounded(formats.input, work.tuning))
        tune(quantised.model, x, purpose, work.tuning, settings.epochs, settings.seed, progress)
    record = {
        "bits": settings.bits,
        "input_format": str(formats.input),
        "epochs": settings.epochs,
        "seed": settings.seed,
        "calibrated_on": len(work.tuning),
        "folded": list(network.folded),
        **work.scores(purpose, quantised.model, formats.input),
        "layers": work.losses(formats, quantised),
    }
    imported = _imported(path, out, quantised.model, formats.input, work, force)
    narrower = [
        f"layer '{name}': its weights have {form.bits} bits, so that float64 holds its sums with the bias exactly"
        for name, form in formats.kernels.items()
        if form.bits < settings.bits
    ]
    warnings = [*network.changed, *_bounds(network, formats), *narrower, *imported.warnings]
    compared = {"outputs_compared": imported.model.card.to_record()["imported"]["outputs_compared"], "exact": True}
    names = {"model": str(out), "name": imported.model.name}
    return Quantised(imported, {**names, **record, **compared, "warnings": warnings})


def _float_model(path: Path) -> Any:
    """Return the Keras model of a file, which may be ONNX."""
    if path.suffix != ".onnx":
        return keras_file.read(path)
    from edgephys.models.files.onnx import file as onnx_file
    from edgephys.models.files.onnx.to_keras import keras_model

    return keras_model(onnx_file.read(path))


def _bounds(network: Network, formats: plan.Formats) -> list[str]:
    """Say which ReLUs have a bound that is another than the float model's."""
    steps = [(step, formats.values[name]) for name, step in network.steps.items() if step.bound is not None]
    bounds = [(step, plan.bound_of(step, form) or form.high * form.step) for step, form in steps]
    return [
        f"layer '{step.name}': its bound {step.bound:g} became {bound:g}, which its format holds"
        for step, bound in bounds
        if bound != step.bound
    ]


@dataclass(eq=False)
class _Work:
    """Hold a float model with its data, divided into examples for calibration and tuning, and held-out ones."""

    network: Network
    model: Any
    source: Path
    data: UserData
    settings: Settings

    def __post_init__(self) -> None:
        count = len(self.data.inputs)
        held = max(1, round(self.settings.held_out * count))
        if held >= count:
            raise DataError(f"{self.source}: expected 2 examples or more, one of them to be held out, found {count}")
        order = np.random.default_rng(self.settings.seed).permutation(count)
        self.held_out, self.tuning = np.sort(order[:held]), np.sort(order[held:])
        self.exact = build.built(self.network, "float")
        own, rebuilt = (joined(self.outputs(model, self.data.inputs[self.held_out[:100]])) for model in self.models())
        if relative_l2(rebuilt, own).value > TOLERANCE:
            raise MismatchError(
                f"model '{self.model.name}': its outputs change when its layers are taken apart; this is a fault of "
                f"ours: report it with the file"
            )

    def models(self) -> tuple[Any, Any]:
        """Return the model itself, and the one that is built again in floats."""
        return self.model, self.exact.model

    def by_input(self, flat: Floats) -> dict[str, Floats]:
        """Return the values of each input, of flat ones."""
        parts, first = {}, 0
        for name in self.network.inputs:
            shape = self.network.steps[name].layer.shape[1:]
            size = int(np.prod(shape))
            parts[name] = flat[:, first : first + size].reshape(len(flat), *shape)
            first += size
        return parts

    def inputs(self, flat: Floats) -> Any:
        """Return flat inputs as the model reads them."""
        parts = [part.astype(np.float32) for part in self.by_input(flat).values()]
        return build.one(parts)

    def outputs(self, model: Any, flat: Floats) -> Sequence[NDArray[Any]]:
        """Return the outputs of a model for flat inputs."""
        named = {str(number): tensor for number, tensor in enumerate(model.outputs)}
        return list(self.results(named, model, flat).values())

    def _batches(self, model: Any, flat: Floats) -> Any:
        """Return what a model computes, batch by batch: a graph that is traced first takes longer on small models."""
        parts = [model(self.inputs(flat[at : at + BATCH]), training=False) for at in range(0, len(flat), BATCH)]
        return keras.tree.map_structure(lambda *batches: np.concatenate([np.asarray(part) for part in batches]), *parts)

    def rounded(self, form: Fixed, rows: NDArray[np.int64]) -> Floats:
        """Return the inputs of some examples in a format."""
        return rounded(Fixed(form.signed, form.bits, form.integer, *MODES), self.data.inputs[rows])

    def purpose(self) -> Purpose:
        """Return what the model is for."""
        return score.purpose(
            self.source, self.network, self.data.answers, [tuple(tensor.shape[1:]) for tensor in self.model.outputs]
        )

    def require_one_output(self) -> None:
        """Refuse to tune what has several outputs."""
        if len(self.network.outputs) > 1:
            raise UsageError(f"--epochs needs a model with 1 output, not {len(self.network.outputs)}; leave it out")

    def fitting(self, tensors: Mapping[str, Any]) -> int:
        """Return of how many examples all tensors may be computed at a time."""
        return max(1, MOST_ELEMENTS // (sum(int(np.prod(tensor.shape[1:])) for tensor in tensors.values()) or 1))

    def results(self, tensors: Mapping[str, Any], model: Any, flat: Floats) -> dict[str, Floats]:
        """Return the values of tensors of a model."""
        if not tensors:
            return {}
        values = self._batches(keras.Model(build.one(model.inputs), dict(tensors)), flat)
        return {name: np.asarray(value, np.float64) for name, value in values.items()}

    def calibrated(self) -> plan.Formats:
        """Return the formats of the network, from the examples for calibration."""
        tensors = {name: self.exact.results[name] for name in plan.places(self.network)}
        x = self.data.inputs[self.tuning]
        values = self.results(tensors, self.exact.model, x[: self.fitting(tensors)])
        return plan.formats(self.network, values, x, self.settings.bits, self.settings.input_format)

    def scores(self, purpose: Purpose, quantised: Any, form: Fixed) -> dict[str, Any]:
        """Return the score of both models on the held-out examples, and by how much the second one is larger."""
        models = ((self.model, self.data.inputs[self.held_out]), (quantised, self.rounded(form, self.held_out)))
        float_outputs, outputs = (joined(self.outputs(model, x)) for model, x in models)
        answers = float_outputs if purpose.answers is None else purpose.answers[self.held_out]
        before, after = (purpose.score(values, answers) for values in (float_outputs, outputs))
        parts = {"before": before, "after": after, "change": before.change(after)}
        values = {name: part.value for name, part in parts.items()}
        errors = {f"{name}_error": part.error for name, part in parts.items()}
        distance = relative_l2(outputs, float_outputs).value
        return {"score": purpose.name, "held_out": len(self.held_out), **values, **errors, "distance": distance}

    def losses(self, formats: plan.Formats, quantised: build.Built) -> list[dict[str, Any]]:
        """Return the rows of the table of losses, measured on the held-out examples."""
        names, x = names_of(self.network, formats), self.data.inputs[self.held_out]
        computed = [name for name in names if name not in self.network.inputs]
        tensors = {name: quantised.results[name] for name in computed}
        tensors |= {f"{name}{BEFORE}": quantised.before[name] for name in computed}
        count = self.fitting(tensors)
        exact = self.results({name: self.exact.results[name] for name in computed}, self.exact.model, x[:count])
        rounded_x = self.rounded(formats.input, self.held_out)[:count]
        read = self.results(tensors, quantised.model, rounded_x)
        inputs, rounded_inputs = (self.by_input(flat) for flat in (x[:count], rounded_x))
        before = {name: read[f"{name}{BEFORE}"] for name in computed} | inputs
        return losses(self.network, formats, exact | inputs, read | rounded_inputs, before)


def _imported(path: Path, out: Path, model: Any, form: Fixed, work: _Work, force: bool) -> Imported:
    """Write the quantised model and its held-out examples, and import them."""
    rows = work.held_out[:MOST_VECTORS]
    x = work.inputs(work.data.inputs[rows])
    arrays = {"x": x} if not isinstance(x, list) else {f"x{number}": part for number, part in enumerate(x)}
    if work.data.answers is not None:
        arrays["y"] = work.data.answers[rows]
    with temporary_folder("quantise") as folder:
        np.savez_compressed(folder / "held_out.npz", **arrays)
        file = folder / f"{path.stem}.keras"
        model.save(file, include_optimizer=False)
        return import_keras(file, out, ImportPlan(form, data=folder / "held_out.npz", force=force))
