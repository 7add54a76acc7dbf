"""What is decided of a Graph before its ONNX operators are written: float types, units, fusions and roundings.

A tensor holds the values of an edge times a power of two, ``2**unit``, which changes no bit of a float's fraction. With
pairs of QuantizeLinear and DequantizeLinear (style 'qdq') the unit of rounded edges is 0. In style 'float' an edge is
held in steps of the format to which it is rounded, so that rounding is one operator; the constants of the products
before it contain the power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import prod

import numpy as np

from edgephys.core.errors import ModelError
from edgephys.core.rounding import Overflow, Rounding, Toward, rounded
from edgephys.graph.graph import Graph, Node
from edgephys.graph.ops import Bias, Dense, Relu, Requantise, Scale, Window, WithConstant
from edgephys.graph.ranges import Range, derive

QDQ = "qdq"
FLOAT = "float"
SINGLE, DOUBLE = "float32", "float64"
CARRIERS = {SINGLE: 24, DOUBLE: 53}
"""Bits up to which every integer is exact, by type."""
FARTHEST = 100
"""Binary places between a tensor's step and 1, at most: floats are then far from the ends of their range."""


class Unit(Enum):
    """The power of two in which the result of an operation is held."""

    OPERAND = "that of the first operand; factors of two commute with the operation"
    PRODUCT = "the sum of those of the operands, which are multiplied"
    READER = "that which the reader needs; the operation's constants contain the difference"
    FORMAT = "that of a rounding into the node's format"
    ZERO = "the values themselves"


@dataclass(frozen=True)
class OnnxRule:
    """State how ONNX computes an operation.

    ``write(writer, node, op)`` adds the operators. ``unit`` is that of the result. ``adds``: the operation is an
    addition, which a runtime may fuse with a sum before it.
    """

    write: Callable[..., None]
    unit: Unit = Unit.OPERAND
    adds: bool = False


Rules = Mapping[str, OnnxRule]
"""The rule of each node, by its name."""


@dataclass(frozen=True)
class Rounded:
    """State how a requantise is computed: read ``source``, add ``halves``, round half to even, apply the bounds.

    ONNX rounds half to even. Every other mode is the same after an offset that changes ties only, or moves all values
    by less than a step: ``halves`` of the source's step, and ``signed_halves`` times the sign of the value.
    ``low`` and ``high`` are None where no value can be beyond them; ``lowest`` and ``highest`` bound the result.
    ``overflows`` is WRAP or SAT_ZERO where values can be outside the format.
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
class OnnxPlan:
    """State, by node name, what is decided before the operators are written.

    ``biases`` are added in the operator of the product that they read; ``absorbed`` nodes are computed by the operator
    of their reader; ``offsets`` are halves of a step that a bias adds for the rounding after it; ``field``: products on
    fields of pixels are convolutions.
    """

    style: str
    rounded: Mapping[str, Rounded]
    biases: Mapping[str, Node]
    absorbed: frozenset[str]
    offsets: Mapping[str, int]
    carriers: Mapping[str, str]
    units: Mapping[str, int]
    field: bool


def plan(graph: Graph, style: str, rules: Rules) -> OnnxPlan:
    """Return the plan of a graph.

    Raises: ModelError, naming the layer that floats cannot compute exactly.
    """
    ranges = derive(graph)
    only = _only_readers(graph)
    relus = {name for name, reader in only.items() if _within(graph.by_name[name], reader)}
    rounded = {n.name: _rounded(graph, n, ranges, relus) for n in graph.nodes if rules[n.name].unit is Unit.FORMAT}
    biases = {name: reader for name, reader in only.items() if _has_bias(graph.by_name[name], reader)}
    offsets = {r.source: r.halves for r in rounded.values() if _takes_offset(graph, r, only, relus)}
    bounds = {node.name: _bound(graph, node, rules, ranges, rounded, offsets) for node in graph.nodes}
    for name, bias in biases.items():  # one operator sums both, in any order
        bounds[name] = bounds[bias.name] = max(bounds[name], bounds[bias.name])
    carriers = {node.name: _carrier(node, bounds[node.name]) for node in graph.nodes}
    windows = {n.name for n in graph.nodes if isinstance(n.op, Window) and _convolves(graph, n, carriers)}
    units = _units(graph, style, rules)
    for node in graph.nodes:
        _require_near(node, units[node.name])
    return OnnxPlan(style, rounded, biases, frozenset(relus | windows), offsets, carriers, units, bool(windows))


def _only_readers(graph: Graph) -> dict[str, Node]:
    """Return the reader of each edge with one reader. The end of a layer is left out: it stays an edge for probes."""
    ends = {node.name for _, node in graph.layers()} | set(graph.outputs)
    return {name: readers[0] for name, readers in graph.readers.items() if len(readers) == 1 and name not in ends}


def _within(node: Node, reader: Node) -> bool:
    """Say whether a ReLU becomes a bound of the saturation that reads it."""
    return isinstance(node.op, Relu) and isinstance(reader.op, Requantise) and reader.fixed.overflow.saturates


def _has_bias(node: Node, reader: Node) -> bool:
    return isinstance(node.op, Dense) and isinstance(reader.op, Bias) and of_channels(reader)


def of_channels(node: Node) -> bool:
    """Say whether a constant is the same along every axis but the last."""
    return isinstance(node.op, WithConstant) and prod(node.op.constant.integers.shape[:-1]) == 1


def power_of_two(node: Node) -> int | None:
    """Return m where a scale multiplies every element by 2**m, else None."""
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
    if drop > 0 and positive and range_.lowest < 0:  # values below 0 are rounded in the same way as those above
        low = int(rounded(np.array(2 * range_.lowest + halves), drop + 1, Rounding.RND_CONV))
    within = floor <= low and high <= fixed.high
    saturates = fixed.overflow.saturates
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
    """Return the halves of the finer step to add before rounding half to even, and those with the value's sign."""
    if drop <= 0:
        return 0, 0
    amount = 1 if rounding.nearest else (1 << drop) - 1  # the latter is just under half of the coarser step
    halves = {Toward.LOWER: -amount, Toward.UPPER: amount}.get(rounding.toward, 0)
    return halves, {Toward.ZERO: -amount, Toward.AWAY: amount}.get(rounding.toward, 0)


def _takes_offset(graph: Graph, rounded: Rounded, only: Mapping[str, Node], relus: set[str]) -> bool:
    """Say whether the bias before a rounding can add the offset; then nothing else may read it."""
    reader = only.get(rounded.source)
    if not rounded.halves or not isinstance(graph.by_name[rounded.source].op, Bias) or reader is None:
        return False
    return isinstance(reader.op, Requantise) or reader.name in relus


def _bound(
    graph: Graph,
    node: Node,
    rules: Rules,
    ranges: Mapping[str, Range],
    rounded: Mapping[str, Rounded],
    offsets: Mapping[str, int],
) -> int:
    """Bound every integer that occurs in the computation of a node, in the finest step that occurs."""
    if node.name in rounded:
        return _rounding_bound(graph, node, ranges, rounded[node.name])
    constant = node.op.largest_constant
    if isinstance(node.op, WithConstant) and node.op.aligns:
        constant <<= node.fixed.fraction - node.op.constant.fraction
    bound = max(constant, ranges[node.name].largest, node.op.largest_integer(node, graph.operands(node), ranges))
    if rules[node.name].adds:  # a runtime may add to the sum before
        bound = max(bound, constant + sum(_summed(graph, name, ranges, node.fixed.fraction) for name in node.inputs))
    return 2 * bound + abs(offsets[node.name]) if node.name in offsets else bound


def _rounding_bound(graph: Graph, node: Node, ranges: Mapping[str, Range], how: Rounded) -> int:
    drop = graph.by_name[how.source].fixed.fraction - node.fixed.fraction
    read = ranges[how.source].largest << max(0, -drop)
    finest = 2 * read + (1 << max(0, drop)) if how.halves or how.signed_halves else read
    wrapped = (read >> max(0, drop)) + 1 + (1 << node.fixed.bits) if how.overflows else 0
    return max(finest, wrapped)


def _summed(graph: Graph, name: str, ranges: Mapping[str, Range], fraction: int) -> int:
    """Bound the partial sums of an edge in steps of a fraction."""
    return max(ranges[name].partial, ranges[name].largest) << (fraction - graph.by_name[name].fixed.fraction)


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
    """Say whether only products read a window, which can be convolutions: those have float32 alone."""
    readers = graph.readers[window.name]
    alike = all(isinstance(reader.op, Dense) and carriers[reader.name] == SINGLE for reader in readers)
    return alike and bool(readers) and window.name not in graph.outputs


def _units(graph: Graph, style: str, rules: Rules) -> dict[str, int]:
    """Return the unit in which each node's tensor is written."""
    wanted = {} if style == QDQ else _wanted(graph, rules)
    units: dict[str, int] = {}
    for node in graph.nodes:
        power, unit = power_of_two(node), rules[node.name].unit
        if unit is Unit.FORMAT:
            units[node.name] = 0 if style == QDQ else node.fixed.fraction
        elif power is not None:
            units[node.name] = units[node.inputs[0]] - power
        elif unit is Unit.OPERAND:
            units[node.name] = units[node.inputs[0]]
        elif unit is Unit.PRODUCT:
            units[node.name] = sum(units[name] for name in node.inputs)
        else:
            units[node.name] = wanted.get(node.name, 0) if unit is Unit.READER else 0
    return units


def _wanted(graph: Graph, rules: Rules) -> dict[str, int]:
    """Return the unit that the first reader of each edge needs, where it needs one."""
    wanted: dict[str, int] = {}
    for node in reversed(graph.nodes):
        if node.name in graph.outputs or not graph.readers[node.name]:
            continue
        reader = graph.readers[node.name][0]
        unit = rules[reader.name].unit
        if unit is Unit.FORMAT:
            wanted[node.name] = reader.fixed.fraction
        elif unit is Unit.OPERAND and reader.name in wanted:
            wanted[node.name] = wanted[reader.name]
    return wanted
