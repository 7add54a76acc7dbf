"""A multilayer perceptron on all constituents side by side: the network that sees their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.networks.backend import keras

PUBLISHED = {
    8: (120, 60, 32, 64, 64, 64, 32, 44),
    16: (88, 88, 44, 44, 44),
    32: (84, 88, 32, 32, 44, 32, 44),
}
"""Widths by number of constituents. Source: arXiv 2402.01876."""


@dataclass(frozen=True)
class Mlp(Tagger):
    """State a perceptron on the flattened input.

    ``layers`` None is the published network of the nearest number of constituents.
    Source: arXiv 2402.01876, without its L1 penalty.
    """

    layers: tuple[int, ...] | None = None

    def widths(self) -> dict[str, tuple[int, ...]]:
        """Return the widths of the hidden layers."""
        nearest = min(PUBLISHED, key=lambda count: abs(count - self.constituents))
        return {"layers": PUBLISHED[nearest] if self.layers is None else self.layers}

    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""
        inputs = keras.Input((self.constituents, len(self.features)), name="constituents")
        x = keras.layers.Flatten(name="flat")(inputs)  # (jet, constituent * feature)
        x = self.hidden(x, self.widths()["layers"], "hidden")
        return keras.Model(inputs, self.dense(self.classes, "logits")(x), name="mlp")
