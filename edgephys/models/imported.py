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
from edgephys.core.errors import DataError, MismatchError, UsageError
from edgephys.core.files import check_free, replace_folder
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.reading import read_arrays
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, to_record
from edgephys.models.card import Card, ImportedFile, write_card
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.lower import lower
from edgephys.models.model import Model
from edgephys.models.onnx_framework import GRAPH, ONNX, OnnxFramework, OnnxReference, with_graph_axes
from edgephys.models.vectors import HELD_OUT, HeldOut
from edgephys.targets.qonnx import emit as qonnx

MOST_ELEMENTS = 1 << 28
"""Elements of all random inputs together."""
RANDOM_VECTORS = 1000
"""Random vectors on which a model is proven where no file of vectors is stated."""


def import_model(
    path: Path,
    out: Path,
    input_format: Fixed | None = None,
    vectors: Path | None = None,
    count: int = RANDOM_VECTORS,
    seed: int = 1,
    force: bool = False,
) -> Model:
    """Lower an ONNX file, prove its Graph against the file run by qonnx, and write the model's folder.

    ``vectors`` is a .npz with ``inputs`` in the file's shape, floats or integers in steps, and perhaps ``labels``;
    without it, ``count`` random ones are drawn.
    Raises: ModelError naming what is refused; MismatchError where the Graph computes other integers than the file;
    UsageError where ``out`` is not ours. Nothing is written then.
    """
    check_free(out, GRAPH, force, "an imported model")
    model = onnx_file.read(path)
    graph = lower(model, out.absolute().name, input_format)
    inputs, labels = (_random(graph, count, seed), None) if vectors is None else _read(graph, vectors)
    outputs = _proven(graph, OnnxReference(model.proto, graph), inputs)
    card = _card(model, graph, len(inputs), seed if vectors is None else None, labels, outputs)
    held_out = HeldOut(inputs, _answers(outputs) if labels is None else labels)

    def write(folder: Path) -> None:
        (folder / ONNX).write_bytes(model.proto.SerializeToString(deterministic=True))
        (folder / GRAPH).write_text(json.dumps(to_record(graph)) + "\n")
        np.savez_compressed(folder / HELD_OUT, inputs=held_out.inputs, labels=held_out.labels)
        write_card(card, folder)

    replace_folder(out, write, GRAPH, force, "an imported model")
    return Model(out, graph, held_out, card, OnnxFramework())


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
        f"graph '{graph.name}': layer '{layer or graph.output.layer}' differs first from the ONNX file run by qonnx, "
        f"in {wrong.size} of {len(inputs)} vectors, the first {wrong[0]}; this is a fault of ours: report it with the "
        "file"
    )


def _random(graph: Graph, count: int, seed: int) -> Integers:
    if count < 1:
        raise UsageError(f"--count must be 1 or more, not {count}")
    fixed, shape = graph.input.fixed, graph.input.shape
    if count * prod(shape) > MOST_ELEMENTS:
        raise UsageError(f"--count must be at most {MOST_ELEMENTS // prod(shape)} for inputs of {shape}, not {count}")
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *shape), endpoint=True)
    x[0], x[-1] = fixed.low, fixed.high  # corners, where sums are widest
    return x


def _read(graph: Graph, path: Path) -> tuple[Integers, NDArray[np.int64] | None]:
    """Return the vectors of a file, which has them in the shape of the ONNX file's input."""
    axes, fixed = graph.metadata["onnx"]["input_axes"], graph.input.fixed
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
    steps = fixed.quantise(inputs) if inputs.dtype.kind == "f" else inputs.astype(np.int64)
    if not fixed.holds(int(steps.min()), int(steps.max())):
        raise DataError(f"{path}: integer inputs must be {fixed.low}..{fixed.high} ({fixed}); give floats, or fewer")
    return with_graph_axes(steps, axes), None if labels is None else labels.astype(np.int64)


def _answers(outputs: Integers) -> NDArray[np.int64]:
    """Return the file's own answers: the class of its largest output, or the whole field."""
    return outputs.argmax(-1) if outputs.ndim == 2 else outputs


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
        right = float(np.mean(outputs.argmax(-1) == labels))
        metrics = {"accuracy": right, "accuracy_error": float(np.sqrt(right * (1 - right) / len(labels)))}
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
            input_format=str(graph.input.fixed),
            dropped=graph.metadata["onnx"]["dropped"],
            vectors=f"{count}, {'random' if seed is not None else 'given'}",
            labels="given" if labels is not None else "what the file itself answers",
            outputs_compared=int(outputs.size),
            mismatches=0,
        ),
    )
