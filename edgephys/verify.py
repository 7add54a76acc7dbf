"""Compare every target with the golden model, bit for bit, on held-out vectors.

Four sources must agree on every output integer: the framework that the model came from, the golden model, the emitted
sources as its target runs them, and the outputs that are stored in the project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError, ProjectError
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph
from edgephys.models.frameworks import framework_of
from edgephys.models.vectors import Vectors
from edgephys.project import (
    FILE_VERIFICATION,
    VERIFICATION,
    Project,
    drop_result,
    read_card,
    read_vectors,
    write_result,
)
from edgephys.targets.fpga import STREAM

Say = Callable[[str], None]
Layers = Callable[[Integers], Mapping[str, Integers]]
"""Returns every layer's integers for inputs."""

SEARCHED = 256
"""Most vectors on which the first layer that differs is searched, the first ones that differ among them."""
SEARCHED_ELEMENTS = 1 << 22
"""Most elements of the widest edge in all of these vectors: fewer vectors where each is a large field."""


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
class Comparison:
    """State how the outputs of one program compare: vectors, how many integers differ, and where first."""

    vectors: int
    mismatches: int
    first: Mismatch | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        record: dict[str, Any] = {"vectors": self.vectors, "mismatches": self.mismatches, **self.facts}
        if self.first is not None:
            record["first"] = asdict(self.first) | {"element": list(self.first.element)}
        return record


@dataclass(frozen=True)
class Verified:
    """State how every target fared on the same vectors; ``outputs`` counts integers per target."""

    project: str
    vectors: int
    outputs: int
    targets: Mapping[str, Comparison]
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
            "targets": {name: comparison.to_record() for name, comparison in self.targets.items()},
        }


def verify(
    project: Project, vectors: Vectors | None = None, say: Say | None = None, file: str | None = None
) -> Verified:
    """Compare every program on the project's vectors, or on others; ``file`` names the file of the others.

    The result is kept in the project, apart from that of other vectors of no file.
    Raises: ProjectError without vectors or with fewer outputs than vectors; ToolError where a simulation cannot run.
    A difference is in the record: ``require`` raises for it.
    """
    say = say or (lambda _: None)
    name = VERIFICATION if vectors is None else FILE_VERIFICATION if file is not None else None
    if name is not None:
        drop_result(project, name)
    vectors = vectors or read_vectors(project)
    if not len(vectors.inputs):
        raise ProjectError(f"{project.folder}: expected at least 1 vector, found 0; nothing can be verified with none")
    say(f"golden model, {len(vectors.inputs)} vectors")
    golden = evaluate.run(project.graph, vectors.inputs)
    targets = {"golden": _stored(project.graph, vectors, golden)}
    vectors = replace(vectors, expected=golden)  # an expectation that is wrong is a fault of vectors.npz alone
    framework = framework_of(project.model)
    say(framework.title)
    reference = framework.reference(project.model, project.graph)
    outputs = reference.outputs(vectors.inputs)
    targets[framework.name] = _compared(framework.name, project.graph, vectors, outputs, reference.layers)
    say(project.target.doing)
    targets[project.target.checked] = _emitted(project, vectors)
    verified = Verified(project.name, len(vectors.inputs), golden.size, targets, project.changed())
    if name is not None:
        write_result(project, name, ({} if file is None else {"file": file}) | verified.to_record())
    return verified


def _stored(graph: Graph, vectors: Vectors, golden: Integers) -> Comparison:
    """Compare the golden model with the stored outputs; where they differ, vectors.npz is at fault and no layer."""
    count = _count("golden", golden, vectors.expected)
    first = _first(graph.output.layer, vectors.expected, golden) if count else None
    return Comparison(len(golden), count, first)


def _emitted(project: Project, vectors: Vectors) -> Comparison:
    """Compare the emitted sources with the golden model."""
    target = project.target

    def layers(inputs: Integers) -> Mapping[str, Integers]:
        return target.probe(project.firmware, project.facts, inputs)

    try:
        ran = target.run(project.firmware, project.facts, vectors.inputs)
    except MismatchError as error:
        if project.facts.get("io") != STREAM:  # its probe is timed, and fails in the same way
            raise
        first = _differing(project.graph, vectors.inputs[: _searched(project.graph)], layers)
        raise MismatchError(f"{project.name}: {error}" + (f"; {first}" if first else "")) from error
    return _compared(target.checked, project.graph, vectors, ran.outputs, layers, ran.facts)


def _compared(
    name: str,
    graph: Graph,
    vectors: Vectors,
    outputs: Integers,
    layers: Layers,
    facts: Mapping[str, Any] | None = None,
) -> Comparison:
    count = _count(name, outputs, vectors.expected)
    first = _locate(graph, vectors, outputs, layers) if count else None
    return Comparison(len(outputs), count, first, facts or {})


def _count(name: str, received: Integers, expected: Integers) -> int:
    if received.shape != expected.shape:
        raise MismatchError(f"{name}: expected outputs of shape {expected.shape}, received {received.shape}")
    return int(np.count_nonzero(received != expected))


def _locate(graph: Graph, vectors: Vectors, outputs: Integers, layers: Layers) -> Mismatch:
    """Return the first layer, in the graph's order, whose integers differ from the golden model's."""
    differ = np.flatnonzero(np.any((outputs != vectors.expected).reshape(len(outputs), -1), axis=1))
    count = _searched(graph)
    chosen = np.unique(np.concatenate([differ[:count], np.arange(min(len(outputs), count // 4))]))
    first = _differing(graph, vectors.inputs[chosen], layers)
    if first is None:
        return _first(graph.output.layer, vectors.expected, outputs)
    return replace(first, vector=int(chosen[first.vector]))


def _searched(graph: Graph) -> int:
    """Return on how many vectors the first layer that differs is searched."""
    return max(1, min(SEARCHED, SEARCHED_ELEMENTS // max(prod(node.shape) for node in graph.nodes)))


def _differing(graph: Graph, inputs: Integers, layers: Layers) -> Mismatch | None:
    """Return the first element of the first layer that differs; None where no layer does."""
    edges, received = evaluate.trace(graph, {graph.input.name: inputs}), layers(inputs)
    for layer, node in graph.layers():
        if layer in received and np.any(received[layer] != edges[node.name]):
            return _first(layer, edges[node.name], received[layer])
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

    card = read_card(project)
    ready = card.standardisation
    if ready is None:
        raise ProjectError(f"{project.folder}: the model has no preprocessing of raw data; verify it without --data")
    if ready.output != project.graph.input.fixed:
        raise ProjectError(
            f"{project.folder}: the card's standardisation gives {ready.output}, the graph takes "
            f"{project.graph.input.fixed}; emit the project again"
        )
    held = registry.of_card(card).read(ready, project.graph.input.shape, data, limit)
    return Vectors(held.inputs, held.labels, evaluate.run(project.graph, held.inputs))
