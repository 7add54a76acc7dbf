"""Layers of learnt tables in a Graph: which table each edge from an input to a neuron is, and which entries are read.

Such a layer is a copy of each input for each neuron, a lookup with a table for each copy, and a sum for each neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph, Node
from edgephys.graph.interval import Range
from edgephys.graph.ops import Lookup, Requantise, Reshape, Sum, Take
from edgephys.graph.ranges import derive


@dataclass(frozen=True, eq=False)
class TableLayer:
    """Hold a layer of tables: the node that it reads, its lookup and its sums, and what each input can be.

    ``tables`` are the entries in steps of the lookup, that of the lowest value first; ``low`` and ``high`` are the ends
    of each input's range in steps of the node that is read, over all rows.
    ``first`` is the integer of the first entry, ``shift`` the bits by which its steps are finer than those of the node
    that is read.
    Shape: tables (input, entry, neuron); low and high (input,).
    """

    name: str
    source: Node
    lookup: Node
    sums: Node
    tables: Integers
    first: int
    shift: int
    low: Integers
    high: Integers

    @property
    def shape(self) -> tuple[int, int]:
        """Number of inputs and of neurons."""
        return self.tables.shape[0], self.tables.shape[2]

    @property
    def pruned(self) -> Integers:
        """Whether each edge's table is 0.  Shape: (input, neuron)."""
        return np.asarray(~self.tables.any(1))

    def values(self, channel: int) -> Integers:
        """Return the values that an input can have, in steps of the node that is read."""
        return np.arange(self.low[channel], self.high[channel] + 1)

    def entries(self, channel: int) -> Integers:
        """Return the entries that an input's values read, in steps of the lookup.  Shape: (value, neuron)."""
        return np.asarray(self.tables[channel, (self.values(channel) << self.shift) - self.first])


def table_layers(graph: Graph) -> list[TableLayer]:
    """Return the layers of tables of a graph, in order."""
    ranges = derive(graph)
    layers = (_layer_of(graph, node, ranges) for node in graph.nodes)
    return [layer for layer in layers if layer is not None]


def reads_the_input(graph: Graph, layer: TableLayer) -> bool:
    """Tell whether the tables read the graph's input itself, perhaps rounded."""
    node = layer.source
    while isinstance(node.op, Requantise):
        node = graph.by_name[node.inputs[0]]
    return node.name == graph.input.name


def _layer_of(graph: Graph, sums: Node, ranges: Mapping[str, Range]) -> TableLayer | None:
    """Return the layer of tables that a node adds up; None where it adds up something else."""
    if not isinstance(sums.op, Sum) or sums.op.axis != len(sums.shape):
        return None
    (spread,) = graph.operands(sums)
    (lookup,) = graph.operands(spread) if isinstance(spread.op, Reshape) else (spread,)
    (copies,) = graph.operands(lookup) if isinstance(lookup.op, Lookup) else (lookup,)
    if not isinstance(lookup.op, Lookup) or not isinstance(copies.op, Take):
        return None
    (source,) = graph.operands(copies)
    inputs = source.shape[-1]
    neurons, rest = divmod(copies.shape[-1], inputs)
    regular = np.array_equal(copies.op.rows, np.tile(np.arange(inputs), neurons))
    if rest or not regular or spread.shape != (*sums.shape, inputs) or len(lookup.op.tables) != copies.shape[-1]:
        return None
    op, shift = lookup.op, lookup.op.shift(source)
    tables = op.tables.reshape(neurons, inputs, -1).transpose(1, 2, 0)
    low, high = ((ends.reshape(-1, inputs) + op.first) >> shift for ends in op.places(source, ranges[source.name]))
    return TableLayer(sums.layer, source, lookup, sums, tables, op.first, shift, low.min(0), high.max(0))
