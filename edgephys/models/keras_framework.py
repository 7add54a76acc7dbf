"""Models trained here: the Graph of a Keras file, and the integers that Keras itself computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph
from edgephys.models.card import CARD
from edgephys.models.model import Framework, Reference
from edgephys.models.trained import MODEL, load, load_keras

BATCH_ELEMENTS = 1 << 21
"""Input elements in a batch of Keras."""
LARGEST_BATCH = 8192


@dataclass(frozen=True, eq=False)
class KerasReference:
    """Compute the integers of a Keras model."""

    model: Any
    graph: Graph

    def outputs(self, inputs: Integers) -> Integers:
        """Return the outputs, in steps."""
        last = self.graph.output
        return _integers(last.layer, last.fixed.fraction, self._predict(self.model, inputs))

    def layers(self, inputs: Integers) -> dict[str, Integers]:
        """Return the integers at the end of each layer, by the Graph's name of the layer."""
        from edgephys.networks.backend import keras

        names: Mapping[str, str] = self.graph.metadata["keras_layers"]
        ends = {layer: self.model.get_layer(name).output for layer, name in names.items()}
        values = self._predict(keras.Model(self.model.inputs, ends), inputs)
        last = dict(self.graph.layers())
        return {layer: _integers(layer, last[layer].fixed.fraction, values[layer]) for layer in ends}

    def _predict(self, model: Any, inputs: Integers) -> Any:
        x = self.graph.input.fixed.values(inputs).astype(np.float32)
        return model.predict(x, batch_size=max(1, min(LARGEST_BATCH, BATCH_ELEMENTS // x[0].size)), verbose=0)


def _integers(layer: str, fraction: int, values: Any) -> Integers:
    scaled = np.asarray(values, np.float64) * 2.0**fraction
    whole = np.rint(scaled)
    if np.any(whole != scaled):
        raise MismatchError(
            f"keras: layer '{layer}' gives values between steps of 2^{-fraction}; lower the model again"
        )
    return whole.astype(np.int64)


class KerasFramework(Framework):
    """Read models trained here."""

    name = "keras"
    title = "Keras"
    mark = MODEL
    files = (MODEL, CARD)

    def graph(self, folder: Path) -> Graph:
        """Return the Graph of the Keras model in a folder."""
        return load(folder).graph()

    def reference(self, folder: Path, graph: Graph) -> Reference:
        """Return what computes the integers with Keras."""
        return KerasReference(load_keras(folder / MODEL), graph)
