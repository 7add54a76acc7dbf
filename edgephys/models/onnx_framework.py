"""Models imported from an ONNX file: the Graph that the file was proven to be, and the integers that qonnx computes.

The folder holds ``model.onnx`` (the file as it came, with external data put into it) and ``graph.json`` (the Graph).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgephys.core.errors import MismatchError, ModelError
from edgephys.core.fixed import Integers
from edgephys.core.reading import UNREADABLE, fault, read_json
from edgephys.core.remedies import import_again
from edgephys.graph.graph import Graph, from_record
from edgephys.graph.ranges import require_proven
from edgephys.models.card import CARD
from edgephys.models.files.onnx import file as onnx_file
from edgephys.models.files.onnx.softmaxes import differences, integers_of, tables_of, with_tables
from edgephys.models.files.softmax import MeasuredSoftmax
from edgephys.models.model import Framework, Reference
from edgephys.targets.qonnx import doubles
from edgephys.targets.qonnx import emit as qonnx

ONNX = "model.onnx"
GRAPH = "graph.json"
CHUNK_ELEMENTS = 1 << 22
"""Elements of the widest edge in one call of qonnx, which keeps every tensor of a call."""


NEAR = 2.0**-10
"""How far from a whole number of steps a float64 may lie whose step is no power of two."""


@dataclass(frozen=True, eq=False)
class OnnxReference:
    """Compute the integers of an ONNX model; raise ToolError where the tool fails.

    qonnx runs it in float32. Where float32 rounds sums of the file, and their order would decide, the onnx package's
    reference implementation runs it in float64. ``single`` asks for float32 all the same.
    """

    proto: Any
    graph: Graph
    single: bool = False

    @cached_property
    def ready(self) -> Any:
        """The file, in which softmaxes inside of it are computed with the Graph's tables."""
        return with_tables(self.proto, self._inner)

    @property
    def _inner(self) -> Sequence[Mapping[str, Any]]:
        inner: Sequence[Mapping[str, Any]] = self.graph.metadata["onnx"].get("softmaxes", ())
        return inner

    def outputs(self, inputs: Integers) -> Integers:
        """Return the outputs, in steps: those of several outputs are flat and joined."""
        ends, output = self.graph.metadata["onnx"]["outputs"], self.graph.output
        values = self._values(inputs, tuple(end["tensor"] for end in ends))
        parts = [
            integers_of(end["softmax"], values[end["tensor"]])
            if "softmax" in end
            else self._integers(
                with_graph_axes(values[end["tensor"]], end["axes"]),
                output.fixed.fraction,
                f"'{end['tensor']}'",
                str(output.fixed),
                end["scale"],
            )
            for end in ends
        ]
        return parts[0] if len(parts) == 1 else np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def softmaxes(self, inputs: Integers) -> tuple[MeasuredSoftmax, ...]:
        """Return each softmax that is computed with its largest difference to the file's float softmax."""
        computed = [
            (end["tensor"], end["softmax"]) for end in self.graph.metadata["onnx"]["outputs"] if "softmax" in end
        ]
        if not computed and not self._inner:
            return ()
        wanted = (
            *(tensor for tensor, _ in computed),
            *(record["tensor"] for _, record in computed),
            *(record[end] for record in self._inner for end in ("source", "tensor")),
        )
        values, measured = self._values(inputs, wanted), []
        for tensor, record in computed:
            by = tables_of(record)
            own = by.result.values(integers_of(record, values[tensor]))
            largest = float(np.abs(own - values[record["tensor"]].astype(np.float64)).max())
            measured.append(MeasuredSoftmax(record["layer"], by.describe(), largest, len(inputs)))
        for record in self._inner:
            largest = differences(record, values[record["source"]], values[record["tensor"]])
            measured.append(MeasuredSoftmax(record["layer"], tables_of(record).describe(), largest, len(inputs)))
        return tuple(measured)

    def layers(self, inputs: Integers) -> dict[str, Integers]:
        """Return the integers at the end of each layer, by the Graph's name of the layer."""
        last = dict(self.graph.layers())
        ends = {layer: end for layer, end in self.graph.metadata["onnx"]["layers"].items() if layer in last}
        values = self._values(inputs, tuple({tensor: None for tensor, _, _ in ends.values()}))
        return {
            layer: self._integers(
                with_graph_axes(values[tensor], axes),
                last[layer].fixed.fraction,
                f"layer '{layer}'",
                str(last[layer].fixed),
                scale,
            )
            for layer, (tensor, axes, scale) in ends.items()
        }

    def _integers(self, values: NDArray[Any], fraction: int, what: str, wanted: str, scale: Any) -> Integers:
        if scale is None:
            return qonnx.integers_of(values, fraction, what, wanted)
        steps = values.astype(np.float64) / np.asarray(scale) * 2.0**fraction
        whole: NDArray[np.float64] = np.rint(steps)
        if not self.single and np.any(np.abs(steps - whole) > NEAR):
            raise MismatchError(f"onnx: {what} gives values between steps of its {wanted}; {import_again()}")
        return whole.astype(np.int64)

    def _values(self, inputs: Integers, tensors: tuple[str, ...]) -> Mapping[str, NDArray[Any]]:
        facts, fixed = self.graph.metadata["onnx"], self.graph.input.fixed
        scale = facts["input_scale"]
        x = fixed.values(inputs) * (1.0 if scale is None else scale)
        feeds, first = {}, 0
        if len(facts["inputs"]) == 1:
            (entry,) = facts["inputs"]
            feeds[entry["tensor"]] = np.transpose(x, (0, *(axis + 1 for axis in entry["axes"])))
        else:
            for entry in facts["inputs"]:
                size = prod(entry["shape"])
                feeds[entry["tensor"]] = x[:, first : first + size].reshape(len(x), *entry["shape"])
                first += size
        size = max(1, CHUNK_ELEMENTS // max(prod(node.shape) for node in self.graph.nodes))
        run = doubles.execute if facts["float64"] and not self.single else qonnx.execute
        return run(self.ready, feeds, tensors, size)


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
                f"{folder / GRAPH}: expected an imported model's Graph, found {fault(error)}; {import_again(folder)}"
            ) from error
        if not (folder / ONNX).is_file():
            raise ModelError(f"{folder / ONNX}: no such file; {import_again(folder)}")
        return graph

    def reference(self, folder: Path, graph: Graph) -> Reference:
        """Return what computes the integers of the file with qonnx."""
        return OnnxReference(onnx_file.read(folder / ONNX).proto, graph)
