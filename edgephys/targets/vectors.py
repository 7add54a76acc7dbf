"""Vectors that go into an emitted program, and the edges that come out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from edgephys.core.errors import MismatchError
from edgephys.core.fixed import Integers


def require_vectors(program: str, x: Any, shape: Sequence[int]) -> Integers:
    """Return vectors as an array of integers; raise MismatchError, naming the program, for others and for none.

    Shape: (vector, *shape).
    """
    vectors: Integers = np.asarray(x)
    fits = vectors.ndim > 0 and vectors.shape[1:] == tuple(shape) and len(vectors) > 0
    if not fits or not np.issubdtype(vectors.dtype, np.integer):
        wanted = ", ".join(map(str, ("1 or more", *shape)))
        raise MismatchError(f"{program}: vectors must be integers ({wanted}), not {vectors.dtype} {vectors.shape}")
    return vectors


def edges_of(results: Integers, entries: Sequence[Mapping[str, Any]]) -> dict[str, Integers]:
    """Return the edges of which a program writes one behind the other, by their nodes.

    Shape: results (vector, integers of all entries), each edge (vector, *shape of its entry).
    """
    edges, start = {}, 0
    for entry in entries:
        stop = start + prod(entry["shape"])
        edges[entry["node"]] = results[:, start:stop].reshape(len(results), *entry["shape"])
        start = stop
    return edges
