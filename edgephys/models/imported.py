"""An imported model's folder: an ONNX file with the Graph that it was proven to be, in place of a Keras model.

``model.onnx`` (the file as it came; outside data put into it), ``graph.json`` (the Graph), ``card.json`` (where it came
from, and how it was proven) and ``held_out.npz`` (input integers and labels): what emission and verification read.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys import __version__
from edgephys.core.errors import DataError, MismatchError, ModelError, UsageError
from edgephys.core.files import check_free, replace_folder
from edgephys.core.fixed import Fixed, Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph, from_record, to_record
from edgephys.graph.ranges import require_proven
from edgephys.models.files import onnx_file
from edgephys.models.files.onnx import lower
from edgephys.models.trained import CARD, ONNX, VECTORS, HeldOut, load_vectors, read_card
from edgephys.targets.qonnx import emit as qonnx

GRAPH = "graph.json"
RANDOM_VECTORS = 1000
"""Random vectors that a model is proven on where none are given."""
CHUNK = 1 << 22
"""Elements of the widest edge in one call of qonnx, which keeps every tensor of it."""


@dataclass(frozen=True, eq=False)
class Imported:
    """Hold an imported model: its Graph, its card and its held-out vectors."""

    graph: Graph
    card: dict[str, Any]
    held_out: HeldOut

    @property
    def name(self) -> str:
        """Name of the model, as its folder's."""
        return str(self.card["name"])


def is_imported(folder: Path) -> bool:
    """Tell whether a folder is an imported model's, not a trained one's."""
    return (folder / ONNX).is_file() and (folder / GRAPH).is_file()


def import_model(
    path: Path,
    out: Path,
    input_format: Fixed | None = None,
    vectors: Path | None = None,
    count: int = RANDOM_VECTORS,
    seed: int = 1,
    force: bool = False,
) -> Imported:
    """Lower an ONNX file, prove its Graph against the file run by qonnx, and write the imported model's folder.

    ``vectors`` is a .npz with ``inputs`` in the file's shape, floats or integers in steps, and perhaps ``labels``;
    without it, ``count`` random ones are drawn.
    Raises: ModelError naming what is refused; MismatchError where the Graph computes other integers than the file;
    UsageError where ``out`` is not ours. Nothing is written then.
    """
    check_free(out, GRAPH, force, "an imported model")
    model = onnx_file.read(path)
    graph = lower(model, out.absolute().name, input_format)
    inputs, labels = (_random(graph, count, seed), None) if vectors is None else _given(graph, vectors)
    expected = evaluate.run(graph, inputs)
    answers = _run(model.proto, graph, inputs)
    _require_same(graph, model.proto, inputs, expected, answers)
    card = _card(model, graph, len(inputs), seed if vectors is None else None, labels, answers)
    held_out = HeldOut(inputs, _answered(answers) if labels is None else labels)

    def write(folder: Path) -> None:
        (folder / ONNX).write_bytes(model.proto.SerializeToString(deterministic=True))
        (folder / GRAPH).write_text(json.dumps(to_record(graph)) + "\n")
        (folder / CARD).write_text(json.dumps(card, indent=1) + "\n")
        np.savez_compressed(folder / VECTORS, inputs=held_out.inputs, labels=held_out.labels)

    replace_folder(out, write, GRAPH, force, "an imported model")
    return Imported(graph, card, held_out)


def load_imported(folder: Path) -> Imported:
    """Return the imported model in ``folder``; raise ModelError naming the file that is missing or damaged."""
    try:
        graph = require_proven(from_record(json.loads((folder / GRAPH).read_text())))
        if not isinstance(graph.metadata.get("onnx"), dict):
            raise ModelError("it does not tell the tensors of the file")
    except (OSError, ValueError, ModelError) as error:
        raise ModelError(f"{folder / GRAPH}: expected an imported model's Graph, found {error}; import it again") from (
            error
        )
    if not (folder / ONNX).is_file():
        raise ModelError(f"{folder / ONNX}: no such file; import the model again")
    card, held_out = read_card(folder / CARD), load_vectors(folder / VECTORS)
    if held_out.inputs.shape[1:] != graph.input.shape:
        raise ModelError(
            f"{folder / VECTORS}: inputs must be (vector, *{graph.input.shape}), not {held_out.inputs.shape}; "
            f"import the model again"
        )
    return Imported(graph, card, held_out)


# The file itself, in place of a Keras model ------------------------------------------------------


def original(folder: Path, graph: Graph, x: Integers) -> Integers:
    """Return what the ONNX file in ``folder`` gives, run by qonnx, in steps of the Graph's output.

    Shape: x (vector, *the Graph's input shape) -> (vector, *its output shape).  Exact: integers in and out.
    Raises: ModelError for a damaged file; MismatchError for values between steps; ToolError where qonnx fails.
    """
    return _run(onnx_file.read(folder / ONNX).proto, graph, x)


def probe_original(folder: Path, graph: Graph, x: Integers) -> dict[str, Integers]:
    """Return the integers that the ONNX file gives at the end of every layer, by layer. Raises: as ``original``."""
    return _probe(onnx_file.read(folder / ONNX).proto, graph, x)


def _run(proto: Any, graph: Graph, x: Integers) -> Integers:
    facts = graph.metadata["onnx"]
    tensor, output = facts["output"], graph.output
    values = _values(proto, graph, x, (tensor,))[tensor]
    return qonnx.integers_of(
        _carried(values, facts["output_axes"]), output.fixed.fraction, f"'{tensor}'", str(output.fixed)
    )


def _probe(proto: Any, graph: Graph, x: Integers) -> dict[str, Integers]:
    last = dict(graph.layers())
    ends = {layer: end for layer, end in graph.metadata["onnx"]["layers"].items() if layer in last}
    values = _values(proto, graph, x, tuple({tensor: None for tensor, _ in ends.values()}))
    return {
        layer: qonnx.integers_of(
            _carried(values[tensor], axes), last[layer].fixed.fraction, f"layer '{layer}'", str(last[layer].fixed)
        )
        for layer, (tensor, axes) in ends.items()
    }


def _values(proto: Any, graph: Graph, x: Integers, tensors: tuple[str, ...]) -> Mapping[str, NDArray[Any]]:
    facts = graph.metadata["onnx"]
    values = graph.input.fixed.values(np.transpose(x, (0, *(axis + 1 for axis in facts["input_axes"]))))
    size = max(1, CHUNK // max(prod(node.shape) for node in graph.nodes))
    return qonnx.execute(proto, facts["input"], values.astype(np.float32), tensors, size)


def _carried(values: NDArray[Any], axes: list[int]) -> NDArray[Any]:
    """Return a tensor of the file with the axes of the Graph."""
    return np.transpose(values, (0, *(axes.index(axis) + 1 for axis in range(len(axes)))))


def _require_same(graph: Graph, proto: Any, x: Integers, expected: Integers, answers: Integers) -> None:
    wrong = np.flatnonzero((expected != answers).reshape(len(x), -1).any(1))
    if not wrong.size:
        return
    chosen = x[wrong[:1]]
    edges, found = evaluate.trace(graph, {graph.input.name: chosen}), _probe(proto, graph, chosen)
    last = dict(graph.layers())
    layer = next((name for name in last if name in found and np.any(found[name] != edges[last[name].name])), None)
    raise MismatchError(
        f"graph '{graph.name}': layer '{layer or graph.output.layer}' differs first from the ONNX file run by qonnx, "
        f"in {wrong.size} of {len(x)} vectors, the first {wrong[0]}; this is a fault of ours: report it with the file"
    )


# Vectors and card -------------------------------------------------------------------------------


def _random(graph: Graph, count: int, seed: int) -> Integers:
    if count < 1:
        raise UsageError(f"--count must be 1 or more, not {count}")
    fixed, shape = graph.input.fixed, graph.input.shape
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *shape), endpoint=True)
    x[0], x[-1] = fixed.low, fixed.high  # corners, where sums are widest
    return x


def _given(graph: Graph, path: Path) -> tuple[Integers, NDArray[np.int64] | None]:
    """Return the vectors of a file, which has them in the shape of the ONNX file's input."""
    axes, fixed = graph.metadata["onnx"]["input_axes"], graph.input.fixed
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            inputs = arrays["inputs"]
            labels = arrays.get("labels")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: expected a .npz with 'inputs' and perhaps 'labels', found {error!r}") from error
    wanted = tuple(graph.input.shape[axis] for axis in axes)
    if inputs.ndim == 0 or inputs.shape[1:] != wanted or not len(inputs) or inputs.dtype.kind not in "iuf":
        raise DataError(
            f"{path}: inputs must be numbers of shape (1 or more, *{wanted}), not {inputs.dtype} {inputs.shape}"
        )
    if labels is not None and (labels.dtype.kind not in "iu" or len(labels) != len(inputs)):
        raise DataError(f"{path}: labels must be an integer for each of {len(inputs)} inputs, not {labels.shape}")
    steps = fixed.quantise(inputs) if inputs.dtype.kind == "f" else inputs.astype(np.int64)
    if not fixed.holds(int(steps.min()), int(steps.max())):
        raise DataError(f"{path}: integer inputs must be {fixed.low}..{fixed.high} ({fixed}); give floats, or fewer")
    return _carried(steps, axes), None if labels is None else labels.astype(np.int64)


def _answered(answers: Integers) -> NDArray[np.int64]:
    """Return what the file itself answers: the largest of its outputs, or all of a field."""
    return answers.argmax(-1) if answers.ndim == 2 else answers


def _card(
    model: onnx_file.OnnxModel,
    graph: Graph,
    count: int,
    seed: int | None,
    labels: NDArray[np.int64] | None,
    answers: Integers,
) -> dict[str, Any]:
    """Return the card: what a trained model's has where there is such a thing, and where this one came from."""
    classes = [str(at) for at in range(answers.shape[-1])] if answers.ndim == 2 else []
    metrics: dict[str, Any] = {}
    if labels is not None and answers.ndim == 2 and labels.shape == answers.shape[:1]:
        right = float(np.mean(answers.argmax(-1) == labels))
        metrics = {"accuracy": right, "accuracy_error": float(np.sqrt(right * (1 - right) / len(labels)))}
    name, version = qonnx.tool()
    return {
        "name": graph.name,
        "seed": seed,
        "classes": classes,
        "parameters": sum(node.op.parameter_count for node in graph.nodes),
        "metrics": metrics,
        "recipe": None,
        "standardisation": None,
        "versions": {"edgephys": __version__, name: version},
        "imported": {
            "file": model.path.name,
            "sha256": model.sha256,
            "producer": model.producer,
            "opset": model.opset,
            "operators": len(model.operations),
            "input_format": str(graph.input.fixed),
            "dropped": graph.metadata["onnx"]["dropped"],
            "vectors": f"{count}, {'random' if seed is not None else 'given'}",
            "labels": "given" if labels is not None else "what the file itself answers",
            "outputs_compared": int(answers.size),
            "mismatches": 0,
        },
    }
