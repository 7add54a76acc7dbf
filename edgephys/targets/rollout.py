"""What the roll-outs of all targets share: the steps after which states are compared, and the golden model's states."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from edgephys.core.errors import UsageError
from edgephys.targets.target import EmittedProject, OtherRun, Ran

if TYPE_CHECKING:
    from edgephys.core.fixed import Integers

RUNS = ((1,), (3,), (1, 2))
"""Steps of the runs of each field; the state is read after each group of runs that follow each other."""
STEPS = tuple(accumulate(sum(runs) for runs in RUNS))
"""Steps since a field was loaded, at each reading."""
HELP = "first channels of the input that the output replaces step after step, the newest last: adds {adds}"
"""Help of the option, which says how many channels hold the state."""


MOST_CHANNELS = 4096


def require_state(channels: int) -> None:
    """Raise UsageError for a number of channels that no state has; 0 is none."""
    if not isinstance(channels, int) or not 0 <= channels <= MOST_CHANNELS:
        raise UsageError(
            f"rollout must be 1..{MOST_CHANNELS}, the channels that hold the state, or 0 for none, not {channels}"
        )


def not_streamed(name: str) -> UsageError:
    """Return the error of a roll-out around a graph ``name`` that is laid out in parallel."""
    return UsageError(
        f"graph '{name}': a roll-out goes with a field that is streamed, a pixel a clock, not with one laid out in "
        f"parallel; use io 'stream', or leave rollout out"
    )


def other_run(
    project: EmittedProject,
    name: str,
    doing: str,
    run: Callable[[Integers], Ran],
    most: int | None = None,
    beside: bool = False,
) -> OtherRun:
    """Return a run of the sources that gives states after ``STEPS``, compared with the golden model's.

    Shape: (vector, *input shape) -> (vector, reading, *input shape).
    """
    from edgephys.graph.feedback import feedback, rolled_out

    of = feedback(project.graph, project.facts["rollout"]["state"])

    def golden(x: Integers) -> Integers:
        return rolled_out(project.graph, of, x, STEPS)

    doing = f"{doing}: roll-out of {', '.join(map(str, STEPS))} steps"
    return OtherRun(name, doing, run, most, beside=beside, golden=golden)
