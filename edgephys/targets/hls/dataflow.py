"""When the processes of a stream read and write: their loops, the times of a frame, and the depths of the FIFOs.

A process is a loop. At each pass it reads a beat of every input, or of none, and writes a beat, or none. Its passes are
a pipeline, which stands still with all that is in it while a beat, or room for one, is missing. A pipeline of n stages
thus returns what it computes n - 1 passes later. Nothing here depends on the clock but ``arrivals``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from edgephys.core.fixed import Integers


@dataclass(frozen=True, eq=False)
class LoopPasses:
    """State the passes of a process over a frame: ``reads`` are the passes that read, ``writes`` those that write."""

    passes: int
    reads: Integers
    writes: Integers

    def needed(self, stages: int) -> Integers:
        """Return how many beats of each input a process has read when beat k leaves a pipeline of so many stages.

        Behind its last pass a pipeline empties itself, for which it needs no beats.
        """
        last = np.minimum(self.writes + stages - 1, self.passes - 1)
        return np.searchsorted(self.reads, last, "right")

    def written(self) -> Integers:
        """Return how many beats a process of one stage has written when it has read 0, 1, ... all beats."""
        stops = np.append(self.reads, self.passes)  # the pass that waits for the next beat
        return np.searchsorted(self.writes, stops, "left")


@dataclass(frozen=True, eq=False)
class StreamProcess:
    """State a process of the dataflow: those that it reads, by name, and its passes."""

    name: str
    inputs: tuple[str, ...]
    loop: LoopPasses


def arrivals(processes: Sequence[StreamProcess], stages: int) -> dict[str, Integers]:
    """Return the clock at which each beat of each process can be read, where no FIFO is ever full.

    The first process is the input, a beat a clock from clock 0 on; the others have so many ``stages`` each, and with 0
    stages take no time. They are in an order in which each reads earlier ones only.
    """
    times: dict[str, Integers] = {}
    for process in processes:
        loop = process.loop
        if not process.inputs:
            times[process.name] = loop.writes
            continue
        passes = np.arange(loop.passes + max(0, stages - 1))  # the last ones empty the pipeline
        earliest = np.zeros_like(passes)
        earliest[loop.reads] = np.max([times[name] for name in process.inputs], 0)
        begun = np.maximum.accumulate(earliest - passes) + passes  # one a clock, and none before its beat is there
        times[process.name] = begun[loop.writes + stages - 1] + 1 if stages else begun[loop.writes]
    return times


class Lead:
    """Bound how far one process can get while another one has not written a beat, whatever stages each pipeline has.

    ``stages`` are the most of a pipeline. Processes that both depend on stand at the same pass for both, so that their
    stages do not count.
    """

    def __init__(self, processes: Sequence[StreamProcess], stages: int) -> None:
        self._place = {process.name: place for place, process in enumerate(processes)}
        self._processes = {process.name: process for process in processes}
        # one stage more than there are: a beat in the FIFO cannot be read before the next clock
        self._needed = {process.name: process.loop.needed(stages + 1) for process in processes}
        self._written = {process.name: process.loop.written() for process in processes}
        self._bounds: dict[tuple[str, str], Integers] = {}

    def of(self, ahead: str, behind: str) -> Integers:
        """Return how many beats ``ahead`` has written at most, for each beat that ``behind`` has not written yet."""
        waiting = [(ahead, behind)]
        while waiting:
            pair = waiting[-1]
            missing = [other for other in self._reduced(*pair) if other not in self._bounds]
            if pair in self._bounds or not missing:
                self._bounds.setdefault(pair, self._bound(*pair))
                waiting.pop()
            waiting += missing if pair not in self._bounds else []
        return self._bounds[ahead, behind]

    def _reduced(self, ahead: str, behind: str) -> list[tuple[str, str]]:
        """Return the pairs to which a pair is reduced: the later process of the two by those that it reads."""
        if ahead == behind:
            return []
        if self._place[ahead] > self._place[behind]:
            return [(source, behind) for source in self._processes[ahead].inputs]
        return [(ahead, source) for source in self._processes[behind].inputs]

    def _bound(self, ahead: str, behind: str) -> Integers:
        reduced = [self._bounds[pair] for pair in self._reduced(ahead, behind)]
        beats = len(self._processes[behind].loop.writes)
        if ahead == behind:
            return np.arange(beats)
        if not reduced:  # two inputs of the network
            return np.full(beats, len(self._processes[ahead].loop.writes))
        if self._place[ahead] > self._place[behind]:
            return cast(Integers, np.min([self._written[ahead][bound] for bound in reduced], 0))
        needed = self._needed[behind]  # one beat of an input is missing: the last of these, or an earlier one
        return cast(Integers, np.max([bound[needed - 1] for bound in reduced], 0))
