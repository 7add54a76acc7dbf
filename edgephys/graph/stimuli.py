"""Vectors that are generated for a Graph, because held-out vectors of physics do not reach every bit.

In this order: ends of the input's format in every element, each element alone, rows of zeros, inputs that drive
elements of every edge to their lowest and highest, and integers drawn over the whole format. Then vectors that reach
something new (``coverage``) are reaching and changed at random, as a coverage-guided fuzzer does. A Graph so large that
a vector takes seconds has a few vectors: ends of the format and integers drawn over all of it.
"""

from __future__ import annotations

from math import prod

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.coverage import Coverage, chunks
from edgephys.graph.graph import Graph

MOST = 4096
"""Most vectors."""
ELEMENTS = 1 << 23
"""Most elements of the widest edge in all vectors: fewer vectors where each is a large field."""
FEWEST = 64
PROBED = 256
"""Most elements of the input whose influence on the edges is measured."""
ROUNDS = 6
"""Most rounds of changing vectors that reached something new."""
SEARCHED_ELEMENTS = 1 << 28
"""Elements of all edges that the rounds compute together: fewer rounds for large fields."""


COMPUTED_ELEMENTS = 1 << 29
"""Elements of all edges that all vectors compute together: a few vectors where each takes seconds."""
FEWEST_OF_LARGE = 2


def most_for(graph: Graph) -> int:
    """Return how many vectors a graph is evaluated on in a minute or so, here and in its framework."""
    return max(FEWEST_OF_LARGE, COMPUTED_ELEMENTS // sum(prod(node.shape) for node in graph.nodes))


def count_for(graph: Graph) -> int:
    """Return how many vectors are generated for a graph."""
    count = max(FEWEST, min(MOST, ELEMENTS // max(prod(node.shape) for node in graph.nodes)))
    return min(count, most_for(graph))


def make(graph: Graph, seed: int = 0) -> Integers:
    """Return vectors for a graph with one input; the same for the same graph and seed.

    Shape: (vector, *input shape), integers in steps of the input's format.
    """
    generator, count = np.random.default_rng(seed), count_for(graph)
    if count < FEWEST:  # too few to search with: ends in every element, the others drawn
        ends = np.stack([np.full(graph.input.shape, end) for end in (graph.input.fixed.high, graph.input.fixed.low)])
        ends = ends[: (count + 1) // 3]
        return np.concatenate([ends, _uniform(graph, generator, count - len(ends))])
    first = [_ends(graph), _alone(graph, count // 8), _with_zero_rows(graph, generator, count // 16)]
    first.append(_driven(graph, generator, count // 4))
    vectors = np.concatenate(first)[: count // 2]
    vectors = np.concatenate([vectors, _uniform(graph, generator, count // 2 - len(vectors) // 2)])
    return np.concatenate([vectors, _searched(graph, generator, vectors, count - len(vectors))])


def _uniform(graph: Graph, generator: np.random.Generator, count: int) -> Integers:
    fixed = graph.input.fixed
    return generator.integers(fixed.low, fixed.high, (count, *graph.input.shape), endpoint=True)


def _values(graph: Graph) -> Integers:
    """Return the ends of the input's format, and the integers beside them and beside 0."""
    low, high = graph.input.fixed.low, graph.input.fixed.high
    return np.unique(np.clip([low, low + 1, -1, 0, 1, high // 2, high - 1, high], low, high))


def _ends(graph: Graph) -> Integers:
    """Return each of these integers in every element."""
    return np.stack([np.full(graph.input.shape, value) for value in _values(graph)])


def _alone(graph: Graph, most: int) -> Integers:
    """Return elements at an end of the format, each alone among zeros; evenly drawn where there are too many."""
    size, fixed = prod(graph.input.shape), graph.input.fixed
    elements = np.unique(np.linspace(0, size - 1, max(1, min(size, most // 2))).astype(int))
    x = np.zeros((2, len(elements), size), np.int64)
    for end, value in enumerate((fixed.low, fixed.high)):
        x[end, np.arange(len(elements)), elements] = value
    return x.reshape(-1, *graph.input.shape)


def _with_zero_rows(graph: Graph, generator: np.random.Generator, count: int) -> Integers:
    """Return noise of which only the first rows are not zero, as jets with few constituents have."""
    x = _uniform(graph, generator, count)
    rows = generator.integers(0, graph.input.shape[0], count, endpoint=True)
    x[np.arange(graph.input.shape[0]) >= rows[:, None]] = 0
    return x


def _driven(graph: Graph, generator: np.random.Generator, most: int) -> Integers:
    """Return inputs that drive elements of every edge up and down.

    Each input element is set to both ends alone; the sign of what an edge's element gains tells the end that drives it
    up. Exact where the element depends linearly on the inputs, else a guess that the search improves.
    """
    fixed, shape = graph.input.fixed, graph.input.shape
    size = prod(shape)
    probed = np.sort(generator.permutation(size)[:PROBED])
    places = _places(graph, generator, most // 2)
    elements, ends = np.tile(probed, 2), np.repeat((fixed.low, fixed.high), len(probed))
    edges_of = []
    for chunk in chunks(graph, len(elements)):
        count = len(elements[chunk])
        x = np.zeros((count, size), np.int64)
        x[np.arange(count), elements[chunk]] = ends[chunk]
        edges = evaluate.trace(graph, {graph.input.name: x.reshape(-1, *shape)})
        parts = [edges[name].reshape(count, -1)[:, chosen] for name, chosen in places.items()]
        edges_of.append(np.concatenate(parts, axis=1))
    low, high = np.concatenate(edges_of).reshape(2, len(probed), -1)
    gain = np.sign((high - low).T)  # (element of an edge, probed input)
    up = np.zeros((len(gain), size), np.int64)
    up[:, probed] = np.where(gain > 0, fixed.high, np.where(gain < 0, fixed.low, 0))
    down = np.zeros_like(up)
    down[:, probed] = np.where(gain > 0, fixed.low, np.where(gain < 0, fixed.high, 0))
    return np.unique(np.concatenate([up, down]), axis=0).reshape(-1, *shape)


def _places(graph: Graph, generator: np.random.Generator, most: int) -> dict[str, Integers]:
    """Return elements of every edge but the input, evenly shared out."""
    nodes = [node for node in graph.nodes if node.name not in graph.inputs]
    each = max(1, most // max(1, len(nodes)))
    return {node.name: generator.permutation(prod(node.shape))[:each] for node in nodes}


def _searched(graph: Graph, generator: np.random.Generator, known: Integers, count: int) -> Integers:
    """Return vectors that reach what the known ones do not, and changed ones of these in the rest of ``count``."""
    coverage = Coverage(graph)
    parents = known[coverage.add(known)]
    reaching: list[Integers] = []
    size = count * sum(prod(node.shape) for node in graph.nodes)
    for _ in range(min(ROUNDS, SEARCHED_ELEMENTS // size + 1)):
        children = _changed(graph, generator, parents, count)
        fresh = children[coverage.add(children)]
        reaching.append(fresh)
        if len(fresh):
            parents = np.concatenate([parents[-count:], fresh])
    fresh_ones = np.concatenate(reaching)[:count]
    return np.concatenate([fresh_ones, _changed(graph, generator, parents, count - len(fresh_ones))])


def _changed(graph: Graph, generator: np.random.Generator, parents: Integers, count: int) -> Integers:
    """Return parents, drawn at random, with a random share of their elements from another, drawn anew or at an end."""
    x = parents[generator.integers(len(parents), size=count)]
    other = parents[generator.integers(len(parents), size=count)]
    share = generator.choice([0.01, 0.1, 0.5], (3, count, *(1 for _ in graph.input.shape)))
    x = np.where(generator.random(x.shape) < share[0], other, x)
    x = np.where(generator.random(x.shape) < share[1], _uniform(graph, generator, count), x)
    return np.where(generator.random(x.shape) < share[2] / 5, generator.choice(_values(graph), x.shape), x)
