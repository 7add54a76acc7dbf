"""The golden model: exact integer arithmetic in one numpy program, on numbers and on symbols.

``run`` takes integers in steps. The same text runs on symbolic arrays (any object array that knows
``@``, ``+``, ``*``, ``sum``, ``np.maximum``, ``np.concatenate``, ``reshape`` and ``quantize``), which is
how the RTL is made: what is verified and what is built are one program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgephys.errors import ModelError
from edgephys.fixed import Fixed, Integers, Overflow, Rounding
from edgephys.lower.graph import Graph, Kind, Node
from edgephys.lower.ranges import derive

DOUBLE = 53
"""Bits to which a float64 holds every integer: such a matrix product may use the fast float library."""


def run(graph: Graph, x: Any) -> Any:
    """Return the output integers of a graph with one input and one output.

    Shape: x (vector, *input shape) -> (vector, *output shape); symbols go without the vector axis.
    Exact: yes.  Raises: ModelError for a wrong shape or a number outside the input's format.
    """
    return trace(graph, {graph.input.name: x})[graph.output.name]


def trace(graph: Graph, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the integers on every edge, by node name. Shape, Exact, Raises: as ``run``."""
    edges: dict[str, Any] = {}
    partials = _partials(graph)
    for node in graph.nodes:
        if node.kind is Kind.INPUT:
            edges[node.name] = _accepted(graph, node, inputs)
        else:
            operands = [edges[name] for name in node.inputs]
            edges[node.name] = _apply(graph, node, operands, partials[node.name] < DOUBLE)
    return edges


def _partials(graph: Graph) -> dict[str, int]:
    cached = graph.__dict__.get("_partials")
    if cached is None:
        cached = {name: found.partial.bit_length() for name, found in derive(graph).items()}
        graph.__dict__["_partials"] = cached  # derived from a frozen record: a cache, not state
    return dict(cached)


def _accepted(graph: Graph, node: Node, inputs: Mapping[str, Any]) -> Any:
    if node.name not in inputs:
        raise ModelError(f"graph '{graph.name}': input '{node.name}' must be given, not only {sorted(inputs)}")
    x = inputs[node.name]
    if _is_symbol(x):
        return x
    x = np.asarray(x)
    if x.shape[1:] != node.shape or x.ndim == 0:
        raise ModelError(f"input '{node.name}': shape must be (vector, *{node.shape}), not {x.shape}")
    if not np.issubdtype(x.dtype, np.integer):
        raise ModelError(f"input '{node.name}': integers in steps expected, not {x.dtype}; quantise first")
    if x.size and not node.fixed.holds(int(x.min()), int(x.max())):
        raise ModelError(
            f"input '{node.name}': integers must be {node.fixed.low}..{node.fixed.high} ({node.fixed}), "
            f"not {int(x.min())}..{int(x.max())}"
        )
    return x.astype(np.int64)


def _apply(graph: Graph, node: Node, xs: list[Any], in_double: bool) -> Any:
    x = xs[0]
    batch = 0 if _is_symbol(x) else 1
    operands = graph.operands(node)
    if node.kind is Kind.REQUANTISE:
        return _requantise(x, operands[0].fixed.fraction, node.fixed)
    if node.kind is Kind.RELU:
        return np.maximum(x, 0)
    if node.kind is Kind.RESHAPE:
        return x.reshape((*x.shape[:batch], *node.shape))
    if node.kind is Kind.SUM and node.axis is not None:
        return np.sum(x, axis=node.axis + batch)
    if node.kind is Kind.CONCAT and node.axis is not None:
        shifts = [2 ** (node.fixed.fraction - operand.fixed.fraction) for operand in operands]
        return np.concatenate([part * shift for part, shift in zip(xs, shifts, strict=True)], node.axis + batch)
    if node.constant is None:
        raise ModelError(f"node '{node.name}' ({node.kind.value}): a constant must be there")
    constant = node.constant.integers
    if node.kind is Kind.DENSE:
        return _product(x, constant, in_double)
    if node.kind is Kind.SCALE:
        return x * constant
    up = 2 ** (node.fixed.fraction - operands[0].fixed.fraction)
    return x * up + constant * 2 ** (node.fixed.fraction - node.constant.fraction)


def _product(x: Any, weight: Integers, in_double: bool) -> Any:
    if _is_symbol(x):
        try:
            return x @ weight.astype(np.float64)
        except StopIteration:  # alkaid 0.8.2 finds no symbol in a row whose products are all known
            return np.sum(x[..., :, None] * weight.astype(np.float64), axis=-2)
    if in_double:  # every partial sum is an integer below 2**53, so each is exact in any order
        return (x.astype(np.float64) @ weight.astype(np.float64)).astype(np.int64)
    return x @ weight


def _requantise(x: Any, fraction: int, fixed: Fixed) -> Any:
    if not _is_symbol(x):
        return fixed.requantise(x, fraction)
    drop = fraction - fixed.fraction
    value = x * 2.0**-drop  # in steps of the new format
    if drop > 0:
        value = _rounded_symbol(value, drop, fixed.rounding)
    if fixed.overflow not in (Overflow.WRAP, Overflow.SAT, Overflow.SAT_SYM):
        raise ModelError(f"{fixed}: overflow {fixed.overflow.value} has no RTL; use WRAP, SAT or SAT_SYM")
    return value.quantize(
        int(fixed.signed), fixed.bits - fixed.signed, 0, overflow_mode=fixed.overflow.value, round_mode="TRN"
    )


def _rounded_symbol(value: Any, drop: int, rounding: Rounding) -> Any:
    """Round symbols with ``drop`` fraction bits to integers: a floor, after adding what decides."""
    half, small = 0.5, 2.0**-drop
    if rounding is Rounding.TRN:
        return _floor(value)
    if rounding is Rounding.RND:
        return _floor(value + half)
    if rounding is Rounding.RND_MIN_INF:
        return _floor(value + (half - small))
    if rounding is Rounding.RND_CONV:  # up at the half only where the integer below is odd
        odd = _floor(value).quantize(0, 1, 0, overflow_mode="WRAP", round_mode="TRN")
        return _floor(value + (half - small) + odd * small)
    minus = _negative(value)
    if rounding is Rounding.TRN_ZERO:
        return _floor(value + minus * (1.0 - small))
    if rounding is Rounding.RND_ZERO:
        return _floor(value + (half - small) + minus * small)
    return _floor(value + half - minus * small)  # RND_INF


def _negative(value: Any) -> Any:
    """Return symbols that are 1 where ``value`` is negative and 0 elsewhere: the sign bit alone."""
    _, integer, _ = value.kif
    return _floor(value * 2.0 ** -integer.astype(np.float64)) * -1


def _floor(value: Any) -> Any:
    signed, integer, _ = value.kif
    whole = np.maximum(integer, 0)  # all below one half: a sign bit remains, for -1
    return value.quantize(signed, whole, np.zeros_like(whole), overflow_mode="WRAP", round_mode="TRN")


def _is_symbol(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == object
