"""How the golden model carries integers: in the fastest numbers that provably hold every one of them.

A float is an exact integer below its precision, and floats are added and multiplied several times faster than
64-bit integers. Where the derived ranges prove that all that an operation meets stays below 2**24, it runs in
float32, below 2**53 in float64, else in int64. Powers of two cost no precision: they move the exponent alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgephys.core.fixed import Fixed, Integers, Overflow, Rounding
from edgephys.graph.graph import Graph, Kind, Node
from edgephys.graph.ranges import Range, derive

CARRIERS: dict[int, np.dtype[Any]] = {24: np.dtype(np.float32), 53: np.dtype(np.float64)}
"""Bits below which every integer is exact, by type; int64 carries the wider ones."""

PIECE = 1 << 18
"""Products of one call of the matrix library: with more it starts threads, which wait for each other busily and, on a
machine with other work, for long. Chunks of vectors run in threads of ours (``evaluate.run``)."""

ROUNDED: dict[Rounding, Callable[[Any], Any]] = {
    Rounding.TRN: np.floor,
    Rounding.TRN_ZERO: np.trunc,
    Rounding.RND: lambda x: np.floor(x + 0.5),
    Rounding.RND_MIN_INF: lambda x: np.ceil(x - 0.5),
    Rounding.RND_ZERO: lambda x: np.copysign(np.ceil(np.abs(x) - 0.5), x),
    Rounding.RND_INF: lambda x: np.copysign(np.floor(np.abs(x) + 0.5), x),
    Rounding.RND_CONV: lambda x: np.rint(x, out=x),
}
"""Each mode on floats, in steps of the new format; a half is added to what has a bit to spare (``_met``)."""


def carriers(graph: Graph) -> dict[str, np.dtype[Any]]:
    """Return the type that carries each node's operands, partial sums and result, by name."""
    cached: dict[str, np.dtype[Any]] | None = graph.__dict__.get("_carriers")
    if cached is None:
        ranges = derive(graph)
        cached = {node.name: _carrier(_met(node, graph.operands(node), ranges)) for node in graph.nodes}
        graph.__dict__["_carriers"] = cached  # derived from a frozen record: a cache, not state
    return cached


def _carrier(bound: int) -> np.dtype[Any]:
    return next((kind for bits, kind in CARRIERS.items() if bound < 1 << bits), np.dtype(np.int64))


def _met(node: Node, operands: tuple[Node, ...], ranges: dict[str, Range]) -> int:
    """Bound every integer that computing a node meets, powers of two aside."""
    read = [max(-ranges[name].lowest, ranges[name].highest) for name in node.inputs]
    if node.kind is not Kind.REQUANTISE:
        constant = 0 if node.constant is None else int(np.abs(node.constant.integers).max(initial=0))
        return max(ranges[node.name].partial, constant, *read)
    drop = operands[0].fixed.fraction - node.fixed.fraction
    return (read[0] << max(0, -drop)) + (1 << max(0, drop)) + (1 << node.fixed.bits)  # halves; ends and wrapping


def product(x: Any, weight: Integers) -> Any:
    """Multiply rows by a matrix, in pieces so small that the matrix library takes one thread for each."""
    rows, weight = x.reshape(-1, x.shape[-1]), weight.astype(x.dtype)
    found = np.empty((len(rows), weight.shape[1]), x.dtype)
    size = max(1, PIECE // weight.size)
    for start in range(0, len(rows), size):
        piece = slice(start, start + size)
        np.matmul(rows[piece], weight, out=found[piece])
    return found.reshape(*x.shape[:-1], weight.shape[1])


def requantised(x: Any, fraction: int, fixed: Fixed) -> Any:
    """Return integers at ``2**-fraction`` in another format, in the same carrier.

    Exact: equals ``Fixed.requantise`` wherever the carrier is the one that ``carriers`` gives.
    """
    if x.dtype.kind != "f":
        return fixed.requantise(x, fraction)
    drop = fraction - fixed.fraction
    x = x * 2.0**-drop  # in steps of the new format
    if drop > 0:
        x = ROUNDED[fixed.rounding](x)
    low, high = float(fixed.low), float(fixed.high)
    if fixed.overflow in (Overflow.SAT, Overflow.SAT_SYM):
        return np.clip(x, low, high, out=x)
    if fixed.overflow is Overflow.SAT_ZERO:
        return np.where((x < low) | (x > high), 0, x)
    return x - np.floor((x - low) * 2.0**-fixed.bits) * 2.0**fixed.bits  # WRAP
