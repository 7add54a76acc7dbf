"""Graphs that can be fed with their own output, small enough to simulate in every test."""

import numpy as np

from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph.build import Builder
from edgephys.graph.graph import Graph

STATE = Fixed(True, 8, 4, Rounding.RND_CONV, Overflow.SAT)


def stepped(
    field: tuple[int, int] = (4, 4), channels: int = 3, frame: int = 1, layers: int = 1, output: Fixed = STATE
) -> Graph:
    """Return convolutions of 3x3 pixels from ``channels`` to ``frame`` channels, in the input's format."""
    generator = np.random.default_rng(3)
    builder = Builder("stepped")
    x = builder.input("x", (*field, channels), STATE)
    for number in range(layers):
        last = number == layers - 1
        window = builder.window(f"window_{number}", x, (3, 3))
        weights = generator.integers(-6, 7, (builder.shape(window)[-1], frame if last else 2))
        x = builder.dense(f"filters_{number}", window, weights, 3)
        x = builder.requantise("next" if last else f"inner_{number}", x, output if last else STATE)
    return builder.finish(x)


def fields(graph: Graph, count: int) -> np.ndarray:
    """Return random fields, in steps."""
    fixed = graph.input.fixed
    return np.random.default_rng(1).integers(fixed.low, fixed.high, (count, *graph.input.shape), endpoint=True)
