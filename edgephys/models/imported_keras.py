"""Import a Keras or QKeras file: lower it, prove its Graph against Keras, and write a model's folder.

``model.keras`` (the file as it came, or the same model saved so), ``card.json`` (where the model came from and how it
was proven) and ``held_out.npz`` (input integers and answers).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.files import check_free
from edgephys.core.fixed import Integers
from edgephys.models import user_data
from edgephys.models.card import CARD, file_digest
from edgephys.models.files.keras import Lowered, lowered
from edgephys.models.files.keras import file as keras_file
from edgephys.models.files.keras.ends import with_rounded_outputs
from edgephys.models.files.keras.reading import TooWideError
from edgephys.models.files.softmax import SoftmaxForm
from edgephys.models.import_plan import DEFAULT, ImportPlan
from edgephys.models.input_data import quantised, widest
from edgephys.models.keras_framework import KerasFileReference, KerasFramework
from edgephys.models.model import Imported
from edgephys.models.proven_import import Examples, LoweredFile, import_lowered
from edgephys.models.trained import MODEL
from edgephys.models.user_data import UserData
from edgephys.networks.joined import parts_of

OURS = (CARD, "a model")
"""The file that marks a folder which may be replaced, and what such a folder is."""


def import_keras(path: Path, out: Path, plan: ImportPlan = DEFAULT) -> Imported:
    """Lower a Keras file, prove its Graph against Keras on the data and on generated vectors, and write the folder.

    Softmaxes that are computed have no exact integers: their largest difference to Keras' is measured. Outputs that are
    rounded to a stated format are rounded so in Keras, too.
    Raises: ModelError naming what is refused; DataError for data that do not fit; UsageError where no format is known;
    else as ``import_lowered``. Nothing is written then.
    """
    from edgephys.networks.backend import keras

    mark, what = OURS
    check_free(out, mark, plan.force, what)
    keras_model = keras_file.read(path)
    if plan.output_format is not None:
        keras_model = with_rounded_outputs(keras_model, plan.output_format)
    own_data = None if plan.data is None else user_data.read(plan.data, inputs_of(keras_model))
    warnings: list[str] = []
    low = _lowered(keras_model, plan, own_data, out.absolute().name, warnings)
    fixed, shape, examples = low.graph.input.fixed, low.graph.input.shape, None
    if own_data is not None:
        steps = quantised(own_data.inputs, fixed, warnings)
        examples = Examples(steps.reshape(-1, *shape), own_data.answers)

    def write(folder: Path) -> None:
        if plan.output_format is None and keras_file.is_keras_own(path):
            shutil.copyfile(path, folder / MODEL)
        else:
            keras_model.save(folder / MODEL, include_optimizer=False)

    file = LoweredFile(
        low.graph,
        KerasFileReference(low),
        KerasFramework(),
        program="Keras",
        only_classes=any("the order of the outputs" in layer for layer in low.dropped),
        in_single=partial(_compare_single, keras_model, low),
        facts={
            "file": path.name,
            "sha256": file_digest(path),
            "producer": f"Keras {keras.__version__}",
            "opset": None,
            "operators": len(low.tensors),
            "input_format": str(fixed),
            "dropped": list(low.dropped),
        },
        versions={"keras": keras.__version__},
        write=write,
        mark=mark,
        what=what,
    )
    return import_lowered(file, examples, out, plan, warnings)


def inputs_of(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the inputs of a model by name, each with its shape; those that ``joined`` has put into one, too."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise ModelError(f"model '{model.name}': it states no inputs; build it with keras.Model(inputs, outputs)")
    return parts_of(model) or {tensor.name: tuple(tensor.shape[1:]) for tensor in inputs}


def _lowered(model: Any, plan: ImportPlan, data: UserData | None, name: str, warnings: list[str]) -> Lowered:
    """Return the Graph with a stated input format, or with the widest proposed one that its sums take in exactly."""
    form = plan.softmax or SoftmaxForm()
    if plan.input_format is not None:
        return lowered(model, plan.input_format, name, form)
    if data is None:
        raise UsageError("--input-format must be stated, such as 'fixed<12,4>', or --data, which shows what is needed")
    try:
        return widest(data.inputs, lambda fixed: lowered(model, fixed, name, form, single=True), TooWideError, warnings)
    except TooWideError:
        return widest(data.inputs, lambda fixed: lowered(model, fixed, name, form), TooWideError, warnings)


def _compare_single(model: Any, low: Lowered, inputs: Integers, outputs: Integers) -> tuple[str, ...]:
    """Say why Keras computes in float64, and in how many outputs its float32 differs, where these are the Graph's."""
    if not low.double:
        return ()
    text = "a sum has more bits than float32 holds exactly: compared with Keras in float64"
    if any("at the end" in layer for layer in low.dropped) or low.softmaxes:
        return (text,)
    single = KerasFileReference(replace(low, inputs=model.inputs, double=False)).values(inputs, model.outputs)
    wrong = int(np.count_nonzero(low.graph.output.fixed.values(outputs) != single.reshape(outputs.shape)))
    return (f"{text}; in float32 Keras rounds {wrong:,} of {outputs.size:,} outputs otherwise",)
