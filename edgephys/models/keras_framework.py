"""Models trained here: the Graph of a Keras file, and the integers that Keras itself computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers
from edgephys.core.remedies import import_again
from edgephys.graph.graph import Graph
from edgephys.models.card import CARD, read_card
from edgephys.models.files.softmax import MeasuredSoftmax
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
        from edgephys.networks.backend import predict

        x = self.graph.input.fixed.values(inputs).astype(np.float32)
        return predict(model, x, max(1, min(LARGEST_BATCH, BATCH_ELEMENTS // x[0].size)))


@dataclass(frozen=True, eq=False)
class KerasFileReference:
    """Compute the integers of a Keras model that somebody brings, by the tensors that its Graph must equal."""

    lowered: Any

    def outputs(self, inputs: Integers) -> Integers:
        """Return the outputs, in steps: those of several outputs are flat and joined."""
        output = self.lowered.graph.output
        return _integers(output.layer, output.fixed.fraction, self.values(inputs, self.lowered.outputs))

    def values(self, inputs: Integers, tensors: Sequence[Any]) -> NDArray[Any]:
        """Return what Keras computes for tensors: those of several are flat and joined."""
        parts = self._computed(inputs, {"": list(tensors)})[""]
        joined = parts[0] if len(parts) == 1 else np.concatenate([part.reshape(len(part), -1) for part in parts], 1)
        return np.asarray(joined)

    def layers(self, inputs: Integers) -> dict[str, Integers]:
        """Return the integers at the end of each layer of which Keras has a tensor, by the Graph's name."""
        last = dict(self.lowered.graph.layers())
        ends = {layer: tensor for layer, tensor in self.lowered.tensors.items() if layer in last}
        values = self._computed(inputs, ends)
        return {
            layer: _integers(layer, last[layer].fixed.fraction, value)
            for layer, value in values.items()
            if value.shape[1:] == last[layer].shape
        }

    def softmaxes(self, inputs: Integers) -> tuple[MeasuredSoftmax, ...]:
        """Return each softmax that is computed with its largest difference to Keras' float softmax."""
        from edgephys.models.files.keras.softmaxes import differences

        replaced = self.lowered.softmaxes
        values = self._computed(inputs, {one.layer: [one.before, one.after] for one in replaced}) if replaced else {}
        largest = differences(replaced, [values[one.layer] for one in replaced])
        return tuple(MeasuredSoftmax(one.layer, one.form, largest[one.layer], len(inputs)) for one in replaced)

    def _computed(self, inputs: Integers, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        from edgephys.networks.backend import keras, precision, predict

        fixed, floats = self.lowered.graph.input.fixed, np.float64 if self.lowered.double else np.float32
        flat, parts, first = fixed.values(inputs).reshape(len(inputs), -1), [], 0
        for tensor in self.lowered.inputs:
            size = int(np.prod(tensor.shape[1:]))
            part = flat[:, first : first + size].reshape(len(flat), *tensor.shape[1:])
            parts.append(part.astype(floats if "float" in str(tensor.dtype) else np.int64))
            first += size
        batch = max(1, min(LARGEST_BATCH, BATCH_ELEMENTS // max(1, flat.shape[1])))
        with precision(self.lowered.double):
            model = keras.Model(self.lowered.inputs, dict(tensors))
            x = parts if len(parts) > 1 else parts[0]
            values: Mapping[str, Any] = predict(model, x, batch)
        return values


def _integers(layer: str, fraction: int, values: Any) -> Integers:
    scaled = np.asarray(values, np.float64) * 2.0**fraction
    whole = np.rint(scaled)
    if np.any(whole != scaled):
        raise MismatchError(f"keras: layer '{layer}' gives values between steps of 2^{-fraction}; {import_again()}")
    return whole.astype(np.int64)


class KerasFramework(Framework):
    """Read models trained here."""

    name = "keras"
    title = "Keras"
    tool = ("Keras", "keras")
    mark = MODEL
    files = (MODEL, CARD)

    def graph(self, folder: Path) -> Graph:
        """Return the Graph of the Keras model in a folder."""
        return load(folder).graph()

    def reference(self, folder: Path, graph: Graph) -> Reference:
        """Return what computes the integers with Keras."""
        from edgephys.models.files.keras import lowered

        card, model = read_card(folder), load_keras(folder / MODEL)
        if card.imported is None and "dropped" not in graph.metadata:
            return KerasReference(model, graph)
        return KerasFileReference(lowered(model, card.input_format, card.name, card.softmax))
