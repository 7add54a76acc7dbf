"""Random graphs for the whole suite: any seed gives a small graph of one input and one output.

``build`` draws from any source of numbers: numpy's generator (``random_graph``) or Hypothesis
(``graphs``, which shrinks towards few nodes and small numbers).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies

from edgephys.core.errors import ModelError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph
from edgephys.graph.ranges import derive


@dataclass(frozen=True)
class Limits:
    """Bound what a random graph is made of.

    Units: bits.  ``input``, ``constant`` and ``requantised`` are the most, ``least`` is the least of all three where
    that is below the most. ``dropped`` is how many more fraction bits an edge may have than what it is requantised to;
    an edge of over ``edge`` bits is requantised before the graph goes on. ``lookups``: tables occur.
    """

    roundings: tuple[Rounding, ...] = tuple(Rounding)
    overflows: tuple[Overflow, ...] = tuple(Overflow)
    least: int = 1
    input: int = 7
    constant: int = 4
    requantised: int = 8
    dropped: int = 4
    edge: int = 40
    lookups: bool = True


EVERY = Limits()
WITHOUT_LOOKUPS = Limits(lookups=False)
"""Operations that QONNX computes."""
WITH_RTL = Limits(overflows=(Overflow.WRAP, Overflow.SAT, Overflow.SAT_SYM))
"""Modes that the RTL back end computes: ``EVERY`` has one more, which it must refuse."""

WIDEST_PIXEL = 12
"""Channels beyond which a random field gives up some of them before it goes on."""

TABLE_BITS = 7
"""Bits of the widest operand of a table."""

LARGEST = 24
"""Elements of an edge beyond which a random graph is summed or shortened before it goes on."""

Draw = Callable[[int, int], int]
"""Return an integer from low to high, both included."""


def build(draw: Draw, limits: Limits = EVERY, steps: int = 6, rows: int = 3) -> Graph:
    """Return a lowered graph of at most ``steps`` random operations on an input of at most ``rows`` rows."""
    builder = Builder("random")
    shape = (draw(1, 3),) if draw(0, 1) else (draw(1, rows), draw(1, 3))
    edges = [builder.input("x", shape, _format(draw, limits, limits.input))]
    for number in range(draw(1, steps)):
        x = edges[-1 - (draw(0, 3) == 3 and len(edges) > 1)]  # now and then not the newest: a branch
        layer = f"l{number - (draw(0, 2) == 2)}"  # now and then two operations in one layer
        small = np.prod(builder.shape(x)) <= LARGEST
        operation = _drawn(OPERATIONS, draw, limits) if small else _folded
        edges.append(_applied(operation, builder, draw, limits, layer, x, edges))
    return builder.finish(edges[-1])


def random_graph(seed: int, limits: Limits = EVERY, steps: int = 6) -> Graph:
    """Return the graph of a seed."""
    generator = np.random.default_rng(seed)
    return build(lambda low, high: int(generator.integers(low, high, endpoint=True)), limits, steps)


def build_field(draw: Draw, limits: Limits = EVERY, steps: int = 5, sides: int = 4) -> Graph:
    """Return a lowered graph of random operations that look at a pixel and its neighbours, on a field of any sides."""
    builder = Builder("field")
    edges = [builder.input("x", (draw(1, sides), draw(1, sides), draw(1, 2)), _format(draw, limits, limits.input - 2))]
    for number in range(draw(1, steps)):
        x = edges[-1 - draw(0, min(2, len(edges) - 1))]
        layer = f"l{number - (draw(0, 2) == 2)}"  # now and then two operations in one layer
        small = builder.shape(x)[-1] <= WIDEST_PIXEL
        operation = _drawn(ON_PIXELS, draw, limits) if small else _some_channels
        edges.append(_applied(operation, builder, draw, limits, layer, x, edges))
    last = builder.window("last", edges[-1], (draw(1, 3), draw(2, 3)))  # no graph is without one
    return builder.finish(_applied(_dense, builder, draw, limits, "out", last, edges))


@strategies.composite
def field_graphs(draw, limits: Limits = EVERY, steps: int = 5, sides: int = 4) -> Graph:
    """Draw a random graph that has a stream of pixels."""
    return build_field(lambda low, high: draw(strategies.integers(low, high)), limits, steps, sides)


@strategies.composite
def graphs(draw, limits: Limits = EVERY, steps: int = 6) -> Graph:
    """Draw a random graph."""
    return build(lambda low, high: draw(strategies.integers(low, high)), limits, steps)


def vectors(graph: Graph, count: int = 300, seed: int = 0) -> np.ndarray:
    """Return random inputs of a graph, the corners of its format first."""
    fixed, shape = graph.input.fixed, graph.input.shape
    x = np.random.default_rng(seed).integers(fixed.low, fixed.high, (count, *shape), endpoint=True)
    x[0], x[1] = fixed.low, fixed.high
    return x


def _drawn(operations, draw: Draw, limits: Limits):
    allowed = [operation for operation in operations if limits.lookups or operation is not _lookup]
    return allowed[draw(0, len(allowed) - 1)]


def _format(draw: Draw, limits: Limits, widest: int, near: int = 0) -> Fixed:
    """Return a format whose fraction is around ``near``; its integer part may be negative or exceed its bits."""
    roundings, overflows = limits.roundings, limits.overflows
    signed, bits = bool(draw(0, 1)), draw(min(limits.least, widest), widest)
    if signed and bits == 1:
        bits = 2
    fraction = near + draw(-3, 3)
    rounding, overflow = roundings[draw(0, len(roundings) - 1)], overflows[draw(0, len(overflows) - 1)]
    return Fixed(signed, bits, bits - fraction, rounding, overflow)


def _applied(operation, builder: Builder, draw: Draw, limits: Limits, layer: str, x: str, edges: list[str]) -> str:
    """Return the edge behind an operation, requantised where it is wide; one that no format holds is left out."""
    try:
        y = operation(builder, draw, limits, layer, x, edges)
        ranges = derive(builder.finish(y))
    except ModelError:
        return _requantise(builder, draw, limits, layer, x, edges)
    widest = max(range_.partial for range_ in ranges.values()).bit_length()
    return _requantise(builder, draw, limits, layer, y, edges) if widest > limits.edge else y


def _constants(draw: Draw, limits: Limits, shape: tuple[int, ...]) -> np.ndarray:
    bits = draw(min(limits.least, limits.constant), limits.constant)
    numbers = [draw(-(1 << bits), (1 << bits) - 1) for _ in range(int(np.prod(shape)))]
    return np.array(numbers, np.int64).reshape(shape) << draw(0, 2)


def _dense(builder, draw, limits, layer, x, edges):
    weights = _constants(draw, limits, (builder.shape(x)[-1], draw(1, 3))) if builder.shape(x) else None
    return (
        _relu(builder, draw, limits, layer, x, edges)
        if weights is None
        else builder.dense(layer, x, weights, draw(-2, 4))
    )


def _bias(builder, draw, limits, layer, x, edges):
    shape = builder.shape(x)
    return builder.bias(layer, x, _constants(draw, limits, shape[draw(0, len(shape)) :]), draw(-2, 6))


def _scale(builder, draw, limits, layer, x, edges):
    shape = builder.shape(x)
    return builder.scale(layer, x, _constants(draw, limits, shape[draw(0, len(shape)) :]), draw(-2, 4))


def _relu(builder, draw, limits, layer, x, edges):
    return builder.relu(layer, x)


def _sum(builder, draw, limits, layer, x, edges):
    rank = len(builder.shape(x))
    return builder.sum(layer, x, draw(0, rank - 1)) if rank > 1 else builder.relu(layer, x)


def _mean(builder, draw, limits, layer, x, edges):
    if len(builder.shape(x)) < 2:
        return builder.relu(layer, x)
    return builder.scale(layer, builder.sum(layer, x, 0), np.array(draw(1, 31)), 6)


def _folded(builder, draw, limits, layer, x, edges):
    if len(builder.shape(x)) > 1:
        return builder.sum(layer, x, draw(0, len(builder.shape(x)) - 1))
    return builder.take(layer, x, np.arange(LARGEST // 2), 0)


def _concat(builder, draw, limits, layer, x, edges):
    shape = builder.shape(x)
    axis = draw(0, len(shape) - 1)
    others = [edge for edge in edges if _without(builder.shape(edge), axis) == _without(shape, axis)]
    return builder.concat(layer, (x, others[draw(0, len(others) - 1)]), axis)


def _add(builder, draw, limits, layer, x, edges):
    alike = [edge for edge in edges if builder.shape(edge) == builder.shape(x)]
    return builder.add(layer, x, alike[draw(0, len(alike) - 1)])


def _mul(builder, draw, limits, layer, x, edges):
    """Two edges of one shape, or one that is repeated along its axes of length 1; now and then a square."""
    shape = builder.shape(x)
    alike = [edge for edge in edges if _broadcasts(builder.shape(edge), shape)]
    return builder.mul(layer, x, builder.spread(f"{layer}_spread", alike[draw(0, len(alike) - 1)], shape))


def _max(builder, draw, limits, layer, x, edges):
    alike = [edge for edge in edges if builder.shape(edge) == builder.shape(x)]
    return builder.max(layer, x, alike[draw(0, len(alike) - 1)])


def _broadcasts(own: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(own) <= len(shape) and all(a in (1, b) for a, b in zip(own[::-1], shape[::-1], strict=False))


def _take(builder, draw, limits, layer, x, edges):
    """Rows of any shape: none takes one and drops the axis, two axes make pairs; some rows twice, some never."""
    shape = builder.shape(x)
    axis = draw(0, len(shape) - 1)
    rows = ((), (1,), (3,), (2, 2))[draw(int(len(shape) == 1), 3)]
    numbers = [draw(0, shape[axis] - 1) for _ in range(int(np.prod(rows)))]
    return builder.take(layer, x, np.array(numbers).reshape(rows), axis)


def _pairs(builder, draw, limits, layer, x, edges):
    """Every row met by every other, as in an interaction network; the rows that meet are layers of their own."""
    count = builder.shape(x)[0]
    if len(builder.shape(x)) != 2 or count == 1:
        return _add(builder, draw, limits, layer, x, edges)
    receivers, senders = (index.reshape(count, count - 1) for index in np.nonzero(~np.eye(count, dtype=bool)))
    received = builder.take(f"{layer}_receivers", x, receivers, 0)
    return builder.add(layer, received, builder.take(f"{layer}_senders", x, senders, 0))


def _without(shape: tuple[int, ...], axis: int):
    return len(shape), shape[:axis], shape[axis + 1 :]


def _reshape(builder, draw, limits, layer, x, edges):
    size = int(np.prod(builder.shape(x)))
    if size % 2 == 0 and draw(0, 1):
        return builder.reshape(layer, x, (size // 2, 2))
    return builder.reshape(layer, x, (size,))


def _window(builder, draw, limits, layer, x, edges):
    """Neighbours of every pixel, in the layer of others or alone; what is no field becomes one."""
    shape = builder.shape(x)
    if len(shape) != 3:
        pixels = int(np.prod(shape[:-1]))
        x = builder.reshape(f"{layer}_field", x, (1 + (pixels % 2 == 0), pixels // (1 + (pixels % 2 == 0)), shape[-1]))
    return builder.window(layer, x, (draw(1, 3), draw(1, 3)))


def _convolution(builder, draw, limits, layer, x, edges):
    """A convolution as networks are lowered: its window is a layer of its own."""
    x = _window(builder, draw, limits, f"{layer}_window", x, edges)
    return _dense(builder, draw, limits, layer, x, edges)


def _requantise(builder, draw, limits, layer, x, edges):
    fraction = _fraction(builder, x)
    return builder.requantise(layer, x, _format(draw, limits, limits.requantised, fraction - draw(0, limits.dropped)))


def _activation(builder, draw, limits, layer, x, edges):
    return _requantise(builder, draw, limits, layer, builder.relu(layer, x), edges)


def _lookup(builder, draw, limits, layer, x, edges):
    """Any results for every integer of the operand, rounded first where it is wide; entries more than it reads."""
    if builder.range(x).largest.bit_length() >= TABLE_BITS:
        fraction = _fraction(builder, x)
        x = builder.requantise(layer, x, _format(draw, limits, TABLE_BITS, fraction - draw(0, limits.dropped)))
    range_, shape, more = builder.range(x), builder.shape(x), draw(0, 2)
    first, entries = range_.lowest - more, range_.highest - range_.lowest + 1 + 2 * more
    channels = (shape[-1],) if shape and draw(0, 1) else ()
    bits, seed = draw(1, limits.requantised), draw(0, 1 << 16)
    results = np.random.default_rng(seed).integers(-(1 << bits), 1 << bits, (*channels, entries)) << draw(0, 2)
    return builder.lookup(layer, x, first, results if draw(0, 1) else np.abs(results), draw(-2, 6))


def _fraction(builder: Builder, x: str) -> int:
    return builder.finish(x).output.fixed.fraction


OPERATIONS = (
    _relu,
    _reshape,
    _bias,
    _scale,
    _sum,
    _mean,
    _concat,
    _add,
    _mul,
    _max,
    _take,
    _pairs,
    _requantise,
    _activation,
    _lookup,
    _dense,
    _dense,
    _window,
    _convolution,
)


def _of_channels(operation: str, low: int, high: int):
    def apply(builder, draw, limits, layer, x, edges):
        shape = builder.shape(x)[2:] if draw(0, 2) else (1,)
        return getattr(builder, operation)(layer, x, _constants(draw, limits, shape), draw(low, high))

    return apply


def _some_channels(builder, draw, limits, layer, x, edges):
    rows = [draw(0, builder.shape(x)[-1] - 1) for _ in range(draw(1, 3))]
    return builder.take(layer, x, np.array(rows), 2)


def _beside(builder, draw, limits, layer, x, edges):
    return builder.concat(layer, (x, edges[draw(0, len(edges) - 1)]), 2)


def _neighbours(builder, draw, limits, layer, x, edges):
    return builder.window(layer, x, (draw(1, 4), draw(1, 4)))


ON_PIXELS = (
    _relu,
    _of_channels("bias", -2, 6),
    _of_channels("scale", -2, 4),
    _add,
    _mul,
    _max,
    _beside,
    _some_channels,
    _requantise,
    _activation,
    _lookup,
    _dense,
    _neighbours,
    _neighbours,
    _convolution,
)
