"""The rule of ``TableDense``: a copy of each input for each unit, a table for each copy, and sums of units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.table_dense import TableDense


def table_dense(reading: KerasReading, layer: TableDense, values: Sequence[KerasValue]) -> KerasValue:
    """Return the sums of the tables' entries.  Raises: ModelError where the input exceeds what the tables read."""
    builder, name = reading.builder, layer.name
    x = reading.edge(layer, values[0])
    tables = layer.tables().transpose(2, 0, 1)  # (unit, input, entry)
    units, inputs, entries = tables.shape
    shape = builder.shape(x)
    x = builder.take(name, x, np.tile(np.arange(inputs), units), len(shape) - 1)
    x = builder.lookup(name, x, layer.reads.low, tables.reshape(-1, entries), layer.fraction)
    x = builder.reshape(name, x, (*shape[:-1], units, inputs))
    return KerasValue(builder.sum(name, x, len(shape)))
