"""An embedding is a table for each of its numbers, read by an integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.models.files.keras.reading import KerasReading, KerasValue
from edgephys.networks.backend import keras


def embedding(reading: KerasReading, layer: Any, values: Sequence[KerasValue]) -> KerasValue:
    """Repeat the integer in as many channels as the embedding has, and read a table in each with the next rounding.

    Raises: ModelError where an integer may be beyond the tables.
    """
    builder, edge = reading.builder, reading.edge(layer, values[0])
    range_, shape = builder.range(edge), builder.shape(edge)
    if builder.fraction(edge) > 0 or range_.lowest < 0 or range_.highest >= layer.input_dim:
        raise ModelError(
            f"layer '{layer.name}': its inputs must be integers from 0 to {layer.input_dim - 1}; state such an input "
            f"format, as ufixed<{(layer.input_dim - 1).bit_length()},{(layer.input_dim - 1).bit_length()}>, and an "
            f"input_dim of a power of two"
        )
    point = builder.reshape(layer.name, edge, (*shape, 1))
    channels = builder.take(layer.name, point, [0] * layer.output_dim, len(shape))
    weights = keras.ops.convert_to_numpy(layer.embeddings)

    def read(x: Any) -> Any:
        rows = np.asarray(x).astype(np.int64)
        return weights[rows, np.arange(layer.output_dim)]

    return reading.later(layer, KerasValue(channels), read)
