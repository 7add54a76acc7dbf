"""A Keras model in float64, which holds sums of 53 bits where float32 holds 24."""

from __future__ import annotations

import json
from typing import Any

from edgephys.models.files.keras.file import known_objects
from edgephys.networks.backend import keras

FLOAT_BITS = {"float32": 24, "float64": 53}
"""Bits of an integer that each type holds exactly."""


def exact_bits() -> int:
    """Return the bits of an integer that Keras' type of floats holds exactly."""
    return FLOAT_BITS[keras.config.floatx()]


def in_float64(model: Any) -> Any:
    """Return a copy of a model, with the same weights, whose layers compute in float64; within ``precision(True)``.

    Raises: whatever Keras raises for a layer or quantiser that computes in float32 alone.
    """
    record = json.dumps(keras.saving.serialize_keras_object(model)).replace('"float32"', '"float64"')
    copied = keras.saving.deserialize_keras_object(json.loads(record), custom_objects=known_objects(), safe_mode=True)
    copied.set_weights(model.get_weights())
    return copied
