"""Estimate the LUTs that a vendor's C synthesis would count for an HLS project, from the Graph alone.

A product with a constant of d signed digits becomes d rows of adders as wide as the sum. The LUTs of a bit of such a
row are fitted to published reports, whose totals over the layers are met within ``deviation``; the published sums all
have 16 bits, so that proportion to their width is ours. The estimate is of C synthesis, which counts more than logic
synthesis does. Latency, flip-flops and DSPs are not estimated: the reports are of one clock and one depth, and the tool
alone chooses what becomes a DSP.

Source of the calibration: C-synthesis reports (Vivado HLS 2020.1, xcvu13p, 5 ns) and weights of three Deep Sets of 8
constituents with 4, 6 and 8 bits, by the authors of arXiv 2402.01876, in github.com/fastmachinelearning/l1-jet-id at
commit ccee2dfa10f9, deepsets/bin/trained_deepsets/deepsinv_synthable_{4,6,8}bits_8const_ptetaphi_kfolds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from edgephys.core import signed_digits
from edgephys.core.figure import Figure, FigureStage, missing
from edgephys.core.fixed import Integers, Overflow, Rounding
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import WithConstant
from edgephys.targets.fpga import STREAM
from edgephys.targets.target import EmittedProject

NAME = "lut_csynth_estimate"
LAYER = "lut_csynth"


@dataclass(frozen=True)
class PublishedLayer:
    """State a layer of a published report: bits of its weights, copies, signed digits of a copy, LUTs of all copies."""

    network: int
    layer: str
    copies: int
    digits: int
    lut: int


SUM_BITS = 16
"""Width of the sums in all published layers."""
PUBLISHED = (
    PublishedLayer(4, "phi1", 8, 123, 12_732),
    PublishedLayer(4, "phi2", 8, 1_229, 166_122),
    PublishedLayer(4, "phi3", 8, 1_255, 165_714),
    PublishedLayer(4, "rho", 1, 1_371, 25_009),
    PublishedLayer(4, "dense", 1, 634, 8_032),
    PublishedLayer(6, "phi1", 8, 158, 21_284),
    PublishedLayer(6, "phi2", 8, 1_908, 269_978),
    PublishedLayer(6, "phi3", 8, 1_912, 267_298),
    PublishedLayer(6, "rho", 1, 1_956, 32_553),
    PublishedLayer(6, "dense", 1, 635, 7_642),
    PublishedLayer(8, "phi1", 8, 194, 23_412),
    PublishedLayer(8, "phi2", 8, 2_326, 350_866),
    PublishedLayer(8, "phi3", 8, 2_290, 342_594),
    PublishedLayer(8, "rho", 1, 2_179, 32_476),
    PublishedLayer(8, "dense", 1, 678, 7_200),
)
ROUNDED_LUT, ROUNDED_ELEMENTS = 20_747, 256
"""LUTs of 256 sums that are rounded and saturated, the same in all three reports."""
LOGIC_SYNTHESIS = (2.2, 2.4)
"""How many times fewer LUTs Vivado's logic synthesis of two of these projects counts: 518,548 / 235,359 (4 bits) and
739,886 / 313,230 (6 bits)."""


def adder_lut(layers: Sequence[PublishedLayer] = PUBLISHED) -> float:
    """Return the LUTs of a bit of an adder, fitted to the sum over layers."""
    return sum(of.lut for of in layers) / sum(of.copies * of.digits * SUM_BITS for of in layers)


def deviation() -> tuple[float, float]:
    """Return the largest relative errors of each network by the fit to the other two: of its total, of one layer."""
    totals, single = [], []
    for network in sorted({of.network for of in PUBLISHED}):
        own = [of for of in PUBLISHED if of.network == network]
        fit = adder_lut([of for of in PUBLISHED if of.network != network])
        totals.append(abs(fit / adder_lut(own) - 1))
        single += [abs(fit / adder_lut([of]) - 1) for of in own]
    return max(totals), max(single)


FREE = ("input", "bias", "relu", "concat", "take", "reshape")
"""Operations without LUTs of their own: wires, and what the published layers include."""


def figures(project: EmittedProject) -> list[Figure]:
    """Return the estimated LUTs of the design and of each layer, or why there is no estimate."""
    (low, high), (total, single) = LOGIC_SYNTHESIS, deviation()
    where = (
        f"{project.part}, C synthesis; from 3 published reports of Deep Sets, whose totals it meets within "
        f"{100 * total:.0f} %, single layers within {100 * single:.0f} %; logic synthesis counts {low} to {high} times "
        "fewer"
    )
    source = ("LUT", FigureStage.ESTIMATED, "edgephys", project.versions["edgephys"])
    why = "a stream shares its logic over pixels" if project.facts.get("io") == STREAM else unknown(project.graph)
    if why is not None:
        return [missing(NAME, *source, project.part, f"no published report to estimate from: {why}")]
    layers = {layer: round(lut) for layer, lut in by_layer(project.graph).items()}
    each = [Figure(f"{LAYER}.{layer}", lut, *source, f"{where}, layer {layer}") for layer, lut in layers.items()]
    return [Figure(NAME, sum(layers.values()), *source, where), *each]


def unknown(graph: Graph) -> str | None:
    """Return the first operation that the published reports do not have; None where all are known."""
    for node in graph.alive():
        if node.op.word not in (*FREE, *COUNTED):
            return f"layer '{node.layer}' has the operation {node.op.word}"
    return None


def by_layer(graph: Graph) -> dict[str, float]:
    """Return the estimated LUTs of each layer that has any."""
    layers: dict[str, float] = {}
    for node in graph.alive():
        if node.op.word in COUNTED:
            layers[node.layer] = layers.get(node.layer, 0.0) + COUNTED[node.op.word](graph, node)
    return {layer: lut for layer, lut in layers.items() if lut}


def _dense(graph: Graph, node: Node) -> float:
    """Return the LUTs of a product with a constant matrix: a row of adders for each signed digit."""
    digits = int(signed_digits.count(_constant(node)).sum())
    return adder_lut() * prod(node.shape[:-1]) * digits * node.fixed.bits


def _sums(graph: Graph, node: Node) -> float:
    """Return the LUTs of sums: an adder for each element beyond the first of a sum."""
    elements = sum(prod(operand.shape) for operand in graph.operands(node))
    return adder_lut() * (elements - prod(node.shape)) * node.fixed.bits


def _rounded(graph: Graph, node: Node) -> float:
    """Return the LUTs of rounding and saturation, in proportion to the bits that come in; none where bits are cut."""
    fixed, (operand,) = node.fixed, graph.operands(node)
    if fixed.rounding is Rounding.TRN and fixed.overflow is Overflow.WRAP:
        return 0.0
    return ROUNDED_LUT / ROUNDED_ELEMENTS / SUM_BITS * prod(node.shape) * operand.fixed.bits


def _scaled(graph: Graph, node: Node) -> float:
    """Return the LUTs of products with constants, to which nothing is added: one row of adders fewer for each."""
    rows = np.maximum(signed_digits.count(_constant(node)) - 1, 0)
    return adder_lut() * int(np.broadcast_to(rows, node.shape).sum()) * node.fixed.bits


def _constant(node: Node) -> Integers:
    if not isinstance(node.op, WithConstant):
        raise node.wrong("an operation with a constant is expected")
    return node.op.constant.integers


COUNTED = {"dense": _dense, "scale": _scaled, "sum": _sums, "add": _sums, "requantise": _rounded}
