"""A Keras model in float64, which holds sums of 53 bits where float32 holds 24."""

from __future__ import annotations

import json
from typing import Any

from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive
from edgephys.models.files.keras.file import known_objects
from edgephys.models.files.keras.reading import KerasReading, TooWideError
from edgephys.models.files.keras.scales import WEIGHTS, settle
from edgephys.networks.backend import keras, precision

FLOAT_BITS = {"float32": 24, "float64": 53}
"""Bits of an integer that each type holds exactly."""


QUANTISERS = frozenset(f"{which}_quantizer" for which in WEIGHTS)
"""Settings of a layer that name the quantisers of its weights."""


def exact_bits() -> int:
    """Return the bits of an integer that Keras' type of floats holds exactly."""
    return FLOAT_BITS[keras.config.floatx()]


def in_float64(model: Any) -> Any:
    """Return a copy of a model, with the same weights, whose layers compute in float64; within ``precision(True)``.

    Raises: whatever Keras raises for a layer or quantiser that computes in float32 alone.
    """
    text = json.dumps(keras.saving.serialize_keras_object(model)).replace('"float32"', '"float64"')
    record = _without_automatic_scales(json.loads(text))
    copied = keras.saving.deserialize_keras_object(record, custom_objects=known_objects(), safe_mode=True)
    copied.set_weights(model.get_weights())
    with precision(double=False):
        for layer, other in zip(_layers(model), _layers(copied), strict=True):
            settle(layer, other)
    return copied


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))


def _without_automatic_scales(record: Any) -> Any:
    """Return the record of a model whose weights have no automatic scales: ``settle`` states what they are."""
    if isinstance(record, list):
        return [_without_automatic_scales(entry) for entry in record]
    if not isinstance(record, dict):
        return record
    result = {key: _without_automatic_scales(value) for key, value in record.items()}
    for key in QUANTISERS & result.keys():
        config = result[key].get("config") if isinstance(result[key], dict) else None
        if isinstance(config, dict) and isinstance(config.get("alpha"), str):
            result[key] = {**result[key], "config": {**config, "alpha": None}}
    return result


def require_exact(graph: Graph, reading: KerasReading) -> None:
    """Refuse sums that Keras' type of floats rounds."""
    ranges, most, kind = derive(graph), exact_bits(), keras.config.floatx()
    for node in graph.nodes:
        bits = ranges[node.name].partial.bit_length()
        if bits > most and node.name not in reading.emulated:
            raise TooWideError(
                f"layer '{node.layer}': its accumulator needs {bits} bits, but Keras sums in {kind}, which holds "
                f"{most} exactly; use fewer weight or activation bits, or fewer inputs to the layer"
            )
        if node.name in reading.unclipped:  # that difference is taken in the finer of the two steps
            source = graph.operands(node)[0]
            finer = max(0, node.fixed.fraction - source.fixed.fraction)
            bits = ranges[source.name].partial.bit_length() + finer
            if bits > most:
                raise TooWideError(
                    f"layer '{node.layer}': Keras subtracts what it rounds to {node.fixed} in {kind}, which needs "
                    f"{bits} bits and holds {most} exactly; use fewer activation bits, or quantized_relu"
                )
