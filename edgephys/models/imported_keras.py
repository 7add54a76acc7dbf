"""Import a Keras or QKeras file: lower it, prove its Graph against Keras, and write a model's folder.

``model.keras`` (the file as it came, or the same model saved so), ``card.json`` (where the model came from and how it
was proven) and ``held_out.npz`` (input integers and answers).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys import __version__
from edgephys.core.errors import MismatchError, ModelError, UsageError
from edgephys.core.files import check_free, replace_folder
from edgephys.core.fixed import Fixed, Integers
from edgephys.graph import evaluate, stimuli
from edgephys.models import numbers, units, user_data
from edgephys.models.card import CARD, Card, ImportedFile, with_softmaxes, write_card
from edgephys.models.files.keras import Lowered, lowered
from edgephys.models.files.keras import file as keras_file
from edgephys.models.files.keras.ends import with_rounded_outputs
from edgephys.models.files.keras.reading import TooWideError
from edgephys.models.files.softmax import MeasuredSoftmax, SoftmaxForm
from edgephys.models.import_plan import DEFAULT, ImportPlan
from edgephys.models.input_data import (
    FEWEST_BITS,
    MOST_BITS,
    accuracy,
    classes_of,
    misfit,
    most_random,
    proposed,
    quantised,
    targets_of,
)
from edgephys.models.keras_framework import KerasFileReference, KerasFramework
from edgephys.models.model import Imported, Model
from edgephys.models.trained import MODEL
from edgephys.models.user_data import UserData
from edgephys.models.vectors import HELD_OUT, HeldOut
from edgephys.networks.joined import parts_of


def import_keras(path: Path, out: Path, plan: ImportPlan = DEFAULT) -> Imported:
    """Lower a Keras file, prove its Graph against Keras on the data and on generated vectors, and write the folder.

    Softmaxes that are computed have no exact integers: their largest difference to Keras' is measured. Outputs that are
    rounded to a stated format are rounded so in Keras, too.
    Raises: ModelError naming what is refused; DataError for data that do not fit; MismatchError where the Graph
    computes other integers than Keras; UsageError where ``out`` is not ours or no format is known. Nothing is written
    then.
    """
    check_free(out, CARD, plan.force, "a model")
    keras_model = keras_file.read(path)
    if plan.output_format is not None:
        keras_model = with_rounded_outputs(keras_model, plan.output_format)
    name = out.absolute().name
    own_data = None if plan.data is None else user_data.read(plan.data, inputs_of(keras_model))
    warnings: list[str] = []
    form = plan.softmax or SoftmaxForm()
    low = _lowered(keras_model, plan.input_format, own_data, name, warnings, form)
    graph, reference = low.graph, KerasFileReference(low)
    if own_data is None:
        inputs = _random(low, most_random(graph, plan.count, warnings), plan.seed)
    else:
        inputs = quantised(own_data.inputs, graph.input.fixed, warnings).reshape(-1, *graph.input.shape)
    outputs = _proven(low, reference, inputs)
    if low.double:
        warnings.append(_doubled(keras_model, low, inputs, outputs))
    generated = stimuli.make(graph)
    _proven(low, reference, generated)
    approximated = _measured(low, reference, np.concatenate([inputs, generated]))
    warnings += [one.describe() for one in approximated]
    labels, metrics = _scored(low, None if own_data is None else own_data.answers, outputs, warnings)
    own = outputs.argmax(-1) if outputs.ndim == 2 else outputs
    held_out = HeldOut(inputs, own if labels is None else labels)
    card = _card(path, low, len(inputs), None if own_data is not None else plan.seed, metrics, outputs)
    card = with_softmaxes(card, plan.softmax, approximated)

    def write(folder: Path) -> None:
        if plan.output_format is None and keras_file.is_keras_own(path):
            shutil.copyfile(path, folder / MODEL)
        else:
            keras_model.save(folder / MODEL, include_optimizer=False)
        np.savez_compressed(folder / HELD_OUT, inputs=held_out.inputs, labels=held_out.labels)
        write_card(card, folder)

    replace_folder(out, write, CARD, plan.force, "a model")
    return Imported(Model(out, graph, held_out, card, KerasFramework()), tuple(warnings))


def inputs_of(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the inputs of a model by name, each with its shape; those that ``joined`` has put into one, too."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise ModelError(f"model '{model.name}': it states no inputs; build it with keras.Model(inputs, outputs)")
    return parts_of(model) or {tensor.name: tuple(tensor.shape[1:]) for tensor in inputs}


def _measured(low: Lowered, reference: KerasFileReference, inputs: Integers) -> tuple[MeasuredSoftmax, ...]:
    """Return each softmax that is computed with its largest difference to Keras' float softmax."""
    largest = reference.softmaxes(inputs)
    return tuple(MeasuredSoftmax(one.layer, one.form, largest[one.layer], len(inputs)) for one in low.softmaxes)


def _lowered(
    model: Any,
    input_format: Fixed | None,
    data: UserData | None,
    name: str,
    warnings: list[str],
    softmax: SoftmaxForm,
) -> Lowered:
    """Return the Graph with a stated input format, or with the widest proposed one that its sums take in exactly."""
    if input_format is not None:
        return lowered(model, input_format, name, softmax)
    if data is None:
        raise UsageError("--input-format must be stated, such as 'fixed<12,4>', or --data, which shows what is needed")
    for bits in range(MOST_BITS, FEWEST_BITS - 1, -1):
        fixed = proposed(data.inputs, bits)
        try:
            result = lowered(model, fixed, name, softmax, single=True)
        except TooWideError:
            continue
        warnings.append(f"input format {fixed}, which holds the data; --input-format states another")
        return result
    for bits in range(MOST_BITS, FEWEST_BITS - 1, -1):
        fixed = proposed(data.inputs, bits)
        try:
            result = lowered(model, fixed, name, softmax)
        except TooWideError:
            if bits == FEWEST_BITS:
                raise
            continue
        break
    warnings.append(f"input format {fixed}, which holds the data; --input-format states another")
    return result


def _doubled(model: Any, low: Lowered, inputs: Integers, outputs: Integers) -> str:
    """Say why Keras computes in float64, and in how many outputs its float32 differs, where these are the Graph's."""
    text = "a sum has more bits than float32 holds exactly: compared with Keras in float64"
    if any("at the end" in layer for layer in low.dropped) or low.softmaxes:
        return text
    single = KerasFileReference(replace(low, inputs=model.inputs, double=False)).values(inputs, model.outputs)
    wrong = int(np.count_nonzero(low.graph.output.fixed.values(outputs) != single.reshape(outputs.shape)))
    return f"{text}; in float32 Keras rounds {wrong:,} of {outputs.size:,} outputs otherwise"


def _random(low: Lowered, count: int, seed: int) -> Integers:
    if count < 1:
        raise UsageError(f"--count must be 1 or more, not {count}")
    fixed, shape = low.graph.input.fixed, low.graph.input.shape
    return np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *shape), endpoint=True)


def _proven(low: Lowered, reference: KerasFileReference, inputs: Integers) -> Integers:
    """Return Keras' outputs; raise MismatchError naming the first layer where the Graph differs from them."""
    graph, outputs = low.graph, reference.outputs(inputs)
    wrong = np.flatnonzero((evaluate.run(graph, inputs) != outputs).reshape(len(inputs), -1).any(1))
    if not wrong.size:
        return outputs
    first = inputs[wrong[:1]]
    edges, layers, ends = (
        evaluate.trace(graph, {graph.input.name: first}),
        reference.layers(first),
        dict(graph.layers()),
    )
    layer = next((name for name in ends if name in layers and np.any(layers[name] != edges[ends[name].name])), None)
    raise MismatchError(
        f"graph '{graph.name}': layer '{layer or graph.output.layer}' differs first from Keras, in {wrong.size} of "
        f"{len(inputs)} vectors; this is a fault of ours: report it with the file"
    )


def _scored(
    low: Lowered, answers: NDArray[Any] | None, outputs: Integers, warnings: list[str]
) -> tuple[NDArray[Any] | None, dict[str, Any]]:
    """Return the labels of the examples and the metrics: of classes, or of numbers; none where no answers fit."""
    if answers is None:
        return None, {}
    classes = classes_of(answers, outputs.shape)
    if classes is not None:
        return classes, accuracy(units.as_logits(low.graph, outputs), classes)
    ordered = any("the order of the outputs" in layer for layer in low.dropped)
    targets = None if ordered else targets_of(answers, outputs)
    if targets is None:
        warnings.append(f"{misfit(answers, outputs.shape, ordered)}: no score is stated")
        return None, {}
    values = low.graph.output.fixed.values(outputs).reshape(len(outputs), -1)
    return targets, numbers.evaluated(np.asarray(values, np.float64), targets, "examples")


def _card(
    path: Path, low: Lowered, count: int, seed: int | None, metrics: Mapping[str, Any], outputs: Integers
) -> Card:
    from edgephys.networks.backend import keras

    graph = low.graph
    return Card(
        name=graph.name,
        seed=seed,
        classes=[str(at) for at in range(outputs.shape[-1])] if outputs.ndim == 2 else [],
        parameters=sum(node.op.parameter_count for node in graph.nodes),
        metrics=metrics,
        recipe={},
        standardisation=None,
        versions={"edgephys": __version__, "keras": keras.__version__},
        imported=ImportedFile(
            file=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            producer=f"Keras {keras.__version__}",
            opset=None,
            operators=len(low.tensors),
            input_format=str(graph.input.fixed),
            dropped=list(low.dropped),
            vectors=f"{count}, {'random' if seed is not None else 'given'}",
            labels="given" if metrics else "what the file itself answers",
            outputs_compared=int(outputs.size),
            mismatches=0,
        ),
    )
