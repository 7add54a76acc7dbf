"""The calls of layers in a functional Keras model, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from edgephys.core.errors import ModelError
from edgephys.networks.backend import keras

Result = TypeVar("Result")


def functional(model: Any) -> Any:
    """Return the functional model that a model is or holds; raise ModelError for one of another kind."""
    inner = getattr(model, "_functional", None) or model
    if not hasattr(inner, "_nodes_by_depth"):
        raise ModelError(
            f"model '{model.name}': {type(model).__name__} must be a Sequential or functional model with stated "
            f"inputs; build it with keras.Model(inputs, outputs)"
        )
    return inner


def outputs_for(
    model: Any, inputs: Sequence[Result], call: Callable[[Any, Any, list[Result]], Sequence[Result]]
) -> list[Result]:
    """Return what stands for each output of a functional model, where ``inputs`` stand for its inputs.

    ``call`` returns what stands for each output of a call, for a layer, its node and what stands for what it reads.
    """
    known = dict(zip(map(id, model.inputs), inputs, strict=True))
    for depth in sorted(model._nodes_by_depth, reverse=True):  # in an order in which inputs come first
        for node in model._nodes_by_depth[depth]:
            if not isinstance(node.operation, keras.layers.InputLayer):
                results = call(node.operation, node, [known[id(tensor)] for tensor in node.arguments.keras_tensors])
                known.update(zip(map(id, node.outputs), results, strict=True))
    return [known[id(tensor)] for tensor in model.outputs]
