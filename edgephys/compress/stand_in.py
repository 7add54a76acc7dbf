"""Layers that stand for a model's activations while it trains, and hand their places back when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgephys.compress.model_structure import activation_layers, rebuilt
from edgephys.networks.backend import keras, qkeras


class StandIn(keras.layers.Layer):  # type: ignore[misc]
    """Stand for an activation: the same as it but while training."""

    def __init__(self, of: Any) -> None:
        super().__init__(name=of.name)
        self.config = of.get_config()
        self.quantised = self.original().activation

    def original(self) -> Any:
        """Return the layer that this one stands for."""
        return qkeras.QActivation.from_config(self.config)


def replaced(model: Any, stand_in: Callable[[Any], StandIn | None]) -> Any:
    """Return a copy of a model with stand-ins for those of its activations for which there is one."""
    found = {layer.name for layer in activation_layers(model)}
    return rebuilt(model, lambda layer: stand_in(layer) if layer.name in found else None)


def restored(model: Any) -> Any:
    """Return a copy of a model with the activations that it had."""
    return rebuilt(model, lambda layer: layer.original() if isinstance(layer, StandIn) else None)
