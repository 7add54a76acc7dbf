"""A second, plain evaluation of a Graph, to be compared with the golden model.

It shares no arithmetic with the golden model, with the operations of the Graph or with ``core.fixed``: it reads the
record of the Graph (``graph.json``), and computes with Python's whole numbers, which have no width. numpy only moves
them: every array here holds Python integers.

Source of the rounding and overflow modes: AMD UG1399, "Arbitrary Precision Fixed-Point Data Types".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgephys.core.errors import ModelError

Array = Any
"""An array of Python integers, (vector, *shape of the node)."""
Record = Mapping[str, Any]
Rule = Callable[[Record, Sequence[Array], Sequence[int]], Array]
"""Computes the integers of a node from its record, its operands' integers and their fractions."""


def trace(graph: Record, x: Array) -> dict[str, Array]:
    """Return the integers on every edge of the record of a Graph with one input, by node name.

    Shape: x (vector, *input shape) -> each (vector, *shape).  Exact: integers without a width.
    Raises: ModelError for an operation that has no rule here.
    """
    edges: dict[str, Array] = {}
    fractions: dict[str, int] = {}
    for node in graph["nodes"]:
        _, bits, integer, _, _ = node["fixed"]
        operands = [edges[name] for name in node["inputs"]]
        if node["kind"] == "input":
            edges[node["name"]] = whole(x)
        elif node["kind"] in RULES:
            edges[node["name"]] = RULES[node["kind"]](node, operands, [fractions[name] for name in node["inputs"]])
        else:
            raise ModelError(
                f"node '{node['name']}': operation '{node['kind']}' must have a rule in the plain evaluator; register "
                f"one with edgephys.verify.plain.RULES"
            )
        fractions[node["name"]] = bits - integer
    return edges


def whole(numbers: Any) -> Array:
    """Return an array of Python integers."""
    array = np.asarray(numbers, np.int64)
    return np.array(array.tolist(), dtype=object).reshape(array.shape)


def _finer(x: Array, bits: int) -> Array:
    """Return integers in steps that are finer by a number of bits."""
    if bits < 0:
        raise ModelError(f"plain evaluator: an exact result cannot have {-bits} bits less than its operand")
    return x * (2**bits)


def _aligned(node: Record, xs: Sequence[Array], fractions: Sequence[int]) -> list[Array]:
    """Return integers at several fractions in steps of the node."""
    _, bits, integer, _, _ = node["fixed"]
    return [_finer(x, bits - integer - own) for x, own in zip(xs, fractions, strict=True)]


def _product(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.asarray(np.matmul(operands[0], whole(node["constant"]["integers"])), dtype=object)


def _bias(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    added = node["constant"]
    return np.add(*_aligned(node, (operands[0], whole(added["integers"])), (fractions[0], added["fraction"])))


def _scale(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return operands[0] * whole(node["constant"]["integers"])


def _mul(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return operands[0] * operands[1]


def _add(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.add(*_aligned(node, operands, fractions))


def _max(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.maximum(*_aligned(node, operands, fractions))


def _concat(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.concatenate(_aligned(node, operands, fractions), node["axis"] + 1)


def _relu(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.frompyfunc(lambda n: n if n > 0 else 0, 1, 1)(operands[0])


def _sum(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.add.reduce(operands[0], axis=node["axis"] + 1)


def _take(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return np.take(operands[0], node["rows"], axis=node["axis"] + 1)


def _reshape(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    return operands[0].reshape(-1, *node["shape"])


def _window(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    """Return the channels of each pixel's neighbours in row-major order, and 0 beyond the edges."""
    x = operands[0]
    vectors, height, width, channels = x.shape
    rows, columns = node["window"]
    result = np.full((vectors, height, width, rows, columns, channels), 0, dtype=object)
    for row in range(height):
        for column in range(width):
            for down in range(rows):
                for right in range(columns):
                    y, z = row + down - (rows - 1) // 2, column + right - (columns - 1) // 2
                    if 0 <= y < height and 0 <= z < width:
                        result[:, row, column, down, right] = x[:, y, z]
    return result.reshape(vectors, height, width, -1)


def _requantise(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    signed, bits, integer, rounding, overflow = node["fixed"]
    drop = fractions[0] - (bits - integer)
    low = -(2 ** (bits - 1)) if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1

    def one(n: int) -> int:
        steps = n * 2**-drop if drop <= 0 else _rounded(n, 2**drop, rounding)
        return _overflowed(steps, low, high, bits, overflow)

    return np.frompyfunc(one, 1, 1)(operands[0])


def _lookup(node: Record, operands: Sequence[Array], fractions: Sequence[int]) -> Array:
    results = node["constant"]["integers"]
    tables = results if isinstance(results[0], list) else [results] * (node["shape"] or [1])[-1]
    entry = np.frompyfunc(lambda n, channel: tables[channel][n - node["first"]], 2, 1)
    x = _finer(operands[0], node["operand_fraction"] - fractions[0])
    return np.asarray(entry(x, np.arange(len(tables)) if node["shape"] else 0), dtype=object)


def _rounded(n: int, divisor: int, mode: str) -> int:
    """Return n / divisor as a whole number."""
    below, rest = n // divisor, n % divisor
    if rest == 0 or mode == "TRN":
        return below
    if mode == "TRN_ZERO":
        return below if n > 0 else below + 1
    if 2 * rest != divisor:
        return below if 2 * rest < divisor else below + 1
    tie: dict[str, int] = {
        "RND": below + 1,
        "RND_MIN_INF": below,
        "RND_INF": below + 1 if n > 0 else below,
        "RND_ZERO": below if n > 0 else below + 1,
        "RND_CONV": below if below % 2 == 0 else below + 1,
    }
    return tie[mode]


def _overflowed(n: int, low: int, high: int, bits: int, mode: str) -> int:
    """Return a whole number in a format of so many bits."""
    if mode == "SAT_SYM" and low < 0:
        low = -high
    if low <= n <= high:
        return n
    if mode == "SAT_ZERO":
        return 0
    if mode == "WRAP":
        return low + (n - low) % (1 << bits)
    return low if n < low else high


RULES: dict[str, Rule] = {
    "dense": _product,
    "bias": _bias,
    "scale": _scale,
    "mul": _mul,
    "add": _add,
    "max": _max,
    "concat": _concat,
    "relu": _relu,
    "sum": _sum,
    "take": _take,
    "reshape": _reshape,
    "window": _window,
    "requantise": _requantise,
    "lookup": _lookup,
}
"""The rule of every operation by its word; one from outside of the package adds its own."""
