"""How many decisions each edge of a layer of tables carries, measured on vectors with the golden model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from edgephys.core.fixed import Integers
from edgephys.graph.evaluate import continued, trace
from edgephys.graph.graph import Graph
from edgephys.graph.table_layers import TableLayer

Progress = Callable[[int, int], None]


def decision_shares(
    graph: Graph, layers: Sequence[TableLayer], x: Integers, progress: Progress | None = None
) -> list[NDArray[np.float64]]:
    """Return, for each layer, the share of vectors whose decision changes without an edge.

    Without an edge its table is replaced by one number: the mean of the entries that the vectors read, rounded to the
    table's steps. The decision is the largest output, the first one where several are; of a single output its sign. An
    edge whose table is constant carries none.
    Shape: x (vector, *input shape) -> (input, neuron) for each layer.
    """
    edges = trace(graph, {graph.input.name: x})
    before = _decided(edges[graph.output.name])
    shares, done, every = [], 0, sum(prod(layer.shape) for layer in layers)
    for layer in layers:
        share = np.zeros(layer.shape)
        read = edges[layer.lookup.name].reshape(*edges[layer.sums.name].shape, -1)  # (vector, ..., neuron, input)
        for channel, neuron in np.ndindex(layer.shape):
            entries, done = read[..., neuron, channel], done + 1
            change = np.rint(entries.mean()).astype(np.int64) - entries
            if change.any():
                sums = edges[layer.sums.name].copy()
                sums[..., neuron] += change
                after = _decided(continued(graph, edges, {layer.sums.name: sums})[graph.output.name])
                share[channel, neuron] = np.mean(after != before)
            if progress is not None:
                progress(done, every)
        shares.append(share)
    return shares


def _decided(outputs: Integers) -> Integers:
    flat = outputs.reshape(len(outputs), -1)
    return np.asarray(flat.argmax(1) if flat.shape[1] > 1 else flat[:, 0] > 0)
