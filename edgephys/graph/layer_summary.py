"""A Graph by layer: what each computes, its shape, widths in and out, weights and range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.graph.graph import Graph, Node
from edgephys.graph.interval import Range


@dataclass(frozen=True)
class LayerSummary:
    """State a layer of a Graph.

    ``operations`` are the words of its operations in order, ``reads`` the layers that it reads. ``input_bits`` are the
    widths of the edges that it reads, ``format`` that of its result. ``weights`` counts the integers of its constants
    without those of value 0, of at most ``weight_bits``.
    Units: low and high are values of the result, proven for every input.
    """

    name: str
    operations: tuple[str, ...]
    reads: tuple[str, ...]
    shape: tuple[int, ...]
    input_bits: tuple[int, ...]
    format: Fixed
    weights: int
    weight_bits: int
    low: float
    high: float

    def to_record(self) -> dict[str, Any]:
        """Return the summary as plain JSON types."""
        return {
            "layer": self.name,
            "operations": list(self.operations),
            "reads": list(self.reads),
            "shape": list(self.shape),
            "input_bits": list(self.input_bits),
            "bits": self.format.bits,
            "format": str(self.format),
            "weights": self.weights,
            "weight_bits": self.weight_bits,
            "low": self.low,
            "high": self.high,
        }


def summaries(graph: Graph, ranges: Mapping[str, Range]) -> tuple[LayerSummary, ...]:
    """Return the layers in order; ``ranges`` are those of ``ranges.derive``."""
    nodes: dict[str, list[Node]] = {}
    for node in graph.nodes:
        nodes.setdefault(node.layer, []).append(node)
    return tuple(_summary(graph, name, own, ranges) for name, own in nodes.items())


def _summary(graph: Graph, name: str, nodes: Sequence[Node], ranges: Mapping[str, Range]) -> LayerSummary:
    operands = [operand for node in nodes for operand in graph.operands(node) if operand.layer != name]
    constants = [node.op.constant for node in nodes if hasattr(node.op, "constant")]
    last = nodes[-1]
    return LayerSummary(
        name,
        tuple(dict.fromkeys(node.op.word for node in nodes)),
        tuple(dict.fromkeys(operand.layer for operand in operands)),
        last.shape,
        tuple({operand.name: operand.fixed.bits for operand in operands}.values()),
        last.fixed,
        sum(int(np.count_nonzero(constant.integers)) for constant in constants),
        max((constant.bits for constant in constants), default=0),
        ranges[last.name].lowest * last.fixed.step,
        ranges[last.name].highest * last.fixed.step,
    )
