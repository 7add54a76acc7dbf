"""Verify: every target against the golden model, bit for bit, on held-out vectors.

Four programs must agree on every output integer: the model itself (Keras, or an imported ONNX file), the golden model,
what runs the emitted sources (``targets``), and the expectation that travels with the project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError, ProjectError
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.models import imported
from edgephys.models.trained import load_keras
from edgephys.project import Project, Vectors, drop_result, read_card, read_vectors, write_result
from edgephys.targets.fpga import STREAM

Stage = Callable[[str], None]
Probe = Callable[[Integers], Mapping[str, Integers]]
"""Returns every layer's integers for inputs."""

LOOKED_AT = 256
"""Vectors, the first that differ among them, on which the first layer that differs is looked for: at most so many."""
LOOKED_AT_ELEMENTS = 1 << 22
"""Elements of the widest edge in all of these vectors: fewer where each is a large field."""
PREDICTED = 1 << 21
"""Input elements in a batch of Keras."""


@dataclass(frozen=True)
class Mismatch:
    """Name the first place where a target differs."""

    layer: str
    vector: int
    element: tuple[int, ...]
    expected: int
    received: int

    def __str__(self) -> str:
        return (
            f"layer '{self.layer}' differs first: vector {self.vector}, element {list(self.element)}: "
            f"expected {self.expected}, received {self.received}"
        )


@dataclass(frozen=True)
class Target:
    """State how one target fared: output integers compared, how many differ, and where first."""

    vectors: int
    mismatches: int
    first: Mismatch | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verified:
    """State how every target fared on the same vectors; ``outputs`` counts integers per target."""

    project: str
    vectors: int
    outputs: int
    targets: Mapping[str, Target]
    changed: tuple[str, ...] = ()

    @property
    def mismatches(self) -> int:
        """Outputs that differ, over all targets."""
        return sum(target.mismatches for target in self.targets.values())

    def require(self) -> None:
        """Raise MismatchError naming the first layer that differs, or the file that was changed unseen."""
        hint = f"; changed since its emission: {', '.join(self.changed[:3])}" if self.changed else ""
        for name, target in self.targets.items():
            if target.mismatches:
                raise MismatchError(
                    f"{self.project}: {name}: {target.first} "
                    f"({target.mismatches} of {self.outputs} outputs differ){hint}"
                )
        if self.changed:
            raise MismatchError(
                f"{self.project}: no output differs on these vectors{hint}; emit the project again, or restore the file"
            )

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return {
            "project": self.project,
            "vectors": self.vectors,
            "outputs": self.outputs,
            "mismatches": self.mismatches,
            "changed": list(self.changed),
            "targets": {name: _target_record(target) for name, target in self.targets.items()},
        }


def _target_record(target: Target) -> dict[str, Any]:
    record: dict[str, Any] = {"vectors": target.vectors, "mismatches": target.mismatches, **target.facts}
    if target.first is not None:
        first = target.first
        record["first"] = {
            "layer": first.layer,
            "vector": first.vector,
            "element": list(first.element),
            "expected": first.expected,
            "received": first.received,
        }
    return record


def verify(project: Project, vectors: Vectors | None = None, stage: Stage | None = None) -> Verified:
    """Run every target on the project's vectors, or on others, and keep the result in the project.

    Raises: ProjectError without vectors or with fewer outputs than vectors; ToolError where a
    simulation cannot run. A difference is in the record: ``require`` raises for it.
    """
    say = stage or (lambda _: None)
    if vectors is None:
        drop_result(project, "verify")
    given = vectors or read_vectors(project)
    if not len(given.inputs):
        raise ProjectError(f"{project.folder}: expected at least 1 vector, found 0; nothing can be verified with none")
    say(f"golden model, {len(given.inputs)} vectors")
    graph = project.graph
    golden = evaluate.run(graph, given.inputs)
    targets = {"golden": _stored(graph, given, golden)}
    given = replace(given, expected=golden)  # what the file expects is the golden model's own affair
    if imported.is_imported(project.model):
        say("the imported file")
        targets["file"] = _file(project, given)
    else:
        say("Keras")
        targets["keras"] = _keras(project, given)
    say(project.target.doing)
    targets[project.target.checked] = _emitted(project, given)
    verified = Verified(project.name, len(given.inputs), golden.size, targets, project.changed())
    if vectors is None:
        write_result(project, "verify", verified.to_record())
    return verified


def _stored(graph: Graph, given: Vectors, golden: Integers) -> Target:
    """The golden model against the stored expectation: no layer is at fault, vectors.npz is."""
    count = _count("golden", golden, given.expected)
    first = _first(graph.output.layer, given.expected, golden) if count else None
    return Target(len(golden), count, first)


def _keras(project: Project, given: Vectors) -> Target:
    from edgephys.networks.backend import keras

    model = load_keras(project.model / "model.keras")

    def outputs(of: Any, inputs: Integers) -> Any:
        x = project.graph.input.fixed.values(inputs).astype(np.float32)
        return of.predict(x, batch_size=max(1, min(8192, PREDICTED // x[0].size)), verbose=0)

    def probe(inputs: Integers) -> dict[str, Integers]:
        names: Mapping[str, str] = project.graph.metadata["keras_layers"]
        layers = {layer: model.get_layer(name) for layer, name in names.items()}
        probed = keras.Model(model.inputs, {layer: found.output for layer, found in layers.items()})
        values = outputs(probed, inputs)
        last = dict(project.graph.layers())
        return {layer: _integers(layer, last[layer].fixed.fraction, values[layer]) for layer in layers}

    received = _integers(project.graph.output.layer, project.graph.output.fixed.fraction, outputs(model, given.inputs))
    return _compared("keras", project.graph, given, received, probe)


def _file(project: Project, given: Vectors) -> Target:
    """The file that a model was imported from, run by qonnx."""
    received = imported.original(project.model, project.graph, given.inputs)
    return _compared(
        "file", project.graph, given, received, lambda x: imported.probe_original(project.model, project.graph, x)
    )


def _integers(layer: str, fraction: int, values: Any) -> Integers:
    scaled = np.asarray(values, np.float64) * 2.0**fraction
    whole = np.rint(scaled)
    if np.any(whole != scaled):
        raise MismatchError(
            f"keras: layer '{layer}' gives values between steps of 2^{-fraction}; lower the model again"
        )
    return whole.astype(np.int64)


def _emitted(project: Project, given: Vectors) -> Target:
    """What runs the emitted sources against the golden model."""
    target = project.target

    def probe(inputs: Integers) -> Mapping[str, Integers]:
        return target.probe(project.firmware, project.facts, inputs)

    try:
        ran = target.run(project.firmware, project.facts, given.inputs)
    except MismatchError as error:
        if project.facts.get("io") != STREAM:  # a probe of it is timed, and fails as it does
            raise
        first = _differing(project.graph, given.inputs[: _looked_at(project.graph)], probe)
        raise MismatchError(f"{project.name}: {error}" + (f"; {first}" if first else "")) from error
    return _compared(target.checked, project.graph, given, ran.outputs, probe, ran.facts)


def _compared(
    name: str,
    graph: Graph,
    given: Vectors,
    received: Integers,
    probe: Probe,
    facts: Mapping[str, Any] | None = None,
) -> Target:
    count = _count(name, received, given.expected)
    first = _locate(graph, given, received, probe) if count else None
    return Target(len(received), count, first, facts or {})


def _count(name: str, received: Integers, expected: Integers) -> int:
    if received.shape != expected.shape:
        raise MismatchError(f"{name}: expected outputs of shape {expected.shape}, received {received.shape}")
    return int(np.count_nonzero(received != expected))


def _locate(graph: Graph, given: Vectors, received: Integers, probe: Probe) -> Mismatch:
    """Return the first layer, in the graph's order, whose integers differ from the golden model's."""
    differs = np.flatnonzero(np.any((received != given.expected).reshape(len(received), -1), axis=1))
    count = _looked_at(graph)
    chosen = np.unique(np.concatenate([differs[:count], np.arange(min(len(received), count // 4))]))
    first = _differing(graph, given.inputs[chosen], probe)
    if first is None:
        return _first(graph.output.layer, given.expected, received)
    return replace(first, vector=int(chosen[first.vector]))


def _looked_at(graph: Graph) -> int:
    return max(1, min(LOOKED_AT, LOOKED_AT_ELEMENTS // max(prod(node.shape) for node in graph.nodes)))


def _differing(graph: Graph, inputs: Integers, probe: Probe) -> Mismatch | None:
    """Return where the first layer that a probe shows to differ does so."""
    edges, found = evaluate.trace(graph, {graph.input.name: inputs}), probe(inputs)
    for layer, node in graph.layers():
        if layer in found and np.any(found[layer] != edges[node.name]):
            return _first(layer, edges[node.name], found[layer])
    return None


def _first(layer: str, expected: Integers, received: Integers) -> Mismatch:
    where = np.argwhere(expected != received)[0]
    index = tuple(int(i) for i in where)
    return Mismatch(layer, index[0], index[1:], int(expected[index]), int(received[index]))


def raw_vectors(project: Project, data: Path, limit: int | None = None) -> Vectors:
    """Return vectors made of raw data through the model's own preprocessing.

    Raises: DataError as the reader of the model's application.
    """
    from edgephys.applications import registry
    from edgephys.models import standardise

    card = read_card(project)
    ready = standardise.from_record(card["standardisation"])
    if ready.output != project.graph.input.fixed:
        raise ProjectError(
            f"{project.folder}: the card's standardisation gives {ready.output}, the graph takes "
            f"{project.graph.input.fixed}; emit the project again"
        )
    held = registry.of_card(card).read(ready, project.graph.input.shape, data, limit)
    return Vectors(held.inputs, held.labels, evaluate.run(project.graph, held.inputs))
