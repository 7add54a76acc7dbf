"""Import an ONNX file: lower it, prove its Graph against the file, and write a model's folder.

``model.onnx`` (the file as it came, with external data put into it), ``graph.json`` (the Graph), ``card.json`` (where
the model came from and how it was proven) and ``held_out.npz`` (input integers and labels).
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys import __version__
from edgephys.core.errors import DataError, MismatchError, ModelError, ToolError, UsageError
from edgephys.core.files import check_free, replace_folder
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.reading import read_arrays
from edgephys.graph import evaluate, stimuli
from edgephys.graph.graph import Graph, to_record
from edgephys.models import units, user_data
from edgephys.models.card import Card, ImportedFile, with_softmaxes, write_card
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.inputs import UnstatedFormatError
from edgephys.models.files.onnx.lower import lower
from edgephys.models.files.softmax import SoftmaxForm
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
from edgephys.models.model import Imported, Model
from edgephys.models.onnx_framework import GRAPH, ONNX, OnnxFramework, OnnxReference, with_graph_axes
from edgephys.models.user_data import UserData
from edgephys.models.vectors import HELD_OUT, HeldOut
from edgephys.targets.qonnx import emit as qonnx

MOST_ELEMENTS = 1 << 28
"""Elements of all random inputs together."""


def import_onnx(path: Path, out: Path, plan: ImportPlan = DEFAULT) -> Imported:
    """Lower an ONNX file, prove its Graph against the file itself, and write the model's folder.

    A softmax at the end is left out, or computed by tables: its largest difference to the file's is measured then.
    Raises: ModelError naming what is refused; MismatchError where the Graph computes other integers than the file;
    DataError for data that do not fit; UsageError where ``out`` is not ours. Nothing is written then.
    """
    check_free(out, GRAPH, plan.force, "an imported model")
    model, name = onnx_file.read(path), out.absolute().name
    own = None if plan.data is None else user_data.read(plan.data, dict(model.inputs))
    warnings: list[str] = []
    graph = _lowered(model, name, plan.input_format, own, warnings, plan.softmax)
    labels: NDArray[np.int64] | None = None
    if own is not None:
        inputs = of_data(graph, own, warnings)
    elif plan.vectors is not None:
        inputs, labels = _read(graph, plan.vectors)
    else:
        inputs = _random(graph, plan.count, plan.seed, warnings)
    reference = OnnxReference(model.proto, graph)
    outputs = _proven(graph, reference, inputs)
    generated = stimuli.make(graph)
    _proven(graph, reference, generated)
    approximated = reference.softmaxes(np.concatenate([inputs, generated]))
    warnings += [one.describe() for one in approximated]
    _compare_single(graph, model, inputs, outputs, warnings)
    if own is not None and own.answers is not None:
        labels = classes_of(own.answers, outputs.shape)
        if labels is None and targets_of(own.answers, outputs) is None:
            warnings.append(f"{misfit(own.answers, outputs.shape)}: no score is stated")
    drawn = own is None and plan.vectors is None
    card = _card(model, graph, len(inputs), plan.seed if drawn else None, labels, outputs)
    card = with_softmaxes(card, plan.softmax, approximated)
    held_out = HeldOut(inputs, _answers(outputs) if labels is None else labels)

    def write(folder: Path) -> None:
        (folder / ONNX).write_bytes(model.proto.SerializeToString(deterministic=True))
        (folder / GRAPH).write_text(json.dumps(to_record(graph)) + "\n")
        np.savez_compressed(folder / HELD_OUT, inputs=held_out.inputs, labels=held_out.labels)
        write_card(card, folder)

    replace_folder(out, write, GRAPH, plan.force, "an imported model")
    return Imported(Model(out, graph, held_out, card, OnnxFramework()), tuple(warnings))


def _lowered(
    model: onnx_file.OnnxModel,
    name: str,
    stated: Fixed | None,
    data: UserData | None,
    warnings: list[str],
    softmax: SoftmaxForm | None,
) -> Graph:
    """Return the Graph; where nothing states the input's format, data propose the widest one that can be exact."""
    try:
        return lower(model, name, stated, softmax)
    except UnstatedFormatError:
        if data is None:
            raise
    refusal: ModelError | None = None
    for bits in range(MOST_BITS, FEWEST_BITS - 1, -1):
        fixed = proposed(data.inputs, bits)
        try:
            graph = lower(model, name, fixed, softmax)
        except ModelError as error:
            refusal = refusal or error
            continue
        warnings.append(f"input format {fixed}, which holds the data; --input-format states another")
        return graph
    raise refusal or ModelError(f"model '{name}': no input format of {FEWEST_BITS} to {MOST_BITS} bits will do")


def of_data(graph: Graph, data: UserData, warnings: list[str]) -> Integers:
    """Return a user's inputs as integers, in the layout of the Graph."""
    facts = graph.metadata["onnx"]
    steps = quantised(data.inputs, graph.input.fixed, warnings, facts["input_scale"] or 1.0)
    if len(facts["inputs"]) > 1:
        return steps
    return with_graph_axes(steps.reshape(-1, *facts["inputs"][0]["shape"]), facts["input_axes"])


def _compare_single(
    graph: Graph, model: onnx_file.OnnxModel, inputs: Integers, outputs: Integers, warnings: list[str]
) -> None:
    """Say in how many outputs a run of the file in float32 differs, where the reference is in float64."""
    if not graph.metadata["onnx"]["float64"]:
        return
    try:
        single = OnnxReference(model.proto, graph, single=True).outputs(inputs)
    except (MismatchError, ToolError) as error:
        warnings.append(f"the file in float32 was not compared: {error}")
        return
    wrong = int(np.count_nonzero(single != outputs))
    warnings.append(
        f"compared with the file in float64; in float32 qonnx rounds {wrong:,} of {outputs.size:,} outputs otherwise"
    )


def _proven(graph: Graph, reference: OnnxReference, inputs: Integers) -> Integers:
    """Return the file's outputs; raise MismatchError naming the first layer where the Graph differs from them."""
    outputs = reference.outputs(inputs)
    wrong = np.flatnonzero((evaluate.run(graph, inputs) != outputs).reshape(len(inputs), -1).any(1))
    if not wrong.size:
        return outputs
    first = inputs[wrong[:1]]
    edges, layers = evaluate.trace(graph, {graph.input.name: first}), reference.layers(first)
    ends = dict(graph.layers())
    layer = next((name for name in ends if name in layers and np.any(layers[name] != edges[ends[name].name])), None)
    raise MismatchError(
        f"graph '{graph.name}': layer '{layer or graph.output.layer}' differs first from the ONNX file, "
        f"in {wrong.size} of {len(inputs)} vectors, the first {wrong[0]}; this is a fault of ours: report it with the "
        "file"
    )


def _random(graph: Graph, count: int, seed: int, warnings: list[str]) -> Integers:
    if count < 1:
        raise UsageError(f"--count must be 1 or more, not {count}")
    fixed, shape = graph.input.fixed, graph.input.shape
    if count * prod(shape) > MOST_ELEMENTS:
        raise UsageError(f"--count must be at most {MOST_ELEMENTS // prod(shape)} for inputs of {shape}, not {count}")
    count = most_random(graph, count, warnings)
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *shape), endpoint=True)
    if count >= stimuli.FEWEST:  # else they are among the generated vectors alone
        x[0], x[-1] = fixed.low, fixed.high  # corners, where sums are widest
    return x


def _read(graph: Graph, path: Path) -> tuple[Integers, NDArray[np.int64] | None]:
    """Return the vectors of a file, which has them in the shape of the ONNX file's input."""
    facts, fixed = graph.metadata["onnx"], graph.input.fixed
    axes = facts["input_axes"]
    scale = graph.metadata["onnx"]["input_scale"] or 1.0
    try:
        arrays = read_arrays(path, ["inputs"], ["labels"])
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a .npz with 'inputs' and perhaps 'labels', found {error}") from error
    inputs, labels = arrays["inputs"], arrays.get("labels")
    shape = tuple(graph.input.shape[axis] for axis in axes)
    if inputs.ndim == 0 or inputs.shape[1:] != shape or not len(inputs) or inputs.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: inputs must be numbers of shape (1 or more, *{shape}), not {inputs.dtype} {inputs.shape}"
        )
    if labels is not None and (labels.dtype.kind not in "iu" or labels.shape[:1] != inputs.shape[:1]):
        raise DataError(f"{path}: labels must be an integer for each of {len(inputs)} inputs, not {labels.shape}")
    steps = fixed.quantise(inputs / scale) if inputs.dtype.kind == "f" else inputs.astype(np.int64)
    if not fixed.holds(int(steps.min()), int(steps.max())):
        raise DataError(f"{path}: integer inputs must be {fixed.low}..{fixed.high} ({fixed}); give floats, or fewer")
    return with_graph_axes(steps, axes), None if labels is None else labels.astype(np.int64)


def _answers(outputs: Integers) -> NDArray[np.int64]:
    """Return the file's own answers: the class of its largest output, or the whole field."""
    return outputs.argmax(-1) if outputs.ndim == 2 else outputs


def _format_text(graph: Graph) -> str:
    """Return the input's format in words, with what its integers are times where that is no power of two."""
    scale = graph.metadata["onnx"]["input_scale"]
    return str(graph.input.fixed) if scale is None else f"{graph.input.fixed} times {scale:g}"


def _card(
    model: onnx_file.OnnxModel,
    graph: Graph,
    count: int,
    seed: int | None,
    labels: NDArray[np.int64] | None,
    outputs: Integers,
) -> Card:
    """Return the card: the keys of a trained model's card, and where this model came from."""
    classes = [str(at) for at in range(outputs.shape[-1])] if outputs.ndim == 2 else []
    metrics: dict[str, Any] = {}
    if labels is not None and outputs.ndim == 2 and labels.shape == outputs.shape[:1]:
        metrics = accuracy(units.as_logits(graph, outputs), labels)
    name, version = qonnx.tool()
    return Card(
        name=graph.name,
        seed=seed,
        classes=classes,
        parameters=sum(node.op.parameter_count for node in graph.nodes),
        metrics=metrics,
        recipe={},
        standardisation=None,
        versions={"edgephys": __version__, name: version},
        imported=ImportedFile(
            file=model.path.name,
            sha256=model.sha256,
            producer=model.producer,
            opset=model.opset,
            operators=len(model.operations),
            input_format=_format_text(graph),
            dropped=graph.metadata["onnx"]["dropped"],
            vectors=f"{count}, {'random' if seed is not None else 'given'}",
            labels="given" if labels is not None else "what the file itself answers",
            outputs_compared=int(outputs.size),
            mismatches=0,
        ),
    )
