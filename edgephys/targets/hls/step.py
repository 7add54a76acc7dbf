"""Steps of an HLS project: what hls4ml gets for each node, and the shapes and formats that it must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from edgephys.core.fixed import Fixed, Integers, narrowest
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.targets.hls.dataflow import LoopPasses


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
    of each of its ``outputs``; a step without names of outputs has one output, named as the step. In a stream, ``loop``
    are its passes, of which each reads and writes a beat where it is None, and ``buffered`` the beats of its input that
    it holds in memory.
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
    loop: LoopPasses | None = None
    buffered: int = 0


@dataclass(frozen=True, eq=False)
class Place:
    """State where a rule emits a node: its graph, the name of its step, the steps that it reads.

    ``bias`` is the node that a dense layer adds in the same step. In a stream of so many ``beats``, ``one`` and
    ``ones`` are the node and its operands as they are in one beat; 0 beats are all at once, and these the whole node
    and operands.
    """

    graph: Graph
    node: Node
    bias: Node | None
    name: str
    inputs: tuple[str, ...]
    one: Node
    ones: tuple[Node, ...]
    beats: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that hls4ml gets: (beats, numbers of a beat), or at most (rows, features), in the order in memory."""
        return (self.beats, prod(self.one.shape)) if self.beats else flat(self.one.shape)


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


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape of at most (rows, features), in the same order in memory as ``shape``."""
    rows = prod(shape[:-1])
    return (rows, shape[-1]) if rows > 1 else (shape[-1:] or (1,))


def clean(name: str) -> str:
    """Return a name as part of a C++ identifier."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def of_constant(constant: Constant) -> Fixed:
    """Return the narrowest format of a constant, of 2 bits or more: hls4ml writes no ac_fixed of 1 bit."""
    fixed = narrowest(int(constant.integers.min()), int(constant.integers.max()), constant.fraction)
    return fixed if fixed.bits > 1 else Fixed(fixed.signed, 2, fixed.integer + 1)
