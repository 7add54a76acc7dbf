"""What a model costs: its weights and their digits, operations counted on the Graph, LUTs estimated on its logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from edgephys.applications.task import Task
from edgephys.compress import digits
from edgephys.compress.local_rank import local_rank
from edgephys.compress.model_structure import kernel_integers, kernel_layers
from edgephys.core.fixed import Integers
from edgephys.graph.graph import Graph
from edgephys.graph.ops import Dense, Sum
from edgephys.graph.passes import lowered
from edgephys.models.files.keras import lower
from edgephys.networks.kernels import kernel_of
from edgephys.networks.table_dense import TableDense
from edgephys.targets.rtl.emit import estimate
from edgephys.targets.rtl.options import RtlOptions

RANKED = 64
"""Validation examples that local ranks are the mean of."""


@dataclass(frozen=True)
class Gains:
    """Hold what a model does on the validation examples and what it costs.

    ``digits`` are the signed digits of all weights that are not zero; ``ebops`` the effective bit operations
    (arXiv 2405.00645): bits between a weight's highest and lowest one, times the bits of the data, each product;
    ``adder_bits`` are those of the weights' digits, most of the price that stages train under.
    ``lut_estimate`` and ``cycles_estimate`` are alkaid's, at the options' clock. ``local_rank`` is that of each layer,
    a diagnostic of how far it could be narrowed. An edge with a learnt table counts as a weight, one whose table is
    constant as zero; it has no digits.
    """

    metrics: Mapping[str, Any]
    weights: int
    nonzero: int
    digits: int
    ebops: int
    adder_bits: int
    lut_estimate: int
    cycles_estimate: int
    local_rank: Mapping[str, float]


def measure(model: Any, task: Task, name: str, options: RtlOptions | None = None) -> Gains:
    """Return a model's gains.

    Raises: ModelError where it cannot be computed exactly.
    """
    graph = lowered(lower(model, task.input, name))
    tables = [layer for layer in model.layers if isinstance(layer, TableDense)]
    multiplies = not tables or any(kernel_of(layer) is not None for layer in model.layers)
    kernels = [kernel_integers(layer) for layer in kernel_layers(model)] if multiplies else []
    edges = [layer.deviations() for layer in tables]
    planned = estimate(graph, options or RtlOptions())
    return Gains(
        task.validation_metrics(model),
        sum(of.size for of in (*kernels, *edges)),
        sum(int(np.count_nonzero(of)) for of in (*kernels, *edges)),
        sum(int(digits.count(kernel).sum()) for kernel in kernels),
        ebops(graph),
        sum(adder_bits(graph).values()),
        round(planned.lut),
        planned.stages,
        local_rank(model, task.validation[0][:RANKED]),
    )


def ebops(graph: Graph) -> int:
    """Return the effective bit operations of all products with weights."""
    total = 0
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            data = graph.operands(node)[0].fixed.bits
            total += prod(node.shape[:-1]) * data * int(_span(node.op.constant.integers).sum())
    return total


def adder_bits(graph: Graph) -> dict[str, int]:
    """Return, by layer, the full adders of all signed digits: digits times the width of the data and a carry.

    What ``compress.cost`` differentiates, without biases and clipping, on what became of the model.
    """
    adders: dict[str, int] = {}
    for node in graph.nodes:
        rows, data = prod(node.shape[:-1]), graph.operands(node)
        if isinstance(node.op, Dense):
            bits = rows * (data[0].fixed.bits + 1) * int(digits.count(node.op.constant.integers).sum())
        elif isinstance(node.op, Sum):
            bits = (prod(data[0].shape) - prod(node.shape)) * (data[0].fixed.bits + 1)
        else:
            continue
        adders[node.layer] = adders.get(node.layer, 0) + bits
    return adders


def _span(integers: Integers) -> Integers:
    """Return the number of bits from the highest to the lowest one of each magnitude; 0 for zero."""
    magnitudes = np.abs(integers)
    odd = magnitudes // np.maximum(magnitudes & -magnitudes, 1)
    spans: Integers = np.ceil(np.log2(odd + 1)).astype(np.int64)
    return spans
