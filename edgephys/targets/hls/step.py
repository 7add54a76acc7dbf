"""Steps of an HLS project: what hls4ml gets for each node, and the shapes and formats that it must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from edgephys.core.fixed import Fixed, Integers, narrowest
from edgephys.graph.graph import Constant, Graph, Node


@dataclass(frozen=True, eq=False)
class Call:
    """State one call of a kernel: the positions of the inputs that it reads, and what it knows at compile time.

    These are sizes, tables of unsigned integers, and powers of two, of which the exponent is stated.
    """

    reads: tuple[int, ...]
    sizes: Mapping[str, int]
    tables: Mapping[str, Integers] = field(default_factory=dict)
    powers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HlsStep:
    """State one layer for hls4ml: its entry in the layer list, and what hls4ml must make of it.

    ``formats`` maps hls4ml's names of types (result, accum, weight, bias, constant) to formats. ``shape`` is the shape
    of each of its ``outputs``; a step without names of outputs has one output, named as the step.
    """

    node: Node
    name: str
    class_name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    formats: Mapping[str, Fixed]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Place:
    """State where a rule emits a node: its graph, the name of its step, the steps that it reads.

    ``bias`` is the node that a dense layer adds in the same step. ``axes`` are the leading axes that a stream takes one
    after the other: 2 for a stream of pixels, 0 for all at once.
    """

    graph: Graph
    node: Node
    bias: Node | None
    name: str
    inputs: tuple[str, ...]
    axes: int


def plain(fixed: Fixed) -> Fixed:
    """Return the format of an exact result: nothing is rounded, nothing overflows."""
    return Fixed(fixed.signed, fixed.bits, fixed.integer)


def ap_type(fixed: Fixed) -> str:
    """Return a format as AMD's C++ type."""
    name = "ap_fixed" if fixed.signed else "ap_ufixed"
    if fixed == plain(fixed):
        return f"{name}<{fixed.bits},{fixed.integer}>"
    return f"{name}<{fixed.bits},{fixed.integer},AP_{fixed.rounding.value},AP_{fixed.overflow.value},0>"


def ac_type(fixed: Fixed) -> str:
    """Return a format as Siemens' C++ type."""
    head = f"ac_fixed<{fixed.bits},{fixed.integer},{str(fixed.signed).lower()}"
    if fixed == plain(fixed):
        return f"{head}>"
    return f"{head},AC_{fixed.rounding.value},AC_{fixed.overflow.value}>"


def flat(shape: tuple[int, ...], axes: int = 0) -> tuple[int, ...]:
    """Return the shape that hls4ml gets: at most (rows, features), in the same order in memory as ``shape``.

    With ``axes`` a row is everything behind these axes, and is passed on at once.
    """
    if axes:
        return (prod(shape[:axes]), prod(shape[axes:]))
    rows = prod(shape[:-1])
    return (rows, shape[-1]) if rows > 1 else (shape[-1:] or (1,))


def clean(name: str) -> str:
    """Return a name as part of a C++ identifier."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def of_constant(constant: Constant) -> Fixed:
    """Return the narrowest format of a constant, of 2 bits or more: hls4ml writes no ac_fixed of 1 bit."""
    fixed = narrowest(int(constant.integers.min()), int(constant.integers.max()), constant.fraction)
    return fixed if fixed.bits > 1 else Fixed(fixed.signed, 2, fixed.integer + 1)
