"""Which type carries the integers of an edge: the fastest one that provably holds all of them.

A float holds every integer below its precision exactly, and floats are added and multiplied several times faster than
64-bit integers. An operation runs in float32 where the derived ranges prove that its integers stay below 2**24, in
float64 below 2**53, else in int64. Factors of two cost no precision: they change the exponent alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive

CARRIERS: dict[int, np.dtype[Any]] = {24: np.dtype(np.float32), 53: np.dtype(np.float64)}
"""Bits up to which every integer is exact, with the type; int64 carries wider ones."""


def carriers(graph: Graph) -> dict[str, np.dtype[Any]]:
    """Return the type that carries each node's operands, partial sums and result, by name."""
    cached: dict[str, np.dtype[Any]] | None = graph.__dict__.get("_carriers")
    if cached is None:
        ranges = derive(graph)
        cached = {
            node.name: _carrier(node.op.largest_integer(node, graph.operands(node), ranges)) for node in graph.nodes
        }
        graph.__dict__["_carriers"] = cached  # derived from a frozen record: a cache, not state
    return cached


def _carrier(largest: int) -> np.dtype[Any]:
    return next((carrier for bits, carrier in CARRIERS.items() if largest < 1 << bits), np.dtype(np.int64))
