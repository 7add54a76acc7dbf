"""Interaction network: a function of each pair, its sum over a node's received edges, a function of each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgephys.applications.jets.networks.tagger import Tagger
from edgephys.core.errors import UsageError
from edgephys.networks.backend import keras
from edgephys.networks.layers import POOL_EXTRA_BITS, ConstituentMean, Pairs, ReceivedSum

EFFECTS = {16: (12, 6), 32: (3,)}
CLASSIFIER = {16: (170,), 32: (512,)}
"""Widths up to and including a number of constituents; the last ones beyond. Source: arXiv 2402.01876."""


@dataclass(frozen=True)
class InteractionNetwork(Tagger):
    """State an interaction network: edges are all ordered pairs of two constituents, without self-edges.

    The first layer of the edge function, W [x_i, x_j] + b, is computed as (W_r x_i + b) + W_s x_j: the same
    number, for one addition a pair. ``effects``, ``classifier`` None are the published widths.
    Source: arXiv 2402.01876 (objects 36-18-6, sum over received edges, mean over nodes). Ours: that sum is divided by
    the power of two from N - 1 on, as sums of up to 219 leave units dead or saturated; it and the mean are rounded to
    ``activation_bits + 2`` bits.
    """

    effects: tuple[int, ...] | None = None
    objects: tuple[int, ...] = (36, 18, 6)
    classifier: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constituents < 2:
            raise UsageError(f"constituents must be 2 or more for pairs, not {self.constituents}")
        for name in ("effects", "objects"):
            if not self.widths()[name]:
                raise UsageError(f"{name} must hold 1 width or more, not none")

    def widths(self) -> dict[str, tuple[int, ...]]:
        """Return the widths of the three functions."""
        effects = _published(EFFECTS, self.constituents) if self.effects is None else self.effects
        classifier = _published(CLASSIFIER, self.constituents) if self.classifier is None else self.classifier
        return {"effects": effects, "objects": self.objects, "classifier": classifier}

    def build(self) -> Any:
        """Return the untrained Keras model: (jet, constituent, feature) -> (jet, class) logits."""
        widths = self.widths()
        inputs = keras.Input((self.constituents, len(self.features)), name="constituents")
        first, *more = widths["effects"]
        received = self.dense(first, "receiver")(inputs)  # (jet, constituent, width)
        sent = self.dense(first, "sender", bias=False)(inputs)
        x = self.activated(Pairs(name="pairs")([received, sent]), "pairs")  # (jet, receiver, other, width)
        x = self.hidden(x, tuple(more), "effect", first=2)
        shift = (self.constituents - 2).bit_length()  # N - 1 edges, each below 1, are below 2**shift
        x = ReceivedSum(shift, name="received")(x)  # (jet, constituent, width)
        if self.bits is not None:
            x = self.relu("received_quantised", POOL_EXTRA_BITS)(x)
        x = keras.layers.Concatenate(name="node")([inputs, x])
        x = self.hidden(x, self.objects, "object")
        x = ConstituentMean(name="pool")(x)  # (jet, width)
        if self.bits is not None:
            x = self.relu("pool_quantised", POOL_EXTRA_BITS)(x)
        x = self.hidden(x, widths["classifier"], "classifier")
        return keras.Model(inputs, self.dense(self.classes, "logits")(x), name="interaction")


def _published(widths: Mapping[int, tuple[int, ...]], constituents: int) -> tuple[int, ...]:
    return next((of for up_to, of in widths.items() if constituents <= up_to), list(widths.values())[-1])
