"""Join the inputs of a Keras model into one, which is cut into them again within the model."""

from __future__ import annotations

from math import prod
from typing import Any

from edgephys.core.errors import ModelError

JOINED = "inputs"
"""Name of the input that holds all others; a name that there is already gets underscores behind it."""


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
    names = {layer.name for layer in model.layers}

    def fresh(name: str) -> str:
        while name in names:
            name += "_"
        names.add(name)
        return name

    sizes = [prod(tensor.shape[1:]) for tensor in model.inputs]
    whole = keras.Input((sum(sizes),), name=fresh(JOINED), dtype=types[0])
    column = keras.layers.Reshape((sum(sizes), 1), name=fresh("column"))(whole)
    parts, first = [], 0
    for tensor, size in zip(model.inputs, sizes, strict=True):
        first += size
        cut = keras.layers.Cropping1D((first - size, sum(sizes) - first), name=fresh(f"{tensor.name}_part"))
        parts.append(keras.layers.Reshape(tuple(tensor.shape[1:]), name=tensor.name)(cut(column)))
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


def parts_of(model: Any) -> dict[str, tuple[int, ...]]:
    """Return the inputs that ``joined`` has put into a model's only input, by name; nothing for any other model.

    They follow each other without a gap: each is a part of the input that a Reshape of its name reads.
    """
    from edgephys.networks.backend import keras

    column = _only_reader(model.inputs[0]._keras_history.operation) if len(model.inputs) == 1 else None
    if not isinstance(column, keras.layers.Reshape) or tuple(column.output.shape[2:]) != (1,):
        return {}
    cuts = [node.operation for node in column._outbound_nodes]
    if not all(isinstance(cut, keras.layers.Cropping1D) for cut in cuts):
        return {}
    parts, first = {}, 0
    for cut in sorted(cuts, key=lambda cut: int(cut.cropping[0])):
        own = _only_reader(cut)
        if not isinstance(own, keras.layers.Reshape):
            return {}
        if cut.cropping[0] != first:
            return {}
        parts[own.name] = tuple(own.output.shape[1:])
        first += prod(parts[own.name])
    return parts if len(parts) > 1 and first == column.output.shape[1] else {}


def _only_reader(operation: Any) -> Any:
    """Return the only operation that reads another one's result; None where there are none or several."""
    readers = [node.operation for node in operation._outbound_nodes]
    return readers[0] if len(readers) == 1 else None
