"""Join the inputs of a Keras model into one, which is cut into them again within the model."""

from __future__ import annotations

from math import prod
from typing import Any

from edgephys.core.errors import ModelError

JOINED = "inputs"
"""Name of the input that holds all others, with as many underscores behind it as make it a new name."""


def joined(model: Any, where: str) -> Any:
    """Return a model of one flat input that computes what ``model`` does of its inputs, flat and in their order.

    The layers are new ones with the same names, settings and weights. A model of one input is returned as it is.
    Shape: input (example, numbers of all inputs).
    Raises: ModelError, which begins with ``where``, for inputs of several types and layers that cannot be made again.
    """
    from edgephys.networks.backend import keras

    if len(model.inputs) == 1:
        return model
    types = sorted({str(tensor.dtype) for tensor in model.inputs})
    if len(types) > 1:
        raise ModelError(f"{where}: all inputs must be of one type, found {', '.join(types)}; use one in keras.Input")
    name = JOINED
    while any(name == layer.name for layer in model.layers):
        name += "_"
    sizes = [prod(tensor.shape[1:]) for tensor in model.inputs]
    whole = keras.Input((sum(sizes),), name=name, dtype=types[0])
    parts, first = [], 0
    for tensor, size in zip(model.inputs, sizes, strict=True):
        part = whole[:, first : first + size]
        parts.append(keras.layers.Reshape(tuple(tensor.shape[1:]), name=tensor.name)(part))
        first += size
    copies: dict[int, tuple[Any, Any]] = {}

    def copy(operation: Any) -> Any:
        if id(operation) not in copies:
            copies[id(operation)] = operation, type(operation).from_config(operation.get_config())
        return copies[id(operation)][1]

    functional = getattr(model, "_functional", None) or model
    try:
        outputs = functional._run_through_graph(parts, operation_fn=copy)
    except Exception as error:  # whatever a layer of the user's own makes of its settings
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{where}: a layer of a model of {len(parts)} inputs cannot be made again from its settings ({reason}); "
            f"let its get_config return all arguments, or join the inputs within the model"
        ) from error
    for operation, own in copies.values():
        if getattr(operation, "weights", None):
            own.set_weights(operation.get_weights())
    return keras.Model(whole, keras.tree.flatten(outputs), name=model.name)
