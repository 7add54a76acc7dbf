"""Linear interaction network: each constituent meets the mean of all, in place of every other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.layers import POOL_EXTRA_BITS, ConstituentMean


@dataclass(frozen=True)
class LinearInteractionNetwork(Tagger):
    """State an interaction network whose cost grows with N and not with its square.

    x_i = phi(input_i); y_i = relu(W x_i + V mean_j x_j + b); rho of the mean of objects(y_i). The same for any order of
    the constituents. ``meeting`` is the width of y.
    Source: arXiv 2508.15468 (JEDI-linear). Ours: one ReLU behind the sum of both terms, means that are rounded to
    ``activation_bits + 2`` bits, and the widths.
    """

    phi: tuple[int, ...] = (32,)
    meeting: int = 32
    objects: tuple[int, ...] = (32,)
    rho: tuple[int, ...] = (32, 16)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.phi:
            raise UsageError("phi must hold 1 width or more, not none")

    def widths(self) -> dict[str, tuple[int, ...]]:
        """Return the widths of all functions."""
        return {"phi": self.phi, "meeting": (self.meeting,), "objects": self.objects, "rho": self.rho}

    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""
        inputs = keras.Input((self.constituents, len(self.features)), name="constituents")
        x = self.hidden(inputs, self.phi, "phi")  # (jet, constituent, width)
        own = self.dense(self.meeting, "own")(x)
        every = self.dense(self.meeting, "every", bias=False)(self.pooled(x, "context"))  # (jet, width)
        every = keras.layers.Reshape((1, self.meeting), name="every_row")(every)
        x = self.activated(keras.layers.Add(name="meeting")([own, every]), "meeting")
        x = self.hidden(x, self.objects, "object")
        x = self.hidden(self.pooled(x, "pool"), self.rho, "rho")
        return keras.Model(inputs, self.dense(self.classes, "logits")(x), name="linear_interaction")

    def pooled(self, x: Any, name: str) -> Any:
        """Return the mean over the constituents, rounded where the network is quantised."""
        x = ConstituentMean(name=name)(x)
        return x if self.bits is None else self.relu(f"{name}_quantised", POOL_EXTRA_BITS)(x)
