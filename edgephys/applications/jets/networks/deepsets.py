"""Deep Sets: a function of each constituent, a mean over them, a function of the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.layers import POOL_EXTRA_BITS, ConstituentMean


@dataclass(frozen=True)
class DeepSets(Tagger):
    """State a Deep Sets jet tagger.

    Source: arXiv 2402.01876 (phi 32-32-32, mean, rho 32, five classes; 3,461 parameters). Ours: the mean
    is rounded to ``activation_bits + 2`` bits.
    """

    phi: tuple[int, ...] = (32, 32, 32)
    rho: tuple[int, ...] = (32,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.phi:
            raise UsageError("phi must hold 1 width or more, not none")

    def widths(self) -> dict[str, tuple[int, ...]]:
        """Return the widths of both functions."""
        return {"phi": self.phi, "rho": self.rho}

    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""
        inputs = keras.Input((self.constituents, len(self.features)), name="constituents")
        x = self.hidden(inputs, self.phi, "phi")  # (jet, constituent, width)
        x = ConstituentMean(name="pool")(x)  # (jet, width)
        if self.bits is not None:
            x = self.relu("pool_quantised", POOL_EXTRA_BITS)(x)
        x = self.hidden(x, self.rho, "rho")
        return keras.Model(inputs, self.dense(self.classes, "logits")(x), name="deepsets")
