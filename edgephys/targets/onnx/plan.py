"""What becomes of each node of a Graph in ONNX: the float that carries it, its unit, and whether it needs an operator.

A tensor holds the values of an edge times a power of two, ``2**unit``: floats lose nothing by it. With quantise and
dequantise pairs every unit is 0. Without them an edge is held in steps of the format that it is rounded to, so that
rounding is one operator; the products before it have the power of two in their constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Overflow, Rounding, rounded
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Add, Bias, Dense, Input, Relu, Requantise, Scale, Window, WithConstant
from edgephys.graph.ranges import Range, derive

QDQ = "qdq"
FLOAT = "float"
SINGLE, DOUBLE = "float32", "float64"
CARRIERS = {SINGLE: 24, DOUBLE: 53}
"""Bits below which every integer is exact, by type."""
FARTHEST = 100
"""Binary places between a tensor's step and 1 at most, either way: floats are then far from the ends of their range."""
SATURATES = (Overflow.SAT, Overflow.SAT_SYM)


@dataclass(frozen=True)
class Rounded:
    """Say how a REQUANTISE is computed: read ``source``, add ``halves``, round half to even, keep within the bounds.

    Rounding half to even is what ONNX has. Every other mode is that after an offset that moves no value but ties,
    or all by less than a step: ``halves`` of the source's step, and ``signed_halves`` times the sign of the value.
    ``low`` and ``high`` are None where no value is proven to come to lie beyond them; ``lowest`` and ``highest``
    bound the result. ``overflows`` is WRAP or SAT_ZERO where values do come to lie outside the format.
    """

    source: str
    halves: int
    signed_halves: int
    low: int | None
    high: int | None
    lowest: int
    highest: int
    overflows: Overflow | None


@dataclass(frozen=True, eq=False)
class Plan:
    """State, by node name, all that is decided before a node is written."""

    style: str
    rounded: Mapping[str, Rounded]
    biases: Mapping[str, Node]
    absorbed: frozenset[str]
    offsets: Mapping[str, int]
    carriers: Mapping[str, str]
    units: Mapping[str, int]
    field: bool


def plan(graph: Graph, style: str) -> Plan:
    """Return the plan of a graph.

    ``biases`` are those added in the operator of their DENSE; ``absorbed`` nodes are computed by their readers;
    ``offsets`` are halves of a step that a BIAS adds for the rounding after it.
    Raises: ModelError naming the layer that floats cannot compute exactly.
    """
    ranges = derive(graph)
    only = _only_readers(graph)
    relus = {name for name, reader in only.items() if _within(graph.by_name[name], reader)}
    rounded = {n.name: _rounded(graph, n, ranges, relus) for n in graph.nodes if isinstance(n.op, Requantise)}
    biases = {name: reader for name, reader in only.items() if _has_bias(graph.by_name[name], reader)}
    offsets = {r.source: r.halves for r in rounded.values() if _takes_offset(graph, r, only, relus)}
    bounds = {node.name: _met(graph, node, ranges, rounded, offsets) for node in graph.nodes}
    for name, bias in biases.items():  # one sum, in whatever order
        bounds[name] = bounds[bias.name] = max(bounds[name], bounds[bias.name])
    carriers = {node.name: _carrier(node, bounds[node.name]) for node in graph.nodes}
    windows = {n.name for n in graph.nodes if isinstance(n.op, Window) and _convolves(graph, n, carriers)}
    units = _units(graph, style, rounded)
    for node in graph.nodes:
        _require_near(node, units[node.name])
    return Plan(style, rounded, biases, frozenset(relus | windows), offsets, carriers, units, bool(windows))


def _only_readers(graph: Graph) -> dict[str, Node]:
    """Return the reader of each edge that has one and that no probe looks at: the end of a layer stays an edge."""
    ends = {node.name for _, node in graph.layers()} | set(graph.outputs)
    return {name: found[0] for name, found in graph.readers.items() if len(found) == 1 and name not in ends}


def _within(node: Node, reader: Node) -> bool:
    """Say whether a RELU is one more bound of the saturation that reads it."""
    return isinstance(node.op, Relu) and isinstance(reader.op, Requantise) and reader.fixed.overflow in SATURATES


def _has_bias(node: Node, reader: Node) -> bool:
    return isinstance(node.op, Dense) and isinstance(reader.op, Bias) and of_channels(reader)


def of_channels(node: Node) -> bool:
    """Say whether a constant is the same along every axis but the last."""
    return isinstance(node.op, WithConstant) and prod(node.op.constant.integers.shape[:-1]) == 1


def power_of_two(node: Node) -> int | None:
    """Return m where a SCALE multiplies every element by 2**m."""
    if not isinstance(node.op, Scale):
        return None
    constant = node.op.constant
    first = int(constant.integers.flat[0])
    if first < 1 or first & (first - 1) or bool(np.any(constant.integers != first)):
        return None
    return first.bit_length() - 1 - constant.fraction


def _rounded(graph: Graph, node: Node, ranges: Mapping[str, Range], relus: set[str]) -> Rounded:
    fixed, source = node.fixed, node.inputs[0]
    floor, positive = fixed.low, ranges[source].lowest >= 0
    if source in relus:
        floor, source = max(0, fixed.low), graph.by_name[source].inputs[0]
    range_, fraction = ranges[source], graph.by_name[source].fixed.fraction
    halves, signed = _halves(fixed.rounding, drop := fraction - fixed.fraction)
    if positive or range_.highest <= 0:
        halves, signed = halves + (signed if positive else -signed), 0
    low, high = (int(fixed.in_steps(end, fraction)) for end in (range_.lowest, range_.highest))
    if drop > 0 and positive and range_.lowest < 0:  # what the RELU stops is rounded as what it lets through
        low = int(rounded(np.array(2 * range_.lowest + halves), drop + 1, Rounding.RND_CONV))
    within = floor <= low and high <= fixed.high
    saturates = fixed.overflow in SATURATES
    return Rounded(
        source=source,
        halves=halves,
        signed_halves=signed,
        low=floor if saturates and low < floor else None,
        high=fixed.high if saturates and high > fixed.high else None,
        lowest=max(low, floor) if saturates or within else fixed.low,
        highest=min(high, fixed.high) if saturates or within else fixed.high,
        overflows=None if saturates or within else fixed.overflow,
    )


def _halves(rounding: Rounding, drop: int) -> tuple[int, int]:
    """Return halves of the finer step to add, and those to add with the value's sign, before half goes to even."""
    if drop <= 0:
        return 0, 0
    down = 1 - (1 << drop)  # just under half of the wanted step
    return {
        Rounding.RND_CONV: (0, 0),
        Rounding.RND: (1, 0),
        Rounding.RND_MIN_INF: (-1, 0),
        Rounding.TRN: (down, 0),
        Rounding.TRN_ZERO: (0, down),
        Rounding.RND_INF: (0, 1),
        Rounding.RND_ZERO: (0, -1),
    }[rounding]


def _takes_offset(graph: Graph, rounded: Rounded, only: Mapping[str, Node], relus: set[str]) -> bool:
    """Say whether the BIAS before a rounding can add its offset: nothing else may read it."""
    reader = only.get(rounded.source)
    if not rounded.halves or not isinstance(graph.by_name[rounded.source].op, Bias) or reader is None:
        return False
    return isinstance(reader.op, Requantise) or reader.name in relus


def _met(
    graph: Graph, node: Node, ranges: Mapping[str, Range], rounded: Mapping[str, Rounded], offsets: Mapping[str, int]
) -> int:
    """Bound every integer that computing a node meets, in the finest step on the way."""
    if isinstance(node.op, Requantise):
        found = rounded[node.name]
        source = graph.by_name[found.source]
        drop = source.fixed.fraction - node.fixed.fraction
        read = _magnitude(ranges[found.source]) << max(0, -drop)
        finest = 2 * read + (1 << max(0, drop)) if found.halves or found.signed_halves else read
        wrapped = (read >> max(0, drop)) + 1 + (1 << node.fixed.bits) if found.overflows else 0
        return max(finest, wrapped)
    constant = node.op.largest_constant
    if isinstance(node.op, Bias):
        constant <<= node.fixed.fraction - node.op.constant.fraction
    met = max(ranges[node.name].partial, constant, *(_magnitude(ranges[name]) for name in (node.name, *node.inputs)))
    if isinstance(node.op, (Add, Bias)):  # a runtime may add to what it sums before
        met = max(met, constant + sum(_summed(graph, name, ranges, node.fixed.fraction) for name in node.inputs))
    return 2 * met + abs(offsets[node.name]) if node.name in offsets else met


def _summed(graph: Graph, name: str, ranges: Mapping[str, Range], fraction: int) -> int:
    """Bound the partial sums of an edge in steps of a fraction."""
    return max(ranges[name].partial, _magnitude(ranges[name])) << (fraction - graph.by_name[name].fixed.fraction)


def _magnitude(range_: Range) -> int:
    return max(-range_.lowest, range_.highest)


def _carrier(node: Node, bound: int) -> str:
    for carrier, bits in CARRIERS.items():
        if bound < 1 << bits:
            return carrier
    raise ModelError(
        f"layer '{node.layer}': {node.op.word} '{node.name}' needs {bound.bit_length()} bits, ONNX's floats are "
        f"exact up to {CARRIERS[DOUBLE]}; use fewer bits in its weights or inputs"
    )


def _require_near(node: Node, unit: int) -> None:
    constant = node.op.constant.fraction if isinstance(node.op, WithConstant) else 0
    if max(abs(unit - node.fixed.fraction), abs(node.fixed.fraction), abs(constant)) > FARTHEST:
        raise ModelError(
            f"layer '{node.layer}': {node.op.word} '{node.name}' has steps of 2^{-node.fixed.fraction}, ONNX takes "
            f"2^-{FARTHEST}..2^{FARTHEST}; scale the layer's numbers"
        )


def _convolves(graph: Graph, window: Node, carriers: Mapping[str, str]) -> bool:
    """Say whether all that reads a WINDOW is products that a convolution (which has float32 alone) computes."""
    readers = graph.readers[window.name]
    alike = all(isinstance(reader.op, Dense) and carriers[reader.name] == SINGLE for reader in readers)
    return alike and bool(readers) and window.name not in graph.outputs


def _units(graph: Graph, style: str, rounded: Mapping[str, Rounded]) -> dict[str, int]:
    """Return the unit in which each node's tensor is written."""
    if style == QDQ:
        wanted: dict[str, int] = {}
    else:
        wanted = _wanted(graph)
    units: dict[str, int] = {}
    for node in graph.nodes:
        power = power_of_two(node)
        if isinstance(node.op, Requantise):
            units[node.name] = 0 if style == QDQ else node.fixed.fraction
        elif power is not None:
            units[node.name] = units[node.inputs[0]] - power
        elif isinstance(node.op, (Input, Dense, Scale)):
            units[node.name] = 0 if isinstance(node.op, Input) else wanted.get(node.name, 0)
        else:
            units[node.name] = units[node.inputs[0]]
    return units


def _wanted(graph: Graph) -> dict[str, int]:
    """Return the unit that the first reader of each edge would have it in, where it has a wish."""
    wanted: dict[str, int] = {}
    for node in reversed(graph.nodes):
        if node.name in graph.outputs or not graph.readers[node.name]:
            continue
        reader = graph.readers[node.name][0]
        if isinstance(reader.op, Requantise):
            wanted[node.name] = reader.fixed.fraction
        elif reader.name in wanted and not isinstance(reader.op, (Dense, Scale)):
            wanted[node.name] = wanted[reader.name]
    return wanted
