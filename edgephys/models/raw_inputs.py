"""The input standardisation as a part of the Graph: inputs are raw features, integers in steps of their grids.

A dense layer with a diagonal of gains, a bias and a requantisation compute what ``Standardisation.of_raw`` computes, so
that each target emits it, and a verification compares it, like any other layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Fixed, Integers
from edgephys.core.names import unused
from edgephys.core.remedies import train_again
from edgephys.graph import ops
from edgephys.graph.graph import Graph, Node
from edgephys.graph.passes import lowered
from edgephys.models.standardise import Standardisation, from_record
from edgephys.models.vectors import HeldOut

if TYPE_CHECKING:
    from edgephys.models.model import Framework, Model, Reference

RAW, LAYER = "raw", "standardise"
"""Layers of the raw features, and of their standardisation."""
RAW_INPUTS = "raw_inputs"
"""Key of the standardisation in the metadata of a Graph."""


def with_raw_inputs(model: Model) -> Model:
    """Return a model whose Graph and held-out vectors begin with raw features.

    Raises: UsageError for a model whose inputs are not standardised; ModelError where a held-out integer comes of no
    raw feature.
    """
    ready = model.card.standardisation
    if ready is None or ready.changes_nothing:
        raise UsageError(
            f"{model.name}: raw inputs need a model whose card states a standardisation; the inputs of this one are "
            "not standardised: leave --raw-inputs out"
        )
    inputs = raw_of(ready, model.held_out.inputs)
    return replace(model, graph=extended(model.graph, ready), held_out=HeldOut(inputs, model.held_out.labels))


def extended(graph: Graph, ready: Standardisation) -> Graph:
    """Return a Graph with the standardisation in front: the same integers for raw features as for standardised ones.

    Raises: ModelError where the standardisation does not give what the Graph takes, or needs more than 62 bits.
    """
    first = graph.input
    if ready.output != first.fixed or first.shape[-1] != len(ready.names):
        raise ModelError(
            f"{graph.name}: the card's standardisation gives {len(ready.names)} features in {ready.output}, the graph "
            f"takes {first.shape} in {first.fixed}; {train_again()}"
        )
    return lowered(
        replace(
            graph,
            nodes=(*_standardisation(ready, first, graph), *(node for node in graph.nodes if node is not first)),
            inputs=(_raw_name(graph),),
            metadata={**graph.metadata, RAW_INPUTS: ready.to_record() | {"layer": first.layer}},
        )
    )


def _raw_name(graph: Graph) -> str:
    return unused(RAW, graph.by_name)


def _standardisation(ready: Standardisation, first: Node, graph: Graph) -> tuple[Node, ...]:
    """Return the nodes from raw features to the Graph's former input, whose name the last one has."""
    count = len(ready.names)
    fractions = [grid.fraction + own for grid, own in zip(ready.grids, ready.gain_fractions, strict=True)]
    fraction = max(fractions)
    gains = [gain << (fraction - own) for gain, own in zip(ready.gains, fractions, strict=True)]
    shifts = [-centre * gain for centre, gain in zip(ready.centres, gains, strict=True)]
    raw, layer = _raw_name(graph), unused(LAYER, {node.layer for node in graph.nodes})
    wide = Fixed(True, 62, 62 - fraction)  # the passes make it narrower
    matrix = np.zeros((count, count), np.int64)
    np.fill_diagonal(matrix, gains)
    gain = Node(f"{raw}_gain", ops.Dense(ops.Constant(matrix, fraction)), (raw,), first.shape, wide, layer)
    bias = Node(
        f"{raw}_shift", ops.Bias(ops.Constant(np.asarray(shifts), fraction)), (gain.name,), first.shape, wide, layer
    )
    last = replace(first, op=ops.Requantise(), inputs=(bias.name,), fixed=ready.output, layer=layer)
    return Node(raw, ops.Input(), (), first.shape, _all_grids(ready), RAW), gain, bias, last


def _all_grids(ready: Standardisation) -> Fixed:
    """Return the narrowest whole-number format that holds the integers of each grid."""
    low, high = min(grid.low for grid in ready.grids), max(grid.high for grid in ready.grids)
    bits = max(high.bit_length(), (-low - 1).bit_length() if low else 0) + (low < 0)
    return replace(ready.output, signed=low < 0, bits=bits, integer=bits)


def raw_of(ready: Standardisation, inputs: Integers) -> Integers:
    """Return the lowest raw features that become given input integers.

    Shape: (..., feature), kept.  Exact: ``ready.of_raw`` of the result is ``inputs``.
    Raises: ModelError where an integer comes of no raw feature.
    """
    low = np.broadcast_to([grid.low for grid in ready.grids], inputs.shape).astype(np.int64)
    high = np.broadcast_to([grid.high for grid in ready.grids], inputs.shape).astype(np.int64)
    while np.any(low < high):  # halve: of_raw grows with its features
        middle = (low + high) >> 1
        reached = ready.of_raw(middle) >= inputs
        low, high = np.where(reached, low, np.minimum(middle + 1, high)), np.where(reached, middle, high)
    if np.any(ready.of_raw(low) != inputs):
        raise ModelError(
            f"raw inputs: a held-out input comes of no raw feature by the card's standardisation; {train_again()}"
        )
    return low


@dataclass(frozen=True)
class RawFeatures(Standardisation):
    """Read raw features as integers in steps of their grids, without the rest of the standardisation."""

    def apply(self, features: Any) -> Integers:
        """Return raw features as integers.  Shape: (..., feature), kept.  Raises: DataError as ``Standardisation``."""
        super().apply(features)
        return self.raw(features)


def standardisation_in(graph: Graph) -> Standardisation | None:
    """Return the standardisation that a Graph begins with, or None.  Raises: ModelError for a malformed record."""
    record: Mapping[str, Any] | None = graph.metadata.get(RAW_INPUTS)
    return None if record is None else from_record(dict(record))


@dataclass(frozen=True, eq=False)
class RawReference:
    """Compute a framework's integers from raw features, which are standardised before the framework sees them."""

    inner: Reference
    ready: Standardisation

    def outputs(self, inputs: Integers) -> Integers:
        """Return the outputs, in steps.  Shape: inputs (vector, *input shape)."""
        return self.inner.outputs(self.ready.of_raw(inputs))

    def layers(self, inputs: Integers) -> Mapping[str, Integers]:
        """Return the integers at the end of each layer that the framework shows."""
        return self.inner.layers(self.ready.of_raw(inputs))


def reference(framework: Framework, folder: Path, graph: Graph) -> Reference:
    """Return what computes a Graph's integers with the framework, also where the Graph begins with raw features."""
    ready = standardisation_in(graph)
    if ready is None:
        return framework.reference(folder, graph)
    return RawReference(framework.reference(folder, _standardised(graph, ready)), ready)


def _standardised(graph: Graph, ready: Standardisation) -> Graph:
    """Return the Graph that takes standardised features."""
    layer = graph.metadata[RAW_INPUTS]["layer"]
    own = next(node.layer for node in graph.nodes if node.layer != graph.input.layer)
    *before, last = (node for node in graph.nodes if node.layer in (graph.input.layer, own))
    first = Node(last.name, ops.Input(), (), last.shape, ready.output, layer)
    rest = tuple(node for node in graph.nodes if node not in before and node is not last)
    metadata = {key: value for key, value in graph.metadata.items() if key != RAW_INPUTS}
    return replace(graph, nodes=(first, *rest), inputs=(first.name,), metadata=metadata)
