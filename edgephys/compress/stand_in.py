"""Layers that replace a model's activations during training, and give way to the original ones after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgephys.compress.model_structure import activation_layers, rebuilt
from edgephys.networks.backend import keras, qkeras


class StandIn(keras.layers.Layer):  # type: ignore[misc]
    """Replace an activation: the same function, except during training."""

    def __init__(self, of: Any) -> None:
        super().__init__(name=of.name)
        self.config = of.get_config()
        self.quantised = self.original().activation

    def original(self) -> Any:
        """Return the layer that this one replaces."""
        return qkeras.QActivation.from_config(self.config)


class RandomSteps:
    """Count the steps of a training; seed and step together seed what a step draws."""

    def __init__(self, seed: int) -> None:
        self.seed = seed % 2**31
        self.step = keras.Variable(0, dtype="int32", trainable=False)

    def next_step(self, gradients: Mapping[str, Any]) -> None:
        """Go to the next step."""
        self.step.assign(self.step + 1)


def replaced(model: Any, stand_in: Callable[[Any], StandIn | None]) -> Any:
    """Return a copy of a model whose activations are replaced where ``stand_in`` returns a layer."""
    names = {layer.name for layer in activation_layers(model)}
    return rebuilt(model, lambda layer: stand_in(layer) if layer.name in names else None)


def restored(model: Any) -> Any:
    """Return a copy of a model with its original activations."""
    return rebuilt(model, lambda layer: layer.original() if isinstance(layer, StandIn) else None)
