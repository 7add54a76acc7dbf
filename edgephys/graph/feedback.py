"""Feed the output of a graph back to its input: the golden model of a roll-out.

The first channels of the input hold the state, frame after frame, the newest last. A step computes the output, which is
the next frame: older frames shift by one, and the oldest is dropped. The channels behind the state stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgephys.core.errors import ModelError, UsageError
from edgephys.core.fixed import Integers
from edgephys.graph import evaluate
from edgephys.graph.graph import Graph


@dataclass(frozen=True)
class Feedback:
    """State which channels of a graph's input its output replaces.

    ``state`` channels are frames of ``frame`` channels each, as many as the output has; ``channels`` are all.
    """

    state: int
    frame: int
    channels: int

    @property
    def frames(self) -> int:
        """Frames in the state."""
        return self.state // self.frame

    def fed_back(self, x: Integers, output: Integers) -> Integers:
        """Return the input of the next step.  Shape: (..., channel), (..., channel of a frame) -> (..., channel)."""
        return np.concatenate([x[..., self.frame : self.state], output, x[..., self.state :]], -1)


def feedback(graph: Graph, state: int) -> Feedback:
    """Return how the output of a graph replaces the first ``state`` channels of its input.

    Raises: UsageError for channels that the input has not, or that are no whole frames; ModelError where the output has
    another shape than the input, but for its channels, or integers that the input's format does not hold.
    """
    source, output = graph.input, graph.output
    channels, frame = source.shape[-1], output.shape[-1]
    if output.shape[:-1] != source.shape[:-1]:
        raise ModelError(
            f"graph '{graph.name}': a roll-out needs an output of the input's shape {source.shape[:-1]} without "
            f"channels, not {output.shape[:-1]}; leave rollout out"
        )
    if not 1 <= state <= channels or state % frame:
        whole = f" in whole frames of {frame}, the channels of the output," if frame > 1 else ""
        raise UsageError(
            f"graph '{graph.name}': channels of the state must be 1..{channels}{whole} of the input {source.shape}, "
            f"not {state}"
        )
    same_step = output.fixed.fraction == source.fixed.fraction
    if not same_step or not source.fixed.holds(output.fixed.low, output.fixed.high):
        raise ModelError(
            f"graph '{graph.name}': a roll-out needs an output in the input's format {source.fixed}, not "
            f"{output.fixed}; train with the input's format for the output, or leave rollout out"
        )
    return Feedback(state, frame, channels)


def rolled_out(graph: Graph, of: Feedback, x: Integers, steps: Sequence[int]) -> Integers:
    """Return the input after each of ``steps``, numbers of steps in ascending order.

    Shape: x (vector, ..., channel) -> (vector, number of steps, ..., channel).  Exact: yes.
    """
    x, after, states = np.asarray(x), 0, []
    for step in steps:
        for _ in range(step - after):
            x = of.fed_back(x, evaluate.run(graph, x))
        after = step
        states.append(x)
    return np.stack(states, 1)
