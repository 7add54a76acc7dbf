"""What a comparison says: how many integers differ from the golden model's, and where first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph

Layers = Callable[[Integers], Mapping[str, Integers]]
"""Returns every layer's integers for inputs."""

SEARCHED = 256
"""Most vectors on which the first layer that differs is searched, the first ones that differ among them."""
SEARCHED_ELEMENTS = 1 << 22
"""Most elements of the widest edge in all of these vectors: fewer vectors where each is a large field."""


@dataclass(frozen=True)
class Mismatch:
    """Name the first place where a program differs; ``generated`` tells a vector that was generated for the Graph."""

    layer: str
    vector: int
    element: tuple[int, ...]
    expected: int
    received: int
    generated: bool = False

    def __str__(self) -> str:
        return (
            f"layer '{self.layer}' differs first: {'generated ' * self.generated}vector {self.vector}, "
            f"element {list(self.element)}: expected {self.expected}, received {self.received}"
        )

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        return asdict(self) | {"element": list(self.element)}


@dataclass(frozen=True)
class Comparison:
    """State how the outputs of one program compare: vectors, how many integers differ, and where first.

    ``generated`` counts the further vectors that were generated for the Graph, ``outputs`` all integers compared; 0
    where they are those of one evaluation of the Graph for each vector.
    """

    vectors: int
    mismatches: int
    first: Mismatch | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    generated: int = 0
    outputs: int = 0

    def to_record(self) -> dict[str, Any]:
        """Return the record of the JSON contract."""
        counts = {"vectors": self.vectors, "generated": self.generated, "mismatches": self.mismatches}
        return {**counts, **self.facts, **({} if self.first is None else {"first": self.first.to_record()})}


@dataclass(frozen=True, eq=False)
class Expected:
    """Hold the vectors on which programs are compared, with the golden model's outputs.

    Shape: inputs (vector, *input shape), outputs (vector, *output shape); the first ``own`` vectors are the project's
    or a file's, the others were generated for the Graph.
    """

    graph: Graph
    inputs: Integers
    outputs: Integers
    own: int

    def part(self, most: int | None) -> Expected:
        """Return as many vectors at most, evenly drawn from both kinds."""
        if most is None or most >= len(self.inputs):
            return self
        chosen = np.linspace(0, len(self.inputs) - 1, max(1, most)).astype(int)
        return Expected(self.graph, self.inputs[chosen], self.outputs[chosen], int((chosen < self.own).sum()))

    def compared(
        self, name: str, outputs: Integers, layers: Layers | None = None, facts: Mapping[str, Any] | None = None
    ) -> Comparison:
        """Compare a program's outputs; ``layers`` finds the first layer that differs.

        Raises: MismatchError for outputs of another shape.
        """
        count = difference(name, outputs, self.outputs)
        first = self._located(outputs, layers) if count else None
        several = self.outputs.size if self.outputs.shape[1:] != self.graph.output.shape else 0
        return Comparison(self.own, count, first, facts or {}, len(self.inputs) - self.own, several)

    def every_layer(self, layers: Layers) -> Comparison:
        """Compare the integers at the end of every layer that a program shows."""
        edges, received = evaluate.trace(self.graph, {self.graph.input.name: self.inputs}), layers(self.inputs)
        count, first = 0, None
        for layer, node in self.graph.layers():
            if layer in received:
                differ = difference(layer, received[layer], edges[node.name])
                if differ and first is None:
                    place = first_difference(layer, edges[node.name], received[layer])
                    first = self._numbered(place, place.vector)
                count += differ
        return Comparison(self.own, count, first, {}, len(self.inputs) - self.own)

    def first_layer(self, layers: Layers) -> Mismatch | None:
        """Return where the first vectors differ first; None where they do not."""
        first = _differing(self.graph, self.inputs[: _searched(self.graph)], layers)
        return None if first is None else self._numbered(first, first.vector)

    def _located(self, outputs: Integers, layers: Layers | None) -> Mismatch:
        """Return the first layer, in the graph's order, whose integers differ from the golden model's."""
        if layers is not None:
            differ = np.flatnonzero(np.any((outputs != self.outputs).reshape(len(outputs), -1), axis=1))
            count = _searched(self.graph)
            chosen = np.unique(np.concatenate([differ[:count], np.arange(min(len(outputs), count // 4))]))
            first = _differing(self.graph, self.inputs[chosen], layers)
            if first is not None:
                return self._numbered(first, int(chosen[first.vector]))
        first = first_difference(self.graph.output.layer, self.outputs, outputs)
        return self._numbered(first, first.vector)

    def _numbered(self, first: Mismatch, vector: int) -> Mismatch:
        generated = vector >= self.own
        return replace(first, vector=vector - self.own * generated, generated=generated)


def difference(name: str, received: Integers, expected: Integers) -> int:
    """Return how many integers differ; raise MismatchError for another shape."""
    if received.shape != expected.shape:
        raise MismatchError(f"{name}: expected outputs of shape {expected.shape}, received {received.shape}")
    return int(np.count_nonzero(received != expected))


def first_difference(layer: str, expected: Integers, received: Integers) -> Mismatch:
    """Return the first place where two arrays differ."""
    where = np.argwhere(expected != received)[0]
    index = tuple(int(i) for i in where)
    return Mismatch(layer, index[0], index[1:], int(expected[index]), int(received[index]))


def _searched(graph: Graph) -> int:
    """Return on how many vectors the first layer that differs is searched."""
    return max(1, min(SEARCHED, SEARCHED_ELEMENTS // max(prod(node.shape) for node in graph.nodes)))


def _differing(graph: Graph, inputs: Integers, layers: Layers) -> Mismatch | None:
    """Return the first element of the first layer that differs; None where no layer does."""
    edges, received = evaluate.trace(graph, {graph.input.name: inputs}), layers(inputs)
    for layer, node in graph.layers():
        if layer in received and np.any(received[layer] != edges[node.name]):
            return first_difference(layer, edges[node.name], received[layer])
    return None
