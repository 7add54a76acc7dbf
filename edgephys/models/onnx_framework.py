"""Models imported from an ONNX file: the Graph that the file was proven to be, and the integers that qonnx computes.

The folder holds ``model.onnx`` (the file as it came, with external data put into it) and ``graph.json`` (the Graph).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Integers
from edgephys.core.reading import UNREADABLE, read_json
from edgephys.graph.graph import Graph, from_record
from edgephys.graph.ranges import require_proven
from edgephys.models.card import CARD
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.model import Framework, Reference
from edgephys.targets.qonnx import emit as qonnx

ONNX = "model.onnx"
GRAPH = "graph.json"
CHUNK_ELEMENTS = 1 << 22
"""Elements of the widest edge in one call of qonnx, which keeps every tensor of a call."""


@dataclass(frozen=True, eq=False)
class OnnxReference:
    """Compute the integers of an ONNX model with qonnx; raise ToolError where qonnx fails."""

    proto: Any
    graph: Graph

    def outputs(self, inputs: Integers) -> Integers:
        """Return the outputs, in steps."""
        facts, output = self.graph.metadata["onnx"], self.graph.output
        tensor = facts["output"]
        values = with_graph_axes(self._values(inputs, (tensor,))[tensor], facts["output_axes"])
        return qonnx.integers_of(values, output.fixed.fraction, f"'{tensor}'", str(output.fixed))

    def layers(self, inputs: Integers) -> dict[str, Integers]:
        """Return the integers at the end of each layer, by the Graph's name of the layer."""
        last = dict(self.graph.layers())
        ends = {layer: end for layer, end in self.graph.metadata["onnx"]["layers"].items() if layer in last}
        values = self._values(inputs, tuple({tensor: None for tensor, _ in ends.values()}))
        return {
            layer: qonnx.integers_of(
                with_graph_axes(values[tensor], axes),
                last[layer].fixed.fraction,
                f"layer '{layer}'",
                str(last[layer].fixed),
            )
            for layer, (tensor, axes) in ends.items()
        }

    def _values(self, inputs: Integers, tensors: tuple[str, ...]) -> Mapping[str, NDArray[Any]]:
        facts = self.graph.metadata["onnx"]
        x = self.graph.input.fixed.values(np.transpose(inputs, (0, *(axis + 1 for axis in facts["input_axes"]))))
        size = max(1, CHUNK_ELEMENTS // max(prod(node.shape) for node in self.graph.nodes))
        return qonnx.execute(self.proto, facts["input"], x.astype(np.float32), tensors, size)


def with_graph_axes(values: NDArray[Any], axes: list[int]) -> NDArray[Any]:
    """Return a tensor of the file with the axes in the order of the Graph; ``axes`` is the order in the file."""
    return np.transpose(values, (0, *(axes.index(axis) + 1 for axis in range(len(axes)))))


class OnnxFramework(Framework):
    """Read models imported from an ONNX file."""

    name = "file"
    title = "the imported file"
    tool = ("qonnx", "qonnx")
    mark = GRAPH
    files = (ONNX, GRAPH, CARD)

    def graph(self, folder: Path) -> Graph:
        """Return the Graph that the file was proven to be at its import."""
        try:
            graph = require_proven(from_record(read_json(folder / GRAPH)))
            if not isinstance(graph.metadata.get("onnx"), dict):
                raise ModelError("it does not tell the tensors of the file")
        except (*UNREADABLE, ModelError) as error:
            raise ModelError(
                f"{folder / GRAPH}: expected an imported model's Graph, found {error}; import it again"
            ) from error
        if not (folder / ONNX).is_file():
            raise ModelError(f"{folder / ONNX}: no such file; import the model again")
        return graph

    def reference(self, folder: Path, graph: Graph) -> Reference:
        """Return what computes the integers of the file with qonnx."""
        return OnnxReference(onnx_file.read(folder / ONNX).proto, graph)
